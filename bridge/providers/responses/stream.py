"""Reads the streams of OpenAI's Responses, and its whole answers: what their items say.

An item says the same twice, in pieces and in one when it is done. The pieces are told as they come; of what is done,
whatever no piece has said."""

import msgspec
from msgspec import Struct

from bridge.conversation.answer import REASONING, REFUSAL, Call, Sealed
from bridge.conversation.answer import TEXT as ANSWER
from bridge.conversation.request import RESPONSES
from bridge.conversation.silence import Silence
from bridge.json_types import Json, JsonObject
from bridge.providers.base import AttemptFailed, Blame, StreamOrder
from bridge.providers.blame.errors import read_openai_error
from bridge.providers.odd_json import decode_any, mend_texts
from bridge.providers.responses import shapes
from bridge.providers.responses.errors import error_of, with_remedy
from bridge.providers.responses.passing import ITEMS, OPENING, Passing
from bridge.providers.responses.request import Reading
from bridge.providers.responses.shapes import CALLS, list_of, list_texts, text_of
from bridge.providers.responses.template import Pieces, Template, find_template
from bridge.providers.responses.thoughts import CALL, TEXT, THOUGHT, Spoken, keep_thoughts, pick_thought, seal_thought
from bridge.providers.translated import TranslatedReader, decode_or_mend, own_id
from bridge.providers.wire.sse import data_of

PARAGRAPH = "\n\n"  # between the parts of a summary
ENDS = frozenset({"response.completed", "response.incomplete"})
# What pieces are of: how their item is called, and which text of it they are.
DELTAS = {
    "response.output_text.delta": ("message", shapes.TEXT),
    "response.refusal.delta": ("message", shapes.REFUSAL),
    "response.reasoning_summary_text.delta": ("reasoning", shapes.SUMMARY),
    "response.reasoning_text.delta": ("reasoning", shapes.OPEN),
    "response.function_call_arguments.delta": ("function_call", ""),
    "response.custom_tool_call_input.delta": ("custom_tool_call", ""),
}
# Whom pieces are told that may take the short way; "" is a call's arguments.
CHANNELS: dict[str, str] = {
    "response.output_text.delta": ANSWER,
    "response.refusal.delta": REFUSAL,
    "response.reasoning_summary_text.delta": REASONING,
    "response.reasoning_text.delta": REASONING,
    "response.function_call_arguments.delta": "",
    "response.custom_tool_call_input.delta": "",
}


class _Event(Struct):
    """What pieces hold; of other events the type alone."""

    type: str = ""
    output_index: int | None = None
    content_index: int | None = None
    summary_index: int | None = None
    delta: str | None = None
    logprobs: Json = None


class _Item(Struct):
    """An item of the answer, as far as it was said. `place` is that of a call; `told` are the texts that were said, by
    kind and place; `of` is which of its two ways to think aloud is told."""

    type: str
    place: int = -1
    call_id: str = ""
    arguments: list[str] = []
    told: set[tuple[str, int]] = set()
    of: str = ""
    done: JsonObject | None = None
    thought: JsonObject | None = None


_decode_event = msgspec.json.Decoder(_Event).decode
_NEVER: tuple[str, int | None, int] = ("", None, 0)


