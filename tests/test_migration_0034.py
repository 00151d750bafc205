"""Migration 0034 with rows in place, on both engines: budgets and the holds that count in them go on."""

import json
from typing import Any

import flask_migrate
import sqlalchemy as sa

from bridge.db import db
from tests.test_migration_0005 import MOMENT, insert, read, rooms

__all__ = ["rooms"]  # the fixture
KEYS: tuple[tuple[int, int | None, str, str], ...] = (
    (1, 5, "day", "2026-03-10"),
    (2, 6, "total", "1970-01-01"),
    (3, None, "week", "2026-03-09"),
)


def list_figures(table: str, *names: str) -> list[tuple[Any, ...]]:
    return sorted(tuple(str(row[name]) for name in names) for row in read(table))


def write_as_before() -> None:
    """Workers of the version before still read and write what they know, until the new ones have their place."""
    for table, names in (("keys", "budget_nanos, budget_period"), ("holds", "budget_start")):
        with db.engine.begin() as connection:
            assert connection.execute(sa.text(f"SELECT {names} FROM {table}")).all()  # noqa: S608
    with db.engine.begin() as connection:
        text = (
            "INSERT INTO keys (id, account_id, name, digest, last_four, budget_nanos, budget_period, created_at) "
            "VALUES (9, 1, 'k', :digest, 'abcd', 7, 'day', :moment)"
        )
        connection.execute(sa.text(text), {"digest": b"9" * 32, "moment": MOMENT})
        connection.execute(sa.text("UPDATE keys SET budget_nanos = 8, budget_period = 'week' WHERE id = 9"))
        assert connection.execute(sa.text("SELECT budget_user_period FROM keys WHERE id = 9")).scalar_one() == "day"
        connection.execute(sa.text("DELETE FROM keys WHERE id = 9"))


def test_budgets_and_open_holds_go_on_up_and_down(rooms: object):
    flask_migrate.upgrade(revision="0033")
    before = [
        ("keys", ("id", "budget_nanos", "budget_period")),
        ("budgets", ("key_id", "period_start", "held_nanos", "spent_nanos")),
        ("holds", ("request_id", "budget_start")),
    ]
    for key_id, nanos, period, start in KEYS:
        with db.engine.begin() as connection:
            text = (
                "INSERT INTO keys (id, account_id, name, digest, last_four, budget_nanos, budget_period, created_at) "
                "VALUES (:id, 1, 'k', :digest, 'abcd', :nanos, :period, :moment)"
            )
            values = {"id": key_id + 100, "digest": bytes([key_id] * 32), "nanos": nanos, "period": period}
            connection.execute(sa.text(text), {**values, "moment": MOMENT})
        insert("budgets", {"key_id": key_id + 100, "period_start": start, "held_nanos": 1, "spent_nanos": 2})
        hold = {"request_id": f"r{key_id}", "account_id": 1, "key_id": key_id + 100, "amount_nanos": 1, "details": ""}
        insert("holds", {**hold, "budget_start": start, "created_at": MOMENT, "deadline_at": MOMENT})
    kept = [list_figures(table, *names) for table, names in before]
    flask_migrate.upgrade(revision="0034")
    fields = ("id", "budget_day_nanos", "budget_week_nanos", "budget_total_nanos")
    assert list_figures("keys", *fields) == [
        ("101", "5", "None", "None"),
        ("102", "None", "None", "6"),
        ("103", "None", "None", "None"),
    ]
    assert {(row["key_id"], row["period"], row["scope"]) for row in read("budgets")} == {
        (101, "day", ""),
        (102, "total", ""),
        (103, "week", ""),
    }
    for row in read("holds"):
        [window] = json.loads(row["budgets"])
        assert (window["period"], window["start"], window["scope"]) == (*KEYS[row["key_id"] - 101][2:], "")
    write_as_before()
    flask_migrate.downgrade(revision="0033")
    after = [list_figures(table, *names) for table, names in before]
    # a key without a budget has no period to come back to, and neither has what was counted for it
    assert after[0][:2] == kept[0][:2]
    assert after[1:] == [each[:2] for each in kept[1:2]] + [[*kept[2][:2], ("r3", "None")]]
