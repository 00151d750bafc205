"""The arithmetic of windows and leases, and the values that a storage takes and returns.

A window covers the last 60 seconds with two counters: the running minute's, and the previous minute's weighted by how
much of it is still in view. A lease is one of the requests that may run at once."""

import dataclasses
import time
from collections.abc import Sequence
from typing import Protocol

import msgspec

from bridge.telemetry import created_at_of

WINDOW_SECONDS = 60
WINDOW_MS = WINDOW_SECONDS * 1000
LEAST_WAIT_SECONDS, MOST_WAIT_SECONDS = 1.0, 30.0
Lease = tuple[str, str]  # name and id


class Ask(msgspec.Struct, frozen=True, array_like=True):
    """A request to take `cost` from the window `name` or, with `is_lease`, one of its leases until `lease_seconds` from
    now. A `renewed` lease is given back earlier, or ends soon after its process does."""

    name: str
    limit: int
    cost: int = 1
    is_lease: bool = False
    lease_id: str = ""
    lease_seconds: float = 0
    renewed: bool = False


class Give(msgspec.Struct, frozen=True, array_like=True):
    """A request to add `cost` to the window `name`, or to end its lease `lease_id`. A negative cost goes back to the
    `minute` that counted it, if that is still in view; what others took since stays counted."""

    name: str
    cost: int = 0
    lease_id: str = ""
    minute: int = 0


class Count(msgspec.Struct, frozen=True, array_like=True):
    """A counter as it was found, before anything was taken. `elapsed_ms` is the time since `minute` began. A lease's
    count has `current` and, if the limit is full, some of the `running` leases."""

    admitted: bool
    previous: int
    current: int
    elapsed_ms: int
    minute: int = 0
    running: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Window:
    """A limit as the headers show it to the client."""

    limit: int
    remaining: int
    reset_seconds: float


def weigh(count: Count) -> int:
    """What the sliding window counts now, times WINDOW_MS. Whole numbers make limits exact."""
    return count.previous * (WINDOW_MS - count.elapsed_ms) + count.current * WINDOW_MS


def fits(ask: Ask, count: Count) -> bool:
    """Whether the window has room for this ask. An ask that costs nothing always fits: it only reads."""
    return ask.cost == 0 or weigh(count) + ask.cost * WINDOW_MS <= ask.limit * WINDOW_MS


def read_window(ask: Ask, count: Count, taken: bool) -> Window:
    """The window after taking: what remains, and the seconds until all of it is available again."""
    cost = ask.cost if taken else 0
    left = (WINDOW_MS - count.elapsed_ms) / 1000
    reset = left + WINDOW_SECONDS if count.current + cost else left if count.previous else 0.0
    return Window(ask.limit, max(0, (ask.limit - cost) * WINDOW_MS - weigh(count)) // WINDOW_MS, reset)


def seconds_until_free(ask: Ask, count: Count) -> float | None:
    """How long until this ask would be admitted if nothing else came; None if it never can be. For a lease this is an
    estimate, since nobody knows when a request ends."""
    if ask.cost > ask.limit:
        return None
    if ask.is_lease:
        return _expect_end(count)
    room = ask.limit - count.current - ask.cost
    if room >= 0:  # the previous minute must slide out of view a little more
        wanted = WINDOW_MS - room * WINDOW_MS // count.previous if count.previous else 0
        return max(0, wanted - count.elapsed_ms) / 1000
    wanted = WINDOW_MS - (ask.limit - ask.cost) * WINDOW_MS // count.current  # of the next minute
    return (WINDOW_MS - count.elapsed_ms + wanted) / 1000


def _expect_end(count: Count) -> float:
    """How long until one of the running requests may end. On average a request takes as long again as it has run, and
    one of n ends n times as soon. A dead process's request ends by the longest wait."""
    now, ages = time.time(), []
    for lease_id in count.running:
        try:
            ages.append(now - created_at_of(lease_id[:36]).timestamp())
        except ValueError:  # this lease is no request's
            ages.append(0.0)
    expected = sum(ages) / len(ages) / count.current if ages else 0.0
    return min(max(expected, LEAST_WAIT_SECONDS), MOST_WAIT_SECONDS)


class Counters(Protocol):
    """What the hot path needs from a storage."""

    def take_all(self, asks: Sequence[Ask]) -> list[Count]:
        """Take all asks, or, if one is refused, none of them."""
        ...

    def give_all(self, gives: Sequence[Give]) -> None: ...

    def renew(self) -> None:
        """Renew the leases of this process. A job calls this several times in a lease's life."""
        ...
