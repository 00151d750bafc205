"""What ends a stream, in the words of each dialect, where nobody is left who wrote it."""

import re
from collections.abc import Iterable

import msgspec

from bridge.conversation.answer import Numbers
from bridge.conversation.kinds import IMAGES
from bridge.conversation.request import MESSAGES, RESPONSES
from bridge.dialects import answer_id
from bridge.dialects.chat.writer import Chat
from bridge.dialects.messages.errors import describe_error
from bridge.dialects.messages.frames import write_event
from bridge.dialects.messages.writer import Messages
from bridge.dialects.responses.writer import Head, find_code
from bridge.errors import BridgeError
from bridge.json_types import JsonObject
from bridge.telemetry import created_at_of

_BLOCKS = re.compile(rb"^data: (.*\"type\": ?\"content_block_st(?:art|op)\".*)$", re.MULTILINE)
_OF_ITS_END = ("status", "error", "output", "usage", "completed_at", "incomplete_details")
# what keeps a stream alive without being an event of it
SIGNS_OF_LIFE = {MESSAGES: Messages.keepalive}


def find_sign_of_life(endpoint: str) -> bytes:
    """What this endpoint's clients get while there is nothing to be said, of a stream that is written elsewhere."""
    return SIGNS_OF_LIFE.get(endpoint, Chat.keepalive)


def write_stream_end(
    endpoint: str, request_id: str, model: str, error: BridgeError, number: int, so_far: Iterable[bytes] = ()
) -> bytes:
    """The error as the last event, the stream's `number`-th, counted from 1. `so_far` are the frames before it, from
    the stream's beginning, where the stream ends for good."""
    if endpoint == MESSAGES:
        return _end_block(so_far) + write_event(describe_error(error))
    if endpoint == IMAGES:
        return b"event: error\ndata: " + error.body() + b"\n\n"
    if endpoint != RESPONSES:
        return b"data: " + error.body() + b"\n\n"
    created = int(created_at_of(request_id).timestamp())
    head = Head(answer_id(RESPONSES, request_id), model, created, _read_fields(so_far), Numbers(next=number - 1))
    return head.fail({"code": find_code(error), "message": error.message})


def _end_block(so_far: Iterable[bytes]) -> bytes:
    """The end of a message's open block. A call has none, so that nobody takes half of one for a whole."""
    opened: JsonObject | None = None
    for frames in so_far:
        for event in _BLOCKS.findall(frames):
            said = msgspec.json.decode(event)
            opened = said if said["type"] == "content_block_start" else None
    if opened is None or "input" in opened["content_block"]:
        return b""
    return write_event({"type": "content_block_stop", "index": opened["index"]})


def _read_fields(so_far: Iterable[bytes]) -> JsonObject:
    """What a response's first event says of what was asked for, which its last one says again."""
    first = next(iter(so_far), b"").partition(b"data: ")[2].partition(b"\n")[0]
    said: JsonObject = msgspec.json.decode(first) if first else {}
    response = said.get("response") or {}
    return {name: value for name, value in response.items() if name not in _OF_ITS_END}
