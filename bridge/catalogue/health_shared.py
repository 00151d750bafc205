"""What all workers know about the channels, in one hash of Redis: which are out, for how long, and who probes.

Times are measured by Redis's clock and travel as the time that is left, so no two clocks are compared. One script,
`health_shared.lua`, carries out a process's operations and returns everything that is known. That is little, since what
is well has no state."""

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
import redis

from bridge.batcher import Batcher
from bridge.catalogue.breaker_states import SharedState
from bridge.catalogue.channel_events import process_name
from bridge.shared_redis import SharedRedis, log_redis_away

HASH = "health"
RETRY_REDIS_SECONDS = 1.0
WAIT_SECONDS = 0.5
SCRIPT = Path(__file__).with_name("health_shared.lua").read_text()
Operation = tuple[Any, ...]
Then = Callable[[int | None], None]


class SharedHealth:
    """One process's access to the shared health. Without Redis nothing waits or fails: results are None, and the log
    says so once a minute.

    `changes` counts the process's own changes. States that were read while it changed are not adopted."""

    def __init__(self, shared: SharedRedis, changes: Callable[[], int], adopt: Callable[[Iterable[SharedState]], None]):
        self._shared = shared
        self._client = shared.connect(WAIT_SECONDS)
        self._script = self._client.register_script(SCRIPT)
        self._changes, self._adopt = changes, adopt
        self._batcher: Batcher[tuple[Operation | None, Then | None], int | None] = Batcher(self._run)
        self._away_until = 0.0

    def send(self, operation: Operation, then: Then) -> None:
        """Queue the operation without waiting. `then` gets its result, or None without Redis."""
        self._batcher.tell((operation, then))

    def exchange(self) -> None:
        """Send nothing, and read everything that is known. Waits for it."""
        self._batcher.ask((None, None))

    def take_probe(self, name: str, seconds: float) -> bool:
        """Whether this process may probe, since no other does. Waits for Redis; without it, yes."""
        if time.monotonic() < self._away_until:
            return True
        return self._batcher.ask((("probe", name, process_name(), round(seconds * 1000)), None)) != 0

    def give_probe(self, name: str) -> None:
        """Give the probe back, so that another request may probe."""
        self._batcher.tell((("give", name, process_name()), None))

    def close(self) -> None:
        self._client.close()

    def _run(self, items: list[tuple[Operation | None, Then | None]]) -> list[int | None]:
        changes = self._changes()
        numbers, found = self._call([operation for operation, _ in items if operation is not None])
        given = iter(numbers)
        results = [None if operation is None else next(given, None) for operation, _ in items]
        if found is not None and changes == self._changes():
            self._adopt(found)
        for (_, then), result in zip(items, results, strict=True):
            if then is not None:
                then(result)
        return results

    def _call(self, operations: list[Operation]) -> tuple[list[int], list[SharedState] | None]:
        """The operations' results, and everything that is known; neither without Redis."""
        if time.monotonic() < self._away_until:
            return [], None
        try:
            results, found = self._script(keys=[self._shared.key(HASH)], args=[msgspec.json.encode(operations)])
        except redis.RedisError as error:
            self._go_without(error)
            return [], None
        return list(results), [
            SharedState(name.decode(), failures, left / 1000, cooldown / 1000, probe / 1000, bool(r), account, bool(m))
            for name, failures, left, cooldown, probe, r, account, m in found
        ]

    def _go_without(self, error: redis.RedisError) -> None:
        self._away_until = time.monotonic() + RETRY_REDIS_SECONDS
        log_redis_away(error)
