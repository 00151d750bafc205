"""The database has the last word: on both engines, each constraint of the money's tables refuses a row that breaks it.

A good row goes in first, so that only the broken rule can refuse the second."""

import datetime
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from bridge.db import Table, db
from tests.ledger.orders import MOMENT, TODAY, Ledger, new_id
from tests.ledger.records import record_fields

LATER = MOMENT + datetime.timedelta(days=1)
GOOD: dict[str, dict[str, Any]] = {
    "balances": {"balance_nanos": 10, "held_nanos": 4, "debt_nanos": 0},
    "holds": {"amount_nanos": 1, "details": "", "created_at": MOMENT, "deadline_at": LATER},
    "budgets": {"period": "day", "period_start": TODAY, "scope": "", "held_nanos": 1, "spent_nanos": 1},
    "entries": {"debit": "adjustments", "credit": "customer", "amount_nanos": 1, "source": "operator"},
    "usage": record_fields(created_at=MOMENT),
    "payments": {
        "kind": "auto",
        "state": "paid",
        "amount_minor": 1,
        "currency": "usd",
        "credit_nanos": 1,
        "returned_nanos": 0,
        "keeps_card": False,
        "created_at": MOMENT,
        "paid_at": MOMENT,
    },
    "payment_returns": {
        "source": "stripe_refund",
        "amount_minor": 1,
        "currency": "usd",
        "undone": False,
        "created_at": MOMENT,
    },
    "payment_decisions": {
        "action": "close",
        "before": "review",
        "reason": "x",
        "made_by": "command",
        "created_at": MOMENT,
    },
    "auto_top_ups": {
        "enabled": True,
        "threshold_nanos": 1,
        "amount_minor": 1,
        "monthly_cap_minor": 1,
        "month_minor": 0,
        "payment_method": "pm_1",
    },
    "code_batches": {"amount_nanos": 1, "count": 1, "made_by": "x", "created_at": MOMENT},
    "codes": {},
    "balance_alerts": {"enabled": True, "threshold_nanos": 1, "armed": True, "crossings": 0},
    "idempotency_keys": {"key": "k", "fingerprint": "f", "stream": False, "expires_at": LATER},
}
CHECKS: list[tuple[str, str, dict[str, Any]]] = [
    ("balances", "no_overspend", {"held_nanos": 11}),
    ("balances", "no_overspend", {"balance_nanos": -3, "held_nanos": 0, "debt_nanos": 2}),
    ("balances", "held", {"held_nanos": -1}),
    ("balances", "debt", {"debt_nanos": -1}),
    ("holds", "amount", {"amount_nanos": -1}),
    ("budgets", "not_negative", {"held_nanos": -1}),
    ("budgets", "not_negative", {"spent_nanos": -1}),
    ("entries", "amount", {"amount_nanos": 0}),
    ("entries", "two_legs", {"debit": "customer"}),
    ("usage", "state", {"state": "forgotten"}),
    ("usage", "not_negative", {"charge_nanos": -1}),
    ("usage", "not_negative", {"hold_nanos": -1}),
    ("usage", "not_negative", {"loss_nanos": -1}),
    ("payments", "amount", {"amount_minor": 0}),
    ("payments", "amount", {"credit_nanos": 0}),
    ("payments", "returned", {"returned_nanos": -1}),
    ("payments", "kind", {"kind": "cash"}),
    ("payments", "state", {"state": "lost"}),
    ("payments", "paid", {"payment_intent": None}),
    ("payments", "paid", {"paid_at": None}),
    ("payment_returns", "amount", {"amount_minor": 0}),
    ("payment_decisions", "action", {"action": "forget"}),
    ("auto_top_ups", "amounts", {"threshold_nanos": -1}),
    ("auto_top_ups", "amounts", {"amount_minor": -1}),
    ("auto_top_ups", "amounts", {"monthly_cap_minor": -1}),
    ("auto_top_ups", "month", {"month_minor": -1}),
    ("auto_top_ups", "needs_card", {"payment_method": None}),
    ("code_batches", "amount", {"amount_nanos": 0}),
    ("code_batches", "amount", {"count": 0}),
    ("codes", "redeemed", {"redeemed_at": MOMENT}),
    ("balance_alerts", "threshold", {"threshold_nanos": 0}),
]
# What two rows must not have in common; they differ in all other unique values.
UNIQUE: list[tuple[str, str, dict[str, Any]]] = [
    ("balances", "pk_balances", {"account_id": 1}),
    ("holds", "pk_holds", {"request_id": new_id()}),
    ("budgets", "pk_budgets", {"key_id": 1}),
    ("entries", "uq_entries_source_external_id", {"external_id": "once"}),
    ("usage", "pk_usage", {"request_id": new_id()}),
    ("payments", "pk_payments", {"id": "pay_1"}),
    ("payments", "uq_payments_payment_intent", {"payment_intent": "pi_1"}),
    ("payments", "uq_payments_invoice", {"invoice": "in_1"}),
    ("payments", "uq_payments_subscription_id_period_start", {"subscription_id": "sbs_1", "period_start": MOMENT}),
    ("payments", "uq_payments_running_auto", {"state": "pending", "account_id": 1}),
    ("payment_returns", "pk_payment_returns", {"id": "re_1"}),
    ("auto_top_ups", "pk_auto_top_ups", {"account_id": 1}),
    ("code_batches", "uq_code_batches_once", {"once": "form"}),
    ("codes", "uq_codes_digest", {"digest": b"d" * 32}),
    ("balance_alerts", "pk_balance_alerts", {"account_id": 1}),
    ("idempotency_keys", "pk_idempotency_keys", {"account_id": 1}),
]
PLAN = {
    "code": "plan",
    "name": "Pro",
    "fee_minor": 2000,
    "currency": "usd",
    "worth_nanos": 20_000_000_000,
    "credit_nanos": 20_000_000_000,
    "made_by": "a test",
}
COUNTED_UP = {"pk_payment_decisions", "pk_entries", "pk_code_batches", "pk_codes"}


