"""Migration 0016 with rows in place, on both engines: sums and currencies are filled in from what the rows say."""

import flask_migrate
import pytest
import sqlalchemy as sa

from bridge.db import db
from tests.test_migration_0005 import MOMENT, describe_schema, insert, read, rooms

__all__ = ["rooms"]  # the fixture


def pay(number: int, **fields: object) -> None:
    insert(
        "payments",
        {
            "id": f"pay_{number}",
            "account_id": 1,
            "kind": "checkout",
            "state": "paid",
            "amount_minor": 3000,
            "currency": "usd",
            "credit_nanos": 30_000_000_007,
            "returned_nanos": 0,
            "payment_intent": f"pi_{number}",
            "keeps_card": False,
            "created_at": MOMENT,
            "paid_at": MOMENT,
            **fields,
        },
    )


def list_payments() -> list[dict[str, object]]:
    return sorted(read("payments"), key=lambda row: str(row["id"]))


@pytest.fixture(autouse=True)
def at_0015(rooms: object) -> None:
    """Payments and a rule, as the code before left them."""
    flask_migrate.upgrade(revision="0015")
    pay(1, returned_nanos=2 * (1000 * 30_000_000_007 // 3000))  # two refunds of $10, each rounded down
    pay(2, currency="inr", state="failed", paid_at=None)
    pay(3, state="review", returned_nanos=15_000_000_000)  # what was taken without a credit
    insert(
        "auto_top_ups",
        {
            "account_id": 1,
            "enabled": True,
            "threshold_nanos": 1,
            "amount_minor": 2000,
            "monthly_cap_minor": 2000,
            "payment_method": "pm_1",
            "month_minor": 0,
        },
    )


def test_sums_and_currency_are_filled_in():
    pay(4, currency="inr")
    flask_migrate.upgrade(revision="0016")
    rows = {row["id"]: row for row in read("payments")}
    assert [rows[f"pay_{number}"]["returned_minor"] for number in (1, 2, 3)] == [2000, 0, 0]
    assert {row["paid_minor"] for row in rows.values()} == {None}
    assert [row["currency"] for row in read("auto_top_ups")] == ["inr"]


def test_a_rule_without_any_payment_has_an_unknown_currency():
    with db.engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM payments"))
    flask_migrate.upgrade(revision="0016")
    assert [row["currency"] for row in read("auto_top_ups")] == [""]


def test_down_gives_rows_and_schema_back_exactly():
    rows, rules, schema = list_payments(), read("auto_top_ups"), describe_schema()
    flask_migrate.upgrade(revision="0016")
    flask_migrate.downgrade(revision="0015")
    assert (list_payments(), read("auto_top_ups"), describe_schema()) == (rows, rules, schema)


def test_down_shows_what_the_code_before_does_not_know_as_failed():
    flask_migrate.upgrade(revision="0016")
    with db.engine.begin() as connection:
        connection.execute(sa.text("UPDATE payments SET state = 'closed', kind = 'again' WHERE id = 'pay_3'"))
        connection.execute(sa.text("UPDATE payments SET state = 'refunded' WHERE id = 'pay_2'"))
    flask_migrate.downgrade(revision="0015")
    found = [(row["state"], row["kind"]) for row in list_payments()]
    assert found == [("paid", "checkout"), ("failed", "checkout"), ("failed", "checkout")]
