"""What one worker finds out about a channel, the others know; without Redis each knows its own."""

import math
from collections.abc import Callable, Iterator

import gevent
import pytest
import redis
from structlog.testing import capture_logs

from bridge.catalogue.breaker import FAILURES_IN_A_ROW, RATE_ATTEMPTS
from bridge.catalogue.health import Health
from bridge.catalogue.health_shared import HASH, RETRY_REDIS_SECONDS
from bridge.counters import SAY_AGAIN_SECONDS
from bridge.providers.base import Blame
from tests.catalogue.test_health import ROUTE, Clock, OneRoute, answer, changes, fail, out

FIRST = 30.0


class Shift:
    """Moves this process's clock, and Redis's view of what it keeps with it."""

    def __init__(self, client: redis.Redis, clock: Clock):
        self._client, self._clock = client, clock

    def __call__(self, seconds: float) -> None:
        self._clock.now += seconds
        script = """for _, name in ipairs(redis.call('HKEYS', KEYS[1])) do
          local s = cjson.decode(redis.call('HGET', KEYS[1], name))
          s.u, s.p = s.u - ARGV[1], s.p - ARGV[1]
          redis.call('HSET', KEYS[1], name, cjson.encode(s)) end"""
        self._client.eval(script, 1, HASH, round(seconds * 1000))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("bridge.catalogue.health.time.monotonic", lambda: clock.now)
    return clock


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    client = redis.Redis.from_url(redis_url)
    yield client
    client.close()


@pytest.fixture
def shift(client: redis.Redis, clock: Clock) -> Shift:
    return Shift(client, clock)


@pytest.fixture
def open_health(redis_url: str, clock: Clock) -> Iterator[Callable[..., Health]]:
    opened: list[Health] = []

    def open_(url: str = redis_url) -> Health:
        opened.append(Health(FIRST, url))
        return opened[-1]

    yield open_
    for health in opened:
        health._shared.close()


@pytest.fixture
def workers(open_health: Callable[..., Health]) -> list[Health]:
    """Two workers' views of the same channels."""
    return [open_health(), open_health()]


def hear(*workers: Health) -> None:
    """What every worker does once a second."""
    for worker in workers:
        worker.exchange()


def test_failures_in_a_row_are_counted_together(workers: list[Health], clock: Clock):
    one, other = workers
    for worker in (one, one, other, other):
        fail(worker)
        hear(worker)
    assert out(one, clock) == out(other, clock) == 0
    fail(one)  # its third, the fifth of both
    hear(one, other)
    assert out(one, clock) == pytest.approx(FIRST, abs=1)
    assert out(other, clock) == pytest.approx(FIRST, abs=1)
    assert [note.what for note in changes(one)] == ["out"]
    assert changes(other) == []  # one outage is told once


def test_an_answer_that_any_worker_had_begins_the_count_anew(workers: list[Health], clock: Clock):
    one, other = workers
    fail(one, times=FAILURES_IN_A_ROW - 1)
    hear(one, other)
    answer(other)
    hear(other, one)
    fail(one, times=FAILURES_IN_A_ROW - 1)
    hear(one)
    assert out(one, clock) == 0


def test_when_all_see_it_at_once_it_is_out_once(workers: list[Health], clock: Clock):
    for worker in workers:
        fail(worker, times=FAILURES_IN_A_ROW)
    hear(*workers, *workers)
    assert sorted(len(changes(worker)) for worker in workers) == [0, 1]
    for worker in workers:
        assert out(worker, clock) == pytest.approx(FIRST, abs=1)


def test_one_probe_alone_among_all_workers(workers: list[Health], clock: Clock, shift: Shift):
    one, other = workers
    fail(one, times=FAILURES_IN_A_ROW)
    hear(one, other)
    shift(FIRST + 1)
    assert out(one, clock) == out(other, clock) == 0
    assert one.begin(ROUTE)
    assert not other.begin(ROUTE)  # though nobody has told it
    assert out(other, clock) > 0
    one.dropped(ROUTE)
    hear(one, other)
    assert other.begin(ROUTE)
    other.succeeded(ROUTE)
    hear(other, one)
    assert out(one, clock) == out(other, clock) == 0
    assert one._states == {}
    assert [note.what for note in changes(other)] == ["back"]


