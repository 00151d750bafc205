"""Writes tools, the choice among them and the answer's format, which are OpenAI's fields, in Anthropic's."""

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from bridge.conversation.request import Conversation, Tool, ToolChoice
from bridge.json_types import JsonObject
from bridge.providers.anthropic.models import Claude
from bridge.providers.anthropic.schema import MAX_OPTIONAL, MAX_STRICT_TOOLS, MAX_UNIONS, Fitted, fit_schema
from bridge.providers.asked import read_schema, read_tool_choice, wants_json
from bridge.providers.base import refuse
from bridge.providers.json_schema import Room
from bridge.providers.openai.request_fields import take_cache_control
from bridge.providers.tool_names import ANTHROPIC_KEYS, ANTHROPIC_NAMES, SafeNames
from bridge.providers.tool_schemas import UNIONS, ToolRule, fit_parameters, rename_keys

RULE = ToolRule(ANTHROPIC_NAMES, plain_root=True, keys=ANTHROPIC_KEYS)
JSON_ONLY = "Answer with one JSON object and nothing else: no words around it, and no Markdown."
BY_SCHEMA = "It must follow this JSON schema: "
ANSWER_TOOL = "answer"
OPEN_SCHEMA: JsonObject = {"type": "object", "properties": {}}


class Offer(Struct):
    """`fields` go out; `schema` is for `output_config.format`; `answer_tool` names the tool whose input is the answer
    where the model takes no schema (`answer_keys`: its renamed keys), and `instruction` is for the system prompt where
    it takes neither."""

    fields: JsonObject = field(default_factory=dict)
    forced: bool = False
    schema: JsonObject | None = None
    answer_tool: str = ""
    answer_keys: dict[str, dict[str, str]] = field(default_factory=dict)
    instruction: str = ""
    dropped: list[str] = field(default_factory=list)
    clamped: list[str] = field(default_factory=list)


def fit_schemas(tools: list[Tool], dropped: list[str]) -> tuple[list[Tool], dict[str, SafeNames]]:
    """The tools with schemas as Anthropic takes them, and the keys of those whose properties got other names, by tool.
    A schema that is no longer the client's is not strict: that is added to `dropped`."""
    room, fitted, keys = Room(), list[Tool](), dict[str, SafeNames]()
    for tool in tools:
        parameters, renamed = _fit_parameters(tool.parameters or OPEN_SCHEMA, room)
        if renamed is not None:
            keys[tool.name] = renamed
        changed = any(keyword in (tool.parameters or {}) for keyword in UNIONS)
        if tool.strict and changed:
            dropped.append(f"{tool.place}.strict")
        if changed or parameters is not tool.parameters:
            tool = replace(tool, parameters=parameters, strict=tool.strict and not changed)
        fitted.append(tool)
    return fitted, keys


def _fit_parameters(schema: JsonObject, room: Room) -> tuple[JsonObject, SafeNames | None]:
    return rename_keys(fit_parameters(schema, RULE, room), ANTHROPIC_KEYS, room)


def write_offer(
    conversation: Conversation, claude: Claude, names: SafeNames, tools: list[Tool], called: list[str]
) -> Offer:
    """What the request says about tools and format. `called` are the names in the history's calls, which need tools to
    be there. Raises AttemptFailed for a choice of a tool that isn't offered."""
    offer, choice = Offer(), read_tool_choice(conversation)
    tools, choice = _narrow(tools, choice, "function_call" if conversation.legacy else "tool_choice")
    fitted = _write_format(conversation, claude, offer)
    written = _write_tools(tools, claude, names, offer, fitted)
    if not written and called:
        written = [{"name": names.write(name), "input_schema": OPEN_SCHEMA} for name in dict.fromkeys(called)]
        choice = ToolChoice("none")
    if offer.answer_tool:
        choice = _add_answer_tool(conversation, written, choice, names, offer)
    if written:
        offer.fields["tools"] = written
        said = _write_choice(conversation, choice, claude, names, offer)
        if said:
            offer.fields["tool_choice"] = said
    elif choice is not None and choice.mode == "required":
        offer.dropped.append("tool_choice")
    return offer


