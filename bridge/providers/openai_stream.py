"""A stream of OpenAI's dialect: its own bytes go on, once each event was decoded and found sound."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from bridge.providers.alike import split_alike
from bridge.providers.base import NOTHING_KEPT, AttemptFailed, Blame, StreamOrder, Usage
from bridge.providers.openai_shapes import (
    RUBBISH,
    Choice,
    Chunk,
    Delta,
    SoundChoice,
    SoundChunk,
    SoundDelta,
    UsageStruct,
    decode_chunk,
    our_reason,
    pick_message,
    pick_top,
)
from bridge.providers.openai_template import Template, find_template
from bridge.providers.openai_thoughts import Thoughts
from bridge.providers.sse import EventSplitter, data_of
from bridge.providers.tool_names import restore_names

CHUNK = "chat.completion.chunk"
SAYS = ("content", "refusal", "reasoning_content", "tool_calls", "function_call", "annotations", "audio")


class Dialect(Protocol):
    """What the reader leaves to the provider whose stream it is."""

    name: str
    keeps_reasoning: bool

    def read_usage(self, usage: UsageStruct | None) -> Usage | None: ...

    def read_error(self, status: int, headers: dict[str, str], data: bytes) -> AttemptFailed: ...


class OpenAIReader:
    """Passes a stream's own bytes on, each event decoded and found sound, with our id and the public model name.

    `legacy`: the client speaks the dialect of `functions`, and the provider doesn't. `names`: the client's names of
    renamed functions."""

    __slots__ = (
        "_answer_id",
        "_called",
        "_ended",
        "_include_usage",
        "_index",
        "_legacy",
        "_model",
        "_names",
        "_provider",
        "_replacements",
        "_splitter",
        "_template",
        "_their_id",
        "_their_model",
        "_thoughts",
        "finish_reason",
        "finished",
        "started",
        "text",
        "usage",
        "usage_outdated",
    )

    def __init__(
        self, provider: Dialect, order: StreamOrder, legacy: bool = False, names: Mapping[str, str] = NOTHING_KEPT
    ):
        self._provider = provider
        self._names = names
        self._answer_id = order.answer_id
        self._model = order.model
        self._include_usage = order.include_usage
        self._index = order.index
        self._legacy = legacy
        self._splitter = EventSplitter(order.max_event_bytes)
        self._their_id: str | None = None
        self._their_model: str | None = None
        self._replacements: tuple[tuple[bytes, bytes], ...] | None = None
        self._template: Template | None = None
        self._thoughts = Thoughts() if provider.keeps_reasoning else None
        self._ended: set[int] = set()  # the choices that have had their finish reason
        self._called = False
        self.started = False
        self.finished = False
        self.finish_reason: str | None = None
        self.usage: Usage | None = None
        self.usage_outdated = False
        self.text: list[str] = []

    @property
    def kept(self) -> Mapping[str, Any]:
        """As in Completion; complete when the stream is."""
        if self._thoughts is None:
            return NOTHING_KEPT
        self._thoughts.catch_up(self.text)
        return self._thoughts.kept(self._provider.name)

    def feed(self, data: bytes) -> bytes:
        """The frames that these bytes complete, but for usage and [DONE]. Raises AttemptFailed (see StreamReader)."""
        if self.finished:
            return b""
        whole, separator = self._splitter.feed_whole(data)
        template = self._template
        if template is not None and separator:
            alike = split_alike(whole, separator, template.before, template.after)
            if alike is not None:
                self.text += alike[1]
                return template.our_before + template.our_between.join(alike[0]) + template.our_after
        frames: list[bytes] = []
        for block in whole.split(separator) if separator else ():
            event = data_of(block)
            if event == b"[DONE]":
                self.finished = True
                break
            if event:
                try:
                    frames.append(self._read(event))
                except AttemptFailed as failure:
                    failure.frames = b"".join(frames)
                    raise
        return b"".join(frames)

    def end(self) -> bytes:
        """Nothing waits for the body's end."""
        return b""

    def _read(self, event: bytes) -> bytes:
        try:
            chunk = decode_chunk(event)
        except RUBBISH:
            raise _no_chunk() from None
        self._template = None
        if self._thoughts is not None:
            self._thoughts.catch_up(self.text)
        if chunk.error:
            raise self._provider.read_error(200, {}, event)
        sound, ends, index = type(chunk) is SoundChunk and not self._index, [], 0
        choices: Sequence[SoundChoice | Choice] = chunk.choices or ()
        for place, choice in enumerate(choices):
            index = choice.index if type(choice.index) is int else place
            delta = choice.delta
            if delta is not None:
                self._note(index, delta)
                sound = sound and not (self._legacy and delta.tool_calls)
                sound = sound and not (self._names and (delta.tool_calls or delta.function_call))
            if choice.finish_reason:
                sound = sound and not self._legacy and index not in self._ended and index not in ends
                ends.append(index)
                self.finish_reason = self._reason(choice.finish_reason)
        self._count(chunk)
        if not chunk.choices:
            return b""  # the usage chunk, which the relay writes itself, or a prologue without choices
        ours = self._rewrite(event, chunk) if sound else self._write_anew(event)
        self._ended.update(ends)
        if not ours:
            return b""
        frame = b"data: " + ours + b"\n\n"
        self._template = template = find_template(event, frame, chunk)
        if self._thoughts is not None:
            self._thoughts.follow(index, len(self.text) if template and template.thought else None)
        return frame

    def _note(self, index: int, delta: Delta | SoundDelta) -> None:
        thought = delta.reasoning_content or (delta.reasoning if type(delta) is Delta else None)
        said = [delta.content, thought, delta.refusal]
        calls = delta.tool_calls or ()
        if calls or delta.function_call:
            self._called = True
            for function in (*(call.function for call in calls), delta.function_call):
                if function is not None:
                    said += [function.name, function.arguments]
        if self._thoughts is not None:
            self._thoughts.note(index, thought, calls[0].id if calls else None)
        for text in said:
            if text:
                self.text.append(text)
                self.started = self.usage_outdated = True

    def _count(self, chunk: SoundChunk | Chunk) -> None:
        """The counts so far, wherever they stand. The last ones win; what is said after them outdates them."""
        found = chunk.usage
        if found is None and type(chunk) is Chunk:
            found = next((choice.usage for choice in chunk.choices or () if choice.usage is not None), None)
        if found is not None and (usage := self._provider.read_usage(found)) is not None:
            self.usage, self.usage_outdated = usage, False

    def _reason(self, reason: str) -> str:
        known = our_reason(reason, self._called)
        return "function_call" if self._legacy and known == "tool_calls" else known

    def _rewrite(self, event: bytes, chunk: SoundChunk | Chunk) -> bytes:
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

    def _find_replacements(self, event: bytes, chunk: SoundChunk | Chunk) -> tuple[tuple[bytes, bytes], ...]:
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
        """The chunk with what a client may see of it, in our words; nothing where that is nothing."""
        try:
            body = msgspec.json.decode(event)
        except RUBBISH:
            raise _no_chunk() from None
        choices = [self._pick_choice(place, choice) for place, choice in enumerate(body["choices"])]
        picked = [choice for choice in choices if choice is not None]
        if not picked:
            return b""
        top = pick_top(body)
        created = top.pop("created", None)
        chunk: dict[str, Any] = {
            "id": self._answer_id,
            "object": CHUNK,
            "created": int(time.time()) if created is None else created,
            "model": self._model,
            **top,
            "choices": picked,
        }
        if self._include_usage:
            chunk["usage"] = None
        return msgspec.json.encode(chunk)

    def _pick_choice(self, place: int, choice: dict[str, Any]) -> dict[str, Any] | None:
        """One of a chunk's choices; None where it only ends a second time, or has a second call for a client that
        knows one."""
        index = choice["index"] if type(choice.get("index")) is int else place
        theirs = choice.get("delta") or {}
        if self._names:
            restore_names(theirs, self._names)
        delta, reason = pick_message(theirs, self._legacy), choice.get("finish_reason")
        silent = not any(delta.get(field) for field in SAYS)
        if silent and not reason and self._legacy and theirs.get("tool_calls"):
            return None
        if reason and index in self._ended:
            if silent:
                return None
            reason = None
        if reason:
            self._ended.add(index)
        picked = {"index": index + self._index, "delta": delta}
        if "logprobs" in choice:
            picked["logprobs"] = choice["logprobs"]
        picked["finish_reason"] = self._reason(reason) if reason else None
        return picked


def _no_chunk() -> AttemptFailed:
    return AttemptFailed(Blame.UPSTREAM, "the stream holds what is no chunk")
