"""What a request says about tools and the answer's format, as OpenAI's Responses has it."""

from bridge.conversation.request import Conversation, Tool, ToolChoice
from bridge.json_types import Json, JsonObject
from bridge.providers.asked import read_tool_choice
from bridge.providers.base import refuse
from bridge.providers.json_schema import Room
from bridge.providers.openai.draft import Draft
from bridge.providers.tool_names import SafeNames
from bridge.providers.tool_schemas import ToolRule, fit_parameters

UNNAMED_FORMAT = "answer"
NO_PARAMETERS: JsonObject = {"type": "object", "properties": {}}


def write_tools(draft: Draft, rule: ToolRule, names: SafeNames) -> JsonObject:
    """`tools` and `tool_choice`; what can't be taken so is named. Raises AttemptFailed for a choice that means
    nothing."""
    conversation, legacy, room = draft.order.conversation, draft.order.conversation.legacy, Room()
    offered = [tool for tool in conversation.tools if tool.legacy is legacy]
    choice = _read_custom_choice(conversation) or read_tool_choice(conversation)
    if not offered:
        if choice is not None and choice.mode == "required":
            draft.name_dropped(choice.place)
        return {}
    customs = {tool.name for tool in offered if tool.custom is not None}
    out: JsonObject = {"tools": [_write_tool(tool, draft, rule, names, room) for tool in offered]}
    if choice is not None:
        out["tool_choice"] = _write_choice(choice, customs, names)
    return out


def _write_tool(tool: Tool, draft: Draft, rule: ToolRule, names: SafeNames, room: Room) -> JsonObject:
    """Flat, and with a word of how strict it is: here that is the default."""
    if tool.custom is not None:
        return _write_custom(tool, names)
    written: JsonObject = {"type": "function", "name": names.write(tool.name)}
    if tool.description is not None:
        written["description"] = tool.description
    parameters = tool.parameters or NO_PARAMETERS
    fitted = fit_parameters(parameters, rule, room)
    if tool.strict and fitted is not parameters:
        draft.name_dropped(f"{tool.place}.strict")
    return {**written, "parameters": fitted, "strict": tool.strict and fitted is parameters}


def _write_custom(tool: Tool, names: SafeNames) -> JsonObject:
    """A tool whose input is any text. Raises AttemptFailed for a kind that nobody knows."""
    custom = tool.custom.get("custom") if isinstance(tool.custom, dict) else None
    if not isinstance(custom, dict) or not tool.name:
        raise refuse(tool.place, f"{tool.place}: this model takes function and custom tools only.")
    written: JsonObject = {"type": "custom", "name": names.write(tool.name)}
    if isinstance(description := custom.get("description"), str):
        written["description"] = description
    wanted = custom.get("format")
    if isinstance(wanted, dict):
        grammar = wanted.get("grammar")
        written["format"] = {"type": "grammar", **grammar} if isinstance(grammar, dict) else wanted
    return written


def _read_custom_choice(conversation: Conversation) -> ToolChoice | None:
    """A custom tool that the client demands, in words that no other dialect has."""
    choice = conversation.tool_choice
    native = conversation.native
    said = native.body.get("tool_choice") if native is not None and choice is not None and not choice.mode else None
    custom = said.get("custom") if isinstance(said, dict) else None
    name = custom.get("name") if isinstance(custom, dict) else None
    return ToolChoice("required", (name,)) if isinstance(name, str) else None


def _write_choice(choice: ToolChoice, customs: set[str], names: SafeNames) -> Json:
    if not choice.names:
        return choice.mode
    named: list[Json] = [
        {"type": "custom" if name in customs else "function", "name": names.write(name)} for name in choice.names
    ]
    if choice.listed or len(named) > 1:
        return {"type": "allowed_tools", "mode": choice.mode, "tools": named}
    return named[0]


def write_format(conversation: Conversation, verbosity: Json) -> JsonObject:
    """`text`: how the answer is to be written."""
    text: JsonObject = {}
    wanted = conversation.format
    if wanted is not None and wanted.kind == "json_schema":
        definition = wanted.definition or {}
        if not isinstance(definition.get("schema"), dict):
            param = "response_format.json_schema.schema"
            raise refuse(param, f"{param} is required: a JSON schema.", "missing_required_parameter")
        text["format"] = {
            "type": "json_schema",
            "name": definition.get("name") or UNNAMED_FORMAT,
            "schema": definition["schema"],
            "strict": bool(definition.get("strict")),
        }
        if definition.get("description"):
            text["format"]["description"] = definition["description"]
    elif wanted is not None and wanted.kind == "json_object":
        text["format"] = {"type": "json_object"}
    if verbosity is not None:
        text["verbosity"] = verbosity
    return {"text": text} if text else {}
