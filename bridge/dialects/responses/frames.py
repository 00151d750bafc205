"""The one choice of an answer, written as the typed events of its items: one item is open at a time, but for calls
whose arguments come in turns."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

import msgspec

from bridge.conversation.answer import REASONING, REFUSAL, Call, Channel, Choice, Numbers, Sealed, TokenCounter
from bridge.dialects.responses.items import (
    COMPLETED,
    INCOMPLETE,
    Called,
    CustomCalled,
    Item,
    Message,
    Seal,
    Thought,
)
from bridge.dialects.responses.tools import ToolNames
from bridge.json_types import Json, JsonObject

T = TypeVar("T", bound=Item)
REASONS = {"length": "max_output_tokens", "content_filter": "content_filter"}  # of an incomplete answer


class ResponseChoice:
    """See ChoiceWriter. `seal` makes envelopes, where the client wants them; `open_stream` says what comes before the
    first item; `numbers` is where the stream stands; `logprobs`: the client wants those."""

    def __init__(
        self,
        own_id: str,
        names: ToolNames,
        seal: Seal | None,
        open_stream: Callable[[], bytes],
        numbers: Numbers,
        *,
        logprobs: bool,
    ):
        self._own_id, self._names, self._seal, self._logprobs = own_id, names, seal, logprobs
        self._open_stream, self._numbers = open_stream, numbers
        self.items: list[Item] = []
        self._open: list[Item] = []  # of them, those that more may be said of
        self._calls: list[Called] = []
        self.reason = ""

    # what the reader says

    def begin(self) -> bytes:
        """Nothing: an item begins with what is said of it."""
        return b""

    def text(self, text: str, logprobs: JsonObject | None = None) -> bytes:
        """A piece of a message."""
        opened, message = self._open_message()
        begun, said = message.say("text") if text else (b"", None)
        if self._logprobs and logprobs:
            message.add_logprobs(_read_logprobs(logprobs.get("content")))
        return opened + begun + said.add(text) if said else opened

    def reasoning(self, text: str) -> bytes:
        """A piece of a summary."""
        opened, thought = self._open_thought(new=self._last_sealed() is not None)
        begun, said = thought.say()
        return opened + begun + said.add(text)

    def refusal(self, text: str, logprobs: JsonObject | None = None) -> bytes:
        """A piece of a refusal."""
        if not text:
            return b""
        opened, message = self._open_message()
        begun, said = message.say("refusal")
        return opened + begun + said.add(text)

    def call(self, call: Call) -> bytes:
        """The next call."""
        closed, known = self._close_others(), self._names.find(call.name)
        place, call_id = len(self.items), call.id or f"call_{self._own_id}_{len(self.items)}"
        named = (self._own_id, place, call_id, known.name, known.namespace)
        item: Called
        if known.custom or call.kind == "custom":
            item = CustomCalled(*named, unwrap=call.kind != "custom")
        else:
            item = Called(*named)
        self._add(item)
        self._calls.append(item)
        begun = closed + item.begin()
        return begun + item.add(call.arguments) if call.arguments else begun

    def arguments(self, place: int, text: str) -> bytes:
        """More of a call's arguments."""
        return self._calls[place].add(text)

    def call_extra(self, place: int, extra: JsonObject) -> bytes:
        """Nothing: we keep it."""
        return b""

    def pieces(self, channel: Channel, encoded: list[bytes], said: list[str]) -> bytes:
        """Many more deltas. Nearly always they are all that is written: then they go out with the numbers that they
        have."""
        if isinstance(channel, int):
            return self._calls[channel].add_all(encoded, said, self._numbers)
        if channel == REASONING:
            opened, thought = self._open_thought(new=self._last_sealed() is not None)
            begun, text = thought.say()
        else:
            opened, message = self._open_message()
            begun, text = message.say("refusal" if channel == REFUSAL else "text")
        run = text.add_all(encoded, said, self._numbers)
        return opened + begun + run if opened or begun else run

    def extras(self, values: Mapping[str, Json]) -> bytes:
        """Sources, of the last text; the dialect has no place for others."""
        last = self.items[-1] if self.items else None
        if not isinstance(last, Message):
            return b""
        return b"".join(last.annotate(_read_annotation(each)) for each in values.get("annotations") or ())

    def seal(self, sealed: Sealed) -> bytes:
        """An envelope with the reasoning before it, or with none."""
        if self._seal is None:
            return b""
        opened, thought = self._open_thought(new=self._last_sealed() is not None)
        called = {"call_id": sealed.call_id} if sealed.call_id else {}
        thought.sealed = self._seal({"value": sealed.value, **called})
        return opened

    def finish(self, reason: str) -> bytes:
        """The ends of all that is open."""
        self.reason = reason
        status = INCOMPLETE if reason in REASONS else COMPLETED
        closed, self._open = [item.close(status) for item in self._open], []
        return b"".join(closed)

    def tell(self, told: Choice) -> None:
        """All of a whole answer, each thing where it belongs: sources behind their text, and seals before the calls."""
        if told.reasoning:
            self.reasoning(told.reasoning)
        for sealed in told.sealed:
            if not sealed.call_id:
                self.seal(sealed)
        if told.text:
            self.text(told.text, told.logprobs)
            self.extras(told.extras)
        if told.refusal:
            self.refusal(told.refusal)
        for call in told.calls:
            for sealed in told.sealed:
                if sealed.call_id and sealed.call_id == call.id:
                    self.seal(sealed)
            self.call(call)
        self.finish(told.finish_reason)

    # what was said

    def describe(self) -> list[JsonObject]:
        """The items as far as they go; of an answer that broke off, what is open is incomplete."""
        return [{**item.describe(), **_mark_open(item)} for item in self.items]

    def list_unwritten(self) -> Iterator[str]:
        """The pieces of inputs that go out at once, at their end."""
        for item in self._open:
            yield from item.list_unwritten()

    def forget(self, written: list[JsonObject], sent: list[JsonObject]) -> None:
        """Of these events, which were written last, only those were sent: nothing else was said."""
        lost = _count_said(written)
        for place, characters in _count_said(sent).items():
            lost[place] -= characters
        begun = {event["output_index"] for event in written if event["type"] == "response.output_item.added"}
        begun -= {event["output_index"] for event in sent if event["type"] == "response.output_item.added"}
        self.items = [item for item in self.items if item.index not in begun]
        for (index, part), characters in lost.items():
            texts = self.items[index].list_said() if index < len(self.items) else []
            if characters and part < len(texts):
                texts[part].keep(len(texts[part].text) - characters)
                self.items[index].open = True

    def _open_message(self) -> tuple[bytes, Message]:
        last = self.items[-1] if self.items else None
        if isinstance(last, Message) and last.open:
            return b"", last
        return self._append(Message(self._own_id, len(self.items)))

    def _open_thought(self, *, new: bool) -> tuple[bytes, Thought]:
        last = self.items[-1] if self.items else None
        if isinstance(last, Thought) and last.open and not new:
            return b"", last
        return self._append(Thought(self._own_id, len(self.items)))

    def _last_sealed(self) -> str | None:
        last = self.items[-1] if self.items else None
        return last.sealed if isinstance(last, Thought) and last.open else None

    def _append(self, item: T) -> tuple[bytes, T]:
        closed = self._close_others()
        self._add(item)
        return closed + item.begin(), item

    def _close_others(self) -> bytes:
        """Ends what is open. A call whose arguments are no JSON yet may get more of them."""
        if not self.items:
            return self._open_stream()
        still, self._open = self._open, []
        closed = []
        for item in still:
            if isinstance(item, Called) and not item.is_whole:
                self._open.append(item)
            else:
                closed.append(item.close())
        return b"".join(closed)

    def _add(self, item: Item) -> None:
        self.items.append(item)
        self._open.append(item)


