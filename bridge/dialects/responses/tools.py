"""Tools of a Responses request as functions that every provider knows, and their names on the way back."""

import hashlib
from collections.abc import Iterable, Iterator

import msgspec
from msgspec import Struct

from bridge.conversation.request import Tool, ToolChoice
from bridge.errors import InvalidRequest
from bridge.json_types import Json, JsonObject

MOST_NAME = 64
INPUT: JsonObject = {
    "type": "object",
    "properties": {"input": {"type": "string", "description": "The tool's input, as it is."}},
    "required": ["input"],
    "additionalProperties": False,
}
# Hosted tools that clients always offer and can do without.
SPARED = ("web_search", "web_search_preview", "tool_search")
MODES = ("auto", "none", "required")


class Known(Struct, frozen=True):
    """A tool as its client calls it. `custom`: it takes text, and no JSON."""

    name: str
    namespace: str | None = None
    custom: bool = False


class ToolNames:
    """The names that tools go out by, and whose they are: a namespace becomes a part of the name."""

    def __init__(self) -> None:
        self._flat: dict[tuple[str | None, str], str] = {}
        self._known: dict[str, Known] = {}
        self._inner: dict[str, list[str]] = {}  # by a tool's own name, whatever its namespace

    def add(self, known: Known) -> str:
        """The name that this tool goes out by."""
        key = known.namespace, known.name
        if key in self._flat:
            self._known[self._flat[key]] = known
            return self._flat[key]
        flat = known.name if known.namespace is None else f"{known.namespace}__{known.name}"
        if flat in self._known or (known.namespace is not None and len(flat) > MOST_NAME):
            digest = hashlib.sha256(f"{known.namespace}\0{known.name}".encode()).hexdigest()[:8]
            flat = f"{flat[: MOST_NAME - 9]}_{digest}"
        self._flat[key] = flat
        self._known[flat] = known
        self._inner.setdefault(known.name, []).append(flat)
        return flat

    def flatten(self, name: str, namespace: str | None = None) -> str:
        """The name that a tool goes out by, offered or not; some leave its namespace out."""
        if (namespace, name) in self._flat:
            return self._flat[namespace, name]
        if namespace is not None:
            return self.add(Known(name, namespace))
        inner = self._inner.get(name, ())
        return inner[0] if len(inner) == 1 else name

    def find(self, flat: str) -> Known:
        """The tool that a model calls by this name."""
        return self._known.get(flat) or self._known.get(self.flatten(flat)) or Known(flat)


class Offered(Struct):
    """The tools that go out. `dropped`: those that are left out, by their type. `added_bytes`: what they are
    longer by than the client's own."""

    names: ToolNames
    by_name: dict[str, Tool] = {}
    dropped: dict[str, Json] = {}
    added_bytes: int = 0

    def add(self, tools: Iterable[JsonObject], place: str) -> list[JsonObject]:
        """Take these too. Gives those that may go to an upstream of this dialect. Raises InvalidRequest."""
        kept = []
        for number, tool in enumerate(tools):
            if self._add_one(tool, f"{place}[{number}]"):
                kept.append(tool)
        return kept

    def _add_one(self, tool: JsonObject, place: str) -> bool:
        kind: Json = tool.get("type")
        if kind in ("function", "custom"):
            self._add_tool(tool, place, None)
        elif kind == "namespace":
            space, inner = _text(tool, "name", place), tool.get("tools")
            for number, each in enumerate(inner if isinstance(inner, list) else ()):
                self._add_inner(each, f"{place}.tools[{number}]", space)
        elif isinstance(kind, str) and kind.startswith(SPARED):
            self.dropped[f"tools.{kind}"] = True
            return False
        else:
            param = f"{place}.type"
            if kind is None:
                raise InvalidRequest(f"{param} is required.", param=param, code="missing_required_parameter")
            message = f"{param}: {str(kind)[:64]!r} is not offered. Only function, custom and namespace are."
            raise InvalidRequest(message, param=param, code="unsupported_parameter")
        return True

    def _add_inner(self, tool: Json, place: str, space: str) -> None:
        if not isinstance(tool, dict) or tool.get("type") not in ("function", "custom"):
            param = f"{place}.type"
            raise InvalidRequest(f"{param} must be function or custom.", param=param, code="invalid_value")
        self._add_tool(tool, place, space)

    def _add_tool(self, tool: JsonObject, place: str, space: str | None) -> None:
        name, custom = _text(tool, "name", place), tool["type"] == "custom"
        flat = self.names.add(Known(name, space, custom))
        self.by_name.pop(flat, None)  # offered again, as later messages may
        described = tool.get("description")
        description = described if isinstance(described, str) else None
        self.added_bytes += len(flat) - len(name)
        parameters = tool.get("parameters")
        if parameters is not None and not isinstance(parameters, dict):
            param = f"{place}.parameters"
            raise InvalidRequest(f"{param} must be an object: a JSON schema.", param=param, code="invalid_type")
        if custom:
            written = _describe_custom(description, tool.get("format"))
            self.added_bytes += len(written.encode()) + len(msgspec.json.encode(INPUT))
            self.by_name[flat] = Tool(flat, place, written, INPUT)
            return
        strict = tool.get("strict")
        means_strict = bool(strict) if strict is not None else parameters is not None and is_strict(parameters)
        self.by_name[flat] = Tool(flat, place, description, parameters, means_strict)


