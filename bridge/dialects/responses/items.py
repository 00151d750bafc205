"""The output items of an answer as they come about: what is open, what was said of it, and its events."""

from collections.abc import Callable, Sequence

import msgspec

from bridge.conversation.answer import Numbers
from bridge.json_types import Json, JsonObject

COMPLETED, INCOMPLETE, IN_PROGRESS = "completed", "incomplete", "in_progress"
_encode = msgspec.json.encode


def write_event(kind: str, **fields: Json) -> bytes:
    """One event. Its number is written as it goes out, when it is known what went before it."""
    data = _encode({"type": kind, "sequence_number": 0, **fields})
    return b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n"


class Said:
    """A text of an item, piece by piece, and the bytes around a delta of it and its number, found once."""

    def __init__(self, kind: str, **places: Json):
        self.pieces: list[str] = []
        frame = write_event(kind, **places, delta="")
        before, number, rest = frame.partition(b'"sequence_number":')
        between, delta, after = rest.rpartition(b'"delta":"')
        self._before, self._between, self._after = before + number, between[1:] + delta, after

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    def add(self, text: str) -> bytes:
        """A delta."""
        self.pieces.append(text)
        return b"%b0%b%b%b" % (self._before, self._between, _encode(text)[1:-1], self._after)

    def add_all(self, encoded: list[bytes], said: list[str], numbers: Numbers) -> bytes:
        """A delta for each, of which the JSON is known but for its quotes. They are numbered already."""
        self.pieces += said
        return numbers.write_run(self._before, self._between, self._after, encoded)

    def keep(self, characters: int) -> None:
        """Only so many characters of it were sent."""
        self.pieces = [self.text[:characters]]


class Item:
    """An output item. It is open until `close`, which may be called again."""

    prefix = ""

    def __init__(self, own_id: str, index: int):
        self.id, self.index = f"{self.prefix}_{own_id}_{index}", index
        self.open = True
        self.status = IN_PROGRESS

    def begin(self) -> bytes:
        """The item, empty."""
        return self.event("response.output_item.added", item=self.describe())

    def close(self, status: str = COMPLETED) -> bytes:
        """Whatever ends it, and the item complete."""
        if not self.open:
            return b""
        self.open = False
        said = self.end()
        self.status = status
        return said + self.event("response.output_item.done", item=self.describe())

    def event(self, kind: str, **fields: Json) -> bytes:
        """An event of the item or, with an `item_id`, of a part of it."""
        return write_event(kind, output_index=self.index, **fields)

    def end(self) -> bytes:
        """The ends of its parts."""
        return b""

    def describe(self) -> JsonObject:
        """The item as far as it goes."""
        raise NotImplementedError

    def list_said(self) -> list[Said]:
        """Its texts."""
        return []

    def list_unwritten(self) -> Sequence[str]:
        """What it was told and has not said."""
        return ()


class Message(Item):
    """What the model says: texts, and its refusal."""

    prefix = "msg"

    def __init__(self, own_id: str, index: int):
        super().__init__(own_id, index)
        self._parts: list[tuple[str, Said, list[Json], list[Json]]] = []  # kind, text, annotations, logprobs
        self._part_open = False

    def say(self, kind: str) -> tuple[bytes, Said]:
        """What opens a part of this kind (text, refusal), where it isn't open, and its text."""
        if self._part_open and self._parts[-1][0] == kind:
            return b"", self._parts[-1][1]
        ended, number = self.end(), len(self._parts)
        places = {"item_id": self.id, "output_index": self.index, "content_index": number}
        said = (
            Said("response.output_text.delta", **places, logprobs=[])
            if kind == "text"
            else Said("response.refusal.delta", **places)
        )
        self._parts.append((kind, said, [], []))
        self._part_open = True
        return ended + write_event("response.content_part.added", **places, part=_write_part(kind, "", [], [])), said

    def add_logprobs(self, logprobs: list[Json]) -> None:
        """Of what was said, or is about to be."""
        if self._parts:
            self._parts[-1][3].extend(logprobs)

    def annotate(self, annotation: JsonObject) -> bytes:
        """A source of the last text."""
        if not self._part_open or self._parts[-1][0] != "text":
            return b""
        kept, number = self._parts[-1][2], len(self._parts) - 1
        kept.append(annotation)
        places = {"item_id": self.id, "output_index": self.index, "content_index": number}
        kind = "response.output_text.annotation.added"
        return write_event(kind, **places, annotation_index=len(kept) - 1, annotation=annotation)

    def end(self) -> bytes:
        """The end of the part that is open."""
        if not self._part_open:
            return b""
        self._part_open = False
        kind, said, annotations, logprobs = self._parts[-1]
        places = {"item_id": self.id, "output_index": self.index, "content_index": len(self._parts) - 1}
        whole, text = _write_part(kind, said.text, annotations, logprobs), said.text
        done = (
            write_event("response.output_text.done", **places, text=text, logprobs=logprobs)
            if kind == "text"
            else write_event("response.refusal.done", **places, refusal=text)
        )
        return done + write_event("response.content_part.done", **places, part=whole)

    def describe(self) -> JsonObject:
        """The item as far as it goes."""
        parts = [_write_part(kind, said.text, *more) for kind, said, *more in self._parts]
        return {"id": self.id, "type": "message", "status": self.status, "role": "assistant", "content": parts}

    def list_said(self) -> list[Said]:
        """Its texts."""
        return [said for _, said, *_ in self._parts]


