"""A stream of OpenAI's dialect: each event is decoded, and goes on once it was found sound. What isn't is mended (see
choice.py). How it goes on depends on who listens (see passing.py and saying.py)."""

from collections.abc import Mapping, Sequence

import msgspec

from bridge.conversation.answer import NOTHING_KEPT
from bridge.conversation.request import CHAT
from bridge.conversation.usage import Counts
from bridge.json_types import Json, JsonObject
from bridge.providers.alike import split_alike
from bridge.providers.base import AttemptFailed, Blame, StreamOrder
from bridge.providers.blame.errors import find_refusal
from bridge.providers.odd_json import decode_any, mend_texts
from bridge.providers.openai.choice import Choice, Reading, has_pictures_or_sound, said_of
from bridge.providers.openai.chunks import (
    Server,
    choices_of,
    find_counts,
    may_be_named,
    no_chunk,
    only_text,
    texts_of,
)
from bridge.providers.openai.passing import Passing
from bridge.providers.openai.saying import Saying
from bridge.providers.openai.shapes import ABSENT, RUBBISH, SoundChoice, SoundChunk, decode_sound
from bridge.providers.openai.template import Template, find_template
from bridge.providers.openai.thoughts import Thoughts
from bridge.providers.wire.sse import DONE, EventSplitter, data_of, split_joined

MOST_CHOICES = 1024  # eight times what can be asked for


