"""A streamed message: blocks one after the other, each said from its beginning to its end before the next begins."""

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from bridge.conversation.answer import REASONING, TEXT, Call, Channel, Chunks, Sealed, TokenCounter
from bridge.conversation.request import MESSAGES
from bridge.dialects.envelope import seal_value
from bridge.json_types import Json, JsonObject

THINKING, TOOL_USE = "thinking", "tool_use"
STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
_encode = msgspec.json.encode


def write_event(event: JsonObject) -> bytes:
    """An event of the stream."""
    return write_encoded(event["type"], _encode(event))


def write_encoded(kind: str, event: bytes) -> bytes:
    """An event that is JSON already."""
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), event)


def list_own_blocks(sealed: Sealed) -> Sequence[JsonObject]:
    """The blocks that are this dialect's own, signed by whoever made them: they go out as they are."""
    return sealed.blocks if sealed.dialect == MESSAGES else ()


def seal_thoughts(sealed: Sealed, account_id: int) -> str:
    """What stands as the signature of a block of thoughts that are not Anthropic's."""
    belongs = {"call_id": sealed.call_id} if sealed.call_id else {}
    return seal_value({**belongs, "value": sealed.value}, account_id)


class _Waiting(msgspec.Struct):
    """What came while the arguments of the call before it were not complete: a call, or something to be said."""

    call: Call | None = None
    pieces: list[str] = []
    channel: str = ""
    sealed: Sealed | None = None


