"""Writes an answer of pictures, and what refuses one."""

from collections.abc import Mapping
from typing import ClassVar

import msgspec

from bridge.conversation.answer import Chunks, Completion, TokenCounter
from bridge.conversation.kinds import IMAGES
from bridge.conversation.silence import Silence
from bridge.conversation.usage import Usage, describe_counts
from bridge.dialects import answer_id
from bridge.errors import BridgeError, error_body
from bridge.json_types import Json, JsonObject

_encode = msgspec.json.encode
_SAID = ("background", "output_format", "quality", "size")  # of all pictures of an answer
_OF_EACH = ("b64_json", "url", "revised_prompt")


def write_usage(usage: Usage, cost: str) -> JsonObject:
    """Tokens as OpenAI's images count them, and what they cost."""
    details: JsonObject = {
        "text_tokens": usage.prompt_tokens - usage.image_tokens,
        "image_tokens": usage.image_tokens,
    }
    counts: JsonObject = {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": details,
        "output_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }
    if usage.altered:
        counts["provider_counts"] = describe_counts(usage.altered.said)
    counts["cost"] = msgspec.Raw(cost.encode())  # a number, with its exact digits
    return counts


class ImageEvents(Silence):
    """See ChoiceWriter. The finished picture is kept until it is paid for: its event says what it costs."""

    def __init__(self, kind: str, created: int):
        self._kind, self._created = kind, created
        self._finished: JsonObject | None = None

    def extras(self, values: Mapping[str, Json]) -> bytes:
        """An unfinished picture goes out at once."""
        if images := values.get("images"):
            self._finished = images[0]
        shown = values.get("partial_image")
        return self.write("partial_image", shown) if shown else b""

    def write(self, name: str, picture: JsonObject) -> bytes:
        """An event with this picture."""
        kind = f"{self._kind}.{name}"
        body = _encode({"type": kind, "created_at": self._created, **picture})
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), body)

    def write_finished(self, own_id: str, counts: JsonObject) -> bytes:
        """The last event; nothing where there was no picture."""
        if self._finished is None:
            return b""
        return self.write("completed", {**self._finished, "id": own_id, "usage": counts})


class ImagesWriter:
    """See AnswerWriter."""

    chunks: ClassVar[Chunks | None] = None

    def __init__(self, own_id: str, model: str, created: int, kind: str):
        self._id, self._model, self._created = own_id, model, created
        self._events = ImageEvents(kind, created)

    def choice(self, index: int) -> ImageEvents:
        """The one picture of a stream."""
        return self._events

    def tail(self, usage: Usage, cost: str) -> bytes:
        """The finished picture."""
        return self._events.write_finished(self._id, write_usage(usage, cost))

    def cut(self, frames: bytes, most_tokens: int, counter: TokenCounter) -> bytes:
        """Nothing of a picture can be cut off."""
        return frames

    def list_unwritten(self) -> tuple[str, ...]:
        """No words wait."""
        return ()

    def error(self, error: BridgeError, usage: Usage | None = None, cost: str = "") -> bytes:
        """The error as the stream's last event."""
        return b"event: error\ndata: " + error.body() + b"\n\n"

    def whole(self, completion: Completion, usage: Usage, cost: str) -> bytes:
        """The body. What the provider says of the pictures stands beside them."""
        images = completion.choices[0].extras["images"]
        said = {**{field: images[0][field] for field in _SAID if field in images[0]}, **completion.top}
        data = [{field: image[field] for field in _OF_EACH if field in image} for image in images]
        head: JsonObject = {"id": self._id, "created": self._created, "model": self._model}
        return _encode({**head, **said, "data": data, "usage": write_usage(usage, cost)})


class Images(msgspec.Struct, frozen=True):
    """The client of one request wants pictures: drawn anew, or an `edit`."""

    keepalive: ClassVar[bytes] = b": keep-alive\n\n"
    reads_arguments: ClassVar[bool] = False
    edit: bool = False

    def open_writer(self, request_id: str, model: str, created: int) -> ImagesWriter:
        """See Dialect."""
        return ImagesWriter(
            answer_id(IMAGES, request_id), model, created, "image_edit" if self.edit else "image_generation"
        )

    def opening(self, request_id: str) -> bytes:
        """See Dialect: a comment tells nothing."""
        return b""


def write_images_error(error: BridgeError, request_id: str) -> tuple[int, bytes]:
    """See ErrorWriter. What a provider's side calls by chat's name is the prompt here."""
    param = error.param
    if param != "messages":
        return error.status, error.body()
    return error.status, error_body(error.message.replace("messages", "prompt", 1), error.type, error.code, "prompt")
