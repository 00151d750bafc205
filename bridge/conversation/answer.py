"""An answer between the provider that gives it and the client who gets it.

A provider's reader says what it heard to an `AnswerWriter`, and does not know who listens; the client's dialect has the
writer, and does not know who speaks. A whole answer comes as the same in plain values."""

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from types import MappingProxyType
from typing import ClassVar, Protocol

import msgspec

from bridge.conversation.request import CHAT
from bridge.conversation.usage import Counts, Usage
from bridge.errors import BridgeError
from bridge.json_types import Json, JsonObject

NOTHING_KEPT: Mapping[str, Json] = MappingProxyType({})
# What a text of an answer is; in their place an integer says: the arguments of the call at that place.
TEXT, REASONING, REFUSAL = "text", "reasoning", "refusal"
Channel = str | int
COMPLETE = ("tool_calls", "function_call", "stop")  # why an answer ended of which nothing is missing


class Call(msgspec.Struct, frozen=True):
    """A call that the model made. `arguments` is JSON text, or any text where `kind` is `custom`; a stream may say more
    of it later. Without an `id` it is one of OpenAI's older `functions`. `extra` is what its provider wants back."""

    id: str
    name: str
    arguments: str = ""
    kind: str = "function"
    extra: JsonObject | None = None


class Sealed(msgspec.Struct, frozen=True):
    """What a provider wants back of its reasoning, word for word, when the conversation goes on: with the result of
    this call or, without a `call_id`, before the calls of the turn. `value` is the provider's own, and names it. A
    dialect whose clients carry such things seals it, and has it read back; others leave it to us to keep. `blocks` are
    the same as `dialect` has them: its clients may have them as they are. `of_text`: it is of the text before it, and
    the provider can do without."""

    value: JsonObject
    call_id: str = ""
    dialect: str = ""
    blocks: Sequence[JsonObject] = ()
    of_text: bool = False


class Choice(msgspec.Struct, frozen=True):
    """One choice of a whole answer. `extras` are what has no field of its own, by OpenAI's names or those in general
    use beside them: annotations, images, audio, thinking_blocks, extra_content. `chat` is the choice in OpenAI's own
    JSON, where it came so: clients of that dialect get it as it is."""

    finish_reason: str
    text: str = ""
    reasoning: str = ""
    refusal: str | None = None
    calls: Sequence[Call] = ()
    logprobs: JsonObject | None = None
    extras: Mapping[str, Json] = {}
    index: int = 0
    chat: JsonObject | None = None
    sealed: Sequence[Sealed] = ()

    @property
    def says_something(self) -> bool:
        """Whether there is anything in it: a text, a call, a picture, a sound."""
        if self.text or self.calls or self.reasoning or self.refusal:
            return True
        return bool(self.extras.get("images") or self.extras.get("audio"))


class NativeAnswer(msgspec.Struct, frozen=True):
    """A whole answer as its provider gave it, for a client who speaks the same dialect."""

    dialect: str
    body: JsonObject


class Completion(msgspec.Struct):
    """A whole answer: choices or, to who asked for embeddings, a vector for each input, in their order, as JSON in the
    form that was asked for. `top` is what one of OpenAI's dialect says of itself: `created`, `system_fingerprint`;
    of pictures, which are `images` of the one choice, their `size` and `quality`.

    `kept` is what the provider wants back with a tool call's result (its reasoning, signatures), by call id: plain
    JSON, sealed and kept for a day, so that a client which returns only what its dialect knows can go on."""

    choices: Sequence[Choice]
    usage: Counts | None
    finish_reason: str
    text: list[str]  # what the model said, for our own count of what `usage` lacks
    kept: Mapping[str, Json] = NOTHING_KEPT
    mended: Set[str] = frozenset()  # what was odd about it, and was put right: a word or two each
    top: Mapping[str, Json] = NOTHING_KEPT
    native: NativeAnswer | None = None
    vectors: Sequence[msgspec.Raw] = ()

    @property
    def says_something(self) -> bool:
        """Whether there are vectors, or any of its choices says something."""
        choices = self.choices
        if not choices:
            return bool(self.vectors)
        return choices[0].says_something or any(choice.says_something for choice in choices[1:])


