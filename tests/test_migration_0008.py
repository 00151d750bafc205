"""Migration 0008 with rows in place, on both engines: what was priced before stays as it was, and cost what it cost."""

import json

import flask_migrate
import pytest
import sqlalchemy as sa

from bridge.catalogue.price_rows import version_of
from bridge.catalogue.tables import Price
from bridge.conversation.usage import Usage
from bridge.db import db
from tests.test_migration_0005 import MOMENT, describe_schema, insert, price, read, rooms, usage

__all__ = ["rooms"]  # the fixture
WRITES = {"cache_write_nanos_per_mtok": 5, "cache_write_hour_nanos_per_mtok": 5}


@pytest.fixture(autouse=True)
def at_0007(rooms: object) -> None:
    """A price and a settled request, as the code before left them."""
    flask_migrate.upgrade(revision="0007")


def test_until_now_everybody_paid_what_it_cost():
    flask_migrate.upgrade(revision="0008")
    (used,) = read("usage")
    assert (used["cost_nanos"], used["charge_nanos"] + used["loss_nanos"], used["pricing"]) == (1, 1, None)
    assert (read("models")[0]["markup_bps"], read("accounts")[0]["markup_bps"]) == (0, None)


def test_a_price_of_before_is_one_tier_from_its_creation_on():
    flask_migrate.upgrade(revision="0008")
    (row,) = db.session.scalars(sa.select(Price))
    assert (row.tiers, row.costs, row.effective_at) == (None, None, None)
    version = version_of(row)
    assert (len(version.tiers), version.costs) == (1, version.tiers)
    assert version.charge(Usage(1_000_000, 1_000_000, 1_000)) == 999_000 * 5 // 10**6 + 1 + 9


def test_down_gives_rows_and_schema_back_exactly():
    rows, schema = (read("prices"), read("usage"), read("models"), read("accounts")), describe_schema()
    flask_migrate.upgrade(revision="0008")
    assert describe_schema() != schema
    flask_migrate.downgrade(revision="0007")
    assert (read("prices"), read("usage"), read("models"), read("accounts")) == rows
    assert describe_schema() == schema


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_a_worker_of_the_code_before_can_still_settle():
    flask_migrate.upgrade(revision="0008")
    insert("prices", price(input=5, cached=1, output=9, cache_write=5, cache_write_hour=5))
    insert("balances", {"account_id": 1, "balance_nanos": 10, "held_nanos": 4, "debt_nanos": 0})
    hold = {"request_id": "req_2", "account_id": 1, "key_id": 1, "amount_nanos": 4, "details": ""}
    insert("holds", {**hold, "created_at": MOMENT, "deadline_at": MOMENT})
    told = {name: value for name, value in usage("req_2").items() if name not in ("account_id", "key_id")} | WRITES
    with db.engine.begin() as connection:
        connection.execute(
            sa.text("SELECT ledger_commit(CAST(:settlements AS jsonb), '[]')"),
            {"settlements": json.dumps([{**told, "price_nanos": 3}])},
        )
    _, settled = read("usage")
    assert (settled["cost_nanos"], settled["charge_nanos"], settled["pricing"]) == (3, 3, None)
