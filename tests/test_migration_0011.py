"""Migration 0011 with rows in place, on both engines: what was left after older requests stays unknown."""

import json

import flask_migrate
import pytest
import sqlalchemy as sa

from bridge.db import db
from tests.test_migration_0005 import MOMENT, describe_schema, insert, read, rooms, usage
from tests.test_migration_0008 import WRITES

__all__ = ["rooms"]  # the fixture


@pytest.fixture(autouse=True)
def at_0010(rooms: object) -> None:
    """A settled request, as the code before left it."""
    flask_migrate.upgrade(revision="0010")


def test_down_gives_rows_and_schema_back_exactly():
    rows, schema = read("usage"), describe_schema()
    flask_migrate.upgrade(revision="0011")
    assert [row["balance_after_nanos"] for row in read("usage")] == [None]
    flask_migrate.downgrade(revision="0010")
    assert (read("usage"), describe_schema()) == (rows, schema)


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_both_functions_settle_what_a_worker_of_the_code_before_sends():
    insert("balances", {"account_id": 1, "balance_nanos": 10, "held_nanos": 8, "debt_nanos": 0})
    flask_migrate.upgrade(revision="0011")
    settle("req_2")
    assert [row["balance_after_nanos"] for row in read("usage")] == [None, 7]
    flask_migrate.downgrade(revision="0010")
    settle("req_3")
    assert [(row["balance_nanos"], row["held_nanos"]) for row in read("balances")] == [(4, 0)]
    assert [row["charge_nanos"] for row in read("usage")] == [1, 3, 3]


def settle(request_id: str) -> None:
    """Hold 4 nanos, which the balance has counted, and charge 3 of them."""
    hold = {"request_id": request_id, "account_id": 1, "key_id": 1, "amount_nanos": 4, "details": ""}
    insert("holds", {**hold, "created_at": MOMENT, "deadline_at": MOMENT})
    told = {name: value for name, value in usage(request_id).items() if name not in ("account_id", "key_id")} | WRITES
    with db.engine.begin() as connection:
        connection.execute(
            sa.text("SELECT ledger_commit(CAST(:settlements AS jsonb), '[]')"),
            {"settlements": json.dumps([{**told, "price_nanos": 3}])},
        )