def _mark_open(item: Item) -> JsonObject:
    return {"status": INCOMPLETE} if item.open and not isinstance(item, Thought) else {}


def _read_logprobs(logprobs: Json) -> list[Json]:
    """Chat's as Responses has them: all four fields, always."""
    found = []
    for each in logprobs if isinstance(logprobs, list) else ():
        tops = [_read_logprob(top) for top in each.get("top_logprobs") or ()]
        found.append({**_read_logprob(each), "top_logprobs": tops})
    return found


def _read_logprob(each: JsonObject) -> JsonObject:
    return {"token": each.get("token", ""), "logprob": each.get("logprob", 0), "bytes": each.get("bytes") or []}


def _read_annotation(annotation: JsonObject) -> JsonObject:
    """A source in this dialect's form, with all that clients insist on."""
    kind: Json = annotation.get("type")
    inner = annotation.get(kind) if isinstance(kind, str) else None
    if kind != "url_citation" or not isinstance(inner, dict):
        return annotation
    url = inner.get("url") or ""
    places = {field: inner.get(field) or 0 for field in ("start_index", "end_index")}
    return {"type": kind, "url": url, "title": inner.get("title") or url, **places}


CALLS = ("response.function_call_arguments", "response.custom_tool_call_input")  # a call that is cut is none


def cut_events(frames: bytes, most_tokens: int, counter: TokenCounter, choice: ResponseChoice | None) -> bytes:
    """What of these events' texts is within so many tokens: the events up to there, the last one cut. The choice that
    wrote them is told what was sent."""
    kept: list[bytes] = []
    written = [(frame, _read_event(frame)) for frame in frames.split(b"\n\n") if frame]
    sent: list[JsonObject] = []
    for frame, event in written:
        delta = event.get("delta")
        said = counter.count_tokens(delta) if isinstance(delta, str) else 0
        if said > most_tokens:
            if most_tokens and isinstance(delta, str) and not event["type"].startswith(CALLS):
                cut = {**event, "delta": counter.cut_text(delta, most_tokens)}
                kept.append(frame[: frame.index(b"data: ")] + b"data: " + msgspec.json.encode(cut))
                sent.append(cut)
            break
        most_tokens -= said
        kept.append(frame)
        sent.append(event)
    if choice is not None:
        choice.forget([event for _, event in written], sent)
    return b"".join(frame + b"\n\n" for frame in kept)


def _read_event(frame: bytes) -> JsonObject:
    event: JsonObject = msgspec.json.decode(frame.partition(b"data: ")[2])
    return event


def _count_said(events: list[JsonObject]) -> Counter[tuple[int, int]]:
    """The characters of deltas, by their item and their place in it."""
    found = Counter[tuple[int, int]]()
    for event in events:
        if isinstance(event.get("delta"), str):
            found[event["output_index"], event.get("content_index", 0)] += len(event["delta"])
    return found
