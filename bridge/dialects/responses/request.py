"""The body of a Responses request: what is checked before it goes anywhere, and what is refused."""

from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from bridge.errors import InvalidRequest
from bridge.json_types import Json, JsonObject

AtLeastOne = Annotated[int, Meta(ge=1, le=2**31)]
Name = Annotated[str, Meta(min_length=1, max_length=256)]
ToolName = Annotated[str, Meta(min_length=1, max_length=128)]
FREE_SERVICE_TIERS = (None, "auto", "default")
NO_STATE = "This gateway keeps no conversation state: send the earlier items in `input` and set `store: false`"
REMEDY = f"{NO_STATE} (in the AI SDK: `providerOptions.openai.store = false`)."
# Chat's names of what Responses calls otherwise.
_CHATS: dict[str, str] = {
    "messages": "Send them as `input`.",
    "max_tokens": "It is called `max_output_tokens` here.",
    "max_completion_tokens": "It is called `max_output_tokens` here.",
    "response_format": "It is called `text.format` here.",
    "reasoning_effort": "It is called `reasoning.effort` here.",
    "n": "An answer has one choice here.",
    "functions": "Send them as `tools`.",
    "function_call": "It is called `tool_choice` here.",
    "logprobs": "Ask for them with `include: ['message.output_text.logprobs']`.",
    "thinking": "It is called `reasoning` here.",
    "prediction": "There is none here.",
    "audio": "There is none here.",
    "modalities": "There are none here.",
    "web_search_options": "There are none here.",
    "stop": "There is none here.",
}
HOSTED_ITEMS = frozenset(
    {"web_search_call", "file_search_call", "computer_call", "computer_call_output", "code_interpreter_call"}
    | {"image_generation_call", "local_shell_call", "local_shell_call_output", "shell_call", "shell_call_output"}
    | {"apply_patch_call", "apply_patch_call_output", "mcp_list_tools", "mcp_call", "mcp_approval_request"}
    | {"mcp_approval_response", "program", "program_output", "compaction_trigger", "compaction"}
)


class ForeignParameter(InvalidRequest):
    """A field that chat has and Responses hasn't: it keeps chat's name."""


class Reasoning(Struct):
    effort: str | None = None
    summary: str | None = None
    generate_summary: str | None = None


class TextFormat(Struct):
    """How the answer is to be written: text, any JSON object, or JSON of a schema."""

    type: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    description: str | None = None
    schema: JsonObject | None = None
    strict: bool | None = None


class TextOptions(Struct):
    format: TextFormat | None = None
    verbosity: str | None = None


class ResponsesRequest(Struct, kw_only=True):
    """OpenAI's Responses request, as far as we check it."""

    model: Name
    models: Annotated[list[Name], Meta(max_length=3)] | None = None
    input: str | Annotated[list[JsonObject], Meta(min_length=1, max_length=16_384)]
    instructions: str | None = None
    stream: bool | None = None
    tools: list[JsonObject] | None = None
    tool_choice: str | JsonObject | None = None
    parallel_tool_calls: bool | None = None
    max_output_tokens: AtLeastOne | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    text: TextOptions | None = None
    reasoning: Reasoning | None = None
    include: list[str] | None = None
    store: bool | None = None
    metadata: JsonObject | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    service_tier: str | None = None
    truncation: str | None = None
    max_tool_calls: int | None = None
    background: bool | None = None
    previous_response_id: str | None = None
    conversation: str | JsonObject | None = None
    prompt: JsonObject | None = None


class CountRequest(Struct, kw_only=True):
    """What `input_tokens` counts: the same body, of which only the input is needed."""

    input: str | Annotated[list[JsonObject], Meta(min_length=1, max_length=16_384)]
    model: Name | None = None
    instructions: str | None = None
    tools: list[JsonObject] | None = None
    tool_choice: str | JsonObject | None = None
    parallel_tool_calls: bool | None = None
    text: TextOptions | None = None
    reasoning: Reasoning | None = None
    previous_response_id: str | None = None
    conversation: str | JsonObject | None = None


# items, by their `type`


class MessageItem(Struct):
    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[JsonObject]


class FunctionCallItem(Struct):
    call_id: Annotated[str, Meta(min_length=1)]
    name: ToolName
    arguments: str
    namespace: str | None = None


class CustomCallItem(Struct):
    call_id: Annotated[str, Meta(min_length=1)]
    name: ToolName
    input: str
    namespace: str | None = None


