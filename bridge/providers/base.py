"""What every provider speaks with the relay: what goes out, what comes back, how it fails. Pure values, no sockets."""

import dataclasses
import enum
from collections.abc import Mapping, Sequence, Set
from types import MappingProxyType
from typing import Any, Protocol

import msgspec

from bridge.providers.token_scale import TokenScales

NOTHING_KEPT: Mapping[str, Any] = MappingProxyType({})


@dataclasses.dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer in OpenAI's meaning: prompt includes cached and cache-written ones, completion reasoning.

    `audio_tokens` and `image_tokens` are those of the prompt which are sound and pictures and were neither read from a
    cache nor written to one; `cached_audio_tokens` are a part of the cached ones."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_hour_tokens: int = 0  # of the written: those to be kept for an hour, where that has its own price
    audio_tokens: int = 0
    cached_audio_tokens: int = 0
    audio_output_tokens: int = 0  # of the completion
    image_tokens: int = 0
    altered: "Altered | None" = dataclasses.field(default=None, compare=False)  # None: the provider said the same

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


class Counts(msgspec.Struct, frozen=True, gc=False):
    """What a provider said of an answer's tokens, by Usage's names and in its meaning, however impossible.

    None: it said nothing of that class, or nothing that is a number. `odd`: something there was no number."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_hour_tokens: int = 0
    audio_tokens: int = 0
    cached_audio_tokens: int = 0
    audio_output_tokens: int = 0
    image_tokens: int = 0
    odd: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Altered:
    """What is charged differs from what the provider said. `counted` is what it said as far as that is possible, with
    ours where it isn't: what of it is above the charged usage is given away."""

    said: Counts
    counted: Usage


@dataclasses.dataclass(frozen=True, slots=True)
class ChatOrder:
    """A chat completion to be written in a provider's dialect. `body` was checked, and nobody changes it.

    `output_cap` is set where the client gave none, or more than it may. `encoded_messages` is `body["messages"]` as
    the client's own JSON, for dialects in which they go out as they are. `kept` is what this provider had us keep with
    earlier tool calls, by call id (see `Completion.kept`). `passes` are fields that the operator lets through the
    channel, beside those that the provider is known to take."""

    body: dict[str, Any]
    upstream_id: str
    output_cap: int | None = None
    encoded_messages: msgspec.Raw | None = None
    kept: Mapping[str, Any] = dataclasses.field(default_factory=lambda: NOTHING_KEPT)
    passes: frozenset[str] = frozenset()


@dataclasses.dataclass(frozen=True, slots=True)
class Outgoing:
    """One upstream request, ready to send: path below the channel's base URL, body, and headers besides the key's.

    `reading` is whatever the provider's own reader of the answer has to know about the request."""

    path: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    dropped: tuple[str, ...] = ()
    clamped: tuple[str, ...] = ()
    reading: Any = None


@dataclasses.dataclass(frozen=True, slots=True)
class StreamOrder:
    """How the client's stream is to look: the same id, model, time and choice index in each of its chunks. `parallel`:
    it is one of several that the client reads as one, so the time has to be this one."""

    answer_id: str
    model: str
    created: int
    include_usage: bool
    max_event_bytes: int
    index: int = 0
    parallel: bool = False
    choices: int = 1  # how many the stream is to give


class Blame(enum.Enum):
    """Who a failed attempt speaks against: that decides failover, cooldown and what the client is told."""

    REQUEST = "request"  # the client's own request; no retry, 400
    CREDENTIAL = "credential"  # our key or our balance there; the channel is out of service
    SETUP = "setup"  # unknown model, redirect; the channel is misconfigured
    RATE = "rate"  # the upstream's limit; cools down for Retry-After
    UPSTREAM = "upstream"  # 5xx, cut, rubbish, silence


class AttemptFailed(Exception):
    """One attempt failed. `reason` is ours, short, and safe to show to the operator; for Blame.REQUEST `message`,
    `param` and `code` are what the client is told. `frames` are the sound ones of a stream's last read; `unsent`:
    no byte of the request had left yet."""

    frames = b""
    unsent = False

    def __init__(
        self,
        blame: Blame,
        reason: str,
        *,
        status: int | None = None,
        message: str = "",
        param: str | None = None,
        code: str | None = None,
        retry_after_seconds: float | None = None,
    ):
        super().__init__(reason)
        self.blame = blame
        self.reason = reason
        self.status = status
        self.message = message
        self.param = param
        self.code = code
        self.retry_after_seconds = retry_after_seconds


