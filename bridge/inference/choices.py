"""Makes several choices (`n`) with a provider that gives one a call: parallel calls, whose answers the client reads as
one.

Each is a call of its own upstream, so each prompt is held and charged."""

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import TypeVar, cast, overload

import gevent
import structlog
from gevent.queue import Empty, Queue
from msgspec.structs import replace

from bridge.catalogue.routing import Route, ServedModel
from bridge.conversation.answer import Completion
from bridge.conversation.request import Conversation, Request
from bridge.conversation.usage import Counts
from bridge.errors import InvalidRequest
from bridge.inference.intake import Intake
from bridge.inference.upstream import UpstreamAnswer
from bridge.json_types import Json
from bridge.providers import PROVIDERS
from bridge.providers.base import AttemptFailed, Blame, StreamReader
from bridge.providers.wire.transport import LeftUnsent

MAX_PARALLEL_CHOICES = 16
QUEUED_PIECES = 64  # what is read ahead of a slow client
T = TypeVar("T")
Piece = tuple[int, int, bytes] | AttemptFailed  # whose, how much of the text it has said by then, its frames
log = structlog.get_logger()


def count_calls(request: Request, model: ServedModel) -> int:
    """How many calls the route that needs most of them makes for this request; the hold covers so many prompts.

    Raises InvalidRequest for more than we make at once."""
    if request.choices == 1:
        return 1
    calls = max((calls_of(route, request, route.wire) for route in model.routes), default=1)
    if calls > MAX_PARALLEL_CHOICES:
        raise InvalidRequest(
            f"n is too large: {model.id} gives at most {MAX_PARALLEL_CHOICES} choices.", param="n", code="invalid_value"
        )
    return calls


def calls_of(route: Route, request: Request, wire: str) -> int:
    """How many calls this route's model needs for the choices: one, or one each. `wire` is how it is asked."""
    choices = request.choices
    if choices == 1 or not request.parallel:
        return 1
    conversation = cast(Conversation, request)  # no other kind is made of parallel calls
    most = PROVIDERS[route.provider].choices_per_call(conversation, route.upstream_id, wire)
    return 1 if choices <= most else choices


def keeps_reasoning(model: ServedModel, find_wire: Callable[[Route], str]) -> bool:
    """Whether one of the model's channels wants its reasoning back with the results of tools. `find_wire` says how each
    is asked."""
    return any(PROVIDERS[route.provider].wants_reasoning(route.upstream_id, find_wire(route)) for route in model.routes)


def call_all(calls: int, call: Callable[[int], T], discard: Callable[[T], object] = bool) -> list[T]:
    """Make so many parallel calls and return their results in order. The first to fail ends the others, and is raised.
    `discard` closes what the others returned, also when this greenlet is killed while it waits."""
    done: Queue[int] = Queue()
    greenlets = [gevent.spawn(_run, call, place, done) for place in range(calls)]
    try:
        for _ in range(calls):
            result = greenlets[done.get()].get()
            if isinstance(result, BaseException):
                raise result
        return [greenlet.get() for greenlet in greenlets]
    except BaseException as ended:
        gevent.killall(greenlets)
        for greenlet in greenlets:
            value = greenlet.value
            if value is not None and not isinstance(value, BaseException):
                discard(value)
        if isinstance(ended, gevent.GreenletExit) and all(isinstance(each.value, LeftUnsent) for each in greenlets):
            raise LeftUnsent from None
        raise


def _run(call: Callable[[int], T], place: int, done: "Queue[int]") -> T | Exception:
    """The result, or the error as a value: a greenlet that raises prints its traceback."""
    try:
        return call(place)
    except Exception as error:  # noqa: BLE001 - it goes on in whoever waits
        return error
    finally:
        done.put(place)


