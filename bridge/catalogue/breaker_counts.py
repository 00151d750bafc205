"""What the breaker counts for each channel, also while all is well: how many of a minute's attempts failed and whose
they were, how long first contents take, and whether the channel has fallen silent."""

import collections

from bridge.catalogue.breaker_states import FAILURES_IN_A_ROW, RATE_FAILED_PERCENT, Names

RATE_WINDOW_SECONDS = 60
RATE_SLOTS = 6
RATE_ATTEMPTS = 20
RATE_OTHERS = 5  # attempts of other accounts that suffice to tell that the fault is one account's own
NOTE_ANSWER_EVERY_SECONDS = 60.0
LATEST_WEIGHT = 0.2  # the latest answer's weight in the average
SILENT_ATTEMPTS = 5  # attempts since the last sign of life, before silence means anything
SILENT_TIMES = 2.0  # times the usual time to a first content
LEAST_SILENT_SHARE, UNKNOWN_SILENT_SHARE = 1 / 30, 1 / 12  # shares of the time limit of a first content


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

    def forget(self, account_id: int) -> None:
        """Drop this account's attempts."""
        for slot in (*self._attempts, *self._failed):
            slot.pop(account_id, None)

    def is_bad_for(self, account_id: int) -> bool:
        """Whether the channel is bad for one account: a large share of its own attempts failed, or several failed and
        none succeeded."""
        attempts, failed = (sum(slot.get(account_id, 0) for slot in slots) for slots in (self._attempts, self._failed))
        if failed < FAILURES_IN_A_ROW:
            return False
        return failed == attempts or (attempts >= RATE_ATTEMPTS and _is_much(failed, attempts))

    def is_bad(self) -> bool:
        """Whether so many attempts failed that the channel is to be left, and not only by the one account that met most
        of the failures."""
        failed = sum(sum(slot.values()) for slot in self._failed)
        if failed < FAILURES_IN_A_ROW:
            return False
        attempts = sum(sum(slot.values()) for slot in self._attempts)
        return attempts >= RATE_ATTEMPTS and _is_much(failed, attempts) and not self._is_one_accounts()

    def _is_one_accounts(self) -> bool:
        """Whether the failures are one account's own: no other account has met any, or the channel works for others at
        the same time."""
        met: collections.Counter[int] = collections.Counter()
        for slot in self._failed:
            met.update(slot)
        if len(met) == 1:
            return True
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
    """The counts of one model of one channel, also while all is well."""

    __slots__ = (
        "account_id",
        "begun_at",
        "by_several",
        "latency_seconds",
        "names",
        "noted_at",
        "silent_since",
        "unheard",
        "window",
    )

    def __init__(self, window: Window, names: Names):
        self.window = window  # the channel's
        self.names = names
        self.latency_seconds: float | None = None
        self.noted_at = -NOTE_ANSWER_EVERY_SECONDS
        self.unheard = 0  # attempts that began since the last sign of life
        self.account_id, self.by_several = 0, False  # the first one's account, and whether other accounts followed
        self.silent_since = 0.0  # when the first of them began
        self.begun_at = 0.0  # and the last

    def begin(self, now: float, first_content_seconds: float, account_id: int) -> bool:
        """One more attempt begins. Returns whether too many have waited too long for a first content, so that the
        channel seems to have fallen silent. `first_content_seconds` is the time limit of a first content."""
        self.begun_at = now
        self.unheard += 1
        if self.unheard == 1:
            self.silent_since, self.account_id, self.by_several = now, account_id, False
        elif account_id != self.account_id:
            self.by_several = True
        if self.unheard <= SILENT_ATTEMPTS:
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
