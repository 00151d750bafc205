"""Defines what every provider speaks with the relay: what goes out, what comes back, how it fails. These are values;
nothing here opens a socket."""

import enum
from collections.abc import Mapping, Sequence, Set
from typing import Protocol

import msgspec

from bridge.conversation.answer import NOTHING_KEPT, Completion, Listener
from bridge.conversation.request import Conversation, Request
from bridge.conversation.usage import Counts
from bridge.json_types import Json
from bridge.providers.token_scale import TokenScales


class Order(msgspec.Struct, frozen=True):
    """A request to be written in a provider's dialect. It was checked, and nobody changes it.

    `output_cap` is set where the client gave none, or more than it may. `kept` is what this provider had us keep with
    earlier tool calls, by call id (see `Completion.kept`). `passes` are fields that the operator lets through the
    channel, beside those that the provider is known to take. `single`: of several choices this call gives one. `wire`
    is the dialect by which OpenAI is to be asked, "" where its model's name says it; `without` is what of the request
    an upstream has refused, by the words of its provider (see Remedy)."""

    request: Request
    upstream_id: str
    output_cap: int | None = None
    kept: Mapping[str, Json] = NOTHING_KEPT
    passes: frozenset[str] = frozenset()
    single: bool = False
    wire: str = ""
    without: frozenset[str] = frozenset()
    context_tokens: int = 0  # the window that the catalogue has for the model

    @property
    def conversation(self) -> Conversation:
        """The request, for those who translate conversations: they get no other."""
        return self.request  # type: ignore[return-value] # of Translator, who asks decides


class Outgoing(msgspec.Struct, frozen=True):
    """One upstream request, ready to send: path below the channel's base URL, body, and headers besides the key's.

    `reading` is whatever the provider's own reader of the answer has to know about the request. `beside` are further
    parts of it, where the provider takes less at once: all go out, and their answers are joined. `answer_bytes`: the
    answer may be as long as this, whatever limit there is for others."""

    path: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    dropped: tuple[str, ...] = ()
    clamped: tuple[str, ...] = ()
    reading: object = None
    beside: tuple["Outgoing", ...] = ()
    answer_bytes: int = 0


class StreamOrder(msgspec.Struct, frozen=True):
    """Who listens to a stream, and how much of one event it may hold. `index` is that of its first choice. `parallel`:
    it is one of several that the client reads as one, so its chunks have to have the time of all."""

    listener: Listener
    max_event_bytes: int
    index: int = 0
    parallel: bool = False
    choices: int = 1  # how many the stream is to give


class FoundModel(msgspec.Struct, frozen=True):
    """A model that an upstream says it has, by the upstream's own id. What the upstream doesn't tell is None or "";
    its prices are nano-dollars a million tokens."""

    id: str
    name: str = ""
    context_tokens: int | None = None
    max_output_tokens: int | None = None
    input_price_nanos: int | None = None
    output_price_nanos: int | None = None


class ModelPage(msgspec.Struct, frozen=True):
    """One page of an upstream's list of models; `after` asks for the next, "" on the last."""

    models: tuple[FoundModel, ...]
    after: str = ""


class Blame(enum.Enum):
    """Who a failed attempt speaks against: that decides failover, cooldown and what the client is told."""

    REQUEST = "request"  # the client's own request; no retry, 400
    CREDENTIAL = "credential"  # our key or our balance there; the channel is out of service
    SETUP = "setup"  # unknown model, redirect; the channel is misconfigured
    RATE = "rate"  # the upstream's limit; cools down for Retry-After
    UPSTREAM = "upstream"  # 5xx, cut, rubbish, silence


class Remedy(msgspec.Struct, frozen=True):
    """How a request that was refused goes to the same channel once more: by another `wire`, or `without` a part of it.
    `lasts`: the model's later requests go so from the start. `path`: it helps only who was asked there."""

    wire: str = ""
    without: str = ""
    lasts: bool = False
    path: str = ""