def failed_finish(word: object) -> AttemptFailed:
    """An answer whose provider says that it ended in failure, or in a way that nobody knows: it is none, whatever it
    holds. `word` is the provider's; only what looks like one of an enum's is repeated."""
    shown = str(word) if isinstance(word, int | str) else ""
    known = shown if shown.replace("_", "").isalnum() and shown.isascii() and len(shown) <= 40 else "an unknown word"
    return AttemptFailed(Blame.UPSTREAM, f"the answer ended in failure: {known}")


def refuse(param: str, message: str, code: str = "invalid_value") -> AttemptFailed:
    """What the chosen provider can't take at all, as the client's 400. `message` is ours and names the remedy."""
    return AttemptFailed(Blame.REQUEST, f"refused before it was sent: {param}", message=message, param=param, code=code)


@dataclasses.dataclass(slots=True)
class Completion:
    """A whole answer, as OpenAI's body but for `id`, `model` and `usage`, which the relay writes.

    `kept` is what the provider wants back with a tool call's result (its reasoning, signatures), by call id: plain
    JSON, sealed and kept for a day, so that a client which returns only what OpenAI's API knows can go on."""

    body: dict[str, Any]
    usage: Counts | None
    finish_reason: str | None
    text: list[str]  # what the model said, for our own count of what `usage` lacks
    kept: Mapping[str, Any] = dataclasses.field(default_factory=lambda: NOTHING_KEPT)
    mended: Set[str] = frozenset()  # what was odd about it, and was put right: a word or two each


class StreamReader(Protocol):
    """Turns an upstream's bytes into frames for the client. Fed whatever has arrived; keeps what is incomplete."""

    @property
    def started(self) -> bool:
        """Some content was seen: from here on there is no failover."""
        ...

    @property
    def ended(self) -> bool:
        """The upstream said how each choice ended, or that it is done: nothing that anybody has to wait for follows."""
        ...

    @property
    def finished(self) -> bool:
        """The upstream said that it is done: nothing at all follows."""
        ...

    @property
    def usage(self) -> Counts | None: ...

    @property
    def uncounted(self) -> Sequence[str]:
        """What was said after the provider counted last: of the answer's tokens, its count is outdated by so much."""
        ...

    @property
    def finish_reason(self) -> str | None: ...

    @property
    def text(self) -> Sequence[str]:
        """What was said so far, for our own count."""
        ...

    @property
    def kept(self) -> Mapping[str, Any]:
        """As in Completion; complete when the stream is."""
        ...

    @property
    def created(self) -> int:
        """The time in every chunk, since the first one was given."""
        ...

    @property
    def mended(self) -> Set[str]:
        """As in Completion, so far."""

    def pause(self) -> bytes:
        """Nothing has come for a moment: the frames of an event that lacks but its end. Raises as `feed` does."""
        ...

    def end(self) -> bytes:
        """Nothing more will come: the frames that waited for that. How it ended is known by now, or never. May be
        called again. Raises as `feed` does."""
        ...

    def feed(self, data: bytes) -> bytes:
        """The frames that these bytes complete, ready to send; never the usage frame nor [DONE].

        Raises AttemptFailed for an error event or for what is no event of this dialect."""
        ...


class Provider(Protocol):
    """A company and its dialect."""

    name: str
    label: str
    base_url: str
    keeps_reasoning: (
        bool  # wants it back with tool calls: the relay keeps `Completion.kept`, and gives `ChatOrder.kept`
    )
    token_scales: TokenScales  # for answers that come without counts

    def auth_headers(self, key: str) -> dict[str, str]: ...

    def choices_per_call(self, body: dict[str, Any], upstream_id: str) -> int:
        """How many choices (`n`) one call for this body may ask for; more are made by parallel calls."""
        ...

    def write_chat(self, order: ChatOrder) -> Outgoing:
        """OpenAI's chat body in this dialect. Raises AttemptFailed (see `refuse`) for content it can't take."""
        ...

    def read_answer(self, data: bytes, outgoing: Outgoing) -> Completion:
        """Raises AttemptFailed when it is no answer of this dialect, or an error inside a 200."""
        ...

    def open_reader(self, outgoing: Outgoing, order: StreamOrder) -> StreamReader: ...

    def read_error(self, status: int, headers: dict[str, str], data: bytes) -> AttemptFailed:
        """An error answer's meaning. Header names are lower case."""
        ...
