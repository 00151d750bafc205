"""Tools of a request in OpenAI's dialect: the fields that belong there, names and schemas by the provider's rule, and
nothing about tools where none are offered."""

from bridge.json_types import JsonObject
from bridge.providers.json_schema import Room
from bridge.providers.openai.draft import Draft
from bridge.providers.openai.request_fields import show_field
from bridge.providers.openai.sound import are_sound_tools
from bridge.providers.tool_names import SafeNames, list_called, rename_calls, rename_inside
from bridge.providers.tool_schemas import ToolRule, fit_parameters, is_plain, speaks_of_unions

_TOOL_FIELDS = frozenset({"type", "function", "custom"})
_DEFINITION_FIELDS = frozenset({"name", "description", "parameters", "strict"})
_CUSTOM_FIELDS = frozenset({"name", "description", "format"})
_OF_TOOLS = ("tools", "tool_choice", "parallel_tool_calls")
_SPEAKS_OF_TOOLS = frozenset({*_OF_TOOLS, "functions", "function_call"})


def fit_tools(draft: Draft, rule: ToolRule, known: frozenset[str]) -> None:
    """Bring what the request says about tools into what the provider takes; names in the conversation too."""
    out = draft.out
    if draft.sound and _SPEAKS_OF_TOOLS.isdisjoint(out):
        return
    if not out.get("tools"):
        _forget_choice(draft, *_OF_TOOLS)
    if not out.get("functions"):
        _forget_choice(draft, "functions", "function_call")
    sound = not out.get("functions") and are_sound_tools(out.get("tools") or [])
    if not (sound and _take_schemas(out.get("tools") or [], rule)):
        room = Room()
        for field in ("tools", "functions"):
            if out.get(field):
                out[field] = [
                    _fit_tool(draft, tool, rule, known, f"{field}[{i}]", room) for i, tool in enumerate(out[field])
                ]
    if not (sound and draft.sound):
        _fit_names(draft, rule)


def _take_schemas(tools: list[JsonObject], rule: ToolRule) -> bool:
    """Whether the provider takes the schemas of these tools as they are."""
    if rule.typed_branches:
        return not speaks_of_unions(tools)
    if not rule.plain_root:
        return True
    schemas = (tool["function"].get("parameters") for tool in tools)
    return all(schema is None or is_plain(schema, rule.refused) for schema in schemas)


def _forget_choice(draft: Draft, *fields: str) -> None:
    """An empty list, and a choice among nothing, are refused; only the demand of a call is worth a word."""
    for field in fields:
        value = draft.out.pop(field, None)
        if field in ("tool_choice", "function_call") and value is not None and value not in ("auto", "none"):
            draft.name_dropped(field)


def _fit_tool(
    draft: Draft, tool: JsonObject, rule: ToolRule, known: frozenset[str], place: str, room: Room
) -> JsonObject:
    if place.startswith("functions"):
        return _fit_definition(draft, tool, rule, place, room)
    written = _pick(draft, tool, _TOOL_FIELDS | known, place)
    if isinstance(custom := written.get("custom"), dict):
        return {**written, "custom": _pick(draft, custom, _CUSTOM_FIELDS, f"{place}.custom")}
    if isinstance(function := written.get("function"), dict):
        fitted = _fit_definition(draft, function, rule, f"{place}.function", room)
        return written if fitted is function else {**written, "function": fitted}
    return written


def _fit_definition(draft: Draft, function: JsonObject, rule: ToolRule, place: str, room: Room) -> JsonObject:
    """Null stands for absent, which not every server knows. A schema that is no longer the client's is not strict."""
    function = _pick(draft, function, _DEFINITION_FIELDS, place)
    if None in function.values():
        function = {field: value for field, value in function.items() if value is not None}
    parameters = function.get("parameters")
    if parameters is None:
        return function
    fitted = fit_parameters(parameters, rule, room)
    if fitted is parameters:
        return function
    function = {**function, "parameters": fitted}
    if rule.plain_root and function.pop("strict", False):
        draft.name_dropped(f"{place}.strict")
    return function


def _fit_names(draft: Draft, rule: ToolRule) -> None:
    out = draft.out
    offered = [*(out.get("tools") or ()), *(out.get("functions") or ())]
    originals = [name for tool in offered if (name := _find_name(tool)) is not None]
    originals += list_called(draft.messages)
    if all(rule.names.fits(name) for name in originals):
        return
    names = SafeNames(originals, rule.names)
    for field in ("tools", "functions"):
        if out.get(field):
            out[field] = [rename_inside(tool, names) for tool in out[field]]
    for field in ("tool_choice", "function_call"):
        if isinstance(out.get(field), dict):
            out[field] = rename_inside(out[field], names)
    renamed = [rename_calls(message, names) for message in draft.messages]
    if any(new is not old for new, old in zip(renamed, draft.messages, strict=True)):
        draft.write_messages(renamed)
    draft.names = names.originals


def _find_name(tool: JsonObject) -> str | None:
    named = tool.get("function") or tool.get("custom") or tool
    name = named.get("name") if isinstance(named, dict) else None
    return name if isinstance(name, str) else None


def _pick(draft: Draft, thing: JsonObject, fields: frozenset[str], place: str) -> JsonObject:
    if thing.keys() <= fields:
        return thing
    for field, value in thing.items():
        if field not in fields and field != "cache_control" and value is not None:
            draft.name_dropped(f"{place}.{show_field(field)}")
    return {field: value for field, value in thing.items() if field in fields}
