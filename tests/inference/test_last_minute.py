"""Which failures of requests make a worker unready."""

import pytest

from bridge.inference import last_minute
from bridge.inference.last_minute import LEAST_FAILED, QUIET_SECONDS, WINDOW_SECONDS, LastMinute


class Clock:
    """Stands until it is moved."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(last_minute, "time", clock)
    return clock


def fail(minute: LastMinute, times: int) -> None:
    for _ in range(times):
        minute.fail()


def test_most_have_to_fail_and_more_than_a_few(clock: Clock):
    minute = LastMinute()
    fail(minute, LEAST_FAILED - 1)
    assert not minute.fails()
    fail(minute, 1)
    assert minute.fails()
    minute.served += LEAST_FAILED
    assert not minute.fails()
    fail(minute, 1)
    assert minute.fails()


def test_what_was_more_than_a_minute_ago_counts_no_longer(clock: Clock):
    minute = LastMinute()
    minute.served += 1000
    for _ in range(int(WINDOW_SECONDS) + 2):
        clock.now += 1
        minute.tick()
    fail(minute, LEAST_FAILED)
    assert minute.fails()


def test_without_another_failure_it_is_ready_to_be_tried_and_begins_anew(clock: Clock):
    minute = LastMinute()
    fail(minute, 100)
    clock.now += QUIET_SECONDS / 2
    assert minute.fails()
    clock.now += QUIET_SECONDS
    assert not minute.fails()
    fail(minute, LEAST_FAILED - 1)
    assert not minute.fails()
    fail(minute, 1)
    assert minute.fails()


def test_one_account_alone_sends_no_worker_away(clock: Clock):
    minute = LastMinute()
    for _ in range(100):
        minute.break_off(1)
    assert not minute.fails()
    clock.now += WINDOW_SECONDS
    for _ in range(LEAST_FAILED):
        minute.break_off(2)
    assert not minute.fails()
    for account_id in range(LEAST_FAILED):
        minute.break_off(account_id)
    assert minute.fails()