class OpenAIReader:
    """Reads a stream's chunks and lets each go on once it was found sound: as it is, to a client of the dialect."""

    __slots__ = (
        "_choices",
        "_counted",
        "_counts",
        "_created",
        "_index",
        "_out",
        "_parallel",
        "_provider",
        "_reading",
        "_saying",
        "_sink",
        "_sink_from",
        "_splitter",
        "_template",
        "_thoughts",
        "_wanted",
        "ended",
        "finish_reason",
        "finished",
        "mended",
        "started",
        "text",
    )

    def __init__(self, provider: Server, order: StreamOrder, reading: Reading | None = None):
        self._provider = provider
        chunks = order.listener.chunks
        self._out: Passing | Saying
        self._saying: Saying | None = None
        if chunks is None or chunks.dialect != CHAT:
            self._out = self._saying = Saying(order.listener)
        else:
            self._out = Passing(chunks)
        self._index = order.index
        self._reading = reading or Reading()
        self._parallel = order.parallel or order.index > 0
        self._wanted = order.choices
        self._splitter = EventSplitter(order.max_event_bytes)
        self._template: Template | None = None
        self._sink: list[str] | None = None  # where the short way's texts are noted beside `text`, and from which on
        self._sink_from = 0
        self._thoughts = Thoughts() if provider.keeps_reasoning else None
        self._choices: dict[int, Choice] = {}  # by the server's index
        # the one time of all chunks: the first one's, where streams don't share it
        self._created: int | None = self._out.created if self._parallel else None
        self.started = False
        self.ended = False
        self.finished = False
        self.finish_reason: str | None = None
        self._counts: Json = None  # what was said of them so far, decoded when it is wanted
        self._counted = 0  # pieces of the text by then
        self.text: list[str] = []
        self.mended: set[str] = set()

    @property
    def kept(self) -> Mapping[str, Json]:
        """As in Completion; complete when the stream is."""
        if self._thoughts is None:
            return NOTHING_KEPT
        self._thoughts.catch_up(self.text)
        return self._thoughts.kept(self._provider.name)

    @property
    def usage(self) -> Counts | None:
        """The last counts: some send them with each chunk, and they are wanted once."""
        return self._provider.read_usage(self._counts)

    @property
    def uncounted(self) -> Sequence[str]:
        """As in StreamReader."""
        return self.text[self._counted :]

    def feed(self, data: bytes) -> bytes:
        """The frames that these bytes complete, but for the tail. Raises AttemptFailed (see StreamReader)."""
        if self.finished:
            return b""
        whole, separator = self._splitter.feed_whole(data)
        template = self._template
        if template is not None and separator:
            alike = split_alike(whole, separator, template.before, template.after)
            if alike is not None and (template.writer is None or "" not in alike[1]):
                self.text += alike[1]
                if template.writer is None:
                    return template.our_before + template.our_between.join(alike[0]) + template.our_after
                return template.writer.pieces(template.channel, alike[0], alike[1])
        frames: list[bytes] = []
        for block in whole.split(separator) if separator else ():
            event = data_of(block)
            if event:
                try:
                    if event == DONE:
                        frames.append(self._finish())
                        break
                    frames.append(self._read(event))
                except AttemptFailed as failure:
                    failure.frames = b"".join(frames)
                    raise
        return b"".join(frames)

    def pause(self) -> bytes:
        """The frames of an event that lacks but its end."""
        event = b"" if self.finished else self._splitter.flush()
        return self._read_odd(event) if event else b""

    def end(self) -> bytes:
        """The same. Where a server gave fewer choices than were asked for, only the body's end shows that those are
        all: once each has ended, and the counts are there."""
        frames = self.pause()
        if not self.ended and self._counts and self._choices:
            self.ended = all(state.ended for state in self._choices.values())
        return frames

    def _finish(self) -> bytes:
        """The end mark. Of several choices some servers say only how the last one ended: those that nobody ended have
        stopped."""
        states = self._choices
        self.ended = self.finished = True
        if self.finish_reason is None or all(state.ended for state in states.values()):
            return b""
        self.mended.add("finish reason")
        unended = [key for key, state in states.items() if not state.ended]
        written = [self._mend_choice(key, {"index": key, "delta": {}, "finish_reason": "stop"}) for key in unended]
        return self._out.mended({}, [choice for choice in written if choice is not None])

    def _read_odd(self, event: bytes) -> bytes:
        """The frames for what is no chunk by itself: several without a blank line between them, or an end mark among
        those; after the answer's end, whatever it is. Raises AttemptFailed."""
        if event == DONE:
            return self._finish()
        if events := split_joined(event):
            return b"".join([self._read_odd(one) for one in events])
        return self._read(event)

    def _read(self, event: bytes) -> bytes:
        self._template = None
        if self._sink is not None:
            self._sink += self.text[self._sink_from :]
            self._sink = None
        if self._thoughts is not None:
            self._thoughts.catch_up(self.text)
        chunk = decode_sound(event)
        if chunk is None:
            return self._mend(event)
        if not chunk.choices:
            self._count(chunk.usage)
            return b""  # the usage chunk, which the relay writes itself, or a prologue without choices
        choice = chunk.choices[0]
        if len(chunk.choices) > 1 or not self._takes(chunk, choice):
            return self._mend(event)
        state = self._choices[choice.index]
        calls = choice.delta.tool_calls
        call = state.calls.take(calls[0]) if calls else None
        if call is not None and self._thoughts is not None:
            self._thoughts.note(choice.index, None, call.id)
        self._note(state, choice)
        self._count(chunk.usage)
        if choice.finish_reason:
            state.ended, self.finish_reason = True, choice.finish_reason
            self._note_end()
        frame = self._out.sound(event, chunk)
        if chunk.usage is None and chunk.obfuscation is ABSENT and (said := only_text(choice)):
            self._learn(event, frame, state, *said, None if call is None else call.index)
        return frame

    # what OpenAI itself would send

    def _takes(self, chunk: SoundChunk, choice: SoundChoice) -> bool:
        """Whether a sound chunk may come next, as it is."""
        if chunk.created != self._created:
            if self._created is not None:
                return False
            self._created = self._out.created = chunk.created
        if self._parallel:
            return False
        state = self._choices.get(choice.index)
        if state is not None:
            return state.index == choice.index and state.takes(choice)
        delta, most = choice.delta, self._reading.choices
        if type(delta.role) is not str or choice.index < 0 or (most and choice.index >= most):
            return False
        if delta.tool_calls or delta.function_call is not None or choice.finish_reason is not None:
            return False
        self._open(choice.index, choice.index).told = True
        return True

    def _note(self, state: Choice, choice: SoundChoice) -> None:
        delta = choice.delta
        if self._thoughts is not None and delta.reasoning_content:
            self._thoughts.note(choice.index, delta.reasoning_content, None)
        if delta.content and not (delta.tool_calls or delta.reasoning_content or delta.refusal):  # nearly always
            self.text.append(delta.content)
            self.started = state.said = True
        elif texts := texts_of(delta):
            self.text += texts
            self.started = state.said = True
        if delta.audio is not ABSENT and bytes(delta.audio) != b"null":
            self.started = state.said = True

    def _note_end(self) -> None:
        self.ended = sum(state.ended for state in self._choices.values()) >= self._wanted

    def _count(self, found: Json) -> None:
        """The counts so far, wherever they stand: field by field the last ones win."""
        if found and isinstance(found, dict) and isinstance(self._counts, dict):
            self._counts.update((name, value) for name, value in found.items() if value is not None)
        elif found:
            self._counts = found
        self._counted = len(self.text) if found else self._counted

    def _learn(self, event: bytes, frame: bytes, state: Choice, field: str, text: str, call: int | None = None) -> None:
        """Whether the next chunks may take the short way. `call` is the place of the call whose arguments they are."""
        if self._saying is None:
            template = find_template(event, frame, field, text)
        else:
            to = self._saying.find_channel(state.index + self._index, field, call)
            template = find_template(event, frame, field, text, *to)
        self._template = template
        if template is not None and call is not None:
            self._sink, self._sink_from = state.calls.list[call].arguments.pieces, len(self.text)
        if self._thoughts is not None:
            self._thoughts.follow(state.index, len(self.text) if template and template.thought else None)

    # whatever else a server sends

    def _mend(self, event: bytes) -> bytes:  # noqa: C901 - a branch for each kind of chunk
        """The same for a chunk of any other kind, written anew as OpenAI would have written it. Raises AttemptFailed
        for what is no chunk, an error, and what says that the answer failed."""
        try:
            body, odd = decode_any(event)
        except RUBBISH:
            if split_joined(event):
                return self._read_odd(event)
            if self.ended:
                return b""
            raise find_refusal(event) or no_chunk() from None
        if odd:
            self.mended.add("JSON")
        if isinstance(body, dict) and body.get("error"):
            raise self._provider.read_error(200, {}, event)
        choices = choices_of(body)
        if choices is None:
            if self.ended:
                return b""
            raise (None if isinstance(body, dict) else find_refusal(event)) or no_chunk()
        counts = find_counts(body, choices)
        if not choices and not counts:
            if refusal := find_refusal(event):
                raise refusal
            if not self.ended and not may_be_named(body):
                raise no_chunk()
        said_before = len(self.text)
        written = [self._mend_choice(place, choice) for place, choice in enumerate(choices)]
        self._count(counts)
        picked = [choice for choice in written if choice is not None]
        if not picked:
            return b""
        if self._created is None:
            created = body.get("created")
            self._created = self._out.created = created if type(created) is int else self._out.created
        if body.get("created") != self._created and not self._parallel:
            self.mended.add("created")
        frame = self._out.mended(body, picked)
        if len(choices) == 1 and len(self.text) == said_before + 1:
            self._learn_mended(event, frame, self._state(0, choices[0]), choices[0], picked[0]["delta"])
        return frame

    def _learn_mended(self, event: bytes, frame: bytes, state: Choice, theirs: JsonObject, delta: JsonObject) -> None:
        """The short way for what comes odd again and again, in the same way."""
        word = theirs.get("finish_reason")
        if not state.steady or state.ended or has_pictures_or_sound(delta) or not (word is None or type(word) is str):
            return
        text = self.text[-1]
        field = next((name for name in ("content", "reasoning_content") if delta.get(name) == text), "arguments")
        self._learn(event, frame, state, field, text, (delta.get("tool_calls") or [{}])[0].get("index"))

    def _mend_choice(self, place: int, choice: JsonObject) -> JsonObject | None:
        """One of a chunk's choices; None where it only ends a second time, or says what nobody needs."""
        state = self._state(place, choice)
        if choice.get("error"):
            raise self._provider.read_error(200, {}, msgspec.json.encode({"error": mend_texts(choice["error"])}))
        theirs = state.find_delta(choice)
        reason = state.read_end(choice.get("finish_reason"), theirs)
        ends = None if state.ended else reason
        if reason is None and not isinstance(choice.get("delta"), dict) and not theirs and "logprobs" not in choice:
            return None
        delta = state.read(theirs, ends)
        said = said_of(delta)
        if reason and not ends and not said:
            return None
        for text in said:
            self.text.append(text)
        if said or has_pictures_or_sound(delta):
            self.started = True
        picked: JsonObject = {"index": state.index + self._index, "delta": delta}
        if "logprobs" in choice:
            picked["logprobs"] = choice["logprobs"]
        picked["finish_reason"] = state.agree(ends, choice.get("finish_reason")) if ends else None
        if ends:
            self.finish_reason = picked["finish_reason"]
            self._note_end()
        self._note_thought(state, delta)
        return picked

    def _note_thought(self, state: Choice, delta: JsonObject) -> None:
        if self._thoughts is None:
            return
        begun = [call["id"] for call in delta.get("tool_calls") or () if "id" in call]
        self._thoughts.note(state.index, delta.get("reasoning_content"), begun[0] if begun else None)

    def _state(self, place: int, choice: JsonObject) -> Choice:
        """What is known of this choice. Without an index, and where one was asked for, it is the one of its place: some
        servers count their tokens there. Of an index that nobody asked for, or that such a one has got, it is the first
        that hasn't spoken."""
        index, most = choice.get("index"), self._reading.choices
        key = index if type(index) is int and most != 1 else place
        state = self._choices.get(key)
        if state is not None:
            if index != state.index:
                self.mended.add("index of a choice")
            return state
        ours, taken = key, {known.index for known in self._choices.values()}
        if key < 0 or key > 10**6 or (most and key >= most) or key in taken:
            ours = next(free for free in range(len(taken) + 1) if free not in taken)
        if ours != index:
            self.mended.add("index of a choice")
        return self._open(key, ours)

    def _open(self, key: int, index: int) -> Choice:
        if len(self._choices) >= MOST_CHOICES:
            raise AttemptFailed(Blame.UPSTREAM, "the stream holds more choices than can be asked for")
        return self._choices.setdefault(key, Choice(index, self._reading, self.mended))
