"""Where Flask-Limiter counts: its storages, in memory or in Redis, that also take all limits of a request in one trip.

A window is a sliding window of 60 seconds made of two counters: the running minute's, and the last minute's weighted by
how much of it is still in view. A lease is one of the requests that may run at once; it expires by itself, so that a
killed worker leaves none behind."""

import dataclasses
import math
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol

import gevent
import msgspec
import redis
import structlog
from limits.storage import MemoryStorage, RedisStorage

from bridge.batcher import Batcher

WINDOW_SECONDS = 60
WINDOW_MS = WINDOW_SECONDS * 1000
RETRY_REDIS_SECONDS = 1.0
SAY_AGAIN_SECONDS = 60
MOST_OWED = 10_000
log = structlog.get_logger()


class Ask(msgspec.Struct, frozen=True, array_like=True):
    """Take `cost` from the window `name`, or (is_lease) one lease of it until `lease_seconds` from now."""

    name: str
    limit: int
    cost: int = 1
    is_lease: bool = False
    lease_id: str = ""
    lease_seconds: float = 0


class Give(msgspec.Struct, frozen=True, array_like=True):
    """Add `cost` to the window `name`, or end the lease `lease_id` of it. A negative cost is given back to the `minute`
    that counted it, if that is still in view: what others took since stays counted."""

    name: str
    cost: int = 0
    lease_id: str = ""
    minute: int = 0


class Count(msgspec.Struct, frozen=True, array_like=True):
    """A counter as found: before the taking. Leases have `current` alone. `elapsed_ms`: of the running `minute`."""

    admitted: bool
    previous: int
    current: int
    elapsed_ms: int
    minute: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Window:
    """A limit as a client reads it in the headers."""

    limit: int
    remaining: int
    reset_seconds: float


def weigh(count: Count) -> int:
    """What counts in the sliding window now, times WINDOW_MS: whole numbers, so that a limit is met exactly."""
    return count.previous * (WINDOW_MS - count.elapsed_ms) + count.current * WINDOW_MS


def fits(ask: Ask, count: Count) -> bool:
    """Whether the window has room for this ask. What costs nothing always fits: it only looks."""
    return ask.cost == 0 or weigh(count) + ask.cost * WINDOW_MS <= ask.limit * WINDOW_MS


