"""Money in and out by hand: once per payment, below zero only by decision, and the database itself refuses the rest."""

import gevent
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from bridge.db import db, transaction
from bridge.errors import InvalidRequest
from bridge.ledger.batch import HoldResult
from bridge.ledger.check import export_ledger
from bridge.ledger.ledger import adjust, credit, find_balance
from bridge.ledger.tables import Balance, Budget, Entry
from bridge.money import MAX_NANOS
from tests.ledger.orders import Ledger, new_id, order_charge, order_hold


def count_entries(account: int) -> int:
    return db.session.scalar(sa.select(sa.func.count()).where(Entry.account_id == account)) or 0


def test_a_payment_is_credited_once(ledger: Ledger):
    payment = new_id()
    account = ledger.open_account()
    assert credit(account, 500, source="stripe", external_id=payment) is True
    assert credit(account, 500, source="stripe", external_id=payment) is False
    assert credit(account, 900, source="stripe", external_id=payment) is False  # whatever the amount is now
    assert credit(account, 7, source="code", external_id=payment) is True  # another source's own numbering
    assert find_balance(account).balance_nanos == 507


def test_a_payment_of_one_account_is_not_credited_to_another(ledger: Ledger):
    payment = new_id()
    first, second = ledger.open_account(), ledger.open_account()
    assert credit(first, 500, source="stripe", external_id=payment) is True
    assert credit(second, 500, source="stripe", external_id=payment) is False
    assert find_balance(second).balance_nanos == 0


def test_credits_without_an_external_id_all_count(ledger: Ledger):
    account = ledger.open_account()
    assert [credit(account, 5, source="operator") for _ in range(3)] == [True] * 3
    assert find_balance(account).balance_nanos == 15


def in_parallel(ledger: Ledger, account: int, ids: list[str]) -> list[bool]:
    def pay(id_: str) -> bool:
        with ledger.app.app_context():
            return credit(account, 500, source="stripe", external_id=id_)

    calls = [gevent.spawn(pay, id_) for id_ in ids]
    return [call.get() for call in calls]


def test_a_payment_told_in_parallel_is_credited_once(ledger: Ledger):
    account = ledger.open_account()
    assert sum(in_parallel(ledger, account, [new_id()] * 6)) == 1
    assert ledger.find_money(account) == (500, 0)


def test_first_payments_of_a_new_account_may_come_in_parallel(ledger: Ledger):
    account = ledger.open_account()
    assert in_parallel(ledger, account, [new_id() for _ in range(6)]) == [True] * 6
    assert ledger.find_money(account) == (3000, 0)


def test_credits_and_requests_at_the_same_moment_lose_nothing(ledger: Ledger):
    account = ledger.open_account(1000)
    holds = [order_hold(account, 10) for _ in range(20)]
    calls = [gevent.spawn(ledger.writer.place_hold, hold) for hold in holds]
    assert all(in_parallel(ledger, account, [new_id() for _ in range(4)]))
    gevent.joinall(calls)
    assert ledger.find_money(account) == (3000, 200)


@pytest.mark.parametrize("amount", [0, -5, MAX_NANOS + 1])
def test_a_credit_is_more_than_zero_and_not_absurd(ledger: Ledger, amount: int):
    account = ledger.open_account()
    with pytest.raises(InvalidRequest):
        credit(account, amount, source="operator")
    assert count_entries(account) == 0


def test_an_unknown_account_is_not_credited(ledger: Ledger):
    with pytest.raises(IntegrityError):
        credit(987_654, 5, source="stripe", external_id=new_id())


def test_an_adjustment_may_take_a_balance_below_zero_and_then_nobody_spends(ledger: Ledger):
    account = ledger.open_account(100)
    adjust(account, -250, note="charge-back", made_by="op@example.com")
    assert find_balance(account).available_nanos == -150
    assert ledger.commit(order_hold(account, 1)) == [HoldResult(0, "balance", -150)]


def test_money_in_pays_the_debt_back_and_then_the_floor_is_zero_again(ledger: Ledger):
    account = ledger.open_account(100)

    def debt() -> int:
        db.session.commit()
        return db.session.scalar(sa.select(Balance.debt_nanos).where(Balance.account_id == account)) or 0

    adjust(account, -250, note="charge-back", made_by="op@example.com")
    assert debt() == 150
    credit(account, 100, source="operator")
    assert debt() == 50
    credit(account, 1000, source="operator")
    assert debt() == 0
    adjust(account, -10, note="a mistake", made_by="op@example.com")
    assert debt() == 0
    assert find_balance(account).balance_nanos == 940


def test_a_charge_back_leaves_running_requests_their_hold(ledger: Ledger):
    account = ledger.open_account(100)
    hold = order_hold(account, 80)
    ledger.commit(hold)
    adjust(account, -100, note="charge-back", made_by="op@example.com")
    assert find_balance(account).available_nanos == -80
    ledger.commit(order_charge(hold, 80))
    assert ledger.find_money(account) == (-80, 0)


