"""What all workers know of the channels, in one hash of Redis: who is out, for how long, and who probes.

Moments are Redis's own and travel as what is left of them, so no two clocks are compared. One script carries out what
a process has to say and answers with everything that is known, which is little: what is well is not there."""

import dataclasses
import time
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import redis
import structlog

from bridge.batcher import Batcher
from bridge.catalogue.channel_events import process_name
from bridge.counters import say_redis_is_away

HASH = "{bridge:health}"
RETRY_REDIS_SECONDS = 1.0
WAIT_SECONDS = 0.5
log = structlog.get_logger()

# Of each state: f failures in a row, u until when it is out, c its cooldown (0: a rate limit, or none), r 1 if it is
# out for its rate of failures, p until when somebody probes it and w who, t when it last changed; all moments in
# milliseconds. What nobody speaks of for an hour goes.
_SCRIPT = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local states, raw = {}, redis.call('HGETALL', KEYS[1])
for i = 1, #raw, 2 do
  local s = cjson.decode(raw[i + 1])
  if math.max(s.u, s.t) + 3600000 < now or (s.c == 0 and s.f == 0 and s.u <= now) then
    redis.call('HDEL', KEYS[1], raw[i])
  else states[raw[i]] = s end
end
local function save(name, s)
  s.t = now
  states[name] = s
  redis.call('HSET', KEYS[1], name, cjson.encode(s))
  redis.call('PEXPIRE', KEYS[1], 7200000)
end
local results = {}
for i, op in ipairs(cjson.decode(ARGV[1])) do
  local verb, name = op[1], op[2]
  local s, result = states[name], 0
  if verb == 'fail' then
    s = s or {f = 0, u = 0, c = 0, p = 0, w = ''}
    s.f = s.f + 1
    save(name, s)
    result = s.f
  elseif verb == 'open' then
    local ends, cooldown = now + op[4], op[5]
    if s and s.u > now then
      if cooldown == 0 and ends > s.u then s.u = ends; save(name, s) end
    else
      save(name, {f = 0, u = ends, c = cooldown, r = op[6], p = 0, w = ''})
      result = 1
    end
  elseif verb == 'close' then
    if s then
      if s.u > 0 then result = 1 end
      redis.call('HDEL', KEYS[1], name)
      states[name] = nil
    end
  elseif verb == 'probe' then
    if not s or s.p <= now then
      result = 1
      if s then s.p = now + op[4]; s.w = op[3]; save(name, s) end
    end
  elseif verb == 'give' and s and s.w == op[3] then
    s.p = 0
    save(name, s)
  end
  results[i] = result
end
local found = {}
for name, s in pairs(states) do
  found[#found + 1] = {name, s.f, math.max(0, s.u - now), s.c, math.max(0, s.p - now), s.r or 0}
end
return {results, found}
"""


@dataclasses.dataclass(frozen=True, slots=True)
class SharedState:
    """One state as Redis has it. Without a cooldown it is a rate limit, or a count of failures."""

    name: str
    failures: int
    seconds_left: float
    cooldown_seconds: float
    probe_seconds_left: float
    unsteady: bool


Order = tuple[Any, ...]
Then = Callable[[int | None], None]


class SharedHealth:
    """One process's line to Redis. Without Redis nothing waits or fails: results are None, which is said once a minute.

    `moves` counts the process's own changes: an answer that was under way during one is not adopted."""

    def __init__(self, redis_url: str, moves: Callable[[], int], adopt: Callable[[Iterable[SharedState]], None]):
        self._client = redis.Redis.from_url(
            redis_url, socket_timeout=WAIT_SECONDS, socket_connect_timeout=WAIT_SECONDS, protocol=2
        )
        self._script = self._client.register_script(_SCRIPT)
        self._moves, self._adopt = moves, adopt
        self._batcher: Batcher[tuple[Order | None, Then | None], int | None] = Batcher(self._run)
        self._away_until = 0.0

    def tell(self, order: Order, then: Then) -> None:
        """Send the order, out of the caller's way; `then` hears its result, or None without Redis."""
        self._batcher.tell((order, then))

    def exchange(self) -> None:
        """Send nothing, and hear everything. Waits for it."""
        self._batcher.ask((None, None))

    def take_probe(self, name: str, seconds: float) -> bool:
        """Whether this process may probe: nobody else does. Waits for Redis; without it, yes."""
        if time.monotonic() < self._away_until:
            return True
        return self._batcher.ask((("probe", name, process_name(), round(seconds * 1000)), None)) != 0

    def give_probe(self, name: str) -> None:
        """Let the next one probe."""
        self._batcher.tell((("give", name, process_name()), None))

    def close(self) -> None:
        self._client.close()

    def _run(self, items: list[tuple[Order | None, Then | None]]) -> list[int | None]:
        moves = self._moves()
        numbers, found = self._call([order for order, _ in items if order is not None])
        given = iter(numbers)
        results = [None if order is None else next(given, None) for order, _ in items]
        if found is not None and moves == self._moves():
            self._adopt(found)
        for (_, then), result in zip(items, results, strict=True):
            if then is not None:
                then(result)
        return results

    def _call(self, orders: list[Order]) -> tuple[list[int], list[SharedState] | None]:
        """The orders' results, and all that is known; nothing of either without Redis."""
        if time.monotonic() < self._away_until:
            return [], None
        try:
            results, found = self._script(keys=[HASH], args=[msgspec.json.encode(orders)])
        except redis.RedisError as error:
            self._go_without(error)
            return [], None
        return list(results), [
            SharedState(name.decode(), failures, left / 1000, cooldown / 1000, probe / 1000, bool(unsteady))
            for name, failures, left, cooldown, probe, unsteady in found
        ]

    def _go_without(self, error: redis.RedisError) -> None:
        self._away_until = time.monotonic() + RETRY_REDIS_SECONDS
        say_redis_is_away(error)
