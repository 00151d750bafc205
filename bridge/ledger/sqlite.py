"""Commits the batch on SQLite: one IMMEDIATE transaction, statement by statement, under the lock that all its writers
share."""

import datetime
import sqlite3
from collections.abc import Iterable

import msgspec

from bridge.db import set_sqlite_pragmas
from bridge.ledger.batch import (
    BudgetWindow,
    Funds,
    FundsQuery,
    HoldOrder,
    HoldResult,
    Mark,
    MarkWritten,
    Order,
    Outcome,
    Settlement,
    SettleResult,
    as_row,
    own_id,
    read_windows,
)
from bridge.ledger.columns import USAGE_COLUMNS

_VALUES = ", ".join(f":{name}" for name in USAGE_COLUMNS)
_INSERT_USAGE = f"INSERT INTO usage ({', '.join(USAGE_COLUMNS)}) VALUES ({_VALUES})"  # noqa: S608 - our own column names

Place = tuple[int, str, str, str]
_WHERE = "WHERE key_id = ? AND period = ? AND period_start = ? AND scope = ?"  # one window's row


def as_text(moment: datetime.datetime) -> str:
    """A moment as SQLAlchemy writes it to SQLite: in UTC, without a zone and always with microseconds, so that texts
    sort."""
    return moment.astimezone(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


def connect(path: str) -> sqlite3.Connection:
    """A connection for the batch alone. Its user opens the transactions and waits for the lock."""
    connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    set_sqlite_pragmas(connection)
    return connection


def commit_batch(connection: sqlite3.Connection, orders: Iterable[Order]) -> list[Outcome]:
    """Carry out the orders in one transaction. Raises sqlite3.Error, and then nothing was changed.

    As on PostgreSQL, settlements come first, sorted by id, so what they free can be held at once."""
    orders = list(orders)
    outcomes: dict[int, Outcome] = {}
    by_id = sorted(range(len(orders)), key=lambda place: orders[place].request_id)
    connection.execute("BEGIN IMMEDIATE")
    try:
        free: dict[int, int] = {}  # by account: what was available before the batch, less the excess taken so far
        for place in by_id:
            if isinstance(order := orders[place], Settlement):
                outcomes[place] = _settle(connection, order, free)
        for place, order in enumerate(orders):
            if isinstance(order, HoldOrder):
                outcomes[place] = _place_hold(connection, order)
            elif isinstance(order, Mark):
                connection.execute(
                    "UPDATE holds SET details = ? WHERE request_id = ?", (order.details, order.request_id)
                )
                outcomes[place] = MarkWritten()
            elif isinstance(order, FundsQuery):
                outcomes[place] = _read_funds(connection, order)
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    return [outcomes[place] for place in range(len(orders))]


def _place_hold(connection: sqlite3.Connection, order: HoldOrder) -> HoldResult:
    if row := connection.execute("SELECT amount_nanos FROM holds WHERE request_id = ?", (order.request_id,)).fetchone():
        return HoldResult(row[0])  # a retried batch, whose commit was in doubt
    windows = order.budgets or ()
    available = _available(connection, order.account_id)
    left = [_budget_left(connection, order, window) for window in windows]
    budget = min(left, default=available)
    amount = min(order.amount_nanos, max(order.least_nanos, min(available, budget) // 4))
    if windows and amount > budget:
        place = left.index(budget)
        _note_refusal(connection, order, windows[place])
        return HoldResult(0, "budget", budget, place)
    held = connection.execute(
        "UPDATE balances SET held_nanos = held_nanos + :amount "
        "WHERE account_id = :account_id AND balance_nanos - held_nanos >= :amount",
        {"amount": amount, "account_id": order.account_id},
    ).rowcount
    if amount and not held:  # a free request needs no balance, not even its row
        return HoldResult(0, "balance", available)
    for window in windows:
        _move_budget(connection, _place(order, window), amount, 0)
    deadline_at = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=order.deadline_seconds)
    connection.execute(
        "INSERT INTO holds "
        "(request_id, account_id, key_id, budgets, amount_nanos, details, created_at, deadline_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            order.request_id,
            order.account_id,
            order.key_id,
            msgspec.json.encode(windows).decode() if windows else None,
            amount,
            order.details,
            as_text(order.created_at),
            as_text(deadline_at),
        ),
    )
    return HoldResult(amount)


def _read_funds(connection: sqlite3.Connection, query: FundsQuery) -> Funds:
    balance = connection.execute(
        "SELECT balance_nanos, held_nanos FROM balances WHERE account_id = ?", (query.account_id,)
    ).fetchone()
    balance_nanos, held_nanos = balance or (0, 0)
    budgets = (_read_budget(connection, _place(query, window)) for window in query.budgets)
    return Funds(balance_nanos, held_nanos, tuple(budgets))


def _available(connection: sqlite3.Connection, account_id: int) -> int:
    row = connection.execute(
        "SELECT balance_nanos - held_nanos FROM balances WHERE account_id = ?", (account_id,)
    ).fetchone()
    return int(row[0]) if row else 0


def _place(order: HoldOrder | FundsQuery, window: BudgetWindow) -> Place:
    return _place_of(order.account_id, order.key_id, window)


def _place_of(account_id: int, key_id: int, window: BudgetWindow) -> Place:
    return own_id(window.scope, account_id, key_id), window.period, window.start.isoformat(), window.scope


def _read_budget(connection: sqlite3.Connection, place: Place) -> tuple[int, int]:
    row = connection.execute(f"SELECT held_nanos, spent_nanos FROM budgets {_WHERE}", place).fetchone()  # noqa: S608 - no text of anybody's
    return (row[0], row[1]) if row else (0, 0)


def _budget_left(connection: sqlite3.Connection, order: HoldOrder, window: BudgetWindow) -> int:
    place = _place(order, window)
    connection.execute(
        "INSERT INTO budgets (key_id, period, period_start, scope, held_nanos, spent_nanos, told_percent) "
        "VALUES (?, ?, ?, ?, 0, 0, 0) ON CONFLICT DO NOTHING",
        place,
    )
    return max(0, window.limit_nanos - sum(_read_budget(connection, place)))


def _note_refusal(connection: sqlite3.Connection, order: HoldOrder, window: BudgetWindow) -> None:
    """A request that the budget can't pay for even once nothing runs, when four fifths of it are spent."""
    connection.execute(
        f"UPDATE budgets SET refused_at = ? {_WHERE} AND refused_at IS NULL "  # noqa: S608
        "AND ? > ? - spent_nanos AND ? - spent_nanos <= ? / 5",
        (
            *(as_text(datetime.datetime.now(datetime.UTC)), *_place(order, window)),
            *(order.least_nanos, window.limit_nanos, window.limit_nanos, window.limit_nanos),
        ),
    )


def _move_budget(connection: sqlite3.Connection, place: Place, held_nanos: int, spent_nanos: int) -> None:
    connection.execute(
        f"UPDATE budgets SET held_nanos = held_nanos + ?, spent_nanos = spent_nanos + ? {_WHERE}",  # noqa: S608
        (held_nanos, spent_nanos, *place),
    )


def _settle(connection: sqlite3.Connection, settlement: Settlement, free: dict[int, int]) -> SettleResult:
    hold = connection.execute(
        "DELETE FROM holds WHERE request_id = ? RETURNING account_id, key_id, amount_nanos, budgets",
        (settlement.request_id,),
    ).fetchone()
    if hold is None:
        return SettleResult(0, 0, settled_before=True)
    values = as_row(settlement)
    account_id, amount, price = hold["account_id"], hold["amount_nanos"], settlement.price_nanos
    if account_id not in free:
        free[account_id] = max(0, _available(connection, account_id))
    taken = min(max(0, price - amount), free[account_id])
    free[account_id] -= taken
    charge = min(price, amount) + taken
    values |= {
        "account_id": account_id,
        "key_id": hold["key_id"],
        "created_at": as_text(settlement.created_at),
        "hold_nanos": amount,
        "charge_nanos": charge,
        "loss_nanos": price - charge,
        "settled_at": as_text(datetime.datetime.now(datetime.UTC)),
    }
    left = connection.execute(
        "UPDATE balances SET held_nanos = held_nanos - :hold_nanos, balance_nanos = balance_nanos - :charge_nanos "
        "WHERE account_id = :account_id RETURNING balance_nanos",
        values,
    ).fetchone()
    values["balance_after_nanos"] = left["balance_nanos"] if left else 0
    for window in read_windows(hold["budgets"]):
        _move_budget(connection, _place_of(account_id, hold["key_id"], window), -amount, charge)
    connection.execute(_INSERT_USAGE, values)
    return SettleResult(charge, price - charge)
