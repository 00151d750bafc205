"""The batch on SQLite: one IMMEDIATE transaction, statement by statement, under the one lock that all its writers share."""

import datetime
import sqlite3
from collections.abc import Iterable
from typing import Any

from bridge.db import set_sqlite_pragmas
from bridge.ledger.batch import (
    USAGE_COLUMNS,
    HoldOrder,
    HoldResult,
    Order,
    Outcome,
    Settlement,
    SettleResult,
    as_row,
)

_INSERT_USAGE = (
    "INSERT INTO usage (request_id, created_at, account_id, key_id, hold_nanos, charge_nanos, loss_nanos, settled_at, "
    + ", ".join(USAGE_COLUMNS)
    + ") VALUES (:request_id, :created_at, :account_id, :key_id, :hold_nanos, :charge_nanos, :loss_nanos, :settled_at, "
    + ", ".join(f":{name}" for name in USAGE_COLUMNS)
    + ")"
)


def as_text(moment: datetime.datetime) -> str:
    """A moment as SQLAlchemy writes it to SQLite: UTC, no zone, always with microseconds, so that texts sort."""
    return moment.astimezone(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


def connect(path: str) -> sqlite3.Connection:
    """A connection for the batch alone; transactions are opened by hand."""
    connection = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    set_sqlite_pragmas(connection)
    return connection


def commit_batch(connection: sqlite3.Connection, orders: Iterable[Order]) -> list[Outcome]:
    """Carry out the orders in one transaction. Raises sqlite3.Error, and then nothing was changed."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        outcomes = [
            _place_hold(connection, order) if isinstance(order, HoldOrder) else _settle(connection, order)
            for order in orders
        ]
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    return outcomes


def _place_hold(connection: sqlite3.Connection, order: HoldOrder) -> HoldResult:
    values: dict[str, Any] = {
        "request_id": order.request_id,
        "account_id": order.account_id,
        "key_id": order.key_id,
        "amount": order.amount_nanos,
        "budget": order.budget_nanos,
        "start": order.budget_start.isoformat() if order.budget_start else None,
        "details": order.details,
        "created_at": as_text(order.created_at),
        "deadline_at": as_text(order.created_at + datetime.timedelta(seconds=order.deadline_seconds)),
    }
    if connection.execute("SELECT 1 FROM holds WHERE request_id = :request_id", values).fetchone():
        return HoldResult("", 0)  # a batch whose commit was in doubt, tried again
    if order.budget_nanos is not None and not _hold_in_budget(connection, values):
        row = connection.execute(
            "SELECT :budget - held_nanos - spent_nanos FROM budgets WHERE key_id = :key_id AND period_start = :start",
            values,
        ).fetchone()
        return HoldResult("budget", max(0, row[0]))
    held = connection.execute(
        "UPDATE balances SET held_nanos = held_nanos + :amount "
        "WHERE account_id = :account_id AND (:amount = 0 OR balance_nanos - held_nanos >= :amount)",
        values,
    ).rowcount
    if not held:
        if order.budget_nanos is not None:
            connection.execute(
                "UPDATE budgets SET held_nanos = held_nanos - :amount WHERE key_id = :key_id AND period_start = :start",
                values,
            )
        row = connection.execute(
            "SELECT balance_nanos - held_nanos FROM balances WHERE account_id = :account_id", values
        ).fetchone()
        return HoldResult("balance", row[0] if row else 0)
    connection.execute(
        "INSERT INTO holds (request_id, account_id, key_id, budget_start, amount_nanos, details, created_at, deadline_at) "
        "VALUES (:request_id, :account_id, :key_id, :start, :amount, :details, :created_at, :deadline_at)",
        values,
    )
    return HoldResult("", 0)


def _hold_in_budget(connection: sqlite3.Connection, values: dict[str, Any]) -> bool:
    connection.execute(
        "INSERT INTO budgets (key_id, period_start, held_nanos, spent_nanos) VALUES (:key_id, :start, 0, 0) "
        "ON CONFLICT DO NOTHING",
        values,
    )
    return bool(
        connection.execute(
            "UPDATE budgets SET held_nanos = held_nanos + :amount WHERE key_id = :key_id AND period_start = :start "
            "AND (:amount = 0 OR held_nanos + spent_nanos + :amount <= :budget)",
            values,
        ).rowcount
    )


def _settle(connection: sqlite3.Connection, settlement: Settlement) -> SettleResult:
    hold = connection.execute(
        "DELETE FROM holds WHERE request_id = ? RETURNING account_id, key_id, amount_nanos, budget_start",
        (settlement.request_id,),
    ).fetchone()
    if hold is None:
        return SettleResult(0, 0, settled_before=True)
    values = as_row(settlement)
    amount, price = hold["amount_nanos"], settlement.price_nanos
    charge = price
    if price > amount:
        row = connection.execute(
            "SELECT balance_nanos - held_nanos FROM balances WHERE account_id = ?", (hold["account_id"],)
        ).fetchone()
        charge = amount + min(price - amount, max(0, row[0]))
    values |= {
        "account_id": hold["account_id"],
        "key_id": hold["key_id"],
        "created_at": as_text(settlement.created_at),
        "hold_nanos": amount,
        "charge_nanos": charge,
        "loss_nanos": price - charge,
        "start": hold["budget_start"],
        "settled_at": as_text(datetime.datetime.now(datetime.UTC)),
    }
    connection.execute(
        "UPDATE balances SET held_nanos = held_nanos - :hold_nanos, balance_nanos = balance_nanos - :charge_nanos "
        "WHERE account_id = :account_id",
        values,
    )
    if hold["budget_start"] is not None:
        connection.execute(
            "UPDATE budgets SET held_nanos = held_nanos - :hold_nanos, spent_nanos = spent_nanos + :charge_nanos "
            "WHERE key_id = :key_id AND period_start = :start",
            values,
        )
    connection.execute(_INSERT_USAGE, values)
    return SettleResult(charge, price - charge)
