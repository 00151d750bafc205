"""Owners get one mail at 80% of a key's budget and one when it is used up, in each of its periods."""

import datetime
from collections.abc import Iterator

import gevent
import pytest
import sqlalchemy as sa
import time_machine
from flask import Flask

from bridge.accounts.key_search import find_key
from bridge.config import Settings
from bridge.db import db, now_utc
from bridge.ledger.budget_alerts import delete_old_windows, queue_budget_alerts, set_budget_mails
from bridge.ledger.budgets import list_windows
from bridge.ledger.tables import Budget
from bridge.ledger.writer import Writer
from bridge.mail.tables import Mail
from tests.factories import DOLLAR, Factories, MadeKey
from tests.ledger.orders import order_charge, order_hold

DAY = datetime.timedelta(days=1)
pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


@pytest.fixture(autouse=True)
def _in_app(app: Flask) -> Iterator[None]:
    with app.app_context():
        yield


@pytest.fixture
def writer(settings: Settings) -> Iterator[Writer]:
    writer = Writer(settings)
    yield writer
    writer.close()


def spend(writer: Writer, key: MadeKey, nanos: int, held: int | None = None) -> str:
    """Spend so much by the key; what refused it."""
    row = find_key(key.account_id, key.id)
    budgets = list_windows(row, None, now_utc())
    db.session.commit()
    hold = order_hold(key.account_id, held or nanos, key_id=key.id, created_at=now_utc(), budgets=budgets)
    result = writer.place_hold(hold)
    if not result.refused:
        writer.settle(order_charge(hold, nanos))
    return result.refused


def subjects() -> list[str]:
    db.session.commit()
    return [mail.subject for mail in db.session.scalars(sa.select(Mail).order_by(Mail.id))]


def test_one_mail_at_80_and_one_at_100_of_each_budget_in_each_period(
    settings: Settings, make: Factories, writer: Writer
):
    key = make.make_key(name="worker", budget_day_nanos=DOLLAR, budget_month_nanos=5 * DOLLAR)
    spend(writer, key, DOLLAR * 4 // 5 - 1)
    assert queue_budget_alerts(settings) == 0
    spend(writer, key, 1)
    assert [queue_budget_alerts(settings) for _ in range(2)] == [1, 0]
    spend(writer, key, DOLLAR // 5)
    assert [queue_budget_alerts(settings) for _ in range(2)] == [1, 0]
    assert subjects() == ["Key worker has spent 80% of its budget", "Key worker has used up its budget"]
    with time_machine.travel(now_utc().replace(day=1, hour=12) + 40 * DAY):
        spend(writer, key, DOLLAR)
        assert queue_budget_alerts(settings) == 1
    assert (
        "$1.00 of its $1.00 a day is spent" in db.session.scalars(sa.select(Mail.text).order_by(Mail.id.desc())).first()
    )


def test_a_budget_that_refuses_is_used_up_though_a_cent_is_left(settings: Settings, make: Factories, writer: Writer):
    key = make.make_key(budget_total_nanos=DOLLAR)
    assert spend(writer, key, DOLLAR, held=2 * DOLLAR) == "budget"  # asks for too much: nothing is used up
    assert queue_budget_alerts(settings) == 0
    spend(writer, key, DOLLAR * 95 // 100)
    assert spend(writer, key, DOLLAR // 10) == "budget"
    assert queue_budget_alerts(settings) == 1
    assert subjects()[0].endswith("has used up its budget")


def test_each_is_told_once_however_many_workers_look(app: Flask, settings: Settings, make: Factories, writer: Writer):
    spend(writer, make.make_key(budget_week_nanos=DOLLAR), DOLLAR)

    def look() -> int:
        with app.app_context():
            return queue_budget_alerts(settings)

    assert sum(call.get() for call in [gevent.spawn(look) for _ in range(4)]) == 1
    assert len(subjects()) == 1


def test_nobody_is_told_who_does_not_want_to_be(settings: Settings, make: Factories, writer: Writer):
    key = make.make_key(budget_day_nanos=DOLLAR)
    set_budget_mails(key.account_id, False)
    spend(writer, key, DOLLAR)
    assert queue_budget_alerts(settings) == 0


def test_windows_that_ended_long_ago_are_forgotten(make: Factories, writer: Writer):
    key = make.make_key(budget_day_nanos=DOLLAR, budget_total_nanos=DOLLAR, budget_user_nanos=DOLLAR)
    spend(writer, key, DOLLAR // 10)
    delete_old_windows()
    assert db.session.scalar(sa.select(sa.func.count()).select_from(Budget)) == 3
    with time_machine.travel(now_utc() + 60 * DAY):
        delete_old_windows()
    assert list(db.session.scalars(sa.select(Budget.period))) == ["total"]
