"""The answers of Responses, whole and as a stream's last event. These types describe; the dialect's writer makes the
bytes."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from bridge.json_types import JsonObject
from bridge.v1.schemas.chat import ProviderCounts
from bridge.v1.schemas.facts import text, whole

ResponseId = Annotated[str, text("`resp_` and the request's own number.", pattern="^resp_")]


class OutputPart(Struct, kw_only=True):
    """`output_text` with its text, or `refusal`."""

    type: Annotated[str, text(example="output_text")]
    text: str | UnsetType = UNSET
    refusal: str | UnsetType = UNSET
    annotations: list[JsonObject] | UnsetType = UNSET
    logprobs: list[JsonObject] | UnsetType = UNSET


class SummaryPart(Struct):
    type: Literal["summary_text"]
    text: str


class OutputItem(Struct, kw_only=True):
    """A `message` with its content, a `function_call`, a `custom_tool_call`, or `reasoning` with its summary. Give them
    all back in the next request's `input`."""

    id: str
    type: Annotated[str, text(example="message")]
    status: Annotated[str, text("completed, incomplete or in_progress.")] | None | UnsetType = UNSET
    role: Literal["assistant"] | UnsetType = UNSET
    content: Annotated[list[OutputPart], text("Of a message.")] | None | UnsetType = UNSET
    call_id: Annotated[str, text("Of a call: give it back with its output.")] | UnsetType = UNSET
    name: Annotated[str, text("Of a call: the tool's.")] | UnsetType = UNSET
    namespace: Annotated[str, text("Of a call: the one that the tool is in.")] | None | UnsetType = UNSET
    arguments: Annotated[str, text("Of a function's call: JSON as the model wrote it.")] | UnsetType = UNSET
    input: Annotated[str, text("Of a custom tool's call.")] | UnsetType = UNSET
    summary: Annotated[list[SummaryPart], text("Of reasoning.")] | UnsetType = UNSET
    encrypted_content: (
        Annotated[str, text("Of reasoning, where `include` asks for it: sealed for your account.")] | None | UnsetType
    ) = UNSET


class InputDetails(Struct):
    cached_tokens: Annotated[int, whole("Read from the provider's cache.")]
    cache_write_tokens: Annotated[int, whole("Written to it.")]


class OutputDetails(Struct):
    reasoning_tokens: Annotated[int, whole()]


class ResponseUsage(Struct, kw_only=True):
    input_tokens: Annotated[int, whole("Those read from a cache and written to one included.")]
    input_tokens_details: InputDetails
    output_tokens: Annotated[int, whole("Reasoning included.")]
    output_tokens_details: OutputDetails
    total_tokens: Annotated[int, whole()]
    provider_counts: ProviderCounts | UnsetType = UNSET
    cost: Annotated[float, Meta(ge=0, description="What was charged, in dollars, with exact digits.")]


class ResponseFailure(Struct):
    code: Annotated[str, text("`server_error` may be tried again; others are about the request.")]
    message: str


class IncompleteDetails(Struct):
    reason: Literal["max_output_tokens", "content_filter"]


class Response(Struct, kw_only=True):
    """An answer. It is not kept here: `store` is always false."""

    id: ResponseId
    object: Literal["response"]
    created_at: Annotated[int, whole("Seconds since 1970.")]
    status: Literal["completed", "incomplete", "failed", "in_progress"]
    background: Literal[False]
    completed_at: int | None
    error: ResponseFailure | None
    incomplete_details: IncompleteDetails | None
    max_tool_calls: int | None
    model: Annotated[str, text("The model as it was asked for.")]
    output: list[OutputItem]
    previous_response_id: None
    service_tier: str | None
    store: Literal[False]
    truncation: str | None
    usage: ResponseUsage | None
    # what the request said, or what holds where it said nothing
    instructions: str | None
    max_output_tokens: int | None
    metadata: JsonObject | None
    parallel_tool_calls: bool
    prompt_cache_key: str | None
    reasoning: JsonObject | None
    safety_identifier: str | None
    temperature: float | None
    text: JsonObject
    tool_choice: str | JsonObject
    tools: list[JsonObject]
    top_logprobs: int | None
    top_p: float | None
    user: Annotated[str, text("The end user, as it was sent.")] | None


class InputTokens(Struct):
    input_tokens: Annotated[int, whole("By our own count, rather a little high.")]
    object: Literal["response.input_tokens"] = "response.input_tokens"