def _text(tool: JsonObject, field: str, place: str) -> str:
    value: Json = tool.get(field)
    param = f"{place}.{field}"
    if value is None:
        raise InvalidRequest(f"{param} is required.", param=param, code="missing_required_parameter")
    if not isinstance(value, str) or not 0 < len(value) <= 128:
        raise InvalidRequest(f"{param} must be a name of 1 to 128 characters.", param=param, code="invalid_value")
    return value


def _describe_custom(description: str | None, wanted: Json) -> str:
    """What such a tool is for, and the grammar of its input, which no function can have."""
    said = [description] if description else []
    said.append("Call it with its whole input as the one text `input`, without any JSON or Markdown around it.")
    if isinstance(wanted, dict) and wanted.get("type") == "grammar":
        syntax, definition = wanted.get("syntax"), wanted.get("definition")
        said.append(f"The input has to follow this grammar ({syntax}):\n{definition}")
    return "\n\n".join(said)


def is_strict(schema: Json) -> bool:
    """Whether a schema is one that is followed to the letter, as Responses takes any to be: each object closed, and all
    of its properties required."""
    waiting: list[Json] = [schema]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting += node
        elif isinstance(node, dict):
            properties = node.get("properties")
            if node.get("type") == "object" or isinstance(properties, dict):
                names = set(properties) if isinstance(properties, dict) else set()
                required = node.get("required") or []
                if node.get("additionalProperties") is not False or set(map(str, required)) != names:
                    return False
            waiting += [each for each in node.values() if isinstance(each, dict | list)]
    return True


def read_tool_choice(choice: Json, names: ToolNames) -> ToolChoice | None:
    """None where the client said nothing. Raises InvalidRequest for a tool that isn't offered here."""
    if choice is None:
        return None
    if choice in MODES:
        return ToolChoice(choice)
    if isinstance(choice, dict):
        kind = choice.get("type")
        if kind in ("function", "custom") and isinstance(choice.get("name"), str):
            return ToolChoice("required", (_flat(choice, names),))
        if kind == "allowed_tools" and isinstance(choice.get("tools"), list):
            mode = choice.get("mode", "auto")
            allowed = tuple(_list_allowed(choice["tools"], names))
            if mode in ("auto", "required") and allowed and len(allowed) == len(choice["tools"]):
                return ToolChoice(mode, allowed, listed=True)
        elif isinstance(kind, str) and kind not in ("function", "custom"):
            message = f"tool_choice: {kind[:64]!r} is not offered. Only function and custom tools are."
            raise InvalidRequest(message, param="tool_choice.type", code="unsupported_parameter")
    message = "tool_choice must be auto, none, required, a function or custom tool by its name, or allowed_tools."
    raise InvalidRequest(message, param="tool_choice", code="invalid_value")


def _list_allowed(tools: list[Json], names: ToolNames) -> Iterator[str]:
    for tool in tools:
        called = isinstance(tool, dict) and tool.get("type") in ("function", "custom")
        if called and isinstance(tool.get("name"), str):
            yield _flat(tool, names)


def _flat(tool: JsonObject, names: ToolNames) -> str:
    space = tool.get("namespace")
    return names.flatten(tool["name"], space if isinstance(space, str) else None)