def test_a_failed_probe_keeps_it_out_for_longer_everywhere(workers: list[Health], clock: Clock, shift: Shift):
    one, other = workers
    fail(one, times=FAILURES_IN_A_ROW)
    hear(one, other)
    shift(FIRST + 1)
    hear(one, other)
    fail(other)
    hear(other, one)
    assert out(one, clock) == pytest.approx(2 * FIRST, abs=1)
    assert out(other, clock) == pytest.approx(2 * FIRST, abs=1)


def test_what_fails_too_often_for_one_worker_is_out_for_all_and_an_answer_does_not_end_it(
    workers: list[Health], clock: Clock
):
    one, other = workers
    for _ in range(RATE_ATTEMPTS // 2):
        answer(one)
        fail(one)
    hear(one, other)
    assert other.may_repeat(ROUTE, clock.now)
    answer(other)
    hear(other, one)
    for worker in workers:
        assert out(worker, clock) == pytest.approx(FIRST, abs=1)


def test_a_rate_limit_is_everybodys_and_the_longer_counts(workers: list[Health], clock: Clock, shift: Shift):
    one, other = workers
    fail(one, Blame.RATE, retry_after=60)
    hear(one, other)
    fail(other, Blame.RATE, retry_after=20)
    hear(other, one)
    assert out(other, clock) == pytest.approx(60, abs=1)
    fail(other, Blame.RATE, retry_after=90)
    hear(other, one)
    assert out(one, clock) == pytest.approx(90, abs=1)
    shift(91)
    hear(one, other)
    assert out(one, clock) == out(other, clock) == 0
    assert one._states == other._states == {}


def test_a_channel_that_begins_afresh_hears_nothing_of_before(workers: list[Health], clock: Clock):
    one, other = workers
    fail(one, times=FAILURES_IN_A_ROW)
    other.learn([OneRoute(resets=1)])
    hear(one, other)
    assert out(one, clock) > 0
    assert other._states == {}


def test_an_answer_asks_redis_nothing(workers: list[Health], monkeypatch: pytest.MonkeyPatch):
    one = workers[0]
    asked: list[object] = []
    monkeypatch.setattr(one._shared, "_script", lambda **arguments: asked.append(arguments))
    for _ in range(100):
        assert one.seconds_out(ROUTE, 0.0) == 0
        answer(one)
    gevent.sleep(0)
    assert asked == []


def test_what_redis_keeps_names_no_key_and_goes_by_itself(workers: list[Health], client: redis.Redis):
    fail(workers[0])
    hear(workers[0])
    assert client.hkeys(HASH) == [b"1.0"]
    assert 0 < client.pttl(HASH) <= 7_200_000


def test_after_redis_was_flushed_channels_are_tried_again(workers: list[Health], clock: Clock, client: redis.Redis):
    fail(workers[0], times=FAILURES_IN_A_ROW)
    hear(*workers)
    client.flushdb()
    hear(*workers)
    assert [out(worker, clock) for worker in workers] == [0, 0]


def test_without_redis_each_process_keeps_its_own_and_says_so_once_a_minute(
    open_health: Callable[..., Health], clock: Clock, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("bridge.counters._said_at", -math.inf)
    one, other = (open_health("redis://127.0.0.1:1/0") for _ in range(2))
    with capture_logs() as lines:
        for _ in range(FAILURES_IN_A_ROW):
            fail(one)
            hear(one, other)
            clock.now += RETRY_REDIS_SECONDS
    assert [line["event"] for line in lines if line["event"] == "redis_away"] == ["redis_away"]
    assert out(one, clock) > 0
    assert out(other, clock) == 0
    assert [note.what for note in changes(one)] == ["out"]
    clock.now += FIRST
    assert one.begin(ROUTE)
    assert not one.begin(ROUTE)
    one.succeeded(ROUTE)
    hear(one)
    assert [note.what for note in changes(one)] == ["back"]
    clock.now += SAY_AGAIN_SECONDS
    with capture_logs() as lines:
        hear(one)
    assert [line["event"] for line in lines] == ["redis_away"]
