"""Flask-Limiter's storages: windows slide exactly, all or nothing is taken, and leases end, in memory and in Redis."""

import datetime
import time
from collections.abc import Iterator
from typing import Any

import gevent
import pytest
import redis
import time_machine
from hypothesis import HealthCheck, assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from limits.storage import storage_from_string
from structlog.testing import capture_logs

from bridge.counters.memory import MemoryCounters
from bridge.counters.redis import MOST_RENEWED, RETRY_REDIS_SECONDS, RedisCounters, storage_options
from bridge.counters.windows import WINDOW_MS, Ask, Count, Give, fits, read_window, seconds_until_free
from bridge.limits.limits import read_in_use
from bridge.shared_redis import LOG_AGAIN_SECONDS
from bridge.telemetry import new_request_id
from tests.clock import HandClock, clock_in_hand
from tests.rooms import share_redis

NOON = datetime.datetime(2026, 3, 10, 12, tzinfo=datetime.UTC)
COUNTS = st.builds(Count, st.just(False), st.integers(0, 5000), st.integers(0, 5000), st.integers(0, WINDOW_MS - 1))


def later(count: Count, milliseconds: int) -> Count:
    """The same counter after some time in which nothing came."""
    minutes, elapsed = divmod(count.elapsed_ms + milliseconds, WINDOW_MS)
    previous, current = [(count.previous, count.current), (count.current, 0), (0, 0)][min(minutes, 2)]
    return Count(False, previous, current, elapsed)


@given(COUNTS, st.integers(1, 5000), st.integers(1, 5000))
def test_waiting_exactly_as_long_as_told_is_admitted_and_less_is_not(count: Count, limit: int, cost: int):
    ask = Ask("w", limit, cost)
    assume(not fits(ask, count))
    seconds = seconds_until_free(ask, count)
    if cost > limit:
        assert seconds is None
        return
    assert seconds is not None
    wait = round(seconds * 1000)
    assert fits(ask, later(count, wait))
    assert not fits(ask, later(count, wait - 1))


@given(COUNTS, st.integers(1, 5000), st.integers(1, 5000))
def test_a_window_shows_what_can_still_be_taken(count: Count, limit: int, cost: int):
    ask = Ask("w", limit, cost)
    taken = fits(ask, count)
    window = read_window(ask, count, taken)
    after = Count(False, count.previous, count.current + (cost if taken else 0), count.elapsed_ms)
    assert fits(Ask("w", limit, window.remaining), after)
    assert not fits(Ask("w", limit, window.remaining + 1), after)
    assert read_window(Ask("w", limit, 0), later(after, round(window.reset_seconds * 1000)), True).remaining == limit


# in memory, with the clock in hand


@pytest.fixture
def clock() -> Iterator[HandClock]:
    with clock_in_hand() as clock:
        yield clock


@pytest.fixture
def memory(clock: HandClock) -> MemoryCounters:
    return MemoryCounters()


def take(counters: Any, name: str, limit: int, cost: int = 1) -> Count:
    return counters.take_all([Ask(name, limit, cost)])[0]


def test_a_window_slides(memory: MemoryCounters, clock: HandClock):
    clock.shift(30)
    assert [take(memory, "w", 10).admitted for _ in range(11)] == [True] * 10 + [False]
    clock.shift(30)  # the next minute begins, and all ten are still in view
    assert not take(memory, "w", 10).admitted
    clock.shift(datetime.timedelta(milliseconds=5_999))
    assert not take(memory, "w", 10).admitted
    clock.shift(datetime.timedelta(milliseconds=1))  # a tenth of that minute is out of view, and one request with it
    assert take(memory, "w", 10).admitted
    assert not take(memory, "w", 10).admitted
    clock.shift(120)
    assert take(memory, "w", 10, 10).admitted


