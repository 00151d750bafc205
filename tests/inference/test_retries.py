"""Retries are a fifth of the requests of the last ten seconds at most, and ten are always free."""

import pytest

from bridge.inference.retries import RetryBudget


def count(budget: RetryBudget, now: float) -> int:
    """How many retries there is room for now; they are taken."""
    return next(number for number in range(10**6) if not budget.take(now))


@pytest.mark.parametrize(("asked", "room"), [(0, 10), (49, 10), (100, 20), (1000, 200)])
def test_there_is_room_for_a_fifth_and_never_less_than_ten(asked: int, room: int):
    budget = RetryBudget(10)
    for number in range(asked):
        budget.note_request(5000 + number * 9 / max(1, asked))
    assert count(budget, 5009) == room


def test_what_is_older_than_ten_seconds_counts_no_more():
    budget = RetryBudget(10)
    for _ in range(1000):
        budget.note_request(5000)
    assert count(budget, 5004) == 200
    assert count(budget, 5009.9) == 0
    assert count(budget, 5010) == 0  # the requests are gone, their retries are not
    assert count(budget, 5014) == 10
    assert count(budget, 9000) == 10


def test_a_retry_that_did_not_come_to_pass_is_given_back():
    budget = RetryBudget(10)
    count(budget, 5000)
    budget.give_back(5000)
    assert count(budget, 5000) == 1
