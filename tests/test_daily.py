"""A day's job is done by one worker, and by another if that one dies at it."""

import datetime
from collections.abc import Iterator

import gevent
import pytest
import time_machine
from flask import Flask

from bridge.daily import KEPT_DAYS, LOST_AFTER_SECONDS, finish_job, list_days, take_job
from bridge.db import now_utc, transaction

DAY = datetime.date(2026, 3, 10)


@pytest.fixture(autouse=True)
def _in_app(app: Flask) -> Iterator[None]:
    with app.app_context():
        yield


def finish(day: datetime.date, complaints: list[str]) -> None:
    with transaction():
        finish_job("count", day, complaints)


def test_one_worker_takes_the_day(app: Flask):
    def take() -> bool:
        with app.app_context():
            return take_job("count", DAY)

    workers = [gevent.spawn(take) for _ in range(6)]
    assert sum(worker.get() for worker in workers) == 1
    assert take_job("another", DAY)
    assert take_job("count", DAY + datetime.timedelta(days=1))


def test_a_job_that_is_done_stays_done():
    assert take_job("count", DAY)
    finish(DAY, ["account 1: differs"])
    with time_machine.travel(now_utc() + datetime.timedelta(days=1)):
        assert not take_job("count", DAY)
    assert [job.complaints for job in list_days("count")] == [["account 1: differs"]]


def test_a_job_whose_worker_died_is_taken_over_once(app: Flask):
    assert take_job("count", DAY)

    def take() -> bool:
        with app.app_context():
            return take_job("count", DAY)

    with time_machine.travel(now_utc() + datetime.timedelta(seconds=LOST_AFTER_SECONDS - 60)):
        assert not take_job("count", DAY)
    with time_machine.travel(now_utc() + datetime.timedelta(seconds=LOST_AFTER_SECONDS + 1)):
        workers = [gevent.spawn(take) for _ in range(4)]
        assert sum(worker.get() for worker in workers) == 1


def test_old_days_are_forgotten():
    old = DAY - datetime.timedelta(days=KEPT_DAYS + 1)
    assert take_job("count", old)
    finish(old, [])
    assert take_job("count", DAY)
    finish(DAY, [])
    assert [job.day for job in list_days("count")] == [DAY]