def read_window(ask: Ask, count: Count, taken: bool) -> Window:
    """The window after the taking: what remains, and the seconds until all of it is there again."""
    cost = ask.cost if taken else 0
    left = (WINDOW_MS - count.elapsed_ms) / 1000
    reset = left + WINDOW_SECONDS if count.current + cost else left if count.previous else 0.0
    return Window(ask.limit, max(0, (ask.limit - cost) * WINDOW_MS - weigh(count)) // WINDOW_MS, reset)


def seconds_until_free(ask: Ask, count: Count) -> float | None:
    """How long until this ask would be admitted if nothing else came; None if it never can."""
    if ask.cost > ask.limit:
        return None
    if ask.is_lease:
        return 1.0
    room = ask.limit - count.current - ask.cost
    if room >= 0:  # the last minute has to slide out of view a little more
        wanted = WINDOW_MS - room * WINDOW_MS // count.previous if count.previous else 0
        return max(0, wanted - count.elapsed_ms) / 1000
    wanted = WINDOW_MS - (ask.limit - ask.cost) * WINDOW_MS // count.current  # of the next minute
    return (WINDOW_MS - count.elapsed_ms + wanted) / 1000


class Counters(Protocol):
    """What the hot path asks of a storage."""

    def take_all(self, asks: Sequence[Ask]) -> list[Count]:
        """Take all asks, or, if one is refused, none of them."""
        ...

    def give_all(self, gives: Sequence[Give]) -> None: ...


def clock_ms() -> int:
    """The clock of this process's own counters, in milliseconds: it never jumps."""
    return time.monotonic_ns() // 1_000_000


def end_timer(storage: MemoryStorage) -> None:
    """End the thread in which a new storage of `limits` looks at what has expired: it must not live on into a fork. It
    starts another when it has something to look at."""
    storage.timer.cancel()
    storage.timer.join()
    gevent.sleep(0)  # under gevent a thread is joined a moment before it has put its own books in order


class MemoryCounters(MemoryStorage):
    """Counters of this process alone. Old ones are dropped when their number has doubled."""

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

    def _look(self, ask: Ask, now_ms: int) -> Count:
        if ask.is_lease:
            leases = self._leases.get(ask.name, {})
            for lease_id in [lease_id for lease_id, end in leases.items() if end <= now_ms / 1000]:
                del leases[lease_id]
            return Count(len(leases) < ask.limit, 0, len(leases), 0)
        minute, current, previous = self._window(ask.name, now_ms)
        count = Count(True, previous, current, now_ms % WINDOW_MS, minute)
        return count if fits(ask, count) else msgspec.structs.replace(count, admitted=False)

    def _leases_of(self, name: str, now_ms: int) -> dict[str, float]:
        """The leases of this name, to add one to. Some are never given back: they end by themselves."""
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


# One script for a whole batch of requests: a list of [asks, gives]; the clock is Redis's own.
_SCRIPT = """
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
local minute, elapsed = math.floor(now_ms / 60000), now_ms % 60000
local function window(name)
  local held = redis.call('HMGET', name, 'm', 'c', 'p')
  local m, c, p = tonumber(held[1]), tonumber(held[2]) or 0, tonumber(held[3]) or 0
  if m == minute then return c, p end
  if m == minute - 1 then return 0, c end
  return 0, 0
end
local function store(name, c, p)
  redis.call('HSET', name, 'm', minute, 'c', c, 'p', p)
  redis.call('PEXPIRE', name, 120000)
end
local answers = {}
for i, request in ipairs(cjson.decode(ARGV[1])) do
  local asks, gives, counts, all = request[1], request[2], {}, true
  for _, g in ipairs(gives) do
    if g[3] ~= '' then redis.call('ZREM', g[1], g[3])
    else
      local c, p = window(g[1])
      if g[2] > 0 or g[4] == minute then c = math.max(0, c + g[2])
      elseif g[4] == minute - 1 then p = math.max(0, p + g[2]) end
      store(g[1], c, p)
    end
  end
  for j, a in ipairs(asks) do
    local count
    if a[4] then
      redis.call('ZREMRANGEBYSCORE', a[1], '-inf', now_ms)
      local running = redis.call('ZCARD', a[1])
      count = {running < a[2], 0, running, 0}
    else
      local c, p = window(a[1])
      count = {a[3] == 0 or p * (60000 - elapsed) + (c + a[3]) * 60000 <= a[2] * 60000, p, c, elapsed, minute}
    end
    all = all and count[1]
    counts[j] = count
  end
  if all then
    for j, a in ipairs(asks) do
      if a[4] then
        redis.call('ZADD', a[1], now_ms + math.floor(a[6] * 1000), a[5])
        redis.call('PEXPIRE', a[1], math.floor(a[6] * 1000) + 1000)
      elseif a[3] ~= 0 then store(a[1], counts[j][3] + a[3], counts[j][2]) end
    end
  end
  answers[i] = counts
end
if #answers == 0 then return '[]' end
return cjson.encode(answers)
"""

_decode_counts = msgspec.json.Decoder(list[list[Count] | dict[str, Any]]).decode  # Lua writes an empty list as {}


_said_at = -math.inf


def say_redis_is_away(error: redis.RedisError) -> None:
    """In the log, once a minute for the process, whoever noticed."""
    global _said_at
    now = time.monotonic()
    if now - _said_at >= SAY_AGAIN_SECONDS:
        _said_at = now
        effect = "limits are counted, and channels' health is kept, per process"
        log.warning("redis_away", effect=effect, error=type(error).__name__)


class RedisCounters(RedisStorage):
    """Counters that all workers and machines share. Without Redis they count per process, and say so once a minute."""

    STORAGE_SCHEME = ["bridge-redis", "bridge-rediss", "bridge-unix"]

    def __init__(self, uri: str, wrap_exceptions: bool = False, **options: Any):
        url = uri.removeprefix("bridge-")
        super().__init__(url, wrap_exceptions=wrap_exceptions, socket_timeout=1, socket_connect_timeout=1)
        self._client = redis.Redis.from_url(url, socket_timeout=0.5, socket_connect_timeout=0.5, protocol=2)
        self._script = self._client.register_script(_SCRIPT)
        self._batcher = Batcher(self._run)
        self._memory = MemoryCounters()
        self._owed: deque[Give] = deque(maxlen=MOST_OWED)  # leases that Redis was not there to take back
        self._away_until = 0.0  # 0 while it is there

    def take_all(self, asks: Sequence[Ask]) -> list[Count]:
        counts = self._batcher.ask((asks, ())) if self._may_ask() else None
        return counts if counts is not None else self._memory.take_all(asks)

    def give_all(self, gives: Sequence[Give]) -> None:
        if self._may_ask():
            self._batcher.tell(((), gives))
        else:
            self._memory.give_all(gives)
            self._owe(gives)

    def _may_ask(self) -> bool:
        """Whether to ask Redis. While it is away one request a second tries, and no other waits for what becomes of
        it: a Redis that takes connections and says nothing is slower than one that is gone."""
        if not self._away_until:
            return True
        now = time.monotonic()
        if now < self._away_until:
            return False
        self._away_until = now + RETRY_REDIS_SECONDS
        return True

    def _owe(self, gives: Sequence[Give]) -> None:
        self._owed.extend(give for give in gives if give.lease_id)

    def _run(self, requests: list[tuple[Sequence[Ask], Sequence[Give]]]) -> list[list[Count] | None]:
        owed = list(self._owed)
        self._owed.clear()
        try:
            answer = self._script(args=[msgspec.json.encode([((), owed), *requests])])
        except redis.RedisError as error:
            self._go_without(error)
            self._owe(owed)
            for asks, gives in requests:
                self._owe(gives)
                # it may have come through all the same, and memory counts this request instead
                self._owe([Give(ask.name, lease_id=ask.lease_id) for ask in asks if ask.is_lease])
            return [None] * len(requests)
        self._away_until = 0.0
        return [counts if isinstance(counts, list) else [] for counts in _decode_counts(answer)[1:]]

    def _go_without(self, error: redis.RedisError) -> None:
        self._away_until = time.monotonic() + RETRY_REDIS_SECONDS
        say_redis_is_away(error)


def storage_uri(redis_url: str) -> str:
    """The storage that Flask-Limiter is configured with."""
    return f"bridge-{redis_url}" if redis_url else "bridge-memory://"
