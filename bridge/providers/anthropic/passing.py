"""Anthropic's streams to a client who speaks its dialect: the events' own bytes, with our names in place of theirs.

The ordinary reader reads along, so that all is known of the stream that is known of any; what it says goes to nobody.
The last event, with the counts, is left to the client's dialect, which says what was charged."""

import msgspec

from bridge.conversation.answer import ChoiceWriter, Chunks
from bridge.conversation.request import MESSAGES
from bridge.conversation.silence import Silence
from bridge.json_types import Json, JsonObject
from bridge.providers.anthropic.answers import Reading, decode_kind
from bridge.providers.anthropic.stream import PING, AnthropicReader, Plain
from bridge.providers.base import StreamOrder
from bridge.providers.odd_json import decode_odd, mend_texts

_START, _STOP = "content_block_start", "content_block_stop"
_GAP, _DELTA = b"\n\n", b"event: content_block_delta\ndata: "
_CALLS = ("tool_use", "server_tool_use")
# Classes that a client may look for: servers that speak the dialect leave some out.
NO_COUNTS: JsonObject = {
    "input_tokens": 0,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 0,
    "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
    "output_tokens": 0,
}
# What begins a block that nobody announced, by its first piece.
_UNANNOUNCED: dict[str, JsonObject] = {
    "text_delta": {"type": "text", "text": ""},
    "thinking_delta": {"type": "thinking", "thinking": "", "signature": ""},
}


class _Silent:
    """A Listener to whom nobody listens."""

    chunks: Chunks | None = None

    def choice(self, index: int) -> ChoiceWriter:
        return Silence()


def may_pass(order: StreamOrder, reading: Reading) -> bool:
    """Whether the events can go to the client as they are."""
    chunks = order.listener.chunks
    return reading.native and chunks is not None and chunks.dialect == MESSAGES


class PassingReader(AnthropicReader):
    """See StreamReader."""

    __slots__ = ("_begun", "_chunks")

    def __init__(self, order: StreamOrder, reading: Reading):
        chunks = order.listener.chunks
        assert chunks is not None
        self._chunks = chunks
        self._begun: set[int] = set()  # blocks that are open for the client
        super().__init__(msgspec.structs.replace(order, listener=_Silent()), reading)

    def say_alike(self, plain: Plain, whole: bytes, separator: bytes, alike: tuple[list[bytes], list[str]]) -> bytes:
        """Many events like the one before go on as they came."""
        if separator == _GAP and plain.before.startswith(_DELTA):
            return whole + _GAP
        before = plain.before[plain.before.index(b"data:") + 5 :].lstrip()
        return b"".join(_frame("content_block_delta", before + piece + plain.after) for piece in alike[0])

    def read(self, event: bytes) -> bytes:
        """The event, once the ordinary reader has found it sound."""
        ended = super().read(event)
        kind, event = self._name(event)
        if kind == "message_start":
            return _frame(kind, self._with_our_names(event))
        if kind == "message_delta":
            self._keep_ending(event)
            return b""
        if kind == "message_stop":
            return ended
        if kind in (_START, _STOP):
            return self._note_block(kind, event)
        return self._announce(event) + _frame(kind, event) if kind == "content_block_delta" else _frame(kind, event)

    def _finish(self) -> bytes:
        """Blocks that nobody ended are ended."""
        super()._finish()
        frames = [_frame(_STOP, b'{"type":"content_block_stop","index":%d}' % index) for index in sorted(self._begun)]
        self._begun.clear()
        self._chunks.open_block = None
        self.kept = {}  # the client gives it back itself
        return b"".join(frames)

    def _name(self, event: bytes) -> tuple[str, bytes]:
        """The event's kind, and its bytes on one line, as JSON that is sound."""
        try:
            kind = decode_kind(event).type
            if b"\n" in event or b"\r" in event:
                event = msgspec.json.encode(msgspec.json.decode(event))
        except (msgspec.MsgspecError, UnicodeError):
            event = msgspec.json.encode(mend_texts(decode_odd(event)))
            kind = decode_kind(event).type
        return (kind or PING, event) if kind.replace("_", "").isalnum() else (PING, b'{"type":"ping"}')

    def _with_our_names(self, event: bytes) -> bytes:
        start: JsonObject = msgspec.json.decode(event)
        message = start.get("message")
        ours = {"id": self._chunks.answer_id, "type": "message", "role": "assistant", "model": self._chunks.model}
        known = message if isinstance(message, dict) else {}
        counted = known.get("usage")
        usage = {**NO_COUNTS, **(counted if isinstance(counted, dict) else {})}
        return msgspec.json.encode({**start, "message": {**known, **ours, "usage": usage}})

    def _keep_ending(self, event: bytes) -> None:
        """The last event, as far as it was said: of two the later one's words count."""
        said: JsonObject = msgspec.json.decode(event)
        before = self._chunks.ending or {}
        for field in ("delta", "usage"):
            if isinstance(before.get(field), dict) and isinstance(said.get(field), dict):
                said[field] = {
                    **before[field],
                    **{name: value for name, value in said[field].items() if value is not None},
                }
        self._chunks.ending = {**before, **said}

    def _announce(self, event: bytes) -> bytes:
        """The beginning of a block, where the upstream left it out."""
        said: JsonObject = msgspec.json.decode(event)
        index, delta = said.get("index"), said.get("delta") or {}
        block = _UNANNOUNCED.get(str(delta.get("type")))
        if not isinstance(index, int) or index in self._begun or index in self._over or block is None:
            return b""
        return self._note_block(_START, msgspec.json.encode({"type": _START, "index": index, "content_block": block}))

    def _note_block(self, kind: str, event: bytes) -> bytes:
        said: JsonObject = msgspec.json.decode(event)
        index: Json = said.get("index")
        if not isinstance(index, int):
            return _frame(kind, event)
        if kind == _START:
            self._begun.add(index)
            self._chunks.open_block = index
            block = said.get("content_block")
            if isinstance(block, dict) and block.get("type") in _CALLS:
                self._chunks.call_blocks.add(index)
        elif index in self._begun:
            self._begun.discard(index)
            self._chunks.open_block = max(self._begun, default=None)
        else:
            return b""  # of what never began
        return _frame(kind, event)


def _frame(kind: str, event: bytes) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), event)