_DIGITS = [b"%d" % number for number in range(4096)]  # of most streams all that they need


class Numbers(msgspec.Struct):
    """Where a stream stands whose events are numbered as they go out: `next` is the next one's number.

    Numbering takes each event apart, so many alike bring their numbers with them, as if they went out next. Who numbers
    the stream is told by `run`: those very bytes are `events` of them, from `first`. Should something else have gone
    out before, they are numbered anew like any others."""

    next: int = 0
    run: bytes = b""
    first: int = 0
    events: int = 0

    def write_run(self, before: bytes, between: bytes, after: bytes, pieces: Sequence[bytes]) -> bytes:
        """Events that differ in their number, which stands behind `before`, and in a piece, behind `between`."""
        count = len(pieces)
        if count == 1:
            return self.note_run(b"%b%d%b%b%b" % (before, self.next, between, pieces[0], after), 1)
        parts = [after + before] * (4 * count)  # whose slices are quicker to fill than the events are to write
        parts[0], parts[1::4] = before, self.following(self.next, count)
        parts[2::4], parts[3::4] = [between] * count, pieces
        return self.note_run(b"".join(parts) + after, count)

    def note_run(self, run: bytes, events: int) -> bytes:
        """The same of events that have the right numbers."""
        self.run, self.first, self.events = run, self.next, events
        return run

    @staticmethod
    def following(first: int, count: int) -> list[bytes]:
        """So many numbers, from this one on."""
        end = first + count
        return _DIGITS[first:end] if end <= len(_DIGITS) else [b"%d" % number for number in range(first, end)]


class Chunks(msgspec.Struct):
    """How a stream's events have to look that may go out as they are, since the client speaks their `dialect`: these
    names in place of theirs and, in chat, `"usage":null` in each or in none. `created` is chat's one time: the first
    chunk's, once it has passed."""

    answer_id: str
    model: str
    created: int
    with_usage: bool
    dialect: str = CHAT
    ending: JsonObject | None = None  # a dialect's own last event, which its writer's tail is to say with our names
    # Writes what a provider wants back as clients carry it; None: this client carries nothing. Events that go out as
    # they are have it in place of the provider's own words.
    seal: "Callable[[Sealed], str] | None" = None
    items: list[JsonObject] | None = None  # what of the output is complete, of a stream whose own events went out
    open_block: int | None = None  # in a dialect of blocks: the one that has begun and not ended, as far as was said
    numbers: Numbers | None = None  # in a dialect that numbers its events
    call_blocks: set[int] = set()  # those of the blocks that are calls


class ChoiceWriter(Protocol):
    """Writes one choice of a stream as it is said: what a method returns can go out at once. Texts are never empty, but
    beside `logprobs`."""

    def begin(self) -> bytes:
        """Somebody speaks. May be left out, and said again."""
        ...

    def text(self, text: str, logprobs: JsonObject | None = None) -> bytes:
        """A piece of the answer. `logprobs` are OpenAI's, of this piece or of what was said before."""
        ...

    def reasoning(self, text: str) -> bytes:
        """A piece of what the model thinks aloud."""
        ...

    def refusal(self, text: str, logprobs: JsonObject | None = None) -> bytes:
        """A piece of why it won't answer."""
        ...

    def call(self, call: Call) -> bytes:
        """The next call begins."""
        ...

    def arguments(self, place: int, text: str) -> bytes:
        """More of the arguments of the call at this place, nearly always the last one."""
        ...

    def call_extra(self, place: int, extra: JsonObject) -> bytes:
        """A call's `extra` that came after its beginning."""
        ...

    def pieces(self, channel: Channel, encoded: list[bytes], said: list[str]) -> bytes:
        """Many more pieces of a text of which one was said already. `encoded`: the same as JSON, without its quotes."""
        ...

    def extras(self, values: Mapping[str, Json]) -> bytes:
        """What a Choice has as its `extras`."""
        ...

    def seal(self, sealed: Sealed) -> bytes:
        """What the provider wants back: before the calls that it belongs to, as far as the provider says it there."""
        ...

    def finish(self, reason: str) -> bytes:
        """The end, once: why, in OpenAI's words."""
        ...


