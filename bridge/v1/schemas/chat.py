"""The answers of a chat completion, whole and streamed. These types describe; the dialect's writers make the bytes."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from bridge.json_types import JsonObject
from bridge.v1.schemas.facts import dollars, text, whole

Finish = Annotated[
    str, text("Why the model stopped: stop, length, tool_calls, content_filter, or what else the provider says.")
]
Logprobs = Annotated[JsonObject, text("Log probabilities, where they were asked for and are offered.")]
Reasoning = Annotated[str, text("What a model that thinks aloud thought.")]
ThinkingBlocks = Annotated[
    list[JsonObject],
    text("Anthropic's signed reasoning behind tool calls. You may give it back; you need not."),
]
Signature = Annotated[
    JsonObject,
    text("Google's signature of the reasoning behind this call. You may give it back; you need not."),
]
Annotations = Annotated[list[JsonObject], text("Sources, as `url_citation`, where the model named any.")]
AnswerId = Annotated[str, text("`chatcmpl-` and the request's own number.", pattern="^chatcmpl-")]
Created = Annotated[int, whole("Seconds since 1970.")]
AskedModel = Annotated[str, text("The model as it was asked for.")]


class LegacyCall(Struct):
    name: str | UnsetType = UNSET
    arguments: str | UnsetType = UNSET


class CalledFunction(Struct):
    name: str
    arguments: Annotated[str, text("JSON as the model wrote it; it may not be valid.")]


class AnswerToolCall(Struct):
    id: Annotated[str, text("Give it back as tool_call_id, with the tool's result.")]
    type: Annotated[str, text(example="function")] | UnsetType = UNSET
    function: CalledFunction | UnsetType = UNSET
    extra_content: Signature | UnsetType = UNSET


class AnswerMessage(Struct):
    role: Literal["assistant"]
    content: str | None
    refusal: Annotated[str, text("Why the model would not answer.")] | None
    tool_calls: list[AnswerToolCall] | None | UnsetType = UNSET
    function_call: LegacyCall | None | UnsetType = UNSET
    reasoning_content: Reasoning | None | UnsetType = UNSET
    thinking_blocks: ThinkingBlocks | UnsetType = UNSET
    annotations: Annotations | UnsetType = UNSET


class FunctionDelta(Struct):
    name: Annotated[str, text("In the call's first piece.")] | UnsetType = UNSET
    arguments: Annotated[str, text("To append.")] | UnsetType = UNSET


class ToolCallDelta(Struct):
    index: Annotated[int, whole("Which call these pieces belong to.")]
    id: Annotated[str, text("In the call's first piece.")] | UnsetType = UNSET
    type: str | UnsetType = UNSET
    function: FunctionDelta | UnsetType = UNSET
    extra_content: Signature | UnsetType = UNSET


class Delta(Struct):
    role: Annotated[str, text("In the first chunk.")] | UnsetType = UNSET
    content: Annotated[str, text("The text to append.")] | None | UnsetType = UNSET
    refusal: str | None | UnsetType = UNSET
    reasoning_content: Reasoning | None | UnsetType = UNSET
    tool_calls: list[ToolCallDelta] | None | UnsetType = UNSET
    function_call: LegacyCall | None | UnsetType = UNSET
    thinking_blocks: ThinkingBlocks | UnsetType = UNSET
    annotations: Annotations | UnsetType = UNSET


class ProviderCounts(Struct, kw_only=True):
    """How the provider counted, where that differs from what was charged: it gave no count of a part (null), or one
    that can be none, or more than the request can hold."""

    prompt_tokens: int | None
    completion_tokens: int | None
    cached_tokens: int | UnsetType = UNSET
    reasoning_tokens: int | UnsetType = UNSET
    cache_write_tokens: int | UnsetType = UNSET
    cache_write_hour_tokens: int | UnsetType = UNSET
    audio_tokens: int | UnsetType = UNSET
    cached_audio_tokens: int | UnsetType = UNSET
    audio_output_tokens: int | UnsetType = UNSET
    image_tokens: int | UnsetType = UNSET
    image_output_tokens: int | UnsetType = UNSET
    pictures: int | UnsetType = UNSET
    low_pictures: int | UnsetType = UNSET
    medium_pictures: int | UnsetType = UNSET
    not_charged_tokens: Annotated[int, whole("Of them, how many were not charged. In receipts.")] | UnsetType = UNSET
    not_charged: Annotated[str, dollars("What those would have cost. In receipts.")] | UnsetType = UNSET


class PromptTokens(Struct):
    cached_tokens: Annotated[int, whole("Read from the provider's cache.")]
    cache_write_tokens: Annotated[int, whole("Written to it.")]
    audio_tokens: Annotated[int, whole("Sound, where there was some.")] | UnsetType = UNSET


class CompletionTokens(Struct):
    reasoning_tokens: Annotated[int, whole()]


class Usage(Struct, kw_only=True):
    prompt_tokens: Annotated[int, whole("Those read from a cache and written to one included.")]
    completion_tokens: Annotated[int, whole("Reasoning included.")]
    total_tokens: Annotated[int, whole()]
    prompt_tokens_details: PromptTokens
    completion_tokens_details: CompletionTokens
    provider_counts: ProviderCounts | UnsetType = UNSET
    cost: Annotated[float, Meta(ge=0, description="What was charged, in dollars, with exact digits.")]


class Choice(Struct):
    index: Annotated[int, whole()]
    message: AnswerMessage
    finish_reason: Finish
    logprobs: Logprobs | None


class ChatCompletion(Struct):
    id: AnswerId
    object: Literal["chat.completion"]
    created: Created
    model: AskedModel
    choices: Annotated[list[Choice], Meta(min_length=1)]
    usage: Usage


class ChunkChoice(Struct):
    index: Annotated[int, whole()]
    delta: Delta
    finish_reason: Finish | None | UnsetType = UNSET
    logprobs: Logprobs | None | UnsetType = UNSET


class ChatCompletionChunk(Struct):
    """One event of a stream. `usage` is there, null but in the last chunk, with stream_options.include_usage alone."""

    id: Annotated[str, text("The same in every chunk.", pattern="^chatcmpl-")]
    object: Literal["chat.completion.chunk"]
    created: Created
    model: AskedModel
    choices: Annotated[list[ChunkChoice], text("Empty in the chunk that carries the usage.")]
    usage: Usage | None | UnsetType = UNSET