@pytest.mark.parametrize("amount", [30, -30, -300])
def test_an_adjustment_sent_twice_at_the_same_moment_is_booked_once(ledger: Ledger, amount: int):
    account, form = ledger.open_account(100), new_id()

    def change() -> bool:
        with ledger.app.app_context():
            return adjust(account, amount, note="a mistake", made_by="op@example.com", external_id=form)

    calls = [gevent.spawn(change) for _ in range(6)]
    assert sum(call.get() for call in calls) == 1
    assert ledger.find_money(account) == (100 + amount, 0)


@pytest.mark.parametrize("note", ["", "  "])
def test_an_adjustment_needs_a_reason(ledger: Ledger, note: str):
    account = ledger.open_account(100)
    with pytest.raises(InvalidRequest):
        adjust(account, -5, note=note, made_by="op@example.com")
    assert find_balance(account).balance_nanos == 100


def test_an_entry_has_both_legs_and_says_who_and_why(damaged: Ledger):
    account = damaged.open_account()
    credit(account, 70, source="stripe", external_id=new_id(), note="a top-up", made_by="a webhook")
    adjust(account, -20, note=" a correction ", made_by="op@example.com")
    entries = db.session.scalars(sa.select(Entry).where(Entry.account_id == account).order_by(Entry.id)).all()
    assert [(entry.debit, entry.credit, entry.amount_nanos) for entry in entries] == [
        ("payments", "customer", 70),
        ("customer", "adjustments", 20),
    ]
    assert [(entry.note, entry.made_by) for entry in entries] == [
        ("a top-up", "a webhook"),
        ("a correction", "op@example.com"),
    ]
    told = [row["amount_nanos"] for row in export_ledger() if row["type"] == "credit"]
    assert told == [70, -20]


@pytest.mark.parametrize(
    "overspending",
    [
        {"balance_nanos": -1},
        {"held_nanos": 101},
        {"balance_nanos": 59, "held_nanos": 60},
        {"held_nanos": -1},
        {"debt_nanos": -1},
        {"balance_nanos": -51, "debt_nanos": 50},
    ],
)
def test_the_database_itself_refuses_to_overspend(ledger: Ledger, overspending: dict[str, int]):
    account = ledger.open_account(100)
    with pytest.raises(IntegrityError), transaction() as session:
        session.execute(sa.update(Balance).where(Balance.account_id == account).values(**overspending))
    assert ledger.find_money(account) == (100, 0)


def test_the_database_itself_refuses_a_raw_overspend_in_sql(ledger: Ledger):
    account = ledger.open_account(100)
    raw = sa.text("UPDATE balances SET held_nanos = held_nanos + 101 WHERE account_id = :account")
    with pytest.raises(IntegrityError), transaction() as session:
        session.execute(raw, {"account": account})
    assert ledger.find_money(account) == (100, 0)


@pytest.mark.parametrize("change", [{"held_nanos": -1}, {"spent_nanos": -1}])
def test_the_database_itself_refuses_a_budget_below_zero(ledger: Ledger, change: dict[str, int]):
    account = ledger.open_account(100)
    ledger.commit(order_hold(account, 10, budget_nanos=50))
    with pytest.raises(IntegrityError), transaction() as session:
        session.execute(sa.update(Budget).where(Budget.key_id == account).values(**change))


# the check finds what does not add up


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        ("UPDATE balances SET balance_nanos = balance_nanos + 1 WHERE account_id = :account", "balance is 0.000000071"),
        ("UPDATE balances SET held_nanos = held_nanos - 1 WHERE account_id = :account", "held is 0.000000019"),
        ("UPDATE budgets SET held_nanos = held_nanos + 1 WHERE key_id = :account", "its budget from 2026-03-10 (day)"),
        ("DELETE FROM holds WHERE account_id = :account", "held is 0.00000002"),
        ("UPDATE usage SET charge_nanos = charge_nanos + 1 WHERE account_id = :account", "balance is 0.00000007"),
        ("DELETE FROM entries WHERE account_id = :account", "balance is 0.00000007"),
        ("DELETE FROM usage WHERE account_id = :account", "balance is 0.00000007"),
        ("UPDATE usage SET state = 'released' WHERE account_id = :account", "released, but charged 0.00000003"),
    ],
)
def test_the_check_names_any_nano_that_is_off(damaged: Ledger, damage: str, complaint: str):
    account = damaged.open_account(100)
    spent, held = order_hold(account, 40), order_hold(account, 20, budget_nanos=50)
    damaged.commit(spent, held)
    damaged.commit(order_charge(spent, 30))
    with transaction() as session:
        session.execute(sa.text(damage), {"account": account})
    assert any(complaint in line for line in damaged.check())


def test_the_check_tells_periods_of_a_budget_apart(damaged: Ledger):
    account = damaged.open_account(100)
    damaged.commit(order_hold(account, 20, budget_nanos=50))
    with transaction() as session:
        session.execute(sa.text("UPDATE budgets SET period_start = '2026-03-09' WHERE key_id = :key"), {"key": account})
    assert len(damaged.check()) == 2