def merge_completions(completions: Sequence[Completion]) -> Completion:
    """One answer with the choices of all, and the sum of their counts."""
    first = completions[0]
    return Completion(
        [replace(completion.choices[0], index=index) for index, completion in enumerate(completions)],
        sum_usages([completion.usage for completion in completions]),
        first.finish_reason,
        [piece for completion in completions for piece in completion.text],
        {call_id: kept for completion in completions for call_id, kept in completion.kept.items()},
        {oddity for completion in completions for oddity in completion.mended},
        first.top,
    )


def join_vectors(completions: Sequence[Completion]) -> Completion:
    """One answer with the vectors of all, in their order. What one call didn't count is missing in the sum: each has
    read inputs of its own."""
    counts = [completion.usage for completion in completions]
    known = [count.prompt_tokens for count in counts if count is not None and count.prompt_tokens is not None]
    return Completion(
        (),
        Counts(sum(known), 0) if len(known) == len(counts) else None,
        completions[0].finish_reason,
        [],
        mended={oddity for completion in completions for oddity in completion.mended},
        vectors=[vector for completion in completions for vector in completion.vectors],
    )


def sum_usages(usages: Sequence[Counts | None]) -> Counts | None:
    """The counts of all calls, class by class: what one said nothing of is missing in the sum. But all read the same
    prompt: who said nothing of it has read what another did."""
    found = [usage for usage in usages if usage is not None]
    if not found:
        return None
    told = next((usage for usage in found if usage.prompt_tokens is not None), None)
    if told is not None:
        found = [_with_prompt(Counts() if usage is None else usage, told) for usage in usages]
    names = [name for name in Counts.__struct_fields__ if name != "odd"]
    sums: dict[str, int | None] = {name: sum(getattr(usage, name) or 0 for usage in found) for name in names}
    if told is None:
        sums["prompt_tokens"] = None
    if any(usage is None or usage.completion_tokens is None for usage in usages):
        sums["completion_tokens"] = None
    return Counts(**sums, odd=any(usage.odd for usage in found))  # type: ignore[arg-type] # only those two may be None


def _with_prompt(usage: Counts, told: Counts) -> Counts:
    """The counts with another call's of the prompt, if it has none."""
    if usage.prompt_tokens is not None:
        return usage
    answered = {
        name: getattr(usage, name)
        for name in ("completion_tokens", "reasoning_tokens", "audio_output_tokens", "image_output_tokens")
    }
    return replace(told, **answered, odd=usage.odd)


class ParallelAnswer:
    """Several answers as one: the first that is none, or the bodies of all, each read by a reader in a greenlet of its
    own. What it gives then are frames, from whichever has some, and never more than a few read ahead."""

    def __init__(self, answers: Sequence[UpstreamAnswer]):
        self._answers = answers
        self._failed = next((answer for answer in answers if answer.status != 200), None)
        shown = self._failed or answers[0]
        self.status: int = shown.status
        self.headers: dict[str, str] = shown.headers
        self._pieces: Queue[Piece] = Queue(maxsize=QUEUED_PIECES)
        self.said = [0] * len(answers)  # pieces of text that went with the frames given so far, of each
        self._open = len(answers)
        self._greenlets: list[gevent.Greenlet[..., None]] = []

    def read_all(self, max_bytes: int, timeout_seconds: float) -> bytes:
        """The body of the one that failed."""
        return (self._failed or self._answers[0]).read_all(max_bytes, timeout_seconds)

    def read_by(self, intakes: Sequence[Intake]) -> None:
        """Start reading, each body by its own intake."""
        for place, (answer, intake) in enumerate(zip(self._answers, intakes, strict=True)):
            self._greenlets.append(gevent.spawn(_read_on, place, answer, intake, self._pieces))

    def read_some(self, timeout_seconds: float) -> bytes | None:
        """Frames of one of them; None when none came for that long, b"" when all have ended. Raises AttemptFailed."""
        while self._open:
            try:
                piece: Piece = self._pieces.get(timeout=timeout_seconds)
            except Empty:
                return None
            if isinstance(piece, AttemptFailed):
                raise piece
            place, said, frames = piece
            self.said[place] = said
            if frames:
                return frames
            self._open -= 1
        return b""

    def close(self) -> None:
        """Close all of them; one that is still read from too."""
        gevent.killall(self._greenlets)
        for answer in self._answers:
            answer.close()