class MessageChoice:
    """See ChoiceWriter. `start` is the event that opens the message."""

    def __init__(self, start: JsonObject, chunks: Chunks, account_id: int):
        self._start: JsonObject | None = start
        self._chunks = chunks
        self._account_id = account_id
        self._next = 0  # the number of the next block
        self._kind = ""  # of the open block
        self._arguments: list[str] = []  # of the open call
        self._calls = 0  # which have begun, the open one included
        self._waiting: list[_Waiting] = []
        self._signed = self._ending = False
        self._refused = False
        self.stop_reason: str | None = None

    def begin(self) -> bytes:
        """message_start, once."""
        start, self._start = self._start, None
        return write_event(start) if start is not None else b""

    def text(self, text: str, logprobs: JsonObject | None = None) -> bytes:
        """A piece of a text block. Anthropic has no logprobs."""
        if not text or self._must_wait(_Waiting(pieces=[text], channel=TEXT)):
            return b""
        return self._enter(TEXT, {"type": TEXT, "text": ""}) + self._delta("text_delta", "text", text)

    def reasoning(self, text: str) -> bytes:
        """A piece of a thinking block."""
        if not text or self._must_wait(_Waiting(pieces=[text], channel=REASONING)):
            return b""
        return self._enter_thinking() + self._delta("thinking_delta", "thinking", text)

    def refusal(self, text: str, logprobs: JsonObject | None = None) -> bytes:
        """Why it won't answer is text, and the stop reason says that it is a refusal."""
        self._refused = True
        return self.text(text)

    def call(self, call: Call) -> bytes:
        """A tool_use block. It waits where the arguments of the call before it may go on."""
        if self._must_wait(_Waiting(call, [call.arguments]), is_call=True):
            return b""
        return self._open_call(call)

    def arguments(self, place: int, text: str) -> bytes:
        """More of a call's input."""
        if place == self._calls - 1 and self._kind == TOOL_USE:
            said = self._say_input(text)
            return said + self._release() if self._waiting and self._is_complete() else said
        waiting = [one for one in self._waiting if one.call is not None]
        if 0 <= place - self._calls < len(waiting):
            waiting[place - self._calls].pieces.append(text)
        return b""

    def call_extra(self, place: int, extra: JsonObject) -> bytes:
        """Nothing: it comes as `Sealed` too."""
        return b""

    def pieces(self, channel: Channel, encoded: list[bytes], said: list[str]) -> bytes:
        """A delta for each."""
        if isinstance(channel, int):
            if channel != self._calls - 1 or self._kind != TOOL_USE or self._waiting:
                return b"".join(self.arguments(channel, text) for text in said)
            self._arguments += said
            kind, field = b"input_json_delta", b"partial_json"
        elif channel == REASONING:
            if self._kind != THINKING or self._signed:
                return b"".join(map(self.reasoning, said))
            kind, field = b"thinking_delta", b"thinking"
        else:
            if self._kind != TEXT:
                return b"".join(map(self.text, said))
            kind, field = b"text_delta", b"text"
        head = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":{"type":"%b","%b":"'
        before, after = head % (self._next - 1, kind, field), b'"}}\n\n'
        return before + (after + before).join(encoded) + after

    def extras(self, values: Mapping[str, Json]) -> bytes:
        """Nothing: Anthropic has no equal for annotations without what it alone encrypts, or for pictures."""
        return b""

    def seal(self, sealed: Sealed) -> bytes:
        """Anthropic's own blocks as they are; of others' an envelope as the signature of the thoughts before it. None
        of it follows a text: Claude Code takes an answer that ends in thoughts for an empty one."""
        if sealed.of_text:
            return b""
        if self._must_wait(_Waiting(sealed=sealed)):
            return b""
        if own := list_own_blocks(sealed):
            return b"".join(map(self._say_own, own))
        return self._enter_thinking() + self._sign(seal_thoughts(sealed, self._account_id))

    def finish(self, reason: str) -> bytes:
        """The last block ends. What ended the message is said in the tail."""
        self._ending = True
        frames = self.begin() + self._release() + self._close()
        self.stop_reason = "refusal" if self._refused else STOP_REASONS.get(reason, "end_turn")
        return frames

    def list_unwritten(self) -> Iterator[str]:
        """The texts of what waits, and of its calls the names too."""
        for one in self._waiting:
            if one.call is not None:
                yield one.call.name
            yield from one.pieces

    # the blocks

    def _enter(self, kind: str, block: JsonObject) -> bytes:
        """The block of this kind is open."""
        if self._kind == kind:
            return b""
        return self.begin() + self._close() + self._open(kind, block)

    def _enter_thinking(self) -> bytes:
        """A block of thoughts is open, and not signed yet."""
        closed = self._close() if self._kind == THINKING and self._signed else b""
        return closed + self._enter(THINKING, {"type": THINKING, "thinking": "", "signature": ""})

    def _open(self, kind: str, block: JsonObject) -> bytes:
        self._kind, self._signed = kind, False
        self._chunks.open_block = self._next
        if kind == TOOL_USE:
            self._chunks.call_blocks.add(self._next)
        self._next += 1
        return write_event({"type": "content_block_start", "index": self._next - 1, "content_block": block})

    def _close(self) -> bytes:
        """The open block ends, if there is one. Thoughts are signed by then, since some clients keep no others."""
        if not self._kind:
            return b""
        signed = self._sign(seal_value({}, self._account_id)) if self._kind == THINKING and not self._signed else b""
        self._kind, self._chunks.open_block = "", None
        return signed + write_event({"type": "content_block_stop", "index": self._next - 1})

    def _delta(self, kind: str, field: str, text: str) -> bytes:
        delta = {"type": kind, field: text}
        return write_event({"type": "content_block_delta", "index": self._next - 1, "delta": delta})

    def _sign(self, signature: str) -> bytes:
        self._signed = True
        return self._delta("signature_delta", "signature", signature)

    def _say_own(self, block: JsonObject) -> bytes:
        """A block of Anthropic's thoughts, whose text was said already where a thinking block is open."""
        if block.get("type") == THINKING:
            already = self._kind == THINKING and not self._signed
            before = self._enter_thinking()
            said = (
                b""
                if already or not block["thinking"]
                else self._delta("thinking_delta", "thinking", block["thinking"])
            )
            return before + said + self._sign(block["signature"]) + self._close()
        return self.begin() + self._close() + self._open("", block) + self._end_whole()

    def _end_whole(self) -> bytes:
        self._chunks.open_block = None
        return write_event({"type": "content_block_stop", "index": self._next - 1})

    # the calls

    def _open_call(self, call: Call) -> bytes:
        block = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
        frames = self.begin() + self._close() + self._open(TOOL_USE, block)
        self._calls += 1
        self._arguments = []
        return frames + self._say_input(call.arguments)

    def _say_input(self, text: str) -> bytes:
        if not text:
            return b""
        self._arguments.append(text)
        return self._delta("input_json_delta", "partial_json", text)

    def _is_complete(self) -> bool:
        """Whether the open call's arguments are all there."""
        try:
            msgspec.json.decode("".join(self._arguments), type=msgspec.Raw)
        except msgspec.DecodeError:
            return False
        return True

    def _must_wait(self, later: _Waiting, *, is_call: bool = False) -> bool:
        """Whether something comes while the open call may go on: then it waits. Before anything but another call, one
        without a word of its arguments has none."""
        begun = bool(self._arguments) or is_call
        if self._ending or not self._waiting and not (self._kind == TOOL_USE and begun and not self._is_complete()):
            return False
        self._waiting.append(later)
        return True

    def _release(self) -> bytes:
        """What waited, as far as the calls before it are complete; all of it at the end."""
        frames: list[bytes] = []
        waiting, self._waiting = self._waiting, []
        while waiting:
            one = waiting.pop(0)
            frames.append(self._say_waited(one))
            if one.call is not None and not (self._ending or self._is_complete()):
                break
        self._waiting = waiting
        return b"".join(frames)

    def _say_waited(self, one: _Waiting) -> bytes:
        if one.call is not None:
            return self._open_call(msgspec.structs.replace(one.call, arguments="".join(one.pieces)))
        if one.sealed is not None:
            return self.seal(one.sealed)
        return (self.text if one.channel == TEXT else self.reasoning)("".join(one.pieces))


