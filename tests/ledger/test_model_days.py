"""A model's days: what counts as answered and as failed, and how soon answers began."""

import datetime
import random

import pytest
import sqlalchemy as sa
from flask import Flask

from bridge.accounts.tables import Key
from bridge.db import db, now_utc, transaction
from bridge.ledger.model_days import (
    DAYS,
    KEPT_DAYS,
    KEPT_SPEED_DAYS,
    delete_old_days,
    find_quantile_ms,
    list_daily_speeds,
    list_model_calls,
    list_speeds,
    roll_up_models,
)
from bridge.ledger.rollup_tables import ModelDay, ModelSpeed
from bridge.ledger.rollups import roll_up
from tests.factories import Factories
from tests.ledger.records import add_failure, add_record

DAY = datetime.timedelta(days=1)
FAILED_4XX = {"state": "released", "outcome": "failed", "charge_nanos": 0, "first_content_ms": None}
pytestmark = pytest.mark.usefixtures("app_context")


@pytest.fixture
def app_context(app: Flask):
    with app.app_context():
        yield


def roll() -> None:
    roll_up()
    roll_up_models()


def test_what_we_or_providers_fail_counts_and_what_clients_do_does_not(make: Factories):
    key = make.make_key()
    mine = {"account_id": key.account_id, "key_id": key.id}
    tries = '[{"channel": "a", "outcome": "500"}, {"channel": "b", "outcome": "200"}]'
    add_record(**mine)
    add_record(**mine, attempts=tries)  # another channel answered: up
    add_record(**mine, outcome="client_gone", first_content_ms=90)  # it had its answer's beginning
    add_failure(**mine)
    add_record(**mine, outcome="cut")
    add_record(**mine, outcome="worker_lost")
    add_record(**mine, outcome="client_gone", first_content_ms=None)
    add_record(**mine, **FAILED_4XX, status=400, error_code="invalid_request_error")
    drill = make.make_key()
    with transaction() as session:
        session.execute(sa.update(Key).where(Key.id == drill.id).values(is_drill=True))
    add_failure(drill.account_id, key_id=drill.id)
    roll()
    roll()
    found = list_model_calls(now_utc().date())["gpt-4o"]
    assert (found.answered, found.failed) == (3, 3)
    assert sum(list_speeds(now_utc().date())["gpt-4o"].values()) == 3


def test_each_day_has_its_kind_and_days_without_calls_have_none(make: Factories):
    key = make.make_key()
    today = now_utc().date()
    for ago, answered, failed in ((0, 1000, 0), (1, 996, 4), (2, 97, 3), (3, 9, 1), (DAYS - 1, 1, 0), (DAYS, 5, 5)):
        with transaction() as session:
            day = today - ago * DAY
            session.add(ModelDay(day=day, model_id="gpt-4o", answered=answered, failed=failed))
    found = list_model_calls(today)["gpt-4o"]
    assert found.days == "a" + "-" * (DAYS - 5) + "btaa"
    assert (found.answered, found.failed) == (2103, 8)
    add_record(key.account_id, key_id=key.id, model_id="old", ago=KEPT_DAYS * DAY)
    roll()
    assert list_model_calls(today).keys() == {"gpt-4o"}


def test_a_quantile_is_right_to_an_eighth(make: Factories):
    key, drawn = make.make_key(), random.Random(7)
    times = sorted(round(500 * drawn.lognormvariate(0, 1)) for _ in range(300))
    for each in times:
        add_record(key.account_id, key_id=key.id, first_content_ms=each)
    roll()
    counts = list_speeds(now_utc().date())["gpt-4o"]
    for share in (0.5, 0.95):
        true = times[int(share * len(times))]
        assert abs((find_quantile_ms(counts, share) or 0) - true) <= true / 8
    assert find_quantile_ms({}, 0.5) is None


def test_days_that_no_page_shows_are_forgotten(make: Factories):
    today = now_utc().date()
    with transaction() as session:
        for ago in (0, 1, KEPT_SPEED_DAYS - 1, KEPT_SPEED_DAYS, KEPT_DAYS - 1, KEPT_DAYS):
            session.add(ModelDay(day=today - ago * DAY, model_id="m", answered=1, failed=0))
            session.add(ModelSpeed(day=today - ago * DAY, model_id="m", bucket=1, answers=1))
    delete_old_days()
    counts = [db.session.scalar(sa.select(sa.func.count()).select_from(table)) for table in (ModelDay, ModelSpeed)]
    assert counts == [5, 3]


def test_first_tokens_of_one_model_are_read_by_day(make: Factories):
    today = now_utc().date()
    with transaction() as session:
        for ago, model_id, bucket in ((0, "m", 1), (0, "m", 2), (29, "m", 3), (30, "m", 4), (0, "other", 5)):
            session.add(ModelSpeed(day=today - ago * DAY, model_id=model_id, bucket=bucket, answers=bucket * 10))
    assert list_daily_speeds("m", today) == {today: {1: 10, 2: 20}, today - 29 * DAY: {3: 30}}
    assert list_daily_speeds("nobody", today) == {}
