"""Which of the streams that are left before an answer are free: three of an account in any sixty seconds."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.counters.memory import MemoryCounters
from bridge.counters.redis import RedisCounters
from bridge.limits.abandoned_streams import FREE_A_MINUTE, take_free_one
from tests.clock import HandClock, clock_in_hand
from tests.rooms import share_redis


@pytest.fixture
def clock() -> Iterator[HandClock]:
    with clock_in_hand() as clock:
        yield clock


def test_an_accounts_first_three_are_free_and_the_next_when_a_minute_has_passed_since(clock: HandClock):
    counters = MemoryCounters()
    clock.shift(59)  # the end of a minute of the clock makes no difference
    assert [take_free_one(counters, 1, f"r{number}") for number in range(5)] == [True] * 3 + [False] * 2
    assert take_free_one(counters, 2, "another account's")
    clock.shift(59)
    assert not take_free_one(counters, 1, "r5")
    clock.shift(2)
    assert [take_free_one(counters, 1, f"s{number}") for number in range(4)] == [True] * 3 + [False]


@given(st.lists(st.integers(0, 40_000), max_size=60))
def test_no_sixty_seconds_have_more_than_three_free_ones(pauses: list[int]):
    with clock_in_hand() as clock:
        counters, free = MemoryCounters(), []
        for number, milliseconds in enumerate(pauses):
            clock.shift(milliseconds / 1000)
            if take_free_one(counters, 7, str(number)):
                free.append(clock.read())
    for first, fourth in zip(free, free[FREE_A_MINUTE:], strict=False):
        assert fourth - first >= 60_000


def test_workers_that_share_a_redis_count_them_together(redis_url: str):
    workers = [RedisCounters("bridge-redis://", shared=share_redis(redis_url)) for _ in range(3)]
    assert sum(take_free_one(worker, 1, f"{place}-{n}") for place, worker in enumerate(workers) for n in range(4)) == 3
    for worker in workers:
        worker._client.close()


def test_accounts_that_left_once_are_not_remembered_for_ever(clock: HandClock):
    counters = MemoryCounters()
    for account_id in range(5_000):
        take_free_one(counters, account_id, "r")
        clock.shift(0.5)
    assert len(counters._leases) < 2_048
