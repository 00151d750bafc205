"""Reads Anthropic's streams: what their events about content blocks say."""

import msgspec
from msgspec import Struct, field

from bridge.conversation.answer import REASONING, TEXT, Call, Channel
from bridge.json_types import Json
from bridge.providers.alike import split_alike
from bridge.providers.anthropic.answers import (
    MAX_CITATIONS,
    Block,
    Reading,
    cite,
    decode_kind,
    keep,
    keep_thoughts,
    read_counts,
    say_why,
    seal,
)
from bridge.providers.anthropic.errors import read_anthropic_error
from bridge.providers.anthropic.turns import THOUGHTS
from bridge.providers.base import AttemptFailed, Blame, StreamOrder
from bridge.providers.blame.errors import find_refusal
from bridge.providers.fences import FenceStripper
from bridge.providers.odd_json import mend_text
from bridge.providers.translated import TranslatedReader, decode_or_mend, own_id, write_arguments
from bridge.providers.wire.sse import data_of

EVENTS = frozenset(
    {"message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta"}
    | {"message_stop", "error"}
)
PING = "ping"  # which says nothing, now and then


class _Delta(Struct):
    type: str | None = None
    text: str | None = None
    partial_json: Json = None
    thinking: str | None = None
    signature: str | None = None
    stop_reason: Json = None
    citation: Json = None


class _Start(Struct):
    usage: Json = None


class _Event(Struct):
    type: str
    index: int | None = None
    delta: _Delta | None = None
    content_block: Block | None = None
    message: _Start | None = None
    usage: Json = None


_decode_event = msgspec.json.Decoder(_Event).decode


class _OpenBlock(Struct):
    """A block of a stream that has begun."""

    kind: str
    first: int  # how many characters were said before it
    said: bool = False  # a call with arguments
    tool: str = ""
    held: list[str] | None = None  # the arguments so far, of a tool whose keys have to be restored in all of them
    input: Json = None
    thinking: list[str] = field(default_factory=list)
    signature: list[str] = field(default_factory=list)
    data: str | None = None
    citations: list[Json] = field(default_factory=list)


class Plain(Struct):
    """A piece of text, thought or arguments: nearly all events are like the one before but for that piece. It is the
    last thing in them; if it is one JSON text, it is one more piece of that channel."""

    key: bytes
    channel: Channel
    thoughts: list[str] | None = None  # where it has to be noted beside what was said
    before: bytes = b""  # how the event begins, up to the piece's opening quote, and that
    after: bytes = b""  # its closing quote, and on

    def find(self, block: bytes) -> bool:
        """Learn from a block that was read in full. False if it isn't written in the usual order."""
        before, found, rest = block.partition(b',"%b":"' % self.key)
        self.before, self.after = before + found, rest[rest.rfind(b'"') :]
        return bool(found)


