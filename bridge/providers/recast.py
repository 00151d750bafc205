"""An answer in the other shape than was asked for: whole JSON becomes a stream's chunks, events become one message.

Some servers give JSON to whoever asked for a stream, or events to whoever did not. What it is shows in its first
bytes; the provider's own readers read it either way."""

import re
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

import msgspec

from bridge.providers.base import (
    NOTHING_KEPT,
    AttemptFailed,
    Blame,
    Completion,
    Counts,
    Outgoing,
    Provider,
    StreamOrder,
)
from bridge.providers.sse import BYTE_ORDER_MARK, split_joined

RUBBISH = (msgspec.MsgspecError, UnicodeError, RecursionError)
BLANKS = BYTE_ORDER_MARK + b" \t\r\n"
EVENT_FIELDS = (b"data:", b"event:", b"id:", b"retry:")
# Parts of a message that a stream says piece by piece, and those that it says at once.
TEXTS = ("reasoning_content", "content", "refusal")
SAID_AT_ONCE = ("annotations", "images", "audio", "thinking_blocks", "extra_content")
_COMMENTS = re.compile(rb"(?:\s++|:[^\r\n]*+(?:[\r\n]|\Z))*+")
_END_MARK = re.compile(rb"\s*(?:data:[ \t]*)?\[DONE\]\s*\Z")
_TAIL_BYTES = 64  # an end mark and what blanks may stand around it
_encode = msgspec.json.encode


def begins_json(data: bytes) -> bool:
    """Whether a body that begins like this is JSON and no stream of events."""
    return data[:_TAIL_BYTES].lstrip(BLANKS)[:1] in (b"{", b"[") if data[:1] != b"d" else False


def skip_prologue(data: bytes) -> bytes:
    """The rest after a byte order mark, blanks and comments, which may stand before JSON and before events. Part of a
    comment is one."""
    body = data.removeprefix(BYTE_ORDER_MARK)
    start = _COMMENTS.match(body)
    return body[start.end() if start else 0 :]


def is_whole(provider: Provider, data: bytes, outgoing: Outgoing, choices: int = 1) -> bool:
    """Whether nothing can be missing from this body of an answer: it is one JSON text, or events that say an end."""
    if not data[-_TAIL_BYTES:].rstrip().endswith((b"}", b"]")):
        return False
    body = _strip(data)
    try:
        if body.startswith(EVENT_FIELDS):
            _gather(provider, body, outgoing, choices)
        else:
            msgspec.json.decode(body, type=msgspec.Raw)
    except (AttemptFailed, *RUBBISH):
        return False
    return True


def read_any_answer(provider: Provider, data: bytes, outgoing: Outgoing, choices: int = 1) -> Completion:
    """A whole answer, also where it comes as a stream's events, as a list of its chunks, a chunk a line, or with an end
    mark glued to it. Raises AttemptFailed as the provider's own reader does."""
    body = data if data[:1] == b"{" and b"[DONE]" not in data[-_TAIL_BYTES:] else _strip(data)
    if body[:1] == b"[":
        return _gather(provider, _as_events(body), outgoing, choices)
    if body.startswith(EVENT_FIELDS):
        return _gather(provider, body, outgoing, choices)
    if b"\n{" in body and (chunks := split_joined(body)):
        return _gather(provider, b"".join(b"data: " + chunk + b"\n\n" for chunk in chunks), outgoing, choices)
    return provider.read_answer(body, outgoing)


class JsonReader:
    """The reader of a stream that comes as whole JSON: all of its chunks at its end. See StreamReader."""

    def __init__(self, provider: Provider, outgoing: Outgoing, order: StreamOrder):
        self._provider, self._outgoing, self._order = provider, outgoing, order
        self._pieces: list[bytes] = []
        self.started = self.ended = self.finished = False
        self.usage: Counts | None = None
        self.uncounted: Sequence[str] = ()
        self.finish_reason: str | None = None
        self.text: Sequence[str] = []
        self.kept: Mapping[str, Any] = NOTHING_KEPT
        self.created = order.created
        self.mended: Set[str] = frozenset()

    def feed(self, data: bytes) -> bytes:
        """Nothing yet: JSON is read when it is whole."""
        self._pieces.append(data)
        return b""

    def pause(self) -> bytes:
        """All of it, if it is whole already."""
        if self.ended or not is_whole(self._provider, b"".join(self._pieces), self._outgoing):
            return b""
        return self.end()

    def end(self) -> bytes:
        """All of it. Raises AttemptFailed."""
        if self.ended:
            return b""
        data = b"".join(self._pieces)
        self._pieces.clear()
        completion = read_any_answer(self._provider, data, self._outgoing, self._order.choices)
        self.text, self.usage, self.kept = completion.text, completion.usage, completion.kept
        self.finish_reason = completion.finish_reason
        self.mended = {*completion.mended, "JSON for a stream"}
        self.ended = self.finished = True
        choices = completion.body["choices"]
        self.started = any(says_something(choice["message"]) for choice in choices)
        return b"".join(frame for choice in choices for frame in _write_choice(choice, self._order))


