"""The answers of Responses, whole and as a stream's last event. These types describe; the dialect's writer makes the
bytes."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from bridge.json_types import JsonObject
from bridge.v1.schemas.chat import ProviderCounts
from bridge.v1.schemas.facts import text, whole

ResponseId = Annotated[str, text("`resp_` and the request's own number.", pattern="^resp_")]
OutputItem = Annotated[
    JsonObject,
    text(
        "A `message` of `output_text` and `refusal`, a `function_call`, a `custom_tool_call`, or `reasoning` with its "
        "summary. Give them all back in the next request's `input`."
    ),
]


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
    model: Annotated[str, text("The model as it was asked for.")]
    output: list[OutputItem]
    error: ResponseFailure | None
    incomplete_details: IncompleteDetails | None
    instructions: str | None
    metadata: JsonObject | None
    parallel_tool_calls: bool
    tool_choice: str | JsonObject
    tools: list[JsonObject]
    text: JsonObject
    reasoning: JsonObject
    store: Literal[False]
    usage: ResponseUsage | None


class InputTokens(Struct):
    input_tokens: Annotated[int, whole("By our own count, rather a little high.")]
    object: Literal["response.input_tokens"] = "response.input_tokens"