def cut_frames(frames: bytes, most_tokens: int, counter: TokenCounter, chunks: Chunks) -> bytes:
    """What of these events is within so many tokens: the events up to there, the last one cut. `chunks` knows then
    which block is open."""
    events = [frame for frame in frames.split(b"\n\n") if frame]
    kept: list[bytes] = []
    for number, frame in enumerate(events):
        event = _decode(frame)
        said = _said_in(event)
        count = counter.count_tokens(said) if said else 0
        if count > most_tokens:
            if most_tokens and (cut := _cut_event(event, most_tokens, counter)):
                kept.append(cut[:-2])
            _undo(events[number:], chunks)
            break
        most_tokens -= count
        kept.append(frame)
    return b"".join(frame + b"\n\n" for frame in kept)


def _decode(frame: bytes) -> JsonObject:
    event: JsonObject = msgspec.json.decode(frame[frame.index(b"data:") + 5 :])
    return event


def _said_in(event: JsonObject) -> str:
    if event["type"] == "content_block_start":
        block = event.get("content_block") or {}
        return "".join(str(block.get(field) or "") for field in ("name", "text", "thinking"))
    delta = event.get("delta") if event["type"] == "content_block_delta" else None
    return "".join(str(delta.get(field) or "") for field in ("text", "thinking", "partial_json")) if delta else ""


def _cut_event(event: JsonObject, most_tokens: int, counter: TokenCounter) -> bytes | None:
    """The event with its text cut; None for a call's, which would be none."""
    delta = event.get("delta") or {}
    for field in ("text", "thinking"):
        if text := delta.get(field):
            return write_event({**event, "delta": {**delta, field: counter.cut_text(text, most_tokens)}})
    return None


def _undo(frames: list[bytes], chunks: Chunks) -> None:
    """These events go to nobody: what they opened or ended didn't happen."""
    for frame in reversed(frames):
        event = _decode(frame)
        if event["type"] == "content_block_start":
            chunks.open_block = None
        elif event["type"] == "content_block_stop":
            chunks.open_block = event["index"]
