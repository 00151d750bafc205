"""The batch on PostgreSQL: one call of the function `ledger_commit` (migration 0004), which is one transaction."""

from collections.abc import Sequence
from typing import Any

import msgspec
import psycopg

from bridge.ledger.batch import HoldOrder, HoldResult, Order, Outcome, Settlement, SettleResult

_CALL = "SELECT * FROM ledger_commit(%s::jsonb, %s::jsonb)"


def connect(url: str) -> psycopg.Connection[Any]:
    """A connection for the batch alone. It gives up within three seconds, so that nobody waits longer to be refused."""
    return psycopg.connect(
        url.replace("postgresql+psycopg://", "postgresql://", 1),
        autocommit=True,
        connect_timeout=3,
        prepare_threshold=0,
        options="-c statement_timeout=3000 -c lock_timeout=2500",
    )


def commit_batch(connection: psycopg.Connection[Any], orders: Sequence[Order]) -> list[Outcome]:
    """Carry out the orders in one transaction. Raises psycopg.Error; after a lost connection the outcome is unknown,
    and `already_held` tells what came through."""
    settlements = [order for order in orders if isinstance(order, Settlement)]
    holds = [order for order in orders if isinstance(order, HoldOrder)]
    rows = connection.execute(
        _CALL, (msgspec.json.encode(settlements).decode(), msgspec.json.encode(holds).decode())
    ).fetchall()
    found = {row[0]: row for row in rows}
    return [_outcome(order, found.get(order.request_id)) for order in orders]


def _outcome(order: Order, row: tuple[str, str, int, int] | None) -> Outcome:
    if isinstance(order, Settlement):
        return SettleResult(row[2], row[3]) if row else SettleResult(0, 0, settled_before=True)
    if row is None:
        return HoldResult(order.amount_nanos)
    return HoldResult(row[2]) if row[1] == "held" else HoldResult(0, row[1], row[2])


def already_held(connection: psycopg.Connection[Any], orders: Sequence[Order]) -> dict[str, int]:
    """Which holds of a batch whose commit was in doubt are in fact there, and their amounts in nano-dollars."""
    ids = [order.request_id for order in orders if isinstance(order, HoldOrder)]
    rows = connection.execute("SELECT request_id, amount_nanos FROM holds WHERE request_id = ANY(%s)", (ids,)).fetchall()
    return dict(rows)