@given(st.lists(st.tuples(st.integers(0, 70_000), st.integers(0, 12)), max_size=40))
def test_no_minute_sees_more_than_the_limit_as_the_window_counts_it(steps: list[tuple[int, int]]):
    with clock_in_hand() as clock:
        counters, now, taken = MemoryCounters(), 0, []
        for wait, cost in steps:
            clock.shift(datetime.timedelta(milliseconds=wait))
            now += wait
            count = take(counters, "w", 10, cost)
            minute = now // WINDOW_MS
            assert count.current == sum(cost for at, cost in taken if at // WINDOW_MS == minute)
            assert count.previous == sum(cost for at, cost in taken if at // WINDOW_MS == minute - 1)
            assert count.elapsed_ms == now % WINDOW_MS
            if count.admitted:
                taken.append((now, cost))
            refused = None if count.admitted else seconds_until_free(Ask("w", 10, cost), count)
            if refused is not None:
                clock.shift(datetime.timedelta(seconds=refused))
                now += round(refused * 1000)
                assert take(counters, "w", 10, cost).admitted
                taken.append((now, cost))


def test_what_was_given_back_leaves_what_others_took_since(memory: MemoryCounters, clock: HandClock):
    reserved = take(memory, "w", 1000, 600)
    clock.shift(60)
    take(memory, "w", 1000, 300)
    memory.give_all([Give("w", cost=-590, minute=reserved.minute)])
    count = take(memory, "w", 1000, 0)
    assert (count.previous, count.current) == (10, 300)
    clock.shift(60)
    take(memory, "w", 1000, 50)
    memory.give_all([Give("w", cost=-590, minute=reserved.minute)])  # long out of view
    count = take(memory, "w", 1000, 0)
    assert (count.previous, count.current) == (300, 50)


def test_what_was_used_beyond_the_reservation_counts_now(memory: MemoryCounters, clock: HandClock):
    reserved = take(memory, "w", 1000, 600)
    clock.shift(180)
    memory.give_all([Give("w", cost=200, minute=reserved.minute)])
    assert take(memory, "w", 1000, 0).current == 200


def test_leases_in_memory_end_by_themselves(memory: MemoryCounters, clock: HandClock):
    def lease(id_: str) -> bool:
        ask = Ask("l", 2, is_lease=True, lease_id=id_, lease_seconds=30)
        return memory.take_all([ask])[0].admitted

    assert [lease("a"), lease("b"), lease("c")] == [True, True, False]
    clock.shift(29.999)
    assert not lease("c")
    clock.shift(0.001)
    assert lease("c")


def test_a_clock_that_jumps_changes_no_limit_in_memory():
    noon = datetime.datetime(2026, 3, 10, 12, tzinfo=datetime.UTC)
    for days in (1, -1):
        counters = MemoryCounters()
        with time_machine.travel(noon, tick=False) as wall:
            assert [take(counters, "w", 2).admitted for _ in range(3)] == [True, True, False]
            assert counters.take_all([lease_of("a")])[0].admitted
            wall.shift(datetime.timedelta(days=days))
            assert not take(counters, "w", 2).admitted
            assert not counters.take_all([lease_of("b")])[0].admitted


def test_counters_in_memory_do_not_pile_up(memory: MemoryCounters, clock: HandClock):
    for day in range(4):
        for key in range(3000):
            take(memory, f"{day}:{key}", 10)
        clock.shift(86_400)
    assert len(memory._windows) < 7000


# what both storages promise


@pytest.fixture(params=["memory", "redis"])
def counters(request: pytest.FixtureRequest) -> Iterator[Any]:
    if request.param == "memory":
        yield MemoryCounters()
        return
    options = storage_options(share_redis(request.getfixturevalue("redis_url")))
    counters = storage_from_string(options["RATELIMIT_STORAGE_URI"], **options["RATELIMIT_STORAGE_OPTIONS"])
    assert isinstance(counters, RedisCounters)
    yield counters
    counters._client.close()


def lease_of(id_: str, limit: int = 1, seconds: float = 60) -> Ask:
    return Ask("{a1}:at-once", limit, is_lease=True, lease_id=id_, lease_seconds=seconds)


def test_what_is_in_use_is_read_without_taking_any(counters: Any):
    shared, own = (100, 0, 10), (5, 2000, 0)  # RPM, TPM, at once

    def read(key_id: int) -> list[tuple[str, int, int, bool]]:
        found = read_in_use(counters, 1, key_id, own, shared)
        return [(each.kind, each.used, each.limit, each.is_shared) for each in found]

    assert read(1) == [("rpm", 0, 5, False), ("tpm", 0, 2000, False), ("concurrency", 0, 10, True)]
    asks = [Ask("{a1}:k1:rpm", 5, 3), Ask("{a1}:rpm", 100, 97), Ask("{a1}:k1:tpm", 2000, 420), lease_of("a", 10)]
    counters.take_all(asks)
    for _ in range(3):  # looking changes nothing
        assert read(1) == [("rpm", 3, 5, False), ("tpm", 420, 2000, False), ("concurrency", 1, 10, True)]
    counters.take_all([Ask("{a1}:rpm", 100, 2)])  # by another key: now the account's has less left
    assert read(1)[0] == ("rpm", 99, 100, True)
    assert read(2)[1:] == [("tpm", 0, 2000, False), ("concurrency", 1, 10, True)]
    assert read_in_use(counters, 1, 1, (0, 0, 0), (0, 0, 0)) == []


def test_all_of_a_request_is_taken_or_nothing(counters: Any):
    def ask(id_: str, tokens: int) -> list[bool]:
        asks = [Ask("{a1}:rpm", 2, 1), Ask("{a1}:tpm", 1000, tokens), lease_of(id_, 2)]
        return [count.admitted for count in counters.take_all(asks)]

    assert ask("a", 600) == [True, True, True]
    assert ask("b", 600) == [True, False, True]  # so neither a request nor a lease was taken
    assert ask("c", 400) == [True, True, True]
    counts = counters.take_all([Ask("{a1}:rpm", 2, 0), Ask("{a1}:tpm", 1000, 0), lease_of("d", 2)])
    assert [count.current + count.previous for count in counts] == [2, 1000, 2]
    assert [count.admitted for count in counts] == [True, True, False]


def test_looking_takes_nothing_and_is_never_refused(counters: Any):
    assert take(counters, "w", 5, 5).admitted
    counters.give_all([Give("w", cost=95)])
    for _ in range(3):
        look = take(counters, "w", 5, 0)
        assert look.admitted
        assert look.current + look.previous == 100
    assert not take(counters, "w", 5, 1).admitted


def test_names_do_not_share_windows(counters: Any):
    assert take(counters, "one", 1).admitted
    assert take(counters, "other", 1).admitted
    assert not take(counters, "one", 1).admitted


def test_a_lease_given_back_is_there_for_the_next(counters: Any):
    assert counters.take_all([lease_of("a")])[0].admitted
    assert not counters.take_all([lease_of("b")])[0].admitted
    counters.give_all([Give("{a1}:at-once", lease_id="b")])  # one that is not held frees nothing
    assert not counters.take_all([lease_of("b")])[0].admitted
    counters.give_all([Give("{a1}:at-once", lease_id="a")])
    assert counters.take_all([lease_of("b")])[0].admitted


def test_many_at_once_get_exactly_as_many_as_there_are(counters: Any):
    asking = [gevent.spawn(take, counters, "w", 7) for _ in range(200)]
    assert sum(one.get().admitted for one in asking) == 7


# what only Redis can show: its clock is its own, so the past is made by writing it


PREFIX = "bridge:tests:"


def open_counters(url: str) -> RedisCounters:
    return RedisCounters("bridge-redis://", shared=share_redis(url, PREFIX))


@pytest.fixture
def shared(redis_url: str) -> Iterator[RedisCounters]:
    counters = open_counters(redis_url)
    yield counters
    counters._client.close()


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    client = redis.Redis.from_url(redis_url)
    yield client
    client.close()


def redis_now_ms(client: redis.Redis) -> int:
    seconds, microseconds = client.time()
    return seconds * 1000 + microseconds // 1000


@pytest.mark.parametrize(("minutes_ago", "previous", "current"), [(0, 70, 30), (1, 30, 0), (2, 0, 0), (9, 0, 0)])
def test_in_redis_a_minute_moves_out_of_view(
    shared: RedisCounters, client: redis.Redis, minutes_ago: int, previous: int, current: int
):
    minute = redis_now_ms(client) // WINDOW_MS
    client.hset(PREFIX + "w", mapping={"m": minute - minutes_ago, "c": 30, "p": 70})
    count = take(shared, "w", 1000, 0)
    if count.minute == minute:
        assert (count.previous, count.current) == (previous, current)
    else:  # midnight of the minute fell between the two looks
        assert count.minute == minute + 1
        assert count.current == 0


def test_redis_admits_to_the_limit_exactly_and_no_further(shared: RedisCounters, client: redis.Redis):
    for previous, current in [(0, 0), (7, 0), (997, 3), (20_000, 19_999), (123_456_789, 1)]:
        minute = redis_now_ms(client) // WINDOW_MS
        client.hset(PREFIX + "w", mapping={"m": minute, "c": current, "p": previous})
        for limit in range(current + 1, previous + current + 2, max(1, previous // 50)):
            ask = Ask("w", limit, 1)
            count = shared.take_all([ask])[0]
            assert count.admitted == fits(ask, count)
            shared.give_all([Give("w", cost=-1 if count.admitted else 0, minute=count.minute)])


def test_redis_counts_by_its_own_clock(shared: RedisCounters, client: redis.Redis):
    before = redis_now_ms(client)
    with time_machine.travel(NOON + datetime.timedelta(days=4000), tick=False):
        if redis_now_ms(client) == time.time_ns() // 1_000_000:
            pytest.skip("a stand-in for Redis in this process has our clock")
        count = take(shared, "w", 10)
    now = count.minute * WINDOW_MS + count.elapsed_ms
    assert before <= now <= redis_now_ms(client)


def test_in_redis_a_reservation_is_given_back_to_its_own_minute(shared: RedisCounters, client: redis.Redis):
    def give_back(minutes_ago: int) -> tuple[int, int]:
        minute = redis_now_ms(client) // WINDOW_MS
        client.hset(PREFIX + "w", mapping={"m": minute, "c": 300, "p": 600})
        shared.give_all([Give("w", cost=-590, minute=minute - minutes_ago)])
        count = take(shared, "w", 10_000, 0)
        return (count.previous, count.current) if count.minute == minute else give_back(minutes_ago)

    assert give_back(0) == (600, 0)
    assert give_back(1) == (10, 300)
    assert give_back(2) == (600, 300)


def test_leases_in_redis_end_by_themselves(shared: RedisCounters, client: redis.Redis):
    before = redis_now_ms(client)
    assert shared.take_all([lease_of("a", seconds=650)])[0].admitted
    assert not shared.take_all([lease_of("b")])[0].admitted
    ends = client.zscore(PREFIX + "{a1}:at-once", "a")
    assert before + 650_000 <= ends <= redis_now_ms(client) + 650_000
    client.zadd(PREFIX + "{a1}:at-once", {"a": redis_now_ms(client)})  # as if the time had passed
    assert shared.take_all([lease_of("b")])[0].admitted
    assert client.zscore(PREFIX + "{a1}:at-once", "a") is None


def test_a_lease_that_redis_was_not_there_to_take_back_is_given_back_later(
    shared: RedisCounters, monkeypatch: pytest.MonkeyPatch
):
    """Otherwise a moment without Redis would lock a key out until the lease's own end."""

    def fail(**_arguments: object) -> None:
        raise redis.ConnectionError

    assert shared.take_all([lease_of("a")])[0].admitted
    with monkeypatch.context() as patch:
        patch.setattr(shared, "_script", fail)
        shared.give_all([Give("{a1}:at-once", lease_id="a")])
        assert take(shared, "w", 100).admitted  # counted in memory
    shared._away_until = 0.0
    assert [shared.take_all([lease_of(name)])[0].admitted for name in "bc"] == [True, False]


def kept(id_: str, limit: int = 1) -> Ask:
    """A lease that is renewed, of a request that may run for ten minutes."""
    return Ask("{a1}:at-once", limit, is_lease=True, lease_id=id_, lease_seconds=600, renewed=True)


def seconds_left(client: redis.Redis, id_: str) -> float | None:
    end = client.zscore(PREFIX + "{a1}:at-once", id_)
    return None if end is None else (end - redis_now_ms(client)) / 1000


def test_a_lease_lives_for_seconds_and_its_living_process_renews_it(shared: RedisCounters, client: redis.Redis):
    assert shared.take_all([kept("a")])[0].admitted
    assert 0 < seconds_left(client, "a") <= 20
    for _ in range(3):
        client.zadd(PREFIX + "{a1}:at-once", {"a": redis_now_ms(client) + 1000})  # as if most of it had passed
        shared.renew()
        assert 10 < seconds_left(client, "a") <= 20
    assert not shared.take_all([kept("b")])[0].admitted


def test_the_lease_of_a_process_that_died_is_anybodys_when_its_seconds_are_over(
    shared: RedisCounters, client: redis.Redis, redis_url: str
):
    dead = open_counters(redis_url)
    assert dead.take_all([kept("a")])[0].admitted
    dead._client.close()
    shared.renew()  # it doesn't renew others' leases
    client.zadd(PREFIX + "{a1}:at-once", {"a": redis_now_ms(client)})
    assert shared.take_all([kept("b")])[0].admitted


def test_no_renewal_brings_a_lease_back_that_was_given_back(shared: RedisCounters, client: redis.Redis):
    for number in range(20):
        lease = kept(f"{number}")
        assert shared.take_all([lease])[0].admitted
        renewing = gevent.spawn(shared.renew)
        if number % 2:
            gevent.sleep(0)  # the renewal is under way, and not only waiting
        shared.give_all([Give(lease.name, lease_id=lease.lease_id)])
        renewing.join()
        shared.renew()
        assert shared.take_all([kept("next")])[0].admitted
        shared.give_all([Give(lease.name, lease_id="next")])
    shared.take_all([])
    assert client.zcard(PREFIX + "{a1}:at-once") == 0


def test_a_lease_that_nobody_gives_back_ends_with_the_time_that_its_request_had(
    shared: RedisCounters, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
):
    assert shared.take_all([kept("a")])[0].admitted
    now = time.monotonic_ns() // 1_000_000
    monkeypatch.setattr("bridge.counters.memory.clock_ms", lambda: now + 601_000)
    client.delete(PREFIX + "{a1}:at-once")
    shared.renew()
    assert seconds_left(client, "a") is None
    assert shared._held == {}


def test_more_leases_than_one_trip_takes_are_renewed(shared: RedisCounters, client: redis.Redis):
    many = MOST_RENEWED + 1
    shared.take_all([kept(f"{number}", limit=many) for number in range(many)])
    client.flushdb()
    shared.renew()
    assert client.zcard(PREFIX + "{a1}:at-once") == many


def test_places_that_a_flushed_redis_has_lost_come_back(shared: RedisCounters, client: redis.Redis):
    assert shared.take_all([kept("a", limit=2)])[0].admitted
    client.flushdb()
    shared.renew()
    assert [shared.take_all([kept(name, limit=2)])[0].admitted for name in "bc"] == [True, False]
    for name in "ab":
        shared.give_all([Give("{a1}:at-once", lease_id=name)])
    shared.take_all([])
    assert client.zcard(PREFIX + "{a1}:at-once") == 0


@given(deeds=st.lists(st.tuples(st.sampled_from(["take", "give", "go", "come", "flush", "renew"]), st.integers(0, 3))))
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_becomes_of_redis_places_are_those_of_the_requests_that_run(
    shared: RedisCounters, client: redis.Redis, deeds: list[tuple[str, int]]
):
    """Once Redis is there again and a renewal has passed, no lease has leaked and none is missing."""

    def fail(**_arguments: object) -> None:
        raise redis.ConnectionError

    script, name, limit = shared._script, "{a1}:at-once", 3
    running: set[str] = set()
    client.flushdb()
    for what, number in deeds:
        id_ = f"{number}"
        if what == "take" and id_ not in running and shared.take_all([kept(id_, limit)])[0].admitted:
            running.add(id_)
        elif what == "give" and id_ in running:
            running.remove(id_)
            shared.give_all([Give(name, lease_id=id_)])
        elif what in ("go", "come"):
            shared._script, shared._away_until = (fail, shared._away_until) if what == "go" else (script, 0.0)
        elif what == "flush":
            client.flushdb()
        elif what == "renew":
            shared.renew()
    shared._script, shared._away_until = script, 0.0
    shared.renew()
    shared.take_all([])
    assert {member.decode() for member in client.zrange(PREFIX + name, 0, -1)} == running
    assert set(shared._memory._leases.get(name, {})) <= running
    for id_ in running:
        shared.give_all([Give(name, lease_id=id_)])
    shared.take_all([])
    assert client.zcard(PREFIX + name) == 0
    assert not shared._memory.has_leases


@pytest.mark.parametrize(
    ("ages", "limit", "seconds"), [([0], 1, 1), ([12], 1, 12), ([300], 1, 30), ([8, 16, 24], 3, 16 / 3)]
)
def test_a_full_limit_says_when_one_of_the_running_may_end(
    counters: Any, ages: list[float], limit: int, seconds: float
):
    """As long again as they have run, on average, and one of three three times as soon."""
    began = time.time()
    for age in ages:
        with time_machine.travel(began - age, tick=False):
            id_ = new_request_id()
        assert counters.take_all([lease_of(id_, limit)])[0].admitted
    ask = lease_of("another", limit)
    found = seconds_until_free(ask, counters.take_all([ask])[0])
    assert found == pytest.approx(seconds, abs=1)


def test_redis_forgets_what_nobody_asks_for(shared: RedisCounters, client: redis.Redis):
    shared.take_all([Ask("{a1}:rpm", 5), lease_of("a", seconds=30)])
    assert 0 < client.pttl(PREFIX + "{a1}:rpm") <= 2 * WINDOW_MS
    assert 0 < client.pttl(PREFIX + "{a1}:at-once") <= 31_000


def test_workers_share_one_count_in_redis(redis_url: str):
    workers = [open_counters(redis_url) for _ in range(3)]
    asking = [gevent.spawn(take, workers[i % 3], "w", 7) for i in range(60)]
    assert sum(one.get().admitted for one in asking) == 7
    for worker in workers:
        worker._client.close()


def test_after_redis_was_flushed_requests_are_served(shared: RedisCounters, client: redis.Redis):
    take(shared, "w", 10)
    client.script_flush()
    assert take(shared, "w", 10).admitted


# without Redis


@pytest.fixture
def away(clock: HandClock) -> RedisCounters:
    """Counters whose Redis does not answer: nothing listens on port 1."""
    return open_counters("redis://127.0.0.1:1/0")


def test_without_redis_limits_hold_per_process(away: RedisCounters):
    assert [take(away, "w", 2).admitted for _ in range(3)] == [True, True, False]
    assert away.take_all([lease_of("a")])[0].admitted
    assert not away.take_all([lease_of("b")])[0].admitted
    away.give_all([Give("{a1}:at-once", lease_id="a")])
    assert away.take_all([lease_of("b")])[0].admitted


def test_that_redis_is_away_is_said_once_a_minute(away: RedisCounters, monkeypatch: pytest.MonkeyPatch):
    now = [1000.0]
    monkeypatch.setattr("bridge.counters.redis.time.monotonic", lambda: now[0])
    monkeypatch.setattr("bridge.shared_redis._LastLogged.at", 0.0)
    with capture_logs() as lines:
        for _ in range(3):
            take(away, "w", 100)
            now[0] += RETRY_REDIS_SECONDS  # each time it is tried again
    assert [line["event"] for line in lines] == ["redis_away"]
    now[0] += LOG_AGAIN_SECONDS
    with capture_logs() as lines:
        take(away, "w", 100)
    assert len(lines) == 1


def test_redis_is_asked_again_once_it_is_back(away: RedisCounters, shared: RedisCounters, client: redis.Redis):
    take(away, "w", 5)
    away._client, away._script = shared._client, shared._script
    take(away, "w", 5)  # still within the time in which it is left alone
    assert not client.exists(PREFIX + "w")
    away._away_until = 0.0
    take(away, "w", 5)
    assert client.hget(PREFIX + "w", "c") == b"1"
