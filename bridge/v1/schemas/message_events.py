"""The events of a streamed message. These types describe; the dialect's writers make the bytes."""

from typing import Annotated

from msgspec import Struct

from bridge.json_types import JsonObject
from bridge.v1.schemas.facts import text, whole
from bridge.v1.schemas.messages import Message, MessagesErrorDetail, MessageUsage

BlockIndex = Annotated[int, whole("From 0, without a gap; one block is open at a time.")]


class MessageStart(Struct, tag_field="type", tag="message_start"):
    message: Annotated[Message, text("Without content; its count of the prompt may be an estimate.")]


class ContentBlockStart(Struct, tag_field="type", tag="content_block_start"):
    index: BlockIndex
    content_block: JsonObject


class TextDelta(Struct, tag_field="type", tag="text_delta"):
    text: Annotated[str, text("To append.")]


class InputJsonDelta(Struct, tag_field="type", tag="input_json_delta"):
    partial_json: Annotated[str, text("To append to the JSON of a call's input.")]


class ThinkingDelta(Struct, tag_field="type", tag="thinking_delta"):
    thinking: Annotated[str, text("To append.")]


class SignatureDelta(Struct, tag_field="type", tag="signature_delta"):
    signature: Annotated[str, text("Of the thinking block that ends. Give it back as it is.")]


class ContentBlockDelta(Struct, tag_field="type", tag="content_block_delta"):
    index: BlockIndex
    delta: JsonObject


class ContentBlockStop(Struct, tag_field="type", tag="content_block_stop"):
    index: BlockIndex


class MessageEnding(Struct):
    stop_reason: str | None
    stop_sequence: str | None


class MessageDelta(Struct, tag_field="type", tag="message_delta"):
    delta: MessageEnding
    usage: Annotated[MessageUsage, text("All that was charged.")]


class MessageStop(Struct, tag_field="type", tag="message_stop"):
    pass


class Ping(Struct, tag_field="type", tag="ping"):
    pass


class MessageError(Struct, tag_field="type", tag="error"):
    error: MessagesErrorDetail


DELTAS: tuple[type[Struct], ...] = (TextDelta, InputJsonDelta, ThinkingDelta, SignatureDelta)
EVENTS: tuple[type[Struct], ...] = (
    MessageStart,
    ContentBlockStart,
    ContentBlockDelta,
    ContentBlockStop,
    MessageDelta,
    MessageStop,
    Ping,
    MessageError,
)
