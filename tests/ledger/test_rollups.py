"""Roll-ups plus the rows since then are the sum of all rows, whether they are late or uncommitted, and whenever they
are rolled up."""

import collections
import datetime
import itertools
from typing import Any

import gevent
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from bridge.db import db, transaction
from bridge.ledger import rollups
from bridge.ledger.batch import Settlement
from bridge.ledger.check_rollups import check_rollups
from bridge.ledger.rollup_tables import UsageRollup
from bridge.ledger.rollups import DIMENSIONS, SUMS, Sums, roll_up, sum_all, sum_by
from bridge.ledger.sweep import _book_loss
from bridge.ledger.tables import UsageRecord
from tests.ledger.orders import MOMENT, Ledger, order_charge, order_hold
from tests.ledger.records import add_failure, add_record, make_record

HOUR, DAY = datetime.timedelta(hours=1), datetime.timedelta(days=1)
ONLY_ON_POSTGRESQL = pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
Plain = dict[tuple[Any, ...], dict[str, int]]

settled = st.fixed_dictionaries(
    {
        "key_id": st.integers(1, 2),
        "model_id": st.sampled_from(["gpt-4o", "sonnet"]),
        "channel_name": st.sampled_from([None, "main", "spare"]),
        "outcome": st.sampled_from(["complete", "cut", "client_gone", "failed", "worker_lost"]),
        "state": st.sampled_from(["captured", "released"]),
        "hours_late": st.integers(0, 60),
        "price_nanos": st.integers(0, 10**15),
        "cost_nanos": st.integers(0, 10**15),
        "prompt_tokens": st.integers(0, 10**9),
        "completion_tokens": st.integers(0, 10**9),
    }
)
steps = st.lists(st.one_of(settled, st.just("roll up"), st.integers(1, 10**12)), min_size=1, max_size=16)


def name_ending(row: UsageRecord) -> str:
    if row.outcome == "client_gone":
        return "client_gone"
    if row.outcome == "complete":  # an empty one too, which is released
        return "complete"
    return "failed" if row.state == "released" else "cut"


def sum_plainly(account_id: int, span: str) -> Plain:
    """The cells, summed row by row in Python."""
    found: Plain = collections.defaultdict(lambda: dict.fromkeys(SUMS, 0))
    for row in db.session.scalars(sa.select(UsageRecord).where(UsageRecord.account_id == account_id)):
        start = row.created_at.replace(minute=0, second=0, microsecond=0)
        start = start.replace(hour=0) if span == "day" else start
        cell = found[start, account_id, row.key_id, row.model_id, row.channel_name or "", name_ending(row)]
        for name in SUMS:
            cell[name] += 1 if name == "requests" else getattr(row, name)
    db.session.commit()
    return dict(found)


def sum_as_pages_do(account_id: int, span: str) -> Plain:
    found = sum_by(*DIMENSIONS, span=span, account_id=account_id)
    db.session.commit()
    return {names: {name: getattr(sums, name) for name in SUMS} for names, sums in found.items()}


