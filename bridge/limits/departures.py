"""Streams that their client leaves before a provider has answered: they cost nothing, so a key gets only so many.

A request asks memory alone whether its key has to wait. Leaving is counted where all workers count; a key that has to
wait is written there too, and every worker reads once a second which ones do."""

import math
import time

from bridge.counters import Ask, Counters
from bridge.errors import RateLimitExceeded

MOST_A_MINUTE = 10
BLOCKED_SECONDS = 60.0
NAME = "left"


class Departures:
    """The keys that have to wait, by what this process knows."""

    def __init__(self, counters: Counters):
        self._counters = counters
        self.blocked: dict[int, float] = {}  # key id -> the monotonic moment until which it waits

    def note(self, account_id: int, key_id: int) -> None:
        """A client of this key has left too early. Beyond ten in a minute the key has to wait for one."""
        ask = Ask(f"{{a{account_id}}}:k{key_id}:{NAME}", MOST_A_MINUTE)
        if not self._counters.take_all([ask])[0].admitted:
            self.blocked[key_id] = time.monotonic() + BLOCKED_SECONDS
            self._counters.mark(f"{NAME}:{key_id}", BLOCKED_SECONDS)

    def check(self, key_id: int) -> None:
        """Raises RateLimitExceeded while the key has to wait."""
        seconds = self.blocked.get(key_id, -math.inf) - time.monotonic()
        if seconds > 0:
            raise RateLimitExceeded(
                f"Rate limit exceeded: {MOST_A_MINUTE} requests a minute that were left before they were answered",
                retry_after_seconds=seconds,
            )

    def read_shared(self) -> None:
        """Learn from the other workers which keys have to wait, and forget those that don't any more."""
        now = time.monotonic()
        found = {key_id: until for key_id, until in self.blocked.items() if until > now}
        for name, seconds in self._counters.list_marks().items():
            kind, _, key_id = name.partition(":")
            if kind == NAME and key_id.isdigit():
                found[int(key_id)] = max(found.get(int(key_id), 0.0), now + seconds)
        self.blocked = found