class ResponsesReader(TranslatedReader):
    """A stream of OpenAI's typed events. It ends with the one that has the whole response in it."""

    def __init__(self, order: StreamOrder, reading: Reading):
        super().__init__(order, reading.legacy)
        self._reading = reading
        self._items: dict[int, _Item] = {}  # by their place in the output
        self._last = 0
        self._length = 0  # characters of the texts that are done
        # The kind, item and text of the last piece; what the next ones may be like, and from which that was learned.
        self._plain = self._learned = _NEVER
        self._template: Template | None = None
        chunks = order.listener.chunks
        self._passing: Passing | None = None
        if chunks is not None and chunks.dialect == RESPONSES and reading.native and not order.parallel:
            self._passing = Passing(chunks)
            self._writer = Silence()

    def feed(self, data: bytes) -> bytes:
        """The frames that these bytes complete, but for the tail. Raises AttemptFailed (see StreamReader)."""
        if self.finished:
            return b""
        whole, separator = self._splitter.feed_whole(data)
        if not separator:
            return b""
        template = self._template
        if template is not None and (read := template.read(whole, separator)) is not None:
            return self._say_alike(template, read, whole, separator)
        frames: list[bytes] = []
        for block in whole.split(separator):
            event = data_of(block[block.find(b"\n") + 1 :] if block.startswith(b"event:") else block)
            if not event:
                continue
            try:
                frames.append(self._read_checked(event))
            except AttemptFailed as failure:
                failure.frames = b"".join(frames)
                raise
            if self.finished:
                break
            if self._plain != self._learned:
                self._learn(block)
        return b"".join(frames)

    def _say_alike(self, template: Template, read: Pieces, whole: bytes, separator: bytes) -> bytes:
        """The frames of pieces that are like the one before."""
        encoded, texts = read
        self.text += texts
        if template.noted is not None:
            template.noted += texts
        if self._passing is not None:
            return self._passing.frame_run(template, whole + separator, separator)
        return self._writer.pieces(template.channel, encoded, texts)

    def _learn(self, block: bytes) -> None:
        """What the pieces after this one may be like."""
        self._learned, self._template = self._plain, None
        kind, index, _ = self._plain
        if kind not in CHANNELS or self.mended or self._halves:
            return
        if self._passing is not None and not (block.startswith(b"event: ") and b"\r" not in block):
            return
        item = self._items[self._last if index is None else index]
        of = CHANNELS[kind]
        if of:
            self._template = find_template(block, of, None)
        elif not (self._legacy and item.place):
            self._template = find_template(block, item.place, item.arguments)

    def read(self, event: bytes) -> bytes:
        """The frames for one event. Kinds of events that we don't know are none of our business."""
        said = decode_or_mend(event, _decode_event, _Event, self.mended)
        kind = said.type
        if kind not in DELTAS:
            return self._read_whole(kind, event)
        frames = self._read_delta(said) if said.delta else b""
        return frames if self._passing is None else self._passing.frame(kind, event)

    def _read_whole(self, kind: str, event: bytes) -> bytes:
        """An event that is no piece."""
        self._plain = _NEVER  # so that what was learned is forgotten: the item may be done
        value, odd = decode_any(event)
        if odd:
            value = mend_texts(value)
        if kind in ENDS:
            return self._finish(value)
        if kind in ("error", "response.failed", "response.cancelled") or (not kind and value.get("error")):
            raise self._fail(value)
        frames = self._read_step(kind, value)
        if self._passing is None or not kind.startswith("response."):
            return frames
        named = kind in OPENING or kind in ITEMS
        return self._passing.rewrite(kind, value) if named else self._passing.frame(kind, event)

    def _read_step(self, kind: str, value: JsonObject) -> bytes:
        """The beginning and the end of the answer's parts."""
        if kind == "response.created":
            return self._writer.begin()
        index = value.get("output_index")
        index = index if isinstance(index, int) else self._last
        if kind == "response.output_item.added":
            item = value.get("item")
            return self._begin(index, item) if isinstance(item, dict) else b""
        if kind == "response.output_item.done":
            item = value.get("item")
            return self._complete(index, item) if isinstance(item, dict) else b""
        if kind == "response.reasoning_summary_part.added":
            return self._separate(index, value.get("summary_index"))
        return b""

    def _separate(self, index: int, place: Json) -> bytes:
        """The next part of a summary is a paragraph of its own."""
        item = self._items.get(index)
        if not place or item is None or item.of not in ("", shapes.SUMMARY) or not item.told:
            return b""
        return self.say_reasoning(PARAGRAPH)

    # items

    def _begin(self, index: int, value: JsonObject) -> bytes:
        """An item begins: of a call that says all but its arguments."""
        if index in self._items:
            return b""
        self._last = index
        kind = text_of(value.get("type"))
        item = self._items[index] = _Item(kind)
        if kind not in CALLS:
            return b""
        name = text_of(value.get("name"))
        item.place = self._calls
        item.call_id = own_id(text_of(value.get("call_id")), self._ids)
        return self.say_call(Call(item.call_id, self._reading.names.get(name, name), kind=CALLS[kind][0]))

    def _read_delta(self, said: _Event) -> bytes:
        """A piece of an item."""
        kind, of = DELTAS[said.type]
        index = self._last if said.output_index is None else said.output_index
        item = self._items.get(index)
        if not of and (item is None or item.place < 0):
            raise AttemptFailed(Blame.UPSTREAM, "arguments of a call that has not begun")
        if item is None:
            self.mended.add("item")
            item = self._items[index] = _Item(kind)
        if item.done is not None:
            return b""
        self._last, delta = index, said.delta or ""
        place = (said.content_index if said.summary_index is None else said.summary_index) or 0
        self._plain = _NEVER if said.logprobs else (said.type, said.output_index, place)
        if not of:
            return self._say_arguments(item, delta)
        if of in (shapes.SUMMARY, shapes.OPEN):
            if item.of not in ("", of):
                self._plain = _NEVER
                return b""
            item.of = of
        item.told.add((of, place))
        if said.logprobs:
            return self._say_with_logprobs(of, delta, said.logprobs)
        return self._say(of, delta)

    def _say(self, of: str, text: str) -> bytes:
        if of in (shapes.SUMMARY, shapes.OPEN):
            return self.say_reasoning(text)
        return self._say_refusal(text) if of == shapes.REFUSAL else self.say_text(text)

    def _say_refusal(self, text: str) -> bytes:
        if self.mended or self._halves:
            text = self._halves.join(REFUSAL, text)
        if not text:
            return b""
        self.text.append(text)
        self.started = True
        return self._writer.refusal(text)

    def _say_with_logprobs(self, of: str, text: str, logprobs: Json) -> bytes:
        field = "refusal" if of == shapes.REFUSAL else "content"
        written = shapes.write_logprobs(logprobs, field)
        if of not in (shapes.TEXT, shapes.REFUSAL) or written is None or self.mended:
            return self._say(of, text)
        self.text.append(text)
        self.started = True
        say = self._writer.refusal if of == shapes.REFUSAL else self._writer.text
        return say(text, written)

    def _say_arguments(self, item: _Item, text: str) -> bytes:
        """A piece of this call's arguments, which need not be the last call's."""
        item.arguments.append(text)
        if self.mended or self._halves:
            text = self._halves.join(item.place, text)
        if not text or (self._legacy and item.place):
            return b""
        self.text.append(text)
        self.started = True
        return self._writer.arguments(item.place, text)

    # their ends

    def _complete(self, index: int, value: JsonObject) -> bytes:
        """An item is complete: what of it was not said yet."""
        frames = self._begin(index, value)
        item = self._items[index]
        if item.done is not None:
            return frames
        self._last, item.done = index, value
        if item.type in CALLS:
            return frames + self._complete_call(item, value)
        if item.type == "reasoning":
            return frames + self._complete_thought(item, value)
        return frames + self._complete_message(item, value) if item.type == "message" else frames

    def _complete_call(self, item: _Item, value: JsonObject) -> bytes:
        """The pieces are the arguments; where they are not all, what is missing follows."""
        said, whole = "".join(item.arguments), text_of(value.get(CALLS[item.type][1]))
        if not said and not whole and item.type == "function_call":
            whole = "{}"
        if said == whole or not whole:
            return b""
        if said and not self.mended:
            self.mended.add("arguments")
        return self._say_arguments(item, whole[len(said) :]) if whole.startswith(said) else b""

    def _complete_thought(self, item: _Item, value: JsonObject) -> bytes:
        frames = self._say_untold(item, value)
        item.thought = pick_thought(value)
        if item.thought is not None:
            frames += self._writer.seal(Sealed(seal_thought(item.thought)))
        return frames

    def _complete_message(self, item: _Item, value: JsonObject) -> bytes:
        frames = self._say_untold(item, value)
        found: list[Json] = []
        for of, _, text, part in list_texts(value):
            if of == shapes.TEXT:
                found += shapes.cite(part.get("annotations"), self._length)
                self._length += len(text)
        return frames + self._writer.extras({"annotations": found}) if found else frames

    def _say_untold(self, item: _Item, value: JsonObject) -> bytes:
        frames = b""
        for of, place, text, part in list_texts(value):
            thought = of in (shapes.SUMMARY, shapes.OPEN)
            if not text or (of, place) in item.told or (thought and item.of not in ("", of)):
                continue
            if thought:
                frames += self.say_reasoning(PARAGRAPH) if item.told else b""
                item.of = of
            item.told.add((of, place))
            logprobs = part.get("logprobs")
            frames += self._say_with_logprobs(of, text, logprobs) if logprobs else self._say(of, text)
        return frames

    # the answer's end

    def _fail(self, event: JsonObject) -> AttemptFailed:
        """What an error says, or a response that failed. Its counts are told before."""
        response = event.get("response")
        holder = response if isinstance(response, dict) else event
        if holder is response:
            self.count(shapes.read_counts(holder))
        data = msgspec.json.encode(error_of(holder))
        return with_remedy(read_openai_error(200, {}, data), 200, data)

    def _finish(self, event: JsonObject) -> bytes:
        """The last event: it has all items once more, and the counts."""
        response = event.get("response")
        if not isinstance(response, dict):
            raise AttemptFailed(Blame.UPSTREAM, "the stream ended without its response")
        frames = self.say_response(response)
        if self._passing is not None:
            self._passing.keep_ending(event)
        return frames

    def say_response(self, response: JsonObject) -> bytes:
        """All of a response that was not said yet, and its end. Raises AttemptFailed where it failed."""
        if shapes.is_failed(response):
            raise self._fail({"response": response})
        frames = b""
        for index, item in enumerate(list_of(response.get("output"))):
            frames += self._complete(index, item)
        reason = shapes.say_why(response, bool(self._calls))
        self.kept = keep_thoughts(self._list_spoken())
        self.count(shapes.read_counts(response))
        frames += self.say_end(reason)
        self.ended = self.finished = True
        return frames

    def _list_spoken(self) -> list[Spoken]:
        """What the answer is made of, in its order."""
        spoken: list[Spoken] = []
        for _, item in sorted(self._items.items()):
            if item.thought is not None:
                spoken.append((THOUGHT, item.thought))
            elif item.type in CALLS:
                spoken.append((CALL, (item.call_id, text_of((item.done or {}).get("id")))))
            elif item.type == "message":
                spoken.append((TEXT, None))
        return spoken
