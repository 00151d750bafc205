"""The totals of all customers: those of the rows at every moment, without drills, and the customers they point at."""

import datetime
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from flask import Flask

from bridge.accounts.customers import suspend_account
from bridge.accounts.key_terms import KeyTerms
from bridge.accounts.keys import issue_key
from bridge.db import db, transaction
from bridge.ledger.check_rollups import check_rollups
from bridge.ledger.rollup_tables import AccountDay, HourTotal, RollupProgress
from bridge.ledger.rollups import roll_up
from bridge.ledger.totals import Low, Total, add_up, list_busiest, list_running_low, roll_up_totals, sum_hours
from tests.factories import DOLLAR, Factories
from tests.ledger.orders import MOMENT
from tests.ledger.records import add_failure, add_record

HOUR, DAY = datetime.timedelta(hours=1), datetime.timedelta(days=1)
THIS_HOUR = MOMENT.replace(minute=0, second=0, microsecond=0)
TODAY = THIS_HOUR.replace(hour=0)


@pytest.fixture(autouse=True)
def _inside(app: Flask) -> Iterator[None]:
    with app.app_context():
        yield


def add(account: int, ago: datetime.timedelta = 0 * DAY, charge_nanos: int = DOLLAR, **fields: object) -> None:
    add_record(account, created_at=MOMENT - ago, charge_nanos=charge_nanos, **fields)


def roll_all_up() -> None:
    roll_up()
    roll_up_totals()


def test_totals_are_those_of_the_rows_before_between_and_after_roll_ups(make: Factories):
    one, other = make.make_account().id, make.make_account().id
    own, drill = (issue_key(one, KeyTerms(name="k"), is_drill=is_drill).key.id for is_drill in (False, True))
    expected = Total()
    for step in range(3):
        add(one, key_id=own)
        add(other, charge_nanos=2 * DOLLAR)
        add(one, key_id=drill)
        add_failure(other, created_at=MOMENT)
        expected = add_up([expected, Total(3, 1, 3 * DOLLAR, 3 * DOLLAR)])
        assert sum_hours(THIS_HOUR) == {THIS_HOUR: expected}
        assert [(each.account_id, each.total.charge_nanos) for each in list_busiest(TODAY, 1)] == [
            (other, 2 * DOLLAR * (step + 1))
        ]
        if step < 2:
            roll_all_up()
            assert sum_hours(THIS_HOUR) == {THIS_HOUR: expected}
            assert check_rollups() == []


def test_a_total_that_differs_from_its_rows_is_found_by_the_check(make: Factories):
    account = make.make_account().id
    add(account)
    roll_all_up()
    with transaction() as session:
        session.execute(sa.update(HourTotal).values(charge_nanos=HourTotal.charge_nanos + 1))
        session.execute(sa.update(AccountDay).values(requests=AccountDay.requests + 1))
    everybody, own = check_rollups()
    assert everybody.startswith("everybody's total of the hour")
    assert own.startswith(f"account {account}'s total of the day")


def test_a_step_takes_a_bounded_number_of_rows(make: Factories, monkeypatch: pytest.MonkeyPatch):
    account = make.make_account().id
    for _ in range(5):
        add(account)
    roll_up()
    monkeypatch.setattr("bridge.ledger.rollups.MOST_AT_ONCE", 2)
    assert roll_up_totals() >= 5  # of numbers, which may have gaps
    assert db.session.scalar(sa.select(RollupProgress.totals_number)) == db.session.scalar(
        sa.select(RollupProgress.number)
    )
    assert sum(total.requests for total in sum_hours(TODAY).values()) == 5


def test_who_runs_low_is_told_by_how_long_the_balance_lasts(make: Factories):
    lasting, short, shorter = (make.make_account(dollars * DOLLAR).id for dollars in (100, 4, 1))
    idle, suspended, long_ago = (make.make_account(DOLLAR).id for _ in range(3))
    for account in (lasting, short, shorter, suspended):
        add(account, charge_nanos=2 * DOLLAR)
    add(long_ago, 5 * DAY, 9 * DOLLAR)
    suspend_account(suspended)
    roll_all_up()
    found = list_running_low(TODAY - DAY, within_days=3, limit=5)
    assert [(each.account_id, each.available_nanos, each.hours_left) for each in found] == [
        (shorter, DOLLAR, 12),
        (short, 4 * DOLLAR, 48),
    ]
    assert all(isinstance(each, Low) and each.name for each in found)
    assert idle not in {each.account_id for each in found}
