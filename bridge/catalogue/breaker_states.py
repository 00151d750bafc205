"""The breaker's states, the verdicts on failures, and the moves that the breaker returns: all of them plain values."""

import dataclasses
import enum
from typing import Protocol

from bridge.providers.base import AttemptFailed, Blame

FAILURES_IN_A_ROW = 5
RATE_FAILED_PERCENT = 20
MAX_COOLDOWN_SECONDS = 300.0
DEFAULT_RATE_COOLDOWN_SECONDS = 5.0
PROBED_SECONDS = 1.0  # a channel that is being probed ranks as if out for so long: before those known to be out
NOBODY = 0  # no account has this id
UNAVAILABLE = 503
KEY_MARK = "#"  # before a key's number in the name of its rate limit
OURS = -1  # whoever checks idle channels: what a check meets, nobody has to confirm (also in health_shared.lua)


class RouteLike(Protocol):
    """The part of a route that counts here. `resets` goes up when the channel is to start afresh. Channels with the
    same `credential` share its state. `key_id` is one of the channel's keys, 0 where it has but one. One that is
    `always_on` is never left."""

    @property
    def channel_id(self) -> int: ...
    @property
    def channel_name(self) -> str: ...
    @property
    def upstream_id(self) -> str: ...
    @property
    def resets(self) -> int: ...
    @property
    def credential(self) -> str: ...
    @property
    def key_id(self) -> int: ...
    @property
    def always_on(self) -> bool: ...


def own_name(name: str, account_id: int) -> str:
    """The name of a state for one account alone."""
    return f"@{account_id} {name}"  # in front, since model names may contain any character


def is_of_key(name: str) -> bool:
    """Whether this is the state of a credential or, where a channel has several keys, of one key's limit."""
    name = common_name(name)
    return name.startswith("key:") or (name.startswith("rate:") and KEY_MARK in name)


def common_name(name: str) -> str:
    """The name of the same state for all accounts."""
    return name.partition(" ")[2] if name.startswith("@") else name


class Names:
    """The names of a route's states. A channel that starts afresh gets new names, so no earlier state is found again,
    here or in Redis. `rate` is the limit of its key, `busy` that of the upstream whatever the key."""

    __slots__ = ("all", "busy", "channel", "key", "key_id", "model", "rate")

    def __init__(self, route: RouteLike):
        self.key_id = route.key_id
        self.channel = f"{route.channel_id}.{route.resets}"
        self.busy = self.rate = f"rate:{self.channel}"
        self.key = f"key:{route.credential or self.channel}"
        self.model = f"{self.channel}:{route.upstream_id}"
        self.all: tuple[str, ...] = (self.channel, self.rate, self.key, self.model)
        if route.key_id:
            self.rate = f"{self.busy}{KEY_MARK}{route.key_id}"
            self.all = (*self.all, self.rate)

    def of(self, account_id: int) -> tuple[str, ...]:
        """The names that concern this account: those of all accounts and its own."""
        return (*self.all, *(own_name(name, account_id) for name in self.all))


@dataclasses.dataclass(frozen=True, slots=True)
class SharedState:
    """A state as all workers share it. Without a cooldown it is a rate limit, or a count of failures."""

    name: str
    failures: int
    seconds_left: float
    cooldown_seconds: float
    probe_seconds_left: float
    unsteady: bool
    account_id: int
    by_several: bool


