"""OpenAI's answers, written for what a provider said in a dialect of its own: chunks from byte templates, messages."""

import secrets
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from bridge.providers.base import AttemptFailed, Blame, Completion, Counts, StreamOrder
from bridge.providers.errors import find_refusal
from bridge.providers.odd_json import RUBBISH, Halves, decode_odd, may_be_odd, mend_texts
from bridge.providers.sse import DONE, EventSplitter, data_of, split_joined

_encode = msgspec.json.encode
T = TypeVar("T")


def new_call_id() -> str:
    """An id for a tool call whose provider gave none."""
    return f"call_{secrets.token_hex(12)}"


def own_id(call_id: str | None, taken: set[str]) -> str:
    """A call's id, or one of ours where it has none or another call of the answer has the same."""
    found = call_id if call_id and call_id not in taken else new_call_id()
    taken.add(found)
    return found


def decode_or_mend(data: bytes, decode: Callable[[bytes], T], kind: type[T], mended: set[str]) -> T:
    """What `decode` makes of it, or of what is nearly JSON: then its texts may end in half a character. Raises what
    RUBBISH names."""
    try:
        return decode(data)
    except msgspec.DecodeError as error:
        if not may_be_odd(error):
            raise
        mended.add("JSON")
        return msgspec.convert(decode_odd(data), kind)


def write_arguments(value: Any, mended: set[str]) -> str:
    """A call's input as the text of a JSON object; some send the text itself."""
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value)
        except RUBBISH:
            value = None
        mended.add("arguments")
    return _encode(mend_texts(value)).decode() if isinstance(value, dict) else "{}"


class ToolCall(msgspec.Struct):
    """A call that the model made, in a whole answer. `arguments` is JSON text; `extra` goes out as `extra_content`."""

    id: str
    name: str
    arguments: str
    extra: dict[str, Any] | None = None


def write_completion(
    text: str | None,
    calls: list[ToolCall],
    *,
    finish_reason: str,
    usage: Counts | None,
    reasoning: str = "",
    refusal: str | None = None,
    legacy: bool = False,
    created: int | None = None,
    kept: dict[str, Any] | None = None,
    message_extra: dict[str, Any] | None = None,
    logprobs: Any = None,
    mended: set[str] | None = None,
) -> Completion:
    """One choice as OpenAI writes it: `content` is null beside calls where nothing was said; `legacy` turns the first
    call into a `function_call`. `message_extra` is added to the message."""
    message: dict[str, Any] = {
        "role": "assistant",
        "content": text or (None if calls or refusal else ""),
        "refusal": refusal,
    }
    if reasoning:
        message["reasoning_content"] = reasoning
    if calls and legacy:
        message["function_call"] = {"name": calls[0].name, "arguments": calls[0].arguments}
        finish_reason = "function_call" if finish_reason == "tool_calls" else finish_reason
    elif calls:
        message["tool_calls"] = [_write_call(call) for call in calls]
    message.update(message_extra or {})
    choice = {"index": 0, "message": message, "logprobs": logprobs, "finish_reason": finish_reason}
    body: dict[str, Any] = {"choices": [choice]}
    if created is not None:
        body["created"] = created
    said = [text or "", reasoning, refusal or ""]
    said += [piece for call in calls for piece in (call.name, call.arguments)]
    return Completion(body, usage, finish_reason, [piece for piece in said if piece], kept or {}, mended or set())


