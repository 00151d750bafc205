"""Workers share what they find out about a channel; without Redis each knows only its own."""

import math
from collections.abc import Callable, Iterator

import gevent
import pytest
import redis
from structlog.testing import capture_logs

from bridge.catalogue.breaker_counts import RATE_ATTEMPTS
from bridge.catalogue.breaker_states import FAILURES_IN_A_ROW, MAX_COOLDOWN_SECONDS, OURS
from bridge.catalogue.doubts import UNREFUTED_SECONDS
from bridge.catalogue.health import Health
from bridge.catalogue.health_shared import HASH, RETRY_REDIS_SECONDS
from bridge.providers.base import Blame
from bridge.shared_redis import LOG_AGAIN_SECONDS
from tests.catalogue.test_health import ROUTE, Clock, OneRoute, answer, changes, fail, out
from tests.rooms import share_redis

FIRST = 30.0
PREFIX = "bridge:tests:"


class Shift:
    """Moves this process's clock, and the times stored in Redis with it."""

    def __init__(self, client: redis.Redis, clock: Clock):
        self._client, self._clock = client, clock

    def __call__(self, seconds: float) -> None:
        self._clock.now += seconds
        script = """for _, name in ipairs(redis.call('HKEYS', KEYS[1])) do
          local s = cjson.decode(redis.call('HGET', KEYS[1], name))
          s.u, s.p = s.u - ARGV[1], s.p - ARGV[1]
          redis.call('HSET', KEYS[1], name, cjson.encode(s)) end"""
        self._client.eval(script, 1, PREFIX + HASH, round(seconds * 1000))


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
        opened.append(Health(FIRST, share_redis(url, PREFIX)))
        return opened[-1]

    yield open_
    for health in opened:
        health._shared.close()


@pytest.fixture
def workers(open_health: Callable[..., Health]) -> list[Health]:
    """Two workers' views of the same channels."""
    return [open_health(), open_health()]


def hear(*workers: Health) -> None:
    """Do what every worker does once a second."""
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


def test_checks_of_ours_are_counted_together_and_move_all_accounts(workers: list[Health], clock: Clock):
    one, other = workers
    for worker in (one, other, one, other, one):
        fail(worker, accounts=[OURS])
        hear(one, other)
    for worker in workers:
        assert out(worker, clock, account=7) == pytest.approx(FIRST, abs=1)


def test_one_accounts_run_is_counted_together_and_moves_it_alone_everywhere(workers: list[Health], clock: Clock):
    one, other = workers
    for worker in (one, other, one, other, one):
        fail(worker, accounts=[1])
        hear(worker)
    hear(other)
    for worker in workers:
        assert out(worker, clock, account=1) == pytest.approx(FIRST, abs=1)
        assert out(worker, clock, account=2) == 0
    fail(other, accounts=[2])  # another worker serves this account
    hear(other, one)
    for worker in workers:
        assert out(worker, clock) == pytest.approx(FIRST, abs=1)


@pytest.mark.parametrize("blame", [Blame.CREDENTIAL, Blame.SETUP])
def test_a_refusal_that_another_worker_confirms_is_everybodys(workers: list[Health], clock: Clock, blame: Blame):
    one, other = workers
    fail(one, blame, accounts=[1])
    hear(one)
    fail(other, blame, accounts=[1])
    hear(other, one)
    assert out(one, clock) == out(other, clock) == 0
    fail(other, blame, accounts=[2])
    hear(other, one)
    seconds = MAX_COOLDOWN_SECONDS if blame is Blame.CREDENTIAL else FIRST
    assert [out(worker, clock) for worker in workers] == [pytest.approx(seconds, abs=1)] * 2
    assert len(changes(one)) + len(changes(other)) == 1


def test_an_answer_that_another_worker_had_refutes_a_doubt(workers: list[Health], clock: Clock):
    one, other = workers
    fail(one, Blame.CREDENTIAL, accounts=[1])
    hear(one, other)
    answer(other, account=2)
    hear(other, one)
    clock.now += UNREFUTED_SECONDS
    one._doubts.review(one._breaker.states, clock.now)
    assert changes(one) == []
    assert out(other, clock, account=1) == pytest.approx(MAX_COOLDOWN_SECONDS - UNREFUTED_SECONDS, abs=1)


def test_an_accounts_own_probe_is_one_among_all_workers(workers: list[Health], clock: Clock, shift: Shift):
    one, other = workers
    fail(one, times=FAILURES_IN_A_ROW, accounts=[1])
    hear(one, other)
    shift(FIRST + 1)
    assert one.begin(ROUTE, 1)
    assert not other.begin(ROUTE, 1)
    assert other.begin(ROUTE, 2)
    one.succeeded(ROUTE, account_id=1)
    hear(one, other)
    assert one._breaker.states == other._breaker.states == {}


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
    assert one._breaker.states == {}
    assert [note.what for note in changes(other)] == ["back"]


def test_a_failed_probe_keeps_it_out_for_longer_everywhere(workers: list[Health], clock: Clock, shift: Shift):
    one, other = workers
    fail(one, times=FAILURES_IN_A_ROW)
    hear(one, other)
    shift(FIRST + 1)
    hear(one, other)
    fail(other)
    hear(other, one)
    assert out(one, clock) == out(other, clock) == 0  # it may be that account's own fault
    fail(one)
    hear(one, other)
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
    assert one._breaker.states == other._breaker.states == {}


def test_a_channel_that_begins_afresh_hears_nothing_of_before(workers: list[Health], clock: Clock):
    one, other = workers
    fail(one, times=FAILURES_IN_A_ROW)
    other.learn([OneRoute(resets=1)])
    hear(one, other)
    assert out(one, clock) > 0
    assert other._breaker.states == {}


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
    assert client.hkeys(PREFIX + HASH) == [b"1.0"]
    assert 0 < client.pttl(PREFIX + HASH) <= 7_200_000


def test_after_redis_was_flushed_channels_are_tried_again(workers: list[Health], clock: Clock, client: redis.Redis):
    fail(workers[0], times=FAILURES_IN_A_ROW)
    hear(*workers)
    client.flushdb()
    hear(*workers)
    assert [out(worker, clock) for worker in workers] == [0, 0]


def test_without_redis_each_process_keeps_its_own_and_says_so_once_a_minute(
    open_health: Callable[..., Health], clock: Clock, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("bridge.shared_redis._LastLogged.at", -math.inf)
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
    clock.now += LOG_AGAIN_SECONDS
    with capture_logs() as lines:
        hear(one)
    assert [line["event"] for line in lines] == ["redis_away"]
