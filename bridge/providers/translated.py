"""Readers of dialects other than OpenAI's share this: one event is read at a time, and what it says is told to whoever
listens."""

import secrets
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from bridge.conversation.answer import REASONING, TEXT, Call, Channel, Choice
from bridge.conversation.usage import Counts
from bridge.json_types import Json, JsonObject
from bridge.providers.base import AttemptFailed, Blame, StreamOrder
from bridge.providers.blame.errors import find_refusal
from bridge.providers.odd_json import RUBBISH, Halves, decode_odd, may_be_odd, mend_texts
from bridge.providers.wire.sse import DONE, EventSplitter, data_of, split_joined

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


def write_arguments(value: Json, mended: set[str]) -> str:
    """A call's input as the text of a JSON object; some send the text itself."""
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value)
        except RUBBISH:
            value = None
        mended.add("arguments")
    return _encode(mend_texts(value)).decode() if isinstance(value, dict) else "{}"


def texts_of(choice: Choice) -> list[str]:
    """All that the model wrote, piece by piece."""
    said = [choice.text, choice.reasoning, choice.refusal or ""]
    said += [piece for call in choice.calls for piece in (call.name, call.arguments)]
    return [piece for piece in said if piece]


def with_older_call(choice: Choice) -> Choice:
    """The choice for a client of the older `functions`: the first call alone, without an id."""
    if not choice.calls:
        return choice
    first = choice.calls[0]
    reason = "function_call" if choice.finish_reason == "tool_calls" else choice.finish_reason
    return msgspec.structs.replace(choice, calls=[Call("", first.name, first.arguments)], finish_reason=reason)


class TranslatedReader:
    """A stream of such a dialect. A subclass reads one event at a time and says what it heard."""

    # With a subclass's own there are more than the thirty that instances of a class can share the names of.
    __slots__ = (
        *("_calls", "_counted", "_halves", "_ids", "_legacy", "_splitter", "_writer"),
        *("ended", "finish_reason", "finished", "kept", "mended", "started"),
        *("text", "usage", "__dict__", "__weakref__"),
    )

    def __init__(self, order: StreamOrder, legacy: bool = False):
        self._splitter = EventSplitter(order.max_event_bytes)
        self._legacy = legacy
        self._writer = order.listener.choice(order.index)
        self._calls = 0
        self.mended: set[str] = set()
        self._halves: Halves[int | str] = Halves()
        self._ids: set[str] = set()
        self.started = False
        self.ended = False
        self.finished = False
        self.finish_reason: str | None = None
        self.usage: Counts | None = None
        self._counted = 0  # pieces of the text when the provider counted last
        self.text: list[str] = []
        self.kept: JsonObject = {}

    @property
    def uncounted(self) -> Sequence[str]:
        """As in StreamReader."""
        return self.text[self._counted :]

    def feed(self, data: bytes) -> bytes:
        """The frames that these bytes complete, but for the tail. Raises AttemptFailed (see StreamReader)."""
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

    def say_text(self, text: str) -> bytes:
        """A piece of the answer."""
        if self.mended or self._halves:
            text = self._halves.join(TEXT, text)
        if not text:
            return b""
        self.text.append(text)
        self.started = True
        return self._writer.text(text)

    def say_reasoning(self, text: str) -> bytes:
        """A piece of what the model thinks aloud."""
        if self.mended or self._halves:
            text = self._halves.join(REASONING, text)
        if not text:
            return b""
        self.text.append(text)
        self.started = True
        return self._writer.reasoning(text)

    def say_call(self, call: Call) -> bytes:
        """The next tool call begins. In the legacy dialect only the first one exists."""
        place, self._calls = self._calls, self._calls + 1
        if self._legacy:
            if place:
                return b""
            call = Call("", call.name, call.arguments)
        said = [text for text in (call.name, call.arguments) if text]
        self.text += said
        self.started = self.started or bool(said)
        return self._writer.call(call)

    def say_arguments(self, text: str) -> bytes:
        """A piece of the last call's arguments."""
        if self.mended or self._halves:
            text = self._halves.join(self._calls - 1, text)
        if not text or (self._legacy and self._calls > 1):
            return b""
        self.text.append(text)
        self.started = True
        return self._writer.arguments(self._calls - 1, text)

    def say_end(self, finish_reason: str) -> bytes:
        """The one end; later ones are nothing."""
        if self.finish_reason:
            return b""
        held = self._say_halves() if self._halves else b""
        if self._legacy and finish_reason == "tool_calls":
            finish_reason = "function_call"
        self.finish_reason = finish_reason
        return held + self._writer.finish(finish_reason)

    def _say_halves(self) -> bytes:
        """What stands for halves of characters that nothing followed."""
        says: dict[Channel, Callable[[str], bytes]] = {TEXT: self.say_text, REASONING: self.say_reasoning}
        return b"".join(says.get(channel, self.say_arguments)(text) for channel, text in self._halves.end().items())

    def count(self, usage: Counts | None) -> None:
        """The provider's counts so far; the last ones win."""
        self.usage, self._counted = usage, len(self.text)