def _narrow(tools: list[Tool], choice: ToolChoice | None, param: str) -> tuple[list[Tool], ToolChoice | None]:
    """`allowed_tools` leaves only some; a single one that is required is named."""
    if choice is None or not choice.names:
        return tools, choice
    names = frozenset(choice.names)
    allowed = [tool for tool in tools if tool.name in names]
    if not allowed:
        raise refuse(param, f"{param} names no tool that is offered in tools.")
    if choice.mode == "required" and len(choice.names) == 1:
        return tools, choice
    return allowed, ToolChoice(choice.mode)


def _write_tools(
    tools: list[Tool], claude: Claude, names: SafeNames, offer: Offer, fitted: Fitted | None
) -> list[JsonObject]:
    seen: set[str] = set()
    optional, unions, strict = (fitted.optional, fitted.unions, 0) if fitted else (0, 0, 0)
    written = []
    for tool in tools:
        if tool.name in seen:
            raise refuse(tool.place, f"{tool.place}: another tool has the name {tool.name[:80]!r}.")
        seen.add(tool.name)
        out: JsonObject = {"name": names.write(tool.name)}
        if tool.description is not None:
            out["description"] = tool.description
        out["input_schema"] = tool.parameters or OPEN_SCHEMA
        if tool.strict:
            found = fit_schema(out["input_schema"]) if claude.takes_schema and strict < MAX_STRICT_TOOLS else None
            if found and found.schema.get("type") != "object":
                found = None  # a reference at the root
            if found and optional + found.optional <= MAX_OPTIONAL and unions + found.unions <= MAX_UNIONS:
                optional, unions, strict = optional + found.optional, unions + found.unions, strict + 1
                out["input_schema"], out["strict"] = found.schema, True
            else:
                offer.dropped.append(f"{tool.place}.strict")
        if isinstance(tool.cache, dict):
            out["cache_control"] = take_cache_control(tool.cache)
        written.append(out)
    return written


def _write_choice(
    conversation: Conversation, choice: ToolChoice | None, claude: Claude, names: SafeNames, offer: Offer
) -> JsonObject | None:
    alone = choice is not None and bool(offer.answer_tool) and choice.names == (offer.answer_tool,)
    serial = alone or conversation.parallel_calls is False
    if choice is not None and choice.mode == "none":
        return {"type": "none"}
    said: JsonObject = {"type": "auto"}
    if choice is not None and choice.mode == "required":
        if claude.takes_forced_tool:
            offer.forced = True
            said = {"type": "tool", "name": names.write(choice.names[0])} if choice.names else {"type": "any"}
        else:
            offer.clamped.append("tool_choice=auto")
    if serial:
        said["disable_parallel_tool_use"] = True
    return said if choice is not None or serial else None


def _write_format(conversation: Conversation, claude: Claude, offer: Offer) -> Fitted | None:
    """The schema where the model takes it, else a tool that stands for it, else words."""
    if wants_json(conversation):
        offer.instruction = JSON_ONLY
        offer.clamped.append("response_format=json_object")
        return None
    schema = read_schema(conversation)
    if schema is None:
        return None
    fitted = fit_schema(schema) if claude.takes_schema else None
    if fitted:
        offer.schema = fitted.schema
    elif claude.takes_forced_tool and (schema.get("type") == "object" or "properties" in schema):
        offer.answer_tool = ANSWER_TOOL
    else:
        offer.instruction = f"{JSON_ONLY} {BY_SCHEMA}{msgspec.json.encode(schema).decode()}"
        offer.clamped.append("response_format=json_object")
    return fitted


def _add_answer_tool(
    conversation: Conversation, written: list[JsonObject], choice: ToolChoice | None, names: SafeNames, offer: Offer
) -> ToolChoice | None:
    """A tool whose input is the answer. Beside others the model may call any of them; alone it has to call this one."""
    if choice is not None and choice.mode == "required" and written:
        offer.answer_tool = ""  # what was demanded is a call, and no answer
        return choice
    schema = read_schema(conversation) or {}
    described = ((conversation.format and conversation.format.definition) or {}).get("description")
    offer.answer_tool = names.add(ANSWER_TOOL)
    parameters, keys = _fit_parameters(schema, Room())
    if keys is not None:
        offer.answer_keys = {offer.answer_tool: keys.originals}
    alone = not written or (choice is not None and choice.mode == "none")
    tool = {
        "name": offer.answer_tool,
        "description": described if isinstance(described, str) and described else "Give the answer.",
        "input_schema": parameters,
    }
    written.append(tool)
    return ToolChoice("required", (offer.answer_tool,)) if alone else ToolChoice("required")
