"""Migration 0005 with rows in place, on both engines: what was priced and charged before stays as it was."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flask_migrate
import pytest
import sqlalchemy as sa
from flask import Flask

from bridge.db import db
from bridge.extensions import migrate
from tests.rooms import close_rooms, make_settings, open_rooms

MOMENT = "2026-03-10 12:00:00.000000"
ADDED = ("cache_write_nanos_per_mtok", "cache_write_hour_nanos_per_mtok")


@pytest.fixture
def rooms(empty_database_url: str, tmp_path: Path) -> Iterator[Flask]:
    """At revision 0004, with a price and a settled request."""
    app = open_rooms(make_settings(tmp_path, database_url=empty_database_url))
    migrate.init_app(app, db)
    with app.app_context():
        flask_migrate.upgrade(revision="0004")
        insert(
            "models",
            {"id": "m", "name": "M", "provider": "openai", "upstream_id": "m", "input_modalities": "[]"}
            | dict.fromkeys(("context_tokens", "max_output_tokens", "default_output_tokens", "image_tokens"), 9)
            | {"thinks": False, "status": "live", "created_at": MOMENT},
        )
        insert("prices", price(input=5, cached=1, output=9))
        insert("accounts", {"id": 1, "name": "a", "status": "active", "created_at": MOMENT})
        insert("usage", usage("req_1"))
        yield app
    close_rooms(app)


def price(**figures: int) -> dict[str, Any]:
    named = {f"{name}_nanos_per_mtok": nanos for name, nanos in figures.items()}
    return {"model_id": "m", "source": "operator", "created_at": MOMENT, **named}


def usage(request_id: str) -> dict[str, Any]:
    counts = (
        "prompt_tokens",
        "cached_tokens",
        "completion_tokens",
        "reasoning_tokens",
        "output_cap_tokens",
        "total_ms",
    )
    return {
        "created_at": MOMENT,
        "settled_at": MOMENT,
        "request_id": request_id,
        "account_id": 1,
        "key_id": 1,
        "state": "captured",
        "outcome": "complete",
        "status": 200,
        "endpoint": "chat",
        "stream": False,
        "model_asked": "m",
        "model_id": "m",
        "tokens_source": "provider",
        "attempts": "[]",
        "price_id": 1,
        "input_nanos_per_mtok": 5,
        "cached_nanos_per_mtok": 1,
        "output_nanos_per_mtok": 9,
        "hold_nanos": 2,
        "charge_nanos": 1,
        "loss_nanos": 0,
        **dict.fromkeys((*counts, "total_ms"), 7),
    }


def insert(table: str, row: dict[str, Any]) -> None:
    names = list(row)
    statement = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join(f':{name}' for name in names)})"
    with db.engine.begin() as connection:
        connection.execute(sa.text(statement), row)


def read(table: str) -> list[dict[str, Any]]:
    with db.engine.connect() as connection:
        return [dict(row._mapping) for row in connection.execute(sa.text(f"SELECT * FROM {table}"))]


def describe_schema() -> Any:
    """Columns, checks and, on PostgreSQL, the ledger's function."""
    inspector = sa.inspect(db.engine)
    found: list[Any] = [
        ([(column["name"], str(column["type"]), column["nullable"]) for column in inspector.get_columns(table)],
         sorted(str(check["sqltext"]).replace("(", "").replace(")", "").replace("::numeric", "")
                for check in inspector.get_check_constraints(table)),
         sorted(str(index["name"]) for index in inspector.get_indexes(table)),
         [(key["name"], key["options"]) for key in inspector.get_foreign_keys(table)])
        for table in ("prices", "usage")
    ]  # fmt: skip
    if db.engine.dialect.name == "postgresql":
        with db.engine.connect() as connection:
            found.append(connection.scalar(sa.text("SELECT prosrc FROM pg_proc WHERE proname = 'ledger_commit'")))
    return found


@pytest.mark.usefixtures("rooms")
def test_what_was_written_before_costs_what_input_did():
    flask_migrate.upgrade(revision="0005")
    (priced,), (used,) = read("prices"), read("usage")
    assert [priced[name] for name in ADDED] == [used[name] for name in ADDED] == [5, 5]
    assert (priced["input_nanos_per_mtok"], priced["cached_nanos_per_mtok"], priced["output_nanos_per_mtok"]) == (
        5,
        1,
        9,
    )
    assert (used["cache_write_tokens"], used["cache_write_hour_tokens"], used["prompt_tokens"]) == (0, 0, 7)


@pytest.mark.usefixtures("rooms")
def test_down_gives_rows_and_schema_back_exactly():
    rows, schema = (read("prices"), read("usage")), describe_schema()
    flask_migrate.upgrade(revision="0005")
    assert describe_schema() != schema
    flask_migrate.downgrade(revision="0004")
    assert ((read("prices"), read("usage")), describe_schema()) == (rows, schema)


@pytest.mark.usefixtures("rooms")
@pytest.mark.parametrize("name", ADDED)
def test_a_price_below_zero_is_still_no_price(name: str):
    flask_migrate.upgrade(revision="0005")
    insert("prices", price(input=5, cached=1, output=9, cache_write=6, cache_write_hour=8))
    wrong = {**price(input=5, cached=1, output=9, cache_write=6, cache_write_hour=8), name: -1}
    with pytest.raises(sa.exc.IntegrityError, match="not_negative"):
        insert("prices", wrong)


@pytest.mark.usefixtures("rooms")
@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_a_worker_of_the_code_before_can_still_settle():
    flask_migrate.upgrade(revision="0005")
    insert("balances", {"account_id": 1, "balance_nanos": 10, "held_nanos": 4, "debt_nanos": 0})
    hold = {"request_id": "req_2", "account_id": 1, "key_id": 1, "amount_nanos": 4, "details": ""}
    insert("holds", {**hold, "created_at": MOMENT, "deadline_at": MOMENT})
    with db.engine.begin() as connection:
        told = {name: value for name, value in usage("req_2").items() if name not in ("account_id", "key_id")}
        connection.execute(
            sa.text("SELECT ledger_commit(CAST(:settlements AS jsonb), '[]')"),
            {"settlements": json.dumps([{**told, "price_nanos": 3}])},
        )
    _, settled = read("usage")
    assert [settled[name] for name in ADDED] == [5, 5]
    assert (settled["cache_write_tokens"], settled["cache_write_hour_tokens"], settled["charge_nanos"]) == (0, 0, 3)