class OutputItem(Struct):
    output: str | list[JsonObject] | None = None
    call_id: str | None = None


class ReasoningText(Struct):
    text: str = ""


class ReasoningItem(Struct):
    summary: list[ReasoningText] | None = None
    content: list[ReasoningText] | None = None
    encrypted_content: str | None = None


class ReferenceItem(Struct):
    id: Annotated[str, Meta(min_length=1)]


class AdditionalToolsItem(Struct):
    tools: list[JsonObject]


class ToolSearchCallItem(Struct):
    call_id: str | None = None
    arguments: Json = None


class ToolSearchOutputItem(Struct):
    call_id: str | None = None
    tools: list[JsonObject] | None = None


Item = (
    MessageItem
    | FunctionCallItem
    | CustomCallItem
    | OutputItem
    | ReasoningItem
    | ReferenceItem
    | AdditionalToolsItem
    | ToolSearchCallItem
    | ToolSearchOutputItem
)
ITEMS: dict[str, type[Item]] = {
    "message": MessageItem,
    "function_call": FunctionCallItem,
    "function_call_output": OutputItem,
    "custom_tool_call": CustomCallItem,
    "custom_tool_call_output": OutputItem,
    "reasoning": ReasoningItem,
    "item_reference": ReferenceItem,
    "additional_tools": AdditionalToolsItem,
    "tool_search_call": ToolSearchCallItem,
    "tool_search_output": ToolSearchOutputItem,
}


def kind_of(item: JsonObject, place: str) -> str:
    """An item's type: a message, or a reference, may come without. Raises InvalidRequest for one that we don't take."""
    kind: Json = item.get("type")
    if kind is None:
        kind = "message" if "role" in item else "item_reference" if "id" in item else None
    param = f"{place}.type"
    known = kind if isinstance(kind, str) else ""
    if known in ITEMS:
        return known
    if known in HOSTED_ITEMS:
        message = f"{param}: {kind} is not offered, nor is whatever else a provider runs or keeps itself."
        raise InvalidRequest(message, param=param, code="unsupported_parameter")
    if kind is None:
        raise InvalidRequest(f"{param} is required.", param=param, code="missing_required_parameter")
    raise InvalidRequest(f"{param}: {str(kind)[:64]!r} is no item's type.", param=param, code="invalid_value")


def check(value: Json, type_: type[Item], place: str) -> Item:
    """The value as this type. Raises msgspec.ValidationError whose path begins at the body."""
    try:
        return msgspec.convert(value, type_)
    except msgspec.ValidationError as error:
        text, found, path = str(error).partition(" - at `$")
        raise msgspec.ValidationError(
            f"{text} - at `$.{place}{path}" if found else f"{text} - at `$.{place}`"
        ) from None


def refuse_state(body: JsonObject) -> None:
    """Raises InvalidRequest for what needs a conversation that somebody keeps."""
    for field in ("previous_response_id", "conversation", "prompt"):
        if body.get(field) is not None:
            raise InvalidRequest(REMEDY, param=field, code="unsupported_parameter")
    if body.get("background"):
        raise InvalidRequest(REMEDY, param="background", code="unsupported_parameter")


def refuse_foreign(body: JsonObject) -> None:
    """Raises InvalidRequest for chat's names, and for what a provider bills apart."""
    for field, remedy in _CHATS.items():
        if body.get(field) is not None and (field, body[field]) != ("n", 1):
            message = f"{field} is no parameter of this endpoint. {remedy}"
            raise ForeignParameter(message, param=field, code="unsupported_parameter")
    if body.get("service_tier") not in FREE_SERVICE_TIERS:
        message = "service_tier: Only auto and default are offered."
        raise InvalidRequest(message, param="service_tier", code="unsupported_parameter")


def list_references(body: JsonObject) -> Iterator[tuple[int, str]]:
    """Where the input refers to an item of an earlier answer, and that item's id. Raises as `kind_of` does."""
    items = body["input"]
    for place, item in enumerate(items if isinstance(items, list) else ()):
        if kind_of(item, f"input[{place}]") == "item_reference":
            found = check(item, ReferenceItem, f"input[{place}]")
            assert isinstance(found, ReferenceItem)
            yield place, found.id


def refuse_reference(place: int, item_id: str) -> InvalidRequest:
    """An item that we don't have, or no longer."""
    param = f"input[{place}].id"
    return InvalidRequest(f"Item {item_id[:80]!r} is not kept here. {REMEDY}", param=param, code="invalid_value")
