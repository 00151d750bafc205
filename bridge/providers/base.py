"""What every provider speaks with the relay: what goes out, what comes back, how it fails. Pure values, no sockets."""

import dataclasses
import enum
from typing import Any, Protocol


@dataclasses.dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer in OpenAI's meaning: prompt includes cached ones, completion includes reasoning."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Outgoing:
    """One upstream request, ready to send: path below the channel's base URL, body, and headers besides the key's."""

    path: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    dropped: tuple[str, ...] = ()
    clamped: tuple[str, ...] = ()


class Blame(enum.Enum):
    """Who a failed attempt speaks against: that decides failover, cooldown and what the client is told."""

    REQUEST = "request"  # the client's own request; no retry, 400
    CREDENTIAL = "credential"  # our key or our balance there; the channel is out of service
    SETUP = "setup"  # unknown model, redirect; the channel is misconfigured
    RATE = "rate"  # the upstream's limit; cools down for Retry-After
    UPSTREAM = "upstream"  # 5xx, cut, rubbish, silence


class AttemptFailed(Exception):
    """One attempt failed. `reason` is ours, short, and safe to show to the operator; for Blame.REQUEST `message`,
    `param` and `code` are what the client is told. `frames` are the sound ones of a stream's last read."""

    frames = b""

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


@dataclasses.dataclass(slots=True)
class Completion:
    """A whole answer, as OpenAI's body but for `id`, `model` and `usage`, which the relay writes."""

    body: dict[str, Any]
    usage: Usage | None
    finish_reason: str | None
    text: list[str]  # what the model said, for our own count when `usage` is missing


class StreamReader(Protocol):
    """Turns an upstream's bytes into frames for the client. Fed whatever has arrived; keeps what is incomplete."""

    started: bool  # some content was seen: from here on there is no failover
    finished: bool  # the upstream said that it is done
    usage: Usage | None
    usage_outdated: bool  # something was said since: it counts only if the stream came to its end
    finish_reason: str | None
    text: list[str]  # what was said so far, for our own count

    def feed(self, data: bytes) -> bytes:
        """The frames that these bytes complete, ready to send; never the usage frame nor [DONE].

        Raises AttemptFailed for an error event or for what is no event of this dialect."""
        ...


class Provider(Protocol):
    """A company and its dialect."""

    name: str
    label: str
    base_url: str

    def auth_headers(self, key: str) -> dict[str, str]: ...

    def write_chat(self, body: dict[str, Any], upstream_id: str, output_cap: int | None) -> Outgoing:
        """OpenAI's chat body in this dialect. `output_cap` is set where the client gave none, or more than it may."""
        ...

    def read_answer(self, data: bytes) -> Completion:
        """Raises AttemptFailed when it is no answer of this dialect, or an error inside a 200."""
        ...

    def open_reader(self, answer_id: str, model: str, include_usage: bool, max_event_bytes: int) -> StreamReader: ...

    def read_error(self, status: int, headers: dict[str, str], data: bytes) -> AttemptFailed:
        """An error answer's meaning. Header names are lower case."""
        ...