class AnthropicReader(TranslatedReader):
    """A stream of Anthropic's events. Ends with `message_stop`: nothing but that says that the answer is whole."""

    def __init__(self, order: StreamOrder, reading: Reading):
        super().__init__(order, reading.legacy)
        self._reading = reading
        self._fence = FenceStripper() if reading.fenced else None
        self._open: dict[int, _OpenBlock] = {}
        self._over: set[int] = set()  # blocks that have ended
        self._thoughts: list[Block] = []
        self._first_call = ""
        self._answered = False
        self._length = 0  # characters of the text blocks that have ended
        self._said = self._measured = 0  # characters of so many pieces of `text`
        self._usage: Json = None  # field by field what was said last
        self._stop_reason: Json = None
        self._plain: Plain | None = None

    def feed(self, data: bytes) -> bytes:
        """The frames that these bytes complete, but for the tail. Raises AttemptFailed (see StreamReader)."""
        if self.finished:
            return b""
        whole, separator = self._splitter.feed_whole(data)
        plain = self._plain
        if plain is not None and separator:
            alike = split_alike(whole, separator, plain.before, plain.after)
            if alike is not None and "" not in alike[1]:  # which says nothing
                self.text += alike[1]
                if plain.thoughts is not None:
                    plain.thoughts += alike[1]
                return self.say_alike(plain, whole, separator, alike)
        frames: list[bytes] = []
        for block in whole.split(separator) if separator else ():
            event = data_of(block)
            if event:
                try:
                    frames.append(self._read_checked(event))
                except AttemptFailed as failure:
                    failure.frames = b"".join(frames)
                    raise
                if self.finished:
                    break
                if self._plain is not None and (b"\n" in event or self._halves or not self._plain.find(block)):
                    self._plain = None
        return b"".join(frames)

    def say_alike(self, plain: Plain, whole: bytes, separator: bytes, alike: tuple[list[bytes], list[str]]) -> bytes:
        """These events, which are like the one before but for their texts."""
        return self._writer.pieces(plain.channel, *alike)

    def read(self, event: bytes) -> bytes:  # noqa: C901 - a branch for each kind of event
        """The frames for one event. Kinds of events that we don't know are none of our business."""
        self._plain = None
        try:
            said = decode_or_mend(event, _decode_event, _Event, self.mended)
        except msgspec.ValidationError:
            if decode_kind(event).type in EVENTS:
                raise
            if refusal := find_refusal(event):
                raise refusal from None
            return b""
        if said.type == "content_block_delta":
            return self._read_delta(said)
        if said.type == "content_block_start":
            return self._begin_block(said)
        if said.type == "content_block_stop":
            index = -1 if said.index is None else said.index
            self._over.add(index)
            return self._end_block(self._open.pop(index, None))
        if said.type == "message_start":
            self._count(said.message.usage if said.message else None)
            return self._writer.begin()
        if said.type == "message_delta":
            if said.delta and said.delta.stop_reason:
                self._stop_reason, self.ended = said.delta.stop_reason, True
                say_why(self._stop_reason, called=False)  # which a failure doesn't survive
            self._count(said.usage)
        elif said.type == "message_stop":
            return self._finish()
        elif said.type == "error":
            raise read_anthropic_error(200, {}, event)
        elif said.type != PING and said.type not in EVENTS and (refusal := find_refusal(event)):
            raise refusal
        return b""

    def _begin_block(self, event: _Event) -> bytes:
        block = event.content_block or Block()
        opened = _OpenBlock(block.type, self._measure(), input=block.input, data=block.data)
        self._open[-1 if event.index is None else event.index] = opened
        if block.type == "text":
            return self._say_answer(block.text or "")
        if block.type == "thinking":
            opened.thinking.append(block.thinking or "")
            opened.signature.append(block.signature or "")
            return self.say_reasoning(block.thinking or "")
        if block.type != "tool_use":
            return b""
        name, reading = block.name or "", self._reading
        opened.tool, opened.held = name, [] if name in reading.keys else None
        if reading.answer_tool and name == reading.answer_tool:
            opened.kind = "ignored" if self._answered else "answer"
            self._answered = True
            return b""
        held, call_id = self._say_fenced(), own_id(block.id, self._ids)
        self._first_call = self._first_call or call_id
        return held + self.say_call(Call(call_id, reading.names.get(name, name)))

    def _read_delta(self, event: _Event) -> bytes:  # noqa: C901 - a branch for each kind of event
        delta, index = event.delta, -1 if event.index is None else event.index
        opened = self._open.get(index) or (self._begin_unannounced(index, delta.type) if delta else None)
        if delta is None or opened is None:
            return b""
        if delta.type == "text_delta" and opened.kind == "text":
            if delta.text and self._fence is None and not self._answered:  # the short way notes no beginning
                self._plain = Plain(b"text", TEXT)
            return self._say_answer(delta.text or "")
        if delta.type == "input_json_delta" and delta.partial_json:
            if not isinstance(delta.partial_json, str):  # the object itself
                delta.partial_json = write_arguments(delta.partial_json, self.mended)
            if opened.held is not None:
                opened.held.append(delta.partial_json)
                return b""
            if opened.kind == "tool_use":
                opened.said = True
                if not self._legacy:
                    self._plain = Plain(b"partial_json", self._calls - 1)
                return self.say_arguments(delta.partial_json)
            if opened.kind == "answer":
                opened.said = True
                return self.say_text(delta.partial_json)
        elif opened.kind == "thinking":
            if delta.type == "thinking_delta" and delta.thinking:
                opened.thinking.append(delta.thinking)
                self._plain = Plain(b"thinking", REASONING, opened.thinking)
                return self.say_reasoning(delta.thinking)
            if delta.type == "signature_delta" and delta.signature:
                opened.signature.append(delta.signature)
        elif delta.type == "citations_delta" and len(opened.citations) < MAX_CITATIONS:
            opened.citations.append(delta.citation)
        return b""

    def _begin_unannounced(self, index: int, kind: str | None) -> _OpenBlock | None:
        """A block that begins with a piece of it: of text and thoughts that says all there is to know. Raises
        AttemptFailed for a call's arguments, since nobody said whose they are."""
        if kind == "input_json_delta":
            raise AttemptFailed(Blame.UPSTREAM, "arguments of a call that has not begun")
        begun = {"text_delta": "text", "thinking_delta": "thinking"}.get(kind or "")
        if begun is None or index in self._over:
            return None
        self.mended.add("block")
        self._open[index] = _OpenBlock(begun, self._measure())
        return self._open[index]

    def _say_answer(self, text: str) -> bytes:
        """A piece of a text block. Where a tool stands for the answer, its input is all there is to say after it."""
        if self._answered:
            return b""
        return self.say_text(self._fence.feed(text) if self._fence else text)

    def _say_fenced(self) -> bytes:
        return self._say_held(self._fence.finish()) if self._fence else b""

    def _end_block(self, opened: _OpenBlock | None) -> bytes:
        """A block is complete."""
        if opened is None:
            return b""
        if opened.kind in ("tool_use", "answer"):
            say = self.say_text if opened.kind == "answer" else self.say_arguments
            arguments = "".join(opened.held or ()) or write_arguments(opened.input, self.mended)
            return b"" if opened.said else say(self._reading.write_arguments(opened.tool, arguments))
        if opened.kind in THOUGHTS:
            thinking, signature = mend_text("".join(opened.thinking)), "".join(opened.signature)
            block = Block(opened.kind, thinking=thinking, signature=signature, data=opened.data)
            self._thoughts.append(block)
            if signed := keep_thoughts([block]):
                return self._writer.seal(seal(self._reading, signed))
        elif opened.kind == "text":
            start = self._length
            self._length += self._measure() - opened.first
            found = cite(opened.citations, start, self._length)
            return self._writer.extras({"annotations": found}) if found and not self._fence else b""
        return b""

    def _measure(self) -> int:
        """How many characters were said so far. Each piece is looked at once."""
        self._said += sum(map(len, self.text[self._measured :]))
        self._measured = len(self.text)
        return self._said

    def _count(self, usage: Json) -> None:
        if not usage:
            return
        if isinstance(usage, dict) and isinstance(self._usage, dict):
            self._usage.update((name, value) for name, value in usage.items() if value is not None)
        else:
            self._usage = usage
        self.count(read_counts(self._usage))

    def end(self) -> bytes:
        """Without its last event an answer is as whole as with it, once it has said why it stopped."""
        frames = super().end()
        return frames + self._finish() if self.ended and not self.finished else frames

    def _finish(self) -> bytes:
        frames = b"".join(self._end_block(opened) for opened in self._open.values()) + self._say_fenced()
        self._open = {}
        blocks = keep_thoughts(self._thoughts) if self._first_call else []
        if blocks:
            self.kept = keep(self._reading, self._first_call, blocks)
            frames += self._writer.extras({"thinking_blocks": blocks})
        frames += self.say_end(say_why(self._stop_reason, bool(self._first_call), self.started))
        self.ended = self.finished = True
        return frames
