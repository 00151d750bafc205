"""A stream of OpenAI's dialect: its own bytes go on, once each event was decoded and found sound."""

import time
from collections.abc import Mapping
from typing import Any, Literal, Protocol

import msgspec

from bridge.providers.base import NOTHING_KEPT, AttemptFailed, Blame, StreamOrder, Usage
from bridge.providers.sse import EventSplitter, data_of

CHUNK = "chat.completion.chunk"
RUBBISH = (msgspec.MsgspecError, UnicodeError, RecursionError)


class _PromptDetails(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class _CompletionDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class UsageStruct(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(msgspec.Struct):
    function: _Function | None = None


class _Delta(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_ToolCall] | None = None
    function_call: _Function | None = None


class _Choice(msgspec.Struct, kw_only=True):
    """One of a chunk that lacks what clients rely on."""

    delta: _Delta | None = None
    finish_reason: str | None = None


class _Chunk(msgspec.Struct, kw_only=True):
    """What must at least be right about a chunk."""

    id: str | None = None
    model: str | None = None
    choices: list[_Choice] | None = None
    usage: UsageStruct | None = None
    error: Any = None


class _SoundChoice(_Choice, kw_only=True):
    index: int
    delta: _Delta


class _SoundChunk(_Chunk, kw_only=True):
    """A chunk with all that clients rely on: its bytes may go on as they are. Nearly all do."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[_SoundChoice]  # type: ignore[assignment]


_decode_sound_chunk = msgspec.json.Decoder(_SoundChunk).decode
_decode_chunk = msgspec.json.Decoder(_Chunk).decode


class Dialect(Protocol):
    """What the reader leaves to the provider whose stream it is."""

    def read_usage(self, usage: UsageStruct | None) -> Usage | None: ...

    def read_error(self, status: int, headers: dict[str, str], data: bytes) -> AttemptFailed: ...


class OpenAIReader:
    """Passes a stream's own bytes on, each event decoded and found sound, with our id and the public model name."""

    __slots__ = (
        "_answer_id",
        "_include_usage",
        "_index",
        "_model",
        "_provider",
        "_replacements",
        "_splitter",
        "_template",
        "_their_id",
        "_their_model",
        "finish_reason",
        "finished",
        "kept",
        "started",
        "text",
        "usage",
        "usage_outdated",
    )

    def __init__(self, provider: Dialect, order: StreamOrder):
        self._provider = provider
        self._answer_id = order.answer_id
        self._model = order.model
        self._include_usage = order.include_usage
        self._index = order.index
        self._splitter = EventSplitter(order.max_event_bytes)
        self._their_id: str | None = None
        self._their_model: str | None = None
        self._replacements: tuple[tuple[bytes, bytes], ...] | None = None
        self._template: _Template | None = None
        self.started = False
        self.finished = False
        self.finish_reason: str | None = None
        self.usage: Usage | None = None
        self.usage_outdated = False
        self.text: list[str] = []
        self.kept: Mapping[str, Any] = NOTHING_KEPT

    def feed(self, data: bytes) -> bytes:
        """The frames that these bytes complete, but for usage and [DONE]. Raises AttemptFailed (see StreamReader)."""
        frames: list[bytes] = []
        for block in self._splitter.feed_blocks(data):
            if self.finished:
                break
            template = self._template
            if template and block.startswith(template.before) and block.endswith(template.after):
                value = block[template.start : len(block) - template.rest]
                try:
                    self.text.append(_decode_text(value))
                except RUBBISH:
                    pass  # not one text after all
                else:
                    frames += (template.our_before, value, template.our_after)
                    continue
            event = data_of(block)
            if event == b"[DONE]":
                self.finished = True
            elif event:
                try:
                    frames.append(self._read(event))
                except AttemptFailed as failure:
                    failure.frames = b"".join(frames)
                    raise
        return b"".join(frames)

    def _read(self, event: bytes) -> bytes:
        try:
            chunk = _decode(event)
        except RUBBISH:
            raise _no_chunk() from None
        if chunk.error:
            raise self._provider.read_error(200, {}, event)
        for choice in chunk.choices or ():
            if choice.delta is not None:
                self._note(choice.delta)
            if choice.finish_reason:
                self.finish_reason = choice.finish_reason
        if chunk.usage is not None and (usage := self._provider.read_usage(chunk.usage)) is not None:
            self.usage, self.usage_outdated = usage, False
        if not chunk.choices:
            return b""  # the usage chunk, which the relay writes itself, or a prologue without choices
        if type(chunk) is not _SoundChunk or self._index:
            return b"data: " + self._write_anew(event) + b"\n\n"
        frame = b"data: " + self._rewrite(event, chunk) + b"\n\n"
        self._template = _find_template(event, frame, chunk)
        return frame

    def _note(self, delta: _Delta) -> None:
        said = [delta.content, delta.reasoning_content or delta.reasoning, delta.refusal]
        if delta.tool_calls or delta.function_call:
            calls = [call.function for call in delta.tool_calls or ()]
            for function in (*calls, delta.function_call):
                if function is not None:
                    said += [function.name, function.arguments]
        for text in said:
            if text:
                self.text.append(text)
                self.started = self.usage_outdated = True

    def _rewrite(self, event: bytes, chunk: _Chunk) -> bytes:
        """Our id and model name in place of the upstream's. They are the same in every chunk, so the bytes to replace
        are found once; a chunk in which they aren't where they were, or with anything else unusual, is written anew."""
        if self._replacements is None:
            self._their_id, self._their_model = chunk.id, chunk.model
            self._replacements = self._find_replacements(event, chunk)
        if chunk.id != self._their_id or chunk.model != self._their_model or not self._replacements:
            return self._write_anew(event)
        no_usage = b'"usage":null' in event
        # some send the counts beside the last delta; a line break would break the frame
        if chunk.usage is not None or b"\n" in event or (not no_usage and b'"usage"' in event):
            return self._write_anew(event)
        for old, new in self._replacements:
            if old not in event:
                return self._write_anew(event)
            event = event.replace(old, new, 1)
        if self._include_usage:
            return event if no_usage else event[:-1] + b',"usage":null}'
        return event.replace(b',"usage":null', b"", 1) if no_usage else event

    def _find_replacements(self, event: bytes, chunk: _Chunk) -> tuple[tuple[bytes, bytes], ...]:
        """What to replace by what; nothing where the names can't be told from the rest by their bytes."""
        found = []
        for field, old, new in (("id", chunk.id, self._answer_id), ("model", chunk.model, self._model)):
            value = msgspec.json.encode(old)
            for pattern in (f'"{field}":', f'"{field}": '):
                if old and event.count(pattern.encode() + value) == 1:
                    found.append((pattern.encode() + value, pattern.encode() + msgspec.json.encode(new)))
                    break
            else:
                return ()
        return tuple(found)

    def _write_anew(self, event: bytes) -> bytes:
        try:
            body = msgspec.json.decode(event)
        except RUBBISH:
            raise _no_chunk() from None
        body["id"], body["model"], body["object"] = self._answer_id, self._model, CHUNK
        if type(body.get("created")) is not int:
            body["created"] = int(time.time())
        for place, choice in enumerate(body["choices"]):
            if type(choice.get("index")) is not int:
                choice["index"] = place
            choice["index"] += self._index
            if choice.get("delta") is None:
                choice["delta"] = {}
        body.pop("usage", None)
        if self._include_usage:
            body["usage"] = None
        return msgspec.json.encode(body)


class _Template(msgspec.Struct, frozen=True):
    """A chunk around its one text. Most chunks of a stream differ from the last in nothing else: if what stands around
    it is the same to the byte, and it is one JSON text, the chunk is as sound as that one, and goes on the same way."""

    before: bytes  # up to the text's opening quote, and that
    after: bytes  # its closing quote, and on
    our_before: bytes  # without the quotes
    our_after: bytes
    start: int
    rest: int


_decode_text = msgspec.json.Decoder(str).decode


def _find_template(event: bytes, frame: bytes, chunk: _SoundChunk) -> _Template | None:
    """What the next chunks may have in common with this one; None if it isn't of the plain kind."""
    if len(chunk.choices) != 1 or chunk.usage is not None or chunk.choices[0].finish_reason:
        return None
    delta = chunk.choices[0].delta
    calls = delta.tool_calls or ()
    said = [(b'"content":', delta.content), (b'"reasoning_content":', delta.reasoning_content)]
    said += [(b'"arguments":', call.function.arguments) for call in calls if call.function]
    texts = [(name, text) for name, text in said if text]
    if len(texts) != 1 or delta.refusal or delta.reasoning or delta.function_call or len(calls) > 1:
        return None
    if any(call.function and call.function.name for call in calls):
        return None
    name, text = texts[0]
    value = msgspec.json.encode(text)
    if (
        event.count(name + value) != 1
        or frame.count(name + value) != 1
        or b'"usage"' in event.replace(b'"usage":null', b"")
    ):
        return None
    before, _, after = (b"data: " + event).partition(name + value)
    our_before, _, our_after = frame.partition(name + value)
    before, after = before + name + b'"', b'"' + after
    return _Template(before, after, our_before + name, our_after, len(before) - 1, len(after) - 1)


def _decode(event: bytes) -> _Chunk:
    """The chunk; counts that are no counts are missing counts, as in a whole answer."""
    try:
        return _decode_sound_chunk(event)
    except msgspec.ValidationError:
        pass
    try:
        return _decode_chunk(event)
    except msgspec.ValidationError:
        body = msgspec.json.decode(event)
        if not isinstance(body, dict) or body.pop("usage", None) is None:
            raise
        return msgspec.convert(body, _Chunk)


def _no_chunk() -> AttemptFailed:
    return AttemptFailed(Blame.UPSTREAM, "the stream holds what is no chunk")