def says_something(message: Mapping[str, Any]) -> bool:
    """Whether there is anything in a message or delta: a text, a call, a picture."""
    return any(message.get(field) for field in (*TEXTS, "tool_calls", "function_call", "images", "audio"))


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


def _gather(provider: Provider, events: bytes, outgoing: Outgoing, choices: int) -> Completion:
    """The answer that a stream's events say. Raises AttemptFailed where they break off."""
    reader = provider.open_reader(outgoing, StreamOrder("", "", 0, False, len(events) + 1, choices=choices))
    frames = reader.feed(events)
    frames += reader.end()
    if not reader.ended or not reader.finish_reason:
        raise AttemptFailed(Blame.UPSTREAM, "the stream ended without an end")
    body = {"choices": _join_chunks(frames)}
    mended = {*reader.mended, "a stream for JSON"}
    return Completion(body, reader.usage, reader.finish_reason, list(reader.text), reader.kept, mended)


def _join_chunks(frames: bytes) -> list[dict[str, Any]]:
    """The choices that our own chunks say, each with its message."""
    found: dict[int, dict[str, Any]] = {}
    for frame in frames.split(b"\n\n"):
        for said in msgspec.json.decode(frame[6:])["choices"] if frame else ():
            message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
            empty = {"index": said["index"], "message": message, "logprobs": None, "finish_reason": None}
            choice = found.setdefault(said["index"], empty)
            choice["finish_reason"] = said["finish_reason"] or choice["finish_reason"]
            if said.get("logprobs"):
                choice["logprobs"] = _join(choice["logprobs"], said["logprobs"])
            _join_delta(choice["message"], said["delta"])
    for choice in found.values():
        message = choice["message"]
        if message["content"] is None and not message["refusal"] and not _calls(message):
            message["content"] = ""
    return [found[index] for index in sorted(found)]


def _join_delta(message: dict[str, Any], delta: dict[str, Any]) -> None:
    for field in TEXTS:
        if text := delta.get(field):
            message[field] = (message.get(field) or "") + text
    for call in delta.get("tool_calls") or ():
        calls = message.setdefault("tool_calls", [])
        index = call.pop("index", 0)
        while len(calls) <= index:
            calls.append({})
        calls[index] = _join(calls[index], call)
    if function := delta.get("function_call"):
        message["function_call"] = _join(message.get("function_call"), function)
    for field in SAID_AT_ONCE:
        if value := delta.get(field):
            message[field] = _join(message.get(field), value)


def _join(before: Any, more: Any) -> Any:
    """Two pieces of a delta's value: names and arguments grow, lists too, and what is said once stays."""
    if isinstance(before, dict) and isinstance(more, dict):
        grown = {name: _join(before.get(name), value) for name, value in more.items()}
        return {**before, **grown}
    if isinstance(before, list) and isinstance(more, list):
        return before + more
    if isinstance(before, str) and isinstance(more, str) and before not in ("function", "custom"):
        return before + more
    return before if more is None else more


def _calls(message: Mapping[str, Any]) -> bool:
    return bool(message.get("tool_calls") or message.get("function_call"))


def _write_choice(choice: dict[str, Any], order: StreamOrder) -> Iterator[bytes]:
    """A whole choice as chunks: its role, what was thought and said, its calls, the rest, how it ended."""
    message, index = choice["message"], choice["index"] + order.index

    def write(delta: dict[str, Any], reason: str | None = None, logprobs: Any = None) -> bytes:
        one = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
        head = {"id": order.answer_id, "object": "chat.completion.chunk", "created": order.created}
        chunk = {**head, "model": order.model, "choices": [one], **({"usage": None} if order.include_usage else {})}
        return b"data: " + _encode(chunk) + b"\n\n"

    yield write({"role": "assistant", "content": "", "refusal": None})
    for field in TEXTS:
        if text := message.get(field):
            yield write({field: text}, logprobs=choice.get("logprobs") if field != "reasoning_content" else None)
    for place, call in enumerate(message.get("tool_calls") or ()):
        yield write({"tool_calls": [{"index": place, **call}]})
    if function := message.get("function_call"):
        yield write({"function_call": function})
    if rest := {field: message[field] for field in SAID_AT_ONCE if message.get(field)}:
        yield write(rest)
    yield write({}, choice["finish_reason"])
