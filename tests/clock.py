"""The counters' clock in a test's hand: it stands until it is shifted."""

import contextlib
import datetime
from collections.abc import Iterator
from unittest import mock


class HandClock:
    """Milliseconds that go on only by `shift`, in seconds or as a timedelta."""

    def __init__(self) -> None:
        self._microseconds = 0

    def shift(self, by: float | datetime.timedelta) -> None:
        by = by if isinstance(by, datetime.timedelta) else datetime.timedelta(seconds=by)
        self._microseconds += by // datetime.timedelta(microseconds=1)

    def read(self) -> int:
        return self._microseconds // 1000


@contextlib.contextmanager
def clock_in_hand() -> Iterator[HandClock]:
    """Counters in memory go by it."""
    clock = HandClock()
    with mock.patch("bridge.counters.memory.clock_ms", clock.read):
        yield clock
