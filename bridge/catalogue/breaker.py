"""The breaker's arithmetic, of one channel and without a clock, a socket or a table: what is out and for how long, what
share of a minute's attempts failed and whose they were, and whether a channel has fallen silent."""

import collections
import dataclasses
from typing import Protocol

FAILURES_IN_A_ROW = 5
RATE_WINDOW_SECONDS = 60
RATE_SLOTS = 6
RATE_ATTEMPTS = 20
RATE_FAILED_PERCENT = 20
RATE_OTHERS = 5  # attempts of other accounts, from which on they can tell that the fault is one account's own
PROBED_SECONDS = 1.0  # how far back a channel stands while somebody probes it: before those that are known to be out
NOTE_ANSWER_EVERY_SECONDS = 60.0
LATEST_WEIGHT = 0.2  # of the latest answer in the average
SILENT_ATTEMPTS = 5  # under way since the last sign of life, before silence says anything
SILENT_TIMES = 2.0  # as long as first contents usually take
LEAST_SILENT_SHARE, UNKNOWN_SILENT_SHARE = 1 / 30, 1 / 12  # of the time in which a first content must come


class RouteLike(Protocol):
    """What of a route counts here. `resets` goes up when the channel is to start afresh; channels with the same
    `credential` share its fate."""

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


class Names:
    """What the states that concern a route are called. The names of a channel that starts afresh are new, so nothing
    of before finds it, here or in Redis."""

    __slots__ = ("all", "channel", "key", "model", "rate")

    def __init__(self, route: RouteLike):
        self.channel = f"{route.channel_id}.{route.resets}"
        self.rate = f"rate:{self.channel}"
        self.key = f"key:{route.credential or self.channel}"
        self.model = f"{self.channel}:{route.upstream_id}"
        self.all = (self.channel, self.rate, self.key, self.model)


@dataclasses.dataclass(slots=True)
class State:
    """Of whatever is not simply well. With a cooldown and past `until` it is half-open; without, it only fails now and
    then, or waits for a rate limit to pass. Moments are monotonic."""

    failures: int = 0
    until: float = 0.0
    cooldown_seconds: float = 0.0
    probe_until: float = 0.0
    tried: bool = False  # an attempt began since: what ends without one was under way before, and proves nothing
    is_shared: bool = False  # Redis has it: gone there, it is gone here
    unsteady: bool = False  # out for its rate of failures: most of its answers were good, so one more proves nothing

    def seconds_out(self, now: float) -> float:
        if self.until > now:
            return self.until - now
        return min(PROBED_SECONDS, self.probe_until - now) if self.probe_until > now else 0.0

    def is_ended_by_an_answer(self, now: float) -> bool:
        """Not a rate limit that runs on, nor by an answer that began before it went out, nor before its time where
        answers are no proof."""
        return self.until <= now or bool(self.cooldown_seconds and self.tried and not self.unsteady)


class Window:
    """How many attempts of the last minute failed, in slots of ten seconds, and whose they were."""

    __slots__ = ("_attempts", "_failed", "_slot")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self._attempts: list[dict[int, int]] = [{} for _ in range(RATE_SLOTS)]  # by account
        self._failed: list[dict[int, int]] = [{} for _ in range(RATE_SLOTS)]
        self._slot = 0

    def add(self, now: float, failed: bool, account_id: int) -> None:
        slot = int(now * RATE_SLOTS / RATE_WINDOW_SECONDS)
        if slot != self._slot:
            for old in range(max(self._slot + 1, slot - RATE_SLOTS + 1), slot + 1):
                self._attempts[old % RATE_SLOTS], self._failed[old % RATE_SLOTS] = {}, {}
            self._slot = slot
        _count(self._attempts[slot % RATE_SLOTS], account_id)
        if failed:
            _count(self._failed[slot % RATE_SLOTS], account_id)

    def is_bad(self) -> bool:
        """Whether so large a share failed that the channel is to be left, and not only for the one account that met
        most of it."""
        failed = sum(sum(slot.values()) for slot in self._failed)
        if failed < FAILURES_IN_A_ROW:
            return False
        attempts = sum(sum(slot.values()) for slot in self._attempts)
        return attempts >= RATE_ATTEMPTS and _is_much(failed, attempts) and not self._is_one_accounts()

    def _is_one_accounts(self) -> bool:
        """Whether it is well with the others, who used it at the same time as the account that met most failures."""
        met: collections.Counter[int] = collections.Counter()
        for slot in self._failed:
            met.update(slot)
        unlucky = met.most_common(1)[0][0]
        attempts = failed = 0
        for made, lost in zip(self._attempts, self._failed, strict=True):
            if unlucky in lost:
                attempts += sum(made.values()) - made[unlucky]
                failed += sum(lost.values()) - lost[unlucky]
        return attempts >= RATE_OTHERS and not _is_much(failed, attempts)


def _count(by_account: dict[int, int], account_id: int) -> None:
    by_account[account_id] = by_account.get(account_id, 0) + 1


def _is_much(failed: int, attempts: int) -> bool:
    return failed * 100 >= attempts * RATE_FAILED_PERCENT


class Record:
    """What is counted for one model of one channel, also while all is well."""

    __slots__ = ("begun_at", "latency_seconds", "names", "noted_at", "silent_since", "unheard", "window")

    def __init__(self, window: Window, names: Names):
        self.window = window  # the channel's
        self.names = names
        self.latency_seconds: float | None = None
        self.noted_at = -NOTE_ANSWER_EVERY_SECONDS
        self.unheard = 0  # attempts that began since the last sign of life
        self.silent_since = 0.0  # when the first of them began
        self.begun_at = 0.0  # and the last

    def begin(self, now: float, first_content_seconds: float) -> bool:
        """One more attempt begins. Whether too many wait for too long for a first content, which must come in so many
        seconds: then the channel seems to have fallen silent."""
        self.begun_at = now
        self.unheard += 1
        if self.unheard <= SILENT_ATTEMPTS:
            if self.unheard == 1:
                self.silent_since = now
            return False
        return now - self.silent_since > self._patience(first_content_seconds)

    def measure(self, seconds: float) -> None:
        """A first content took so long."""
        known = self.latency_seconds
        self.latency_seconds = seconds if known is None else known + LATEST_WEIGHT * (seconds - known)

    def _patience(self, first_content_seconds: float) -> float:
        if self.latency_seconds is None:
            return first_content_seconds * UNKNOWN_SILENT_SHARE
        return max(first_content_seconds * LEAST_SILENT_SHARE, SILENT_TIMES * self.latency_seconds)