def _read_on(place: int, answer: UpstreamAnswer, intake: Intake, pieces: "Queue[Piece]") -> None:
    """One stream to its end: its frames, then b"", each with how much its reader has of the text by then."""
    try:
        for frames in intake.frames(answer):
            if frames:
                pieces.put((place, len(intake.reader.text), frames))
        if not intake.reader.finish_reason:
            raise AttemptFailed(Blame.UPSTREAM, "the stream ended without a finish reason")
        pieces.put((place, len(intake.reader.text), b""))
    except AttemptFailed as failure:
        if failure.frames:
            pieces.put((place, len(intake.reader.text), failure.frames))
            failure.frames = b""
        pieces.put(failure)
    except Exception:  # a mistake of ours: whoever waits must hear of it, or waits until the deadline
        log.exception("unexpected")
        pieces.put(AttemptFailed(Blame.UPSTREAM, "the answer could not be read"))


class ParallelReader:
    """What several readers have read, as if it were one's. The frames are theirs: they pass. `said` is the
    ParallelAnswer's: of the text, what is still queued counts as unsaid."""

    def __init__(self, intakes: Sequence[Intake], said: list[int]):
        self._intakes = intakes
        self._texts = _Texts(intakes, said)
        self.ended = self.finished = False  # the ParallelAnswer says so, by its end

    def feed(self, data: bytes) -> bytes:
        """The same frames."""
        return data

    def pause(self) -> bytes:
        """Each sees to its own."""
        return b""

    def end(self) -> bytes:
        """Each has said its own end already."""
        self.ended = self.finished = self.finish_reason is not None
        return b""

    @property
    def _readers(self) -> list[StreamReader]:
        return [intake.reader for intake in self._intakes]

    @property
    def started(self) -> bool:
        return any(reader.started for reader in self._readers)

    @property
    def usage(self) -> Counts | None:
        return sum_usages([reader.usage for reader in self._readers])

    @property
    def uncounted(self) -> Sequence[str]:
        """Of each reader what it said after its last counts, as far as that has gone out."""
        return self._texts.uncounted()

    @property
    def finish_reason(self) -> str | None:
        """The first choice's, once all have theirs."""
        reasons = [reader.finish_reason for reader in self._readers]
        return reasons[0] if all(reasons) else None

    @property
    def text(self) -> Sequence[str]:
        return self._texts

    @property
    def mended(self) -> Set[str]:
        return {oddity for reader in self._readers for oddity in reader.mended}

    @property
    def kept(self) -> Mapping[str, Json]:
        return {call_id: kept for reader in self._readers for call_id, kept in reader.kept.items()}


class _Texts(Sequence[str]):
    """What all have said, choice by choice. Its length is asked for with each frame, so nothing is put together."""

    def __init__(self, intakes: Sequence[Intake], said: list[int]):
        self._intakes, self._said = intakes, said

    def __len__(self) -> int:
        return sum(self._said)

    def __iter__(self) -> Iterator[str]:
        for intake, said in zip(self._intakes, self._said, strict=True):
            yield from intake.reader.text[:said]

    @overload
    def __getitem__(self, place: int) -> str: ...

    @overload
    def __getitem__(self, place: slice) -> list[str]: ...

    def __getitem__(self, place: int | slice) -> str | list[str]:
        return list(self)[place]

    def uncounted(self) -> list[str]:
        """What the readers said after their last counts, without what is still queued."""
        found: list[str] = []
        for intake, said in zip(self._intakes, self._said, strict=True):
            reader = intake.reader
            counted = len(reader.text) - len(reader.uncounted)
            found += reader.text[counted:said]
        return found
