"""Tells `/readyz` how this worker's requests fared within the last minute, as far as that is our own doing.

An upstream's failure, a limit and overload don't count: another worker would have done no better."""

import math
import time
from collections import deque

WINDOW_SECONDS = 60.0
LEAST_FAILED = 3  # one that met a database's restart is no reason to go
QUIET_SECONDS = 5.0  # without another failure: then requests may come again, to try
MOST_ACCOUNTS = 1000


class LastMinute:
    """Counts that go up; `tick`, once a second, notes where they were."""

    def __init__(self) -> None:
        self.served = 0  # requests that the ledger has let in
        self._failed = 0
        self._failed_at = -math.inf
        self._notes: deque[tuple[float, int, int]] = deque([(time.monotonic(), 0, 0)])
        self._broken: dict[int, float] = {}  # by account, when its request met a fault of the code

    def let_in(self) -> None:
        """The ledger has let a request in."""
        self.served += 1

    def fail(self) -> None:
        """A request was refused because the database or the ledger failed it."""
        self._failed += 1
        self._failed_at = time.monotonic()

    def break_off(self, account_id: int) -> None:
        """A request met a fault of the code. What only one account meets is in its requests: no customer is to send all
        workers away."""
        now = time.monotonic()
        recent = {other: at for other, at in self._broken.items() if now - at < WINDOW_SECONDS}
        self._broken = recent if len(recent) < MOST_ACCOUNTS else {}
        self._broken[account_id] = now
        if len(self._broken) > 1:
            self.fail()

    def tick(self) -> None:
        """Note the counts, and forget those of more than a minute ago."""
        now = time.monotonic()
        self._notes.append((now, self.served, self._failed))
        while now - self._notes[0][0] > WINDOW_SECONDS:
            self._notes.popleft()

    def fails(self) -> bool:
        """Whether most have failed, and still do. Once none has for a while, what was before is forgotten: whoever
        sends no more requests to a worker that isn't ready would never see it recover."""
        _, served, failed = self._notes[0]
        served, failed = self.served - served, self._failed - failed
        if failed < LEAST_FAILED or failed <= served:
            return False
        if (now := time.monotonic()) - self._failed_at < QUIET_SECONDS:
            return True
        self._notes = deque([(now, self.served, self._failed)])
        return False
