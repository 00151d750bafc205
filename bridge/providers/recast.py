"""An answer in the other shape than was asked for: JSON is said as a stream is, events are gathered to one answer.

Some servers give JSON to whoever asked for a stream, or events to whoever did not. What it is shows in its first
bytes; the provider's own readers read it either way."""

import re
from collections.abc import Mapping, Sequence, Set

import msgspec

from bridge.conversation.answer import NOTHING_KEPT, Completion, say_choice
from bridge.conversation.gathering import Gathered
from bridge.conversation.usage import Counts
from bridge.json_types import Json
from bridge.providers.base import AttemptFailed, Blame, Outgoing, StreamOrder, Translator
from bridge.providers.wire.sse import BYTE_ORDER_MARK, split_joined

RUBBISH = (msgspec.MsgspecError, UnicodeError, RecursionError)
BLANKS = BYTE_ORDER_MARK + b" \t\r\n"
EVENT_FIELDS = (b"data:", b"event:", b"id:", b"retry:")
_COMMENTS = re.compile(rb"(?:\s++|:[^\r\n]*+(?:[\r\n]|\Z))*+")
_END_MARK = re.compile(rb"\s*(?:data:[ \t]*)?\[DONE\]\s*\Z")
_TAIL_BYTES = 64  # an end mark and what blanks may stand around it


def begins_json(data: bytes) -> bool:
    """Whether a body that begins like this is JSON and no stream of events."""
    return data[:_TAIL_BYTES].lstrip(BLANKS)[:1] in (b"{", b"[") if data[:1] != b"d" else False


def skip_prologue(data: bytes) -> bytes:
    """The rest after a byte order mark, blanks and comments, which may stand before JSON and before events. Part of a
    comment is one."""
    body = data.removeprefix(BYTE_ORDER_MARK)
    start = _COMMENTS.match(body)
    return body[start.end() if start else 0 :]


def is_whole(translator: Translator, data: bytes, outgoing: Outgoing, choices: int = 1) -> bool:
    """Whether nothing can be missing from this body of an answer: it is one JSON text, or events that say an end."""
    if not data[-_TAIL_BYTES:].rstrip().endswith((b"}", b"]")):
        return False
    body = _strip(data)
    try:
        if body.startswith(EVENT_FIELDS):
            _gather(translator, body, outgoing, choices)
        else:
            msgspec.json.decode(body, type=msgspec.Raw)
    except (AttemptFailed, *RUBBISH):
        return False
    return True


def read_any_answer(translator: Translator, data: bytes, outgoing: Outgoing, choices: int = 1) -> Completion:
    """A whole answer, also where it comes as a stream's events, as a list of its chunks, a chunk a line, or with an end
    mark glued to it. Raises AttemptFailed as the provider's own reader does."""
    body = data if data[:1] == b"{" and b"[DONE]" not in data[-_TAIL_BYTES:] else _strip(data)
    if body[:1] == b"[":
        return _gather(translator, _as_events(body), outgoing, choices)
    if body.startswith(EVENT_FIELDS):
        return _gather(translator, body, outgoing, choices)
    if b"\n{" in body and (chunks := split_joined(body)):
        return _gather(translator, b"".join(b"data: " + chunk + b"\n\n" for chunk in chunks), outgoing, choices)
    return translator.read_answer(body, outgoing)


class JsonReader:
    """The reader of a stream that comes as whole JSON: says all of it at its end. See StreamReader."""

    def __init__(self, translator: Translator, outgoing: Outgoing, order: StreamOrder):
        self._translator, self._outgoing, self._order = translator, outgoing, order
        self._pieces: list[bytes] = []
        self.started = self.ended = self.finished = False
        self.usage: Counts | None = None
        self.uncounted: Sequence[str] = ()
        self.finish_reason: str | None = None
        self.text: Sequence[str] = []
        self.kept: Mapping[str, Json] = NOTHING_KEPT
        self.mended: Set[str] = frozenset()

    def feed(self, data: bytes) -> bytes:
        """Nothing yet: JSON is read when it is whole."""
        self._pieces.append(data)
        return b""

    def pause(self) -> bytes:
        """All of it, if it is whole already."""
        if self.ended or not is_whole(self._translator, b"".join(self._pieces), self._outgoing):
            return b""
        return self.end()

    def end(self) -> bytes:
        """All of it. Raises AttemptFailed."""
        if self.ended:
            return b""
        data = b"".join(self._pieces)
        self._pieces.clear()
        completion = read_any_answer(self._translator, data, self._outgoing, self._order.choices)
        self.text, self.usage, self.kept = completion.text, completion.usage, completion.kept
        self.finish_reason = completion.finish_reason
        self.mended = {*completion.mended, "JSON for a stream"}
        self.ended = self.finished = True
        self.started = completion.says_something
        listener, first = self._order.listener, self._order.index
        return b"".join(say_choice(listener.choice(first + one.index), one) for one in completion.choices)


def _strip(data: bytes) -> bytes:
    """The body without what stands around it: blanks, comments, a byte order mark, an end mark after JSON."""
    body = skip_prologue(data).removeprefix(BYTE_ORDER_MARK)
    if body[:1] in (b"{", b"[") and (mark := _END_MARK.search(body, max(1, len(body) - _TAIL_BYTES))):
        body = body[: mark.start()]
    return body


def _as_events(body: bytes) -> bytes:
    """A stream's chunks that come as a JSON list, as the events that they are."""
    try:
        chunks = msgspec.json.decode(body, type=list[msgspec.Raw])
        return b"".join(b"data: " + bytes(chunk).replace(b"\n", b" ") + b"\n\n" for chunk in chunks)
    except RUBBISH:
        raise AttemptFailed(Blame.UPSTREAM, "the answer is not JSON") from None


def _gather(translator: Translator, events: bytes, outgoing: Outgoing, choices: int) -> Completion:
    """The answer that a stream's events say. Raises AttemptFailed where they break off."""
    gathered = Gathered()
    reader = translator.open_reader(outgoing, StreamOrder(gathered, len(events) + 1, choices=choices))
    reader.feed(events)
    reader.end()
    if not reader.ended or not reader.finish_reason:
        raise AttemptFailed(Blame.UPSTREAM, "the stream ended without an end")
    mended = {*reader.mended, "a stream for JSON"}
    return Completion(gathered.end(), reader.usage, reader.finish_reason, list(reader.text), reader.kept, mended)