class Listener(Protocol):
    """Whom a provider's reader tells what it hears of a stream."""

    @property
    def chunks(self) -> Chunks | None:
        """None: nobody's events go out as they are, and everything has to be said. So has all of another dialect."""
        ...

    def choice(self, index: int) -> ChoiceWriter:
        """Who listens to one choice. Each is asked for once."""
        ...


class TokenCounter(Protocol):
    """Our own count of tokens."""

    def count_tokens(self, text: str) -> int: ...

    def cut_text(self, text: str, most_tokens: int) -> str:
        """The beginning of a text, of at most so many tokens."""
        ...


class AnswerWriter(Listener, Protocol):
    """Writes one answer in a client's dialect, whole or streamed. Another attempt gets another one."""

    def tail(self, usage: Usage, cost: str) -> bytes:
        """What comes after all was said. `cost` is in dollars, with all its digits. May be asked for again."""
        ...

    def cut(self, frames: bytes, most_tokens: int, counter: TokenCounter) -> bytes:
        """What of these, which its choices have written, is within so many tokens: the stream ends at its cap."""
        ...

    def list_unwritten(self) -> Iterable[str]:
        """What its choices were told and have not written yet, since it waits for something else: of an answer that
        breaks off nobody gets it."""
        ...

    def error(self, error: BridgeError, usage: Usage | None = None, cost: str = "") -> bytes:
        """The end of a stream that breaks off. `usage` and `cost` are as in `tail`, where something was delivered and
        charged. May be asked for again."""
        ...

    def whole(self, completion: Completion, usage: Usage, cost: str) -> bytes:
        """The body of a whole answer. May be asked for again."""
        ...


class ErrorWriter(Protocol):
    """Writes the refusal of a request as its endpoint's clients read it."""

    def __call__(self, error: BridgeError, request_id: str) -> tuple[int, bytes]:
        """The status and the body: of some errors a dialect has another status."""
        ...


class Dialect(Protocol):
    """What the client of one request speaks."""

    keepalive: ClassVar[bytes]  # what a stream says while there is nothing to be said
    reads_arguments: ClassVar[bool]  # a call's arguments are an object to it, and no text

    def open_writer(self, request_id: str, model: str, created: int) -> AnswerWriter:
        """The writer of an answer of this model, by the name that the client has for it."""
        ...

    def opening(self, request_id: str) -> bytes:
        """What the first `keepalive` tells of the answer, beyond that somebody is there: whatever comes behind it is
        read with that. b"" where it tells nothing."""
        ...


def parse_arguments(text: str) -> JsonObject | None:
    """A call's arguments as the object that they should be; None for what is no JSON, or another thing than that."""
    try:
        found = msgspec.json.decode(text or "{}")
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def has_unreadable_call(completion: Completion) -> bool:
    """Whether the answer calls a tool with what is no object, though no cap has cut it in two."""
    return any(
        parse_arguments(call.arguments) is None
        for choice in completion.choices
        if choice.calls and choice.finish_reason in COMPLETE
        for call in choice.calls
    )


def say_choice(writer: ChoiceWriter, choice: Choice) -> bytes:
    """A whole choice, said at once."""
    said = [writer.begin()]
    if choice.reasoning:
        said.append(writer.reasoning(choice.reasoning))
    said += [writer.seal(sealed) for sealed in choice.sealed if not sealed.call_id]
    if choice.text:
        said.append(writer.text(choice.text, choice.logprobs))
    if choice.refusal:
        said.append(writer.refusal(choice.refusal, choice.logprobs))
    for call in choice.calls:
        said += [writer.seal(sealed) for sealed in choice.sealed if sealed.call_id and sealed.call_id == call.id]
        said.append(writer.call(call))
    if choice.extras:
        said.append(writer.extras(choice.extras))
    said.append(writer.finish(choice.finish_reason))
    return b"".join(said)
