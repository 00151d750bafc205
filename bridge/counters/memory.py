"""Counters in the memory of one process: a storage of Flask-Limiter that can also take all limits of a request at
once."""

import itertools
import time
from collections.abc import Mapping, Sequence
from typing import Any

import gevent
import msgspec
from limits.storage import MemoryStorage

from bridge.counters.windows import WINDOW_MS, Ask, Count, Give, Lease, fits

LEASES_LOOKED_AT = 32  # read from a full limit, to estimate when one of them may end


def clock_ms() -> int:
    """The clock of this process's own counters, in milliseconds. It is monotonic."""
    return time.monotonic_ns() // 1_000_000


def end_timer(storage: MemoryStorage) -> None:
    """End the thread in which a new storage of `limits` looks for expired entries, since it must not live on into a
    fork. The storage starts another when it needs one."""
    storage.timer.cancel()
    storage.timer.join()
    gevent.sleep(0)  # under gevent a thread is joined a moment before it has finished its own bookkeeping


class MemoryCounters(MemoryStorage):
    """Counters of this process alone. Old ones are dropped when their number has doubled. Leases end with the process
    and need no renewal."""

    STORAGE_SCHEME = ["bridge-memory"]

    def __init__(self, uri: str | None = None, wrap_exceptions: bool = False, **options: Any):
        super().__init__(uri, wrap_exceptions)
        end_timer(self)
        self._windows: dict[str, list[int]] = {}  # name -> [minute, current, previous]
        self._leases: dict[str, dict[str, float]] = {}  # name -> lease id -> when it ends
        self._sweep_at = self._sweep_leases_at = 1024

    def take_all(self, asks: Sequence[Ask]) -> list[Count]:
        now_ms = clock_ms()
        counts = [self._look(ask, now_ms) for ask in asks]
        if all(count.admitted for count in counts):
            for ask in asks:
                if ask.is_lease:
                    self._leases_of(ask.name, now_ms)[ask.lease_id] = now_ms / 1000 + ask.lease_seconds
                elif ask.cost:
                    self._window(ask.name, now_ms)[1] += ask.cost
        return counts

    def give_all(self, gives: Sequence[Give]) -> None:
        now_ms = clock_ms()
        for give in gives:
            if give.lease_id:
                leases = self._leases.get(give.name, {})
                leases.pop(give.lease_id, None)
                if not leases:
                    self._leases.pop(give.name, None)
                continue
            window = self._window(give.name, now_ms)
            if give.cost > 0 or give.minute == window[0]:
                window[1] = max(0, window[1] + give.cost)
            elif give.minute == window[0] - 1:
                window[2] = max(0, window[2] + give.cost)

    def renew(self) -> None:
        pass

    def hold(self, leases: Mapping[Lease, float]) -> None:
        """Count these leases, which were taken elsewhere, until they end (in seconds of `clock_ms`)."""
        now_ms = clock_ms()
        for (name, lease_id), end in leases.items():
            self._leases_of(name, now_ms)[lease_id] = end

    @property
    def has_leases(self) -> bool:
        return bool(self._leases)

    def _look(self, ask: Ask, now_ms: int) -> Count:
        if ask.is_lease:
            leases = self._leases.get(ask.name, {})
            for lease_id in [lease_id for lease_id, end in leases.items() if end <= now_ms / 1000]:
                del leases[lease_id]
            if len(leases) < ask.limit:
                return Count(True, 0, len(leases), 0)
            return Count(False, 0, len(leases), 0, 0, tuple(itertools.islice(leases, LEASES_LOOKED_AT)))
        minute, current, previous = self._window(ask.name, now_ms)
        count = Count(True, previous, current, now_ms % WINDOW_MS, minute)
        return count if fits(ask, count) else msgspec.structs.replace(count, admitted=False)

    def _leases_of(self, name: str, now_ms: int) -> dict[str, float]:
        """The leases of this name, for adding one. Some are never given back and end by themselves."""
        if name not in self._leases and len(self._leases) >= self._sweep_leases_at:
            now = now_ms / 1000
            running = {key: {id_: end for id_, end in kept.items() if end > now} for key, kept in self._leases.items()}
            self._leases = {key: kept for key, kept in running.items() if kept}
            self._sweep_leases_at = 2 * len(self._leases) + 1024
        return self._leases.setdefault(name, {})

    def _window(self, name: str, now_ms: int) -> list[int]:
        minute = now_ms // WINDOW_MS
        window = self._windows.get(name)
        if window is None:
            if len(self._windows) >= self._sweep_at:
                self._windows = {key: kept for key, kept in self._windows.items() if kept[0] >= minute - 1}
                self._sweep_at = 2 * len(self._windows) + 1024
            window = self._windows[name] = [minute, 0, 0]
        elif window[0] != minute:
            window[:] = [minute, 0, window[1] if window[0] == minute - 1 else 0]
        return window
