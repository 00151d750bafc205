"""Counters that all workers and machines share, in Redis: a storage of Flask-Limiter that takes all limits of a request
in one trip. Redis runs `trips.lua` for it.

A lease is short here, and the process that runs its request renews it, so a killed worker leaves none behind."""

import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import redis
from limits.storage import RedisStorage

from bridge.batcher import Batcher
from bridge.counters import memory
from bridge.counters.windows import Ask, Count, Give, Lease
from bridge.shared_redis import SharedRedis, log_redis_away

RETRY_REDIS_SECONDS = 1.0
MOST_OWED = 10_000
MOST_RENEWED = 500  # leases in one trip
TRIPS = Path(__file__).with_name("trips.lua").read_text()
Trip = tuple[Sequence[Ask], Sequence[Give], Sequence[Lease]]  # what to take, to give back and to renew
_decode_counts = msgspec.json.Decoder(list[list[Count] | dict[str, Any]]).decode  # Lua writes an empty list as {}


class RedisCounters(RedisStorage):
    """Counters that all workers and machines share. Without Redis they count per process, and the log says so once a
    minute.

    The leases to renew are those that were taken here and not given back. They are listed when a trip begins, and trips
    run one after another, so a lease that was given back never returns."""

    STORAGE_SCHEME = ["bridge-redis"]

    def __init__(
        self,
        uri: str,
        wrap_exceptions: bool = False,
        *,
        shared: SharedRedis,
        lease_seconds: float = 20,
        **options: Any,
    ):
        super().__init__(uri, connection_pool=shared.connect(1).connection_pool, wrap_exceptions=wrap_exceptions)
        self._shared = shared
        self._client = shared.connect(0.5)
        self._script = self._client.register_script(TRIPS)
        self._lease_ms = round(lease_seconds * 1000)
        self._held: dict[Lease, float] = {}  # with the latest end of each
        self._batcher = Batcher(self._run)
        self._memory = memory.MemoryCounters()
        self._owed: deque[Give] = deque(maxlen=MOST_OWED)  # leases to give back to Redis once it is there again
        self._away_until = 0.0  # 0 while it is there

    def prefixed_key(self, key: str) -> str:
        """The key with our prefix, for Flask-Limiter's own keys. Raises PrefixUnknown."""
        return self._shared.key(super().prefixed_key(key))

    def check(self) -> bool:
        """Whether Flask-Limiter may count here again."""
        return bool(self._shared.prefix) and super().check()

    def take_all(self, asks: Sequence[Ask]) -> list[Count]:
        counts = self._batcher.ask((asks, (), ())) if self._may_ask() else None
        if counts is None:
            counts = self._memory.take_all(asks)
        renewed = [ask for ask in asks if ask.renewed]
        if renewed and all(count.admitted for count in counts):
            now = memory.clock_ms() / 1000
            self._held |= {(ask.name, ask.lease_id): now + ask.lease_seconds for ask in renewed}
        return counts

    def give_all(self, gives: Sequence[Give]) -> None:
        leases = [give for give in gives if give.lease_id]
        for give in leases:
            self._held.pop((give.name, give.lease_id), None)
        if not self._may_ask():
            self._memory.give_all(gives)
            self._owe(gives)
            return
        self._batcher.tell(((), gives, ()))
        if leases and self._memory.has_leases:  # some were taken in memory while Redis was away
            self._memory.give_all(leases)

    def renew(self) -> None:
        """Renew this process's leases, and put back those that Redis has lost. While Redis is away they count in this
        process."""
        now = memory.clock_ms() / 1000
        self._held = {lease: end for lease, end in self._held.items() if end > now}
        leases = list(self._held)
        for start in range(0, len(leases), MOST_RENEWED):
            some = leases[start : start + MOST_RENEWED]
            if not self._may_ask() or self._batcher.ask(((), (), some)) is None:
                self._memory.hold({lease: self._held[lease] for lease in some if lease in self._held})

    def _may_ask(self) -> bool:
        """Whether to ask Redis. While it is away, one request a second tries it, and no other waits for that one: a
        Redis that accepts connections and never answers is slower than one that is gone."""
        if not self._away_until:
            return True
        now = time.monotonic()
        if now < self._away_until:
            return False
        self._away_until = now + RETRY_REDIS_SECONDS
        return True

    def _owe(self, gives: Sequence[Give]) -> None:
        self._owed.extend(give for give in gives if give.lease_id)

    def _run(self, requests: list[Trip]) -> list[list[Count] | None]:
        owed = list(self._owed)
        self._owed.clear()
        held = self._held
        trips = [(asks, gives, [one for one in renewed if one in held]) for asks, gives, renewed in requests]
        try:
            sent = msgspec.json.encode([((), owed, ()), *trips])
            answer = self._script(args=[sent, self._shared.key(""), self._lease_ms])
        except redis.RedisError as error:
            self._go_without(error)
            self._owe(owed)
            for asks, gives, _ in requests:
                self._owe(gives)
                # Redis may have counted it all the same, and now memory counts this request
                self._owe([Give(ask.name, lease_id=ask.lease_id) for ask in asks if ask.is_lease])
            return [None] * len(requests)
        self._away_until = 0.0
        return [counts if isinstance(counts, list) else [] for counts in _decode_counts(answer)[1:]]

    def _go_without(self, error: redis.RedisError) -> None:
        self._away_until = time.monotonic() + RETRY_REDIS_SECONDS
        log_redis_away(error)


def storage_options(shared: SharedRedis | None, lease_seconds: float = 20) -> dict[str, Any]:
    """Flask-Limiter's settings for the storage in which it counts."""
    uri = "bridge-memory://" if shared is None else "bridge-redis://"
    options = {"shared": shared, "lease_seconds": lease_seconds}
    return {"RATELIMIT_STORAGE_URI": uri, "RATELIMIT_STORAGE_OPTIONS": options}