def _write_call(call: ToolCall) -> dict[str, Any]:
    written = {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
    return {**written, "extra_content": call.extra} if call.extra else written


class TranslatedReader:
    """A stream of another dialect as OpenAI's chunks. A subclass reads one event at a time and says what it heard."""

    # With a subclass's own there are more than the thirty that instances of a class can share the names of.
    __slots__ = (
        *("_after", "_before", "_calls", "_counted", "_end", "_halves", "_ids", "_legacy", "_role_sent", "_splitter"),
        *("_text_after", "_text_before", "created", "ended", "finish_reason", "finished", "kept", "mended", "started"),
        *("text", "usage", "__dict__", "__weakref__"),
    )

    def __init__(self, order: StreamOrder, legacy: bool = False):
        self._splitter = EventSplitter(order.max_event_bytes)
        self._legacy = legacy
        head = {
            "id": order.answer_id,
            "object": "chat.completion.chunk",
            "created": order.created,
            "model": order.model,
        }
        before = b"data: " + _encode(head)[:-1] + b',"choices":[{"index":%d,"delta":' % order.index
        usage = b',"usage":null' if order.include_usage else b""
        self._before = before
        self._end = b"}]" + usage + b"}\n\n"
        self._after = b',"logprobs":null,"finish_reason":null' + self._end
        self._text_before, self._text_after = before + b'{"content":', b"}" + self._after
        self._role_sent = False
        self._calls = 0
        self.created = order.created
        self.mended: set[str] = set()
        self._halves = Halves()
        self._ids: set[str] = set()
        self.started = False
        self.ended = False
        self.finished = False
        self.finish_reason: str | None = None
        self.usage: Counts | None = None
        self._counted = 0  # pieces of the text when the provider counted last
        self.text: list[str] = []
        self.kept: dict[str, Any] = {}

    @property
    def uncounted(self) -> Sequence[str]:
        """As in StreamReader."""
        return self.text[self._counted :]

    def feed(self, data: bytes) -> bytes:
        """The frames that these bytes complete, but for usage and [DONE]. Raises AttemptFailed (see StreamReader)."""
        if self.finished:
            return b""
        whole, separator = self._splitter.feed_whole(data)
        if not separator:
            return b""
        alike = self.feed_alike(whole, separator)
        if alike is not None:
            return alike
        frames: list[bytes] = []
        for block in whole.split(separator):
            event = data_of(block)
            if not event:
                continue
            if self.finished:
                break
            try:
                frames.append(self._read_checked(event))
            except AttemptFailed as failure:
                failure.frames = b"".join(frames) + failure.frames
                raise
        return b"".join(frames)

    def feed_alike(self, whole: bytes, separator: bytes) -> bytes | None:
        """The frames of these events, if all of them are as the one before but for their text; a subclass knows."""
        return None

    def pause(self) -> bytes:
        """The frames of an event that lacks but its end."""
        event = b"" if self.finished else self._splitter.flush()
        return self._read_checked(event) if event else b""

    def end(self) -> bytes:
        """The same; a subclass says what else waits for the body's end."""
        return self.pause()

    def _read_checked(self, event: bytes) -> bytes:
        if event == DONE:  # the end mark of another dialect
            return b""
        try:
            return self.read(event)
        except RUBBISH:
            if self.ended:  # what is said after the end
                return b""
            if events := split_joined(event):
                return b"".join([self._read_checked(one) for one in events])
            raise find_refusal(event) or AttemptFailed(Blame.UPSTREAM, "the stream holds what is no event") from None

    def read(self, event: bytes) -> bytes:
        """The frames for one event's data: the subclass's own. May raise AttemptFailed, and what msgspec raises."""
        raise NotImplementedError

    def _say_held(self, text: str) -> bytes:
        """A piece that was kept back until now: the provider has counted it already."""
        counts_all = self._counted == len(self.text)
        frame = TranslatedReader.say_text(self, text)
        if counts_all:
            self._counted = len(self.text)
        return frame

    # what a subclass says

    def say_role(self) -> bytes:
        """The first chunk; nothing when it went out before."""
        if self._role_sent:
            return b""
        self._role_sent = True
        return self._before + b'{"role":"assistant","content":"","refusal":null}' + self._after

    def write_texts(self, pieces: list[bytes]) -> bytes:
        """Chunks for pieces of the answer that are JSON already, without their quotes."""
        between = b'"%b%b"' % (self._text_after, self._text_before)
        return b'%b"%b"%b' % (self._text_before, between.join(pieces), self._text_after)

    def say_text(self, text: str) -> bytes:
        """A piece of the answer."""
        text = self._join("content", text)
        if not text:
            return b""
        self._note(text)
        frame = self._text_before + _encode(text) + self._text_after
        return frame if self._role_sent else self.say_role() + frame

    def say_reasoning(self, text: str) -> bytes:
        """A piece of what the model thinks aloud."""
        text = self._join("reasoning_content", text)
        return self.say_delta({"reasoning_content": text}, text) if text else b""

    def say_call(self, call_id: str, name: str, arguments: str = "", extra: dict[str, Any] | None = None) -> bytes:
        """The next tool call begins. In the legacy dialect only the first one exists."""
        index, self._calls = self._calls, self._calls + 1
        function = {"name": name, "arguments": arguments}
        if self._legacy:
            return b"" if index else self.say_delta({"function_call": function}, name, arguments)
        call: dict[str, Any] = {"index": index, "id": call_id, "type": "function", "function": function}
        if extra:
            call["extra_content"] = extra
        return self.say_delta({"tool_calls": [call]}, name, arguments)

    def say_arguments(self, text: str) -> bytes:
        """A piece of the last call's arguments."""
        text = self._join(self._calls, text)
        if not text:
            return b""
        if self._legacy:
            return b"" if self._calls > 1 else self.say_delta({"function_call": {"arguments": text}}, text)
        return self.say_delta({"tool_calls": [{"index": self._calls - 1, "function": {"arguments": text}}]}, text)

    def say_delta(self, delta: dict[str, Any], *said: str) -> bytes:
        """Any other delta; `said` is what of it the model wrote. Without, it commits to nothing."""
        for text in said:
            self._note(text)
        return self.say_role() + self._before + _encode(delta) + self._after

    def say_end(self, finish_reason: str) -> bytes:
        """The one chunk with the finish reason; later ones are nothing."""
        if self.finish_reason:
            return b""
        held = self._say_halves() if self._halves else b""
        if self._legacy and finish_reason == "tool_calls":
            finish_reason = "function_call"
        self.finish_reason = finish_reason
        reason = b'{},"logprobs":null,"finish_reason":' + _encode(finish_reason)
        return held + self.say_role() + self._before + reason + self._end

    def _join(self, channel: Any, text: str) -> str:
        """A text whose characters are whole: only of what was nearly JSON some may not be."""
        return self._halves.join(channel, text) if self.mended or self._halves else text

    def _say_halves(self) -> bytes:
        """What stands for halves of characters that nothing followed."""
        says = {"content": self.say_text, "reasoning_content": self.say_reasoning}
        return b"".join(
            says[channel](text) if channel in says else self.say_arguments(text)
            for channel, text in self._halves.end().items()
        )

    def _note(self, text: str) -> None:
        if text:
            self.text.append(text)
            self.started = True

    def count(self, usage: Counts | None) -> None:
        """The provider's counts so far; the last ones win."""
        self.usage, self._counted = usage, len(self.text)