@dataclasses.dataclass(frozen=True, slots=True)
class State:
    """The state of whatever is not simply well. With a cooldown and past `until` it is half-open. Without a cooldown it
    fails now and then, or waits for a rate limit to pass. Moments are of the clock that `now` is read from."""

    failures: int = 0  # in a row, since it went out last
    account_id: int = NOBODY  # the account that met the first of them
    by_several: bool = False  # another account met one too
    until: float = 0.0
    cooldown_seconds: float = 0.0
    probe_until: float = 0.0
    tried: bool = False  # an attempt began since; an earlier attempt that ends now proves nothing
    is_shared: bool = False  # all workers have it: once it is gone there, it is gone here
    unsteady: bool = False  # out for its rate of failures: most answers were good, so one more proves nothing

    # what is asked

    def seconds_out(self, now: float) -> float:
        if self.until > now:
            return self.until - now
        return min(PROBED_SECONDS, self.probe_until - now) if self.probe_until > now else 0.0

    def stays_out(self, now: float) -> bool:
        """Whether one more failure says nothing, since the attempt was under way when the state went out."""
        return self.cooldown_seconds > 0 and (self.until > now or not self.tried)

    def is_one_too_many(self, run: int) -> bool:
        """Whether this many failures in a row are too many, or a probe has failed."""
        return self.failures >= run or self.cooldown_seconds > 0

    def concerns(self, account_id: int) -> bool:
        """Whether the state concerns this account: it doesn't if only another account has met it so far."""
        return self.until > 0 or self.by_several or account_id == self.account_id

    def is_ended_by_an_answer(self, now: float) -> bool:
        """Whether an answer ends this state. It doesn't end a running rate limit, nor a state that went out after the
        answer's attempt began, nor, before its time, one that answers don't disprove."""
        return self.until <= now or bool(self.cooldown_seconds and self.tried and not self.unsteady)

    # what it becomes

    def fail(self, account_id: int) -> "State":
        """One more failure in a row, met by this account."""
        first = account_id if not self.failures else self.account_id
        by_several = account_id == OURS or account_id != first or (self.failures > 0 and self.by_several)
        return dataclasses.replace(self, failures=self.failures + 1, account_id=first, by_several=by_several)

    def open(self, now: float, seconds: float, *, unsteady: bool) -> "State":
        """The state goes out for this long."""
        return dataclasses.replace(
            self,
            failures=0,
            until=now + seconds,
            cooldown_seconds=seconds,
            probe_until=0.0,
            tried=False,
            unsteady=unsteady,
        )

    def limit(self, until: float) -> "State":
        """An upstream's rate limit lasts until then."""
        return dataclasses.replace(self, failures=0, until=until)

    def probe(self, until: float) -> "State":
        return dataclasses.replace(self, probe_until=until)

    def give_probe(self) -> "State":
        return dataclasses.replace(self, probe_until=0.0, tried=False)

    def mark_tried(self) -> "State":
        """An attempt has begun since the state went out."""
        return dataclasses.replace(self, tried=True)

    def share(self) -> "State":
        """All workers have the state from now on."""
        return dataclasses.replace(self, is_shared=True)

    def count(self, failures: int, *, by_several: bool) -> "State":
        """All workers together have counted this many failures in a row."""
        most = max(self.failures, failures)
        return dataclasses.replace(self, failures=most, by_several=self.by_several or by_several, is_shared=True)

    def adopt(self, shared: SharedState, now: float) -> "State":
        """The state as all workers have it. If an attempt has begun here, that is remembered while the state is out."""
        is_out, probe = shared.seconds_left > 0, shared.probe_seconds_left
        return State(
            failures=shared.failures,
            account_id=shared.account_id,
            by_several=shared.by_several,
            until=now + shared.seconds_left if is_out else min(self.until, now),
            cooldown_seconds=shared.cooldown_seconds,
            probe_until=now + probe if probe > 0 else 0.0,
            tried=self.tried and (self.until > now or not is_out),
            is_shared=True,
            unsteady=shared.unsteady,
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """What a failure that `account_id` met means for the state `name`: it is out after `run` such failures in a row, or
    cools down for `limit_seconds`. `why` is for operators."""

    name: str
    account_id: int
    what: str
    why: str
    run: int = 1
    cooldown_seconds: float = 0.0  # 0: the usual time, or twice as long as the last time
    limit_seconds: float = 0.0

    @property
    def own_name(self) -> str:
        return own_name(self.name, self.account_id)

    def of_a_run(self, *, is_probe: bool) -> "Verdict":
        """The verdict on the failure that was one too many in a row."""
        if self.run == 1:
            return self
        before = "The probe failed" if is_probe else f"{self.run} failures in a row, the last"
        return dataclasses.replace(self, why=f"{before}: {self.why}")

    def of_a_rate(self) -> "Verdict":
        """The verdict on the failure that was one too many in a minute."""
        why = f"At least {RATE_FAILED_PERCENT} % of a minute's attempts failed, the last: {self.why}"
        return dataclasses.replace(self, why=why)


def judge(failure: AttemptFailed, names: Names, account_id: int, *, is_apart: bool = False) -> Verdict:
    """The state that a failure counts against: the model's where that fails apart from its channel. A fault of the
    request itself counts against nothing and never comes here."""
    why = failure.reason
    if failure.blame is Blame.RATE:
        seconds = min(failure.retry_after_seconds or DEFAULT_RATE_COOLDOWN_SECONDS, MAX_COOLDOWN_SECONDS)
        name = names.busy if failure.status == UNAVAILABLE else names.rate
        return Verdict(name, account_id, "cooling", why, limit_seconds=seconds)
    if failure.blame is Blame.CREDENTIAL:
        return Verdict(names.key, account_id, "out", why, cooldown_seconds=MAX_COOLDOWN_SECONDS)
    if failure.blame is Blame.SETUP:
        return Verdict(names.model, account_id, "misconfigured", why)
    if is_apart:
        return Verdict(names.model, account_id, "resting", why, run=FAILURES_IN_A_ROW)
    return Verdict(names.channel, account_id, "out", why, run=FAILURES_IN_A_ROW)


@dataclasses.dataclass(frozen=True, slots=True)
class Counted:
    """A failure was counted, and nothing went out for all accounts: other workers may have counted more."""

    verdict: Verdict


@dataclasses.dataclass(frozen=True, slots=True)
class Opened:
    """`name` is out, for all accounts or for one. `is_news`: this is not just a repetition of the same length."""

    name: str
    account_id: int | None
    what: str
    why: str
    seconds: float
    is_news: bool
    cooldown_seconds: float = 0.0  # 0: a rate limit
    unsteady: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Closed:
    """`name` is well again. `is_news`: it was out for all accounts."""

    name: str
    is_news: bool
    is_model: bool


@dataclasses.dataclass(frozen=True, slots=True)
class ProbeGiven:
    """The next request may probe `name`."""

    name: str


@dataclasses.dataclass(frozen=True, slots=True)
class Answered:
    """The first answer in a minute."""


Move = Counted | Opened | Closed | ProbeGiven | Answered


class Probe(enum.Enum):
    """What an attempt finds when it begins."""

    NOT_NEEDED = enum.auto()
    TOO_EARLY = enum.auto()  # it is out: the attempt is a last resort
    TAKEN = enum.auto()
    ANOTHERS = enum.auto()