def _write_part(kind: str, text: str, annotations: list[Json], logprobs: list[Json]) -> JsonObject:
    if kind != "text":
        return {"type": "refusal", "refusal": text}
    return {"type": "output_text", "text": text, "annotations": annotations, "logprobs": logprobs}


class Thought(Item):
    """What the model thinks aloud, as one summary; `sealed` is what its provider wants back."""

    prefix = "rs"

    def __init__(self, own_id: str, index: int):
        super().__init__(own_id, index)
        self.sealed: str | None = None
        self._said: Said | None = None

    def say(self) -> tuple[bytes, Said]:
        """What opens the summary, where it isn't open, and its text."""
        if self._said is not None:
            return b"", self._said
        places = {"item_id": self.id, "output_index": self.index, "summary_index": 0}
        self._said = Said("response.reasoning_summary_text.delta", **places)
        part = {"type": "summary_text", "text": ""}
        return write_event("response.reasoning_summary_part.added", **places, part=part), self._said

    @property
    def is_said(self) -> bool:
        """Whether anything of it is text."""
        return self._said is not None

    def end(self) -> bytes:
        """The end of the summary."""
        if self._said is None:
            return b""
        places = {"item_id": self.id, "output_index": self.index, "summary_index": 0}
        text = self._said.text
        done = write_event("response.reasoning_summary_text.done", **places, text=text)
        part = {"type": "summary_text", "text": text}
        return done + write_event("response.reasoning_summary_part.done", **places, part=part)

    def describe(self) -> JsonObject:
        """The item as far as it goes."""
        summary = [] if self._said is None else [{"type": "summary_text", "text": self._said.text}]
        found: JsonObject = {"id": self.id, "type": "reasoning", "summary": summary}
        return found if self.sealed is None else {**found, "encrypted_content": self.sealed}

    def list_said(self) -> list[Said]:
        """Its texts."""
        return [] if self._said is None else [self._said]


class Called(Item):
    """A call of a function."""

    prefix = "fc"
    delta, done = "response.function_call_arguments.delta", "response.function_call_arguments.done"

    def __init__(self, own_id: str, index: int, call_id: str, name: str, namespace: str | None):
        super().__init__(own_id, index)
        self._head = {"call_id": call_id, "name": name, **({} if namespace is None else {"namespace": namespace})}
        self.said = Said(self.delta, item_id=self.id, output_index=index)

    def add(self, text: str) -> bytes:
        """More of the arguments."""
        return self.said.add(text)

    def add_all(self, encoded: list[bytes], said: list[str], numbers: Numbers) -> bytes:
        """Many more pieces."""
        return self.said.add_all(encoded, said, numbers)

    @property
    def is_whole(self) -> bool:
        """Whether nothing can be missing from the arguments."""
        return _read_object(self.said.text) is not None

    def end(self) -> bytes:
        """All of the arguments, again."""
        places = {"item_id": self.id, "output_index": self.index}
        return write_event(self.done, **places, arguments=self.said.text, name=self._head["name"])

    def describe(self) -> JsonObject:
        """The item as far as it goes."""
        said = {"arguments": self.said.text}
        return {"id": self.id, "type": "function_call", "status": self.status, **self._head, **said}

    def list_said(self) -> list[Said]:
        """Its arguments."""
        return [self.said]


class CustomCalled(Called):
    """A call of a custom tool, whose input is text. A model that knows functions alone was told to wrap it in JSON
    (`unwrap`): then nothing is said before all of it is there."""

    prefix = "ctc"
    delta, done = "response.custom_tool_call_input.delta", "response.custom_tool_call_input.done"

    def __init__(self, own_id: str, index: int, call_id: str, name: str, namespace: str | None, *, unwrap: bool):
        super().__init__(own_id, index, call_id, name, namespace)
        self._wrapped: list[str] | None = [] if unwrap else None

    def add(self, text: str) -> bytes:
        """More of the input, or of the JSON around it."""
        if self._wrapped is None:
            return self.said.add(text)
        self._wrapped.append(text)
        return b""

    def add_all(self, encoded: list[bytes], said: list[str], numbers: Numbers) -> bytes:
        """Many more pieces."""
        if self._wrapped is None:
            return self.said.add_all(encoded, said, numbers)
        self._wrapped += said
        return b""

    @property
    def is_whole(self) -> bool:
        """Whether nothing can be missing from the input."""
        return self._wrapped is None or _read_object("".join(self._wrapped)) is not None

    def end(self) -> bytes:
        """All of the input: once as a delta, where nothing was said, and again."""
        said = b""
        if self._wrapped is not None:
            text = unwrap_input("".join(self._wrapped))
            said = self.said.add(text) if text else b""
        places = {"item_id": self.id, "output_index": self.index}
        return said + write_event(self.done, **places, input=self.said.text)

    def list_unwritten(self) -> Sequence[str]:
        """All of the JSON around the input."""
        return self._wrapped or ()

    def describe(self) -> JsonObject:
        """The item as far as it goes."""
        said = {"input": self.said.text}
        return {"id": self.id, "type": "custom_tool_call", "status": self.status, **self._head, **said}


def unwrap_input(text: str) -> str:
    """The input of a custom tool out of the arguments of the function that stands for it. What is no such JSON is the
    input itself: some models leave it away."""
    found = _read_object(text)
    if found is None:
        return text
    if isinstance(found.get("input"), str):
        return str(found["input"])
    values = [value for value in found.values() if isinstance(value, str)]
    return values[0] if len(found) == len(values) == 1 else text if found else ""


def _read_object(text: str) -> JsonObject | None:
    try:
        found = msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


Seal = Callable[[JsonObject], str]