class AttemptFailed(Exception):
    """One attempt failed. `reason` is ours, short, and safe to show to the operator; for Blame.REQUEST `message`,
    `param` and `code` are what the client is told. `said` is what the upstream answered, for operators alone. `frames`
    are the sound ones of a stream's last read; `unsent`: no byte of the request had left yet; with a `remedy` the same
    channel may be asked again."""

    frames = b""
    said = ""
    unsent = False
    remedy: Remedy | None = None

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

    def let_go(self) -> None:
        """Forget the calls that it was raised through. They hold the answer, and whoever keeps the failure would keep
        it too, in a circle that only the collector finds: 30 MiB for minutes."""
        self.__traceback__ = self.__context__ = self.__cause__ = None


def failed_finish(word: object) -> AttemptFailed:
    """An answer whose provider says that it ended in failure, or in a way that nobody knows: it is none, whatever it
    holds. `word` is the provider's; only what looks like one of an enum's is repeated."""
    shown = str(word) if isinstance(word, int | str) else ""
    known = shown if shown.replace("_", "").isalnum() and shown.isascii() and len(shown) <= 40 else "an unknown word"
    return AttemptFailed(Blame.UPSTREAM, f"the answer ended in failure: {known}")


def refuse(param: str, message: str, code: str = "invalid_value") -> AttemptFailed:
    """What the chosen provider can't take at all, as the client's 400. `message` is ours and names the remedy."""
    return AttemptFailed(Blame.REQUEST, f"refused before it was sent: {param}", message=message, param=param, code=code)


class StreamReader(Protocol):
    """Tells a listener what an upstream's bytes say, and gives what that has to send: the frames. Fed whatever has
    arrived; keeps what is incomplete."""

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
    def kept(self) -> Mapping[str, Json]:
        """As in Completion; complete when the stream is."""
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
        """The frames that these bytes complete, ready to send; never the answer's tail.

        Raises AttemptFailed for an error event or for what is no event of this dialect."""
        ...


class Translator(Protocol):
    """Speaks of one kind of request with an upstream."""

    def write_request(self, order: Order) -> Outgoing:
        """The request in the upstream's dialect. Raises AttemptFailed (see `refuse`) for what it can't take."""
        ...

    def read_answer(self, data: bytes, outgoing: Outgoing) -> Completion:
        """Raises AttemptFailed when it is no answer of this dialect, or an error inside a 200."""
        ...

    def open_reader(self, outgoing: Outgoing, order: StreamOrder) -> StreamReader:
        """The reader of a stream. Raises AttemptFailed where the dialect has none."""
        ...


class Provider(Translator, Protocol):
    """A company and its dialect, in which conversations are told. `translators` are those of the other kinds of
    requests that it takes, by the names of the kinds."""

    name: str
    label: str
    base_url: str
    token_scales: TokenScales  # for answers that come without counts
    fetches_any_link: bool  # reads whatever a picture's link leads to, as what it is: a book too
    hour_write_times_input: int | None  # what an hour in its cache costs, where price lists don't say
    stands_in: bool  # no company's: it makes answers up, in development, for models that have no channel
    trial_model: str | None  # of its own models the only one that is good for a first try; None: any
    translators: Mapping[str, Translator]

    def auth_headers(self, key: str) -> dict[str, str]: ...

    def write_list(self, after: str) -> Outgoing:
        """What is to be got, without a body, for a page of the upstream's models; `after` is "" for the first."""
        ...

    def read_list(self, data: bytes) -> ModelPage:
        """Raises AttemptFailed when it is no list of this dialect."""
        ...

    def wants_reasoning(self, upstream_id: str, wire: str = "") -> bool:
        """Whether the model wants it back with tool calls: the relay keeps `Completion.kept`, and gives `Order.kept`.
        `wire`: see Order."""
        ...

    def choices_per_call(self, conversation: Conversation, upstream_id: str, wire: str = "") -> int:
        """How many choices (`n`) one call for it may ask for; more are made by parallel calls. `wire`: see Order."""
        ...

    def read_error(self, status: int, headers: dict[str, str], data: bytes) -> AttemptFailed:
        """An error answer's meaning. Header names are lower case."""
        ...
