"""The answers of Messages, and of what stands beside it for Anthropic's clients. A message's types describe; the
dialect's writers make the bytes."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from bridge.json_types import JsonObject
from bridge.v1.schemas.chat import ProviderCounts
from bridge.v1.schemas.facts import STAMP, text, whole

MessageId = Annotated[str, text("`msg_` and the request's own number.", pattern="^msg_")]
Cost = Annotated[float, Meta(ge=0, description="What was charged, in dollars, with all its digits.")]


class CacheCreation(Struct):
    ephemeral_5m_input_tokens: Annotated[int, whole()]
    ephemeral_1h_input_tokens: Annotated[int, whole()]


class OutputTokensDetails(Struct):
    thinking_tokens: Annotated[int, whole()]


class MessageUsage(Struct, kw_only=True):
    """Tokens as charged. A prompt's cached tokens are beside `input_tokens`, not among them."""

    input_tokens: Annotated[int, whole()]
    cache_creation_input_tokens: Annotated[int, whole()]
    cache_read_input_tokens: Annotated[int, whole()]
    cache_creation: CacheCreation
    output_tokens: Annotated[int, whole("Thinking included.")]
    output_tokens_details: OutputTokensDetails
    provider_counts: ProviderCounts | UnsetType = UNSET
    cost: Cost | UnsetType = UNSET


class Message(Struct, kw_only=True):
    id: MessageId
    type: Literal["message"]
    role: Literal["assistant"]
    model: Annotated[str, text("The model as it was asked for.")]
    content: Annotated[
        list[JsonObject],
        text("Blocks: text, thinking, redacted_thinking, tool_use. Give them back as they are."),
    ]
    stop_reason: Annotated[
        str | None, text("end_turn, max_tokens, stop_sequence, tool_use, pause_turn, refusal and their like.")
    ]
    stop_sequence: str | None
    usage: MessageUsage


class MessagesErrorDetail(Struct):
    type: Annotated[str, text(example="invalid_request_error")]
    message: Annotated[str, text("What went wrong, the field first.", example="max_tokens: Field required")]


class MessagesError(Struct):
    type: Literal["error"]
    error: MessagesErrorDetail
    request_id: Annotated[str, text("Our id of the request.")] | UnsetType = UNSET


class TokenCount(Struct):
    input_tokens: Annotated[int, whole("By our own tokenizer, on the scale of the model's provider: rather too many.")]


class AnthropicModel(Struct, kw_only=True):
    type: Literal["model"]
    id: Annotated[str, text("What a request names.", example="claude-sonnet-4-5")]
    display_name: Annotated[str, text("For people.")]
    created_at: Annotated[str, STAMP]
    max_input_tokens: Annotated[int, whole("Tokens of prompt and answer together.")]
    max_tokens: Annotated[int, whole("Most tokens of one answer.")]
    lifecycle: Annotated[Literal["active", "deprecated", "retired"], text("Whether it can still be asked.")]


class AnthropicModelList(Struct, kw_only=True):
    data: list[AnthropicModel]
    has_more: bool
    first_id: str | None
    last_id: str | None
