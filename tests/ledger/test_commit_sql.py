"""PostgreSQL's commit function has one source, and a field of a settlement can't be forgotten anywhere on its way."""

from typing import Any

import flask_migrate
import msgspec
import psycopg
import pytest
import sqlalchemy as sa

from bridge.ledger.batch import HoldOrder, Settlement
from bridge.ledger.columns import COMMIT_SQL, SETTLED, USAGE_COLUMNS, WORKED_OUT, type_of, write_lists
from bridge.ledger.tables import UsageRecord
from tests.ledger.orders import MOMENT, Ledger, order_hold
from tests.test_migration_0005 import insert, read, rooms
from tests.test_migration_0011 import settle

__all__ = ["rooms"]  # the fixture
BY_THE_DATABASE = {"number"}
DEFINITION = "SELECT pg_get_functiondef('ledger_commit'::regproc)"


def test_the_lists_in_the_file_are_those_of_the_fields():
    text = COMMIT_SQL.read_text()
    assert write_lists(text) == text, "`python -m bridge.ledger.columns` writes them anew"


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_the_database_has_what_the_file_says(database_url: str):
    with psycopg.connect(database_url.replace("+psycopg", "")) as connection:
        migrated = connection.execute(DEFINITION).fetchone()
        connection.execute(COMMIT_SQL.read_bytes())
        assert connection.execute(DEFINITION).fetchone() == migrated, "a new migration has to freeze a copy of the file"
        connection.rollback()


def test_each_column_is_a_settlement_s_field_or_worked_out_by_the_commit():
    columns = UsageRecord.__table__.columns
    assert set(USAGE_COLUMNS) | BY_THE_DATABASE == set(columns.keys())
    fields = {field.name: type_of(field.type) for field in msgspec.structs.fields(Settlement)}
    kept = {name: (python_type(columns[name].type), columns[name].nullable) for name in fields.keys() & columns.keys()}
    assert fields == {**kept, "price_nanos": (int, False)}
    assert not fields.keys() & set(WORKED_OUT)


def python_type(kind: sa.types.TypeEngine[Any]) -> type:
    return (kind.impl_instance if isinstance(kind, sa.types.TypeDecorator) else kind).python_type


def test_every_field_of_a_settlement_reaches_its_row(ledger: Ledger):
    account = ledger.open_account(1000)
    hold = order_hold(account, 900)
    told = fill(hold)
    ledger.commit(hold)
    ledger.commit(Settlement(**told))
    row = ledger.find_usage(hold.request_id)
    assert {name: getattr(row, name) for name in SETTLED} | {"price_nanos": row.charge_nanos} == told


def fill(hold: HoldOrder) -> dict[str, Any]:
    """A distinct value for every field of a settlement, none of them the field's default."""
    told: dict[str, Any] = {"request_id": hold.request_id, "created_at": MOMENT, "state": "captured"}
    for number, field in enumerate(msgspec.structs.fields(Settlement), 100):
        if field.name not in told:
            told[field.name] = {bool: True, int: number, str: f"t{number}"}[type_of(field.type)[0]]
    return told | {"tags": '["env=prod"]'}


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
@pytest.mark.usefixtures("rooms")
def test_a_worker_of_an_older_version_can_still_settle():
    """It doesn't send newer fields, and runs until a deploy has replaced it."""
    flask_migrate.upgrade()
    insert("balances", {"account_id": 1, "balance_nanos": 10, "held_nanos": 4, "debt_nanos": 0})
    settle("req_2")
    settled = next(row for row in read("usage") if row["request_id"] == "req_2")
    assert (settled["charge_nanos"], settled["cost_nanos"], settled["uncharged_tokens"]) == (3, 3, 0)