def settle(ledger: Ledger, account: int, step: dict[str, Any]) -> Settlement:
    """Hold and settle a request that began some hours ago."""
    fields = dict(step)
    hold = order_hold(account, fields["price_nanos"], key_id=fields.pop("key_id"))
    began = MOMENT - fields.pop("hours_late") * HOUR
    price = fields.pop("price_nanos") if fields["state"] == "captured" else fields.pop("price_nanos") * 0
    settlement = order_charge(hold, price, **fields)
    settlement.created_at = began
    ledger.commit(hold)
    ledger.commit(settlement)
    return settlement


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps)
def test_whatever_comes_late_and_whenever_it_is_rolled_up_the_sums_are_those_of_the_rows(
    ledger: Ledger, steps: list[Any]
):
    account = ledger.open_account(10**18 // 10)
    swept: list[Settlement] = []
    for step in steps:
        if step == "roll up":
            roll_up()
        elif isinstance(step, dict):
            settlement = settle(ledger, account, step)
            if settlement.outcome == "worker_lost":
                swept.append(settlement)
        elif swept:  # the settlement of a swept hold comes after all, and nobody pays for it
            swept[-1].price_nanos += step
            _book_loss(swept[-1])
        for span in ("hour", "day"):
            assert sum_as_pages_do(account, span) == sum_plainly(account, span)
    assert check_rollups() == []


def test_only_what_was_asked_for_is_summed(damaged: Ledger):
    account, other = damaged.open_account(), damaged.open_account()
    noon = MOMENT
    for ago, rolled in itertools.product((0, 1, 2), (True, False)):
        for fields in ({"model_id": "a"}, {"model_id": "b", "channel_name": None}, {"key_id": 2}):
            add_record(account, created_at=noon - ago * DAY, charge_nanos=10**ago, **fields)
        add_failure(account, created_at=noon - ago * DAY)
        add_record(other, created_at=noon)
        if rolled:
            roll_up()
    today = noon.replace(hour=0)
    assert sum_all(account_id=account) == Sums(24, 2 * 3 * 111, 2 * 3 * 111, 0, 18_000, 7_200, 1_800, 0, failed=6)
    assert sum_all(account_id=account, since=today).charge_nanos == 6
    assert sum_all(account_id=account, until=today).charge_nanos == 660
    assert sum_all(account_id=account, since=today - DAY, until=today, key_id=2).charge_nanos == 20
    assert sum_all(account_id=account, channel_name="").requests == 6
    assert sum_by("outcome", account_id=account)["failed",].failed == 6
    assert [name for (name,) in sum_by("account_id", account_id=[account, other, 10**9])] == [account, other]
    assert sum_by("model_id", account_id=10**9) == {}
    assert sum_all(account_id=10**9) == Sums()


@ONLY_ON_POSTGRESQL
def test_a_row_that_is_committed_after_later_ones_were_rolled_up_is_not_missed(
    damaged: Ledger, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(rollups, "WAIT_SECONDS", 0.05)
    roll_up()
    account = damaged.open_account()
    with Session(db.engine) as slow:
        slow.add(make_record(account, created_at=MOMENT, charge_nanos=1))
        slow.flush()  # it has its number, and no other transaction sees it
        add_record(account, created_at=MOMENT, charge_nanos=10)
        assert roll_up() == 0
        assert sum_all(account_id=account).charge_nanos == 10
        db.session.commit()
        rolling = gevent.spawn(in_app, damaged, roll_up)
        monkeypatch.setattr(rollups, "WAIT_SECONDS", 60)
        gevent.sleep(0)
        slow.commit()
    roll_up()
    rolling.get()
    assert sum_all(account_id=account).charge_nanos == 11
    db.session.commit()
    rolled = sa.select(sa.func.sum(UsageRollup.charge_nanos)).where(UsageRollup.account_id == account)
    assert db.session.scalar(rolled.where(UsageRollup.span == "day")) == 11
    db.session.commit()


def in_app(damaged: Ledger, task: Any) -> Any:
    with damaged.app.app_context():
        return task()


@ONLY_ON_POSTGRESQL
def test_while_one_worker_rolls_up_the_others_do_nothing(damaged: Ledger):
    roll_up()
    account = damaged.open_account()
    add_record(account, created_at=MOMENT, charge_nanos=5)
    with Session(db.engine) as other:
        rollups.find_progress(other)
        assert roll_up() == 0
    assert roll_up() > 0
    assert sum_all(account_id=account).charge_nanos == 5
    db.session.commit()


def test_the_check_names_each_roll_up_that_is_not_the_sum_of_its_rows(damaged: Ledger):
    account = damaged.open_account()
    add_record(account, created_at=MOMENT, charge_nanos=5)
    add_record(account, created_at=MOMENT + DAY, key_id=3)
    roll_up()
    assert check_rollups() == []
    with transaction() as session:
        day = sa.and_(UsageRollup.span == "day", UsageRollup.start == MOMENT.replace(hour=0))
        session.execute(sa.update(UsageRollup).where(day).values(charge_nanos=6, requests=2))
        session.execute(sa.delete(UsageRollup).where(UsageRollup.span == "hour", UsageRollup.key_id == 3))
    missing, wrong = check_rollups()
    assert missing.startswith(
        f"account {account}: the roll-up of the hour 2026-03-11 12:00 (key 3, gpt-4o, openai-main, complete) has"
        " requests 0, its requests add up to 1; charge_nanos $0, its requests add up to $0.003"
    )
    assert wrong == (
        f"account {account}: the roll-up of the day 2026-03-10 (key 1, gpt-4o, openai-main, complete) has"
        " requests 2, its requests add up to 1; charge_nanos $0.000000006, its requests add up to $0.000000005"
    )