def test_every_constraint_of_the_moneys_tables_is_tried_here():
    declared = set()
    for name in GOOD:
        table = Table.metadata.tables[name]
        declared |= {str(one.name) for one in table.constraints if not isinstance(one, sa.ForeignKeyConstraint)}
        declared |= {str(index.name) for index in table.indexes if index.unique}
    tried = {f"ck_{table}_{name}" for table, name, _ in CHECKS} | {name for _, name, _ in UNIQUE}
    assert tried == declared - COUNTED_UP


class Rows:
    """Rows of two accounts, in a transaction that is rolled back at the end."""

    def __init__(self, ledger: Ledger, connection: sa.Connection):
        self._connection = connection
        self._accounts = [ledger.open_account(), ledger.open_account()]
        self._subscribed = None

    def insert(self, name: str, changes: dict[str, Any], number: int = 0) -> None:
        """Insert the table's good row with changes, of the first or second account; `account_id` 1 is the first's."""
        account_id = self._accounts[0 if "account_id" in changes else number]
        text = new_id()
        fresh = {"account_id": account_id, "key_id": account_id, "digest": text[-32:].encode()}
        fresh |= dict.fromkeys(("request_id", "payment_intent", "once", "external_id"), text)
        if name in ("payments", "payment_returns"):
            fresh["id"] = text
        if name == "payment_decisions":
            fresh["payment_id"] = self._insert("payments", GOOD["payments"] | fresh | {"id": text})
        if "subscription_id" in changes and number == 0 and not self._subscribed:
            plan_id = self._insert("plans", PLAN)
            row = {"id": changes["subscription_id"], "account_id": account_id, "plan_id": plan_id, "made_by": "a test"}
            self._subscribed = self._insert("subscriptions", row)
        if name == "codes":
            fresh["batch_id"] = self._insert("code_batches", GOOD["code_batches"])
        self._insert(name, GOOD[name] | fresh | changes | {"account_id": account_id})

    def _insert(self, name: str, row: dict[str, Any]) -> Any:
        """Insert the row's columns; returns its key."""
        table = Table.metadata.tables[name]
        with self._connection.begin_nested():
            done = self._connection.execute(
                sa.insert(table).values({key: value for key, value in row.items() if key in table.c})
            )
        assert done.inserted_primary_key is not None
        return done.inserted_primary_key[0]


@pytest.fixture
def rows(ledger: Ledger):
    with db.engine.connect() as connection:
        yield Rows(ledger, connection)
        connection.rollback()


@pytest.mark.parametrize(("table", "name", "changes"), CHECKS)
def test_a_row_that_breaks_a_check_is_refused(rows: Rows, table: str, name: str, changes: dict[str, Any]):
    rows.insert(table, {})
    with pytest.raises(IntegrityError, match=f"(?i)check constraint.*ck_{table}_{name}"):
        rows.insert(table, changes, 1)


@pytest.mark.parametrize(("table", "name", "shared"), UNIQUE)
def test_a_row_that_is_there_already_is_refused(engine: str, rows: Rows, table: str, name: str, shared: dict[str, Any]):
    rows.insert(table, shared)
    rows.insert(table, {}, 1)
    told = rf'unique constraint "{name}"' if engine == "postgresql" else rf"UNIQUE constraint failed: {table}\."
    with pytest.raises(IntegrityError, match=told):
        rows.insert(table, shared, 1)
