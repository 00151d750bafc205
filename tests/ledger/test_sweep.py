"""Holds that dead workers left: released past their deadline, once, and no hold in time is touched."""

import msgspec
import pytest
import sqlalchemy as sa

from bridge.db import db, transaction
from bridge.ledger import sweep as sweeping
from bridge.ledger.batch import Settlement, SettleResult
from bridge.ledger.sweep import sweep
from bridge.ledger.tables import Hold
from tests.ledger.orders import MOMENT, Ledger, order_charge, order_hold

DETAILS = msgspec.json.encode(
    Settlement("", MOMENT, model_asked="gpt-4o", model_id="gpt-4o", stream=True, price_id=3, output_cap_tokens=9)
).decode()


def test_a_hold_past_its_deadline_is_released_and_its_request_named(ledger: Ledger):
    account = ledger.open_account(100)
    lost = order_hold(account, 60, deadline_seconds=-1.0, details=DETAILS, budget_nanos=70)
    ledger.commit(lost)
    assert sweep(ledger.writer) == 1
    assert ledger.find_money(account) == (100, 0)
    assert ledger.find_budget(account) == (0, 0)
    row = ledger.find_usage(lost.request_id)
    assert (row.state, row.outcome, row.charge_nanos, row.hold_nanos) == ("released", "worker_lost", 0, 60)
    assert (row.model_asked, row.stream, row.price_id, row.output_cap_tokens) == ("gpt-4o", True, 3, 9)
    assert row.created_at == MOMENT


def test_a_hold_in_time_is_left_alone(ledger: Ledger):
    account = ledger.open_account(100)
    running = order_hold(account, 60, deadline_seconds=30.0, details=DETAILS)
    ledger.commit(running)
    assert sweep(ledger.writer) == 0
    assert ledger.commit(order_charge(running, 50)) == [SettleResult(50, 0)]


def test_a_request_that_settles_after_the_sweep_changes_nothing(ledger: Ledger):
    account = ledger.open_account(100)
    lost = order_hold(account, 60, deadline_seconds=-1.0, details=DETAILS)
    ledger.commit(lost)
    sweep(ledger.writer)
    assert ledger.commit(order_charge(lost, 50)) == [SettleResult(0, 0, settled_before=True)]
    assert ledger.find_money(account) == (100, 0)
    assert sweep(ledger.writer) == 0


def test_what_another_worker_swept_meanwhile_is_not_counted_twice(ledger: Ledger, monkeypatch: pytest.MonkeyPatch):
    account = ledger.open_account(100)
    lost = [order_hold(account, 20, deadline_seconds=-1.0, details=DETAILS) for _ in range(3)]
    ledger.commit(*lost)
    read_details = sweeping.read_details

    def overtaken(details: str, request_id: str, created_at: object) -> Settlement:
        monkeypatch.setattr(sweeping, "read_details", read_details)
        assert sweep(ledger.writer) == 3
        return read_details(details, request_id, MOMENT)

    monkeypatch.setattr(sweeping, "read_details", overtaken)
    assert sweep(ledger.writer) == 0
    assert ledger.find_money(account) == (100, 0)


@pytest.mark.parametrize("details", ["", "{", '{"request_id": 5}', "[]", '{"from": "another version"}'])
def test_a_hold_whose_details_nobody_can_read_is_released_too(ledger: Ledger, details: str):
    account = ledger.open_account(100)
    lost = order_hold(account, 60, deadline_seconds=-1.0, details=details)
    ledger.commit(lost)
    assert sweep(ledger.writer) == 1
    assert ledger.find_money(account) == (100, 0)
    assert ledger.find_usage(lost.request_id).outcome == "worker_lost"


def test_more_than_one_sweep_holds_are_resolved_by_the_next(ledger: Ledger, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sweeping, "MOST_AT_ONCE", 4)
    account = ledger.open_account(100)
    ledger.commit(*(order_hold(account, 10, deadline_seconds=-1.0, details=DETAILS) for _ in range(6)))
    assert [sweep(ledger.writer) for _ in range(3)] == [4, 2, 0]
    assert ledger.find_money(account) == (100, 0)


def test_the_deadline_is_measured_by_the_database_s_clock(ledger: Ledger):
    account = ledger.open_account(100)
    hold = order_hold(account, 10, deadline_seconds=600.0, details=DETAILS)
    ledger.commit(hold)
    found = ledger.find_hold(hold.request_id)
    assert found is not None
    if db.engine.dialect.name == "postgresql":
        now = db.session.scalar(sa.select(sa.func.clock_timestamp()))
        assert 590 < (found.deadline_at - now).total_seconds() <= 600
    with transaction() as session:
        session.execute(sa.update(Hold).where(Hold.request_id == hold.request_id).values(deadline_at=MOMENT))
    assert sweep(ledger.writer) == 1
