"""Commits the batch on PostgreSQL: one call of the function in `commit.sql`, in one transaction."""

from collections.abc import Sequence
from typing import Any, LiteralString

import msgspec
import psycopg

from bridge.ledger.batch import (
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
)
from bridge.postgres_connection import BoundedConnection, prepare_session, set_in_transaction

PATIENCE_SECONDS = 4  # beyond the statement's own timeout
# A plan made while `holds` was empty would scan the whole table in each batch, including dead rows, of which a hundred
# thousand may pile up before a vacuum. Every row here is found by an index.
WORKS_BY = {"statement_timeout": "3s", "lock_timeout": "2500ms", "enable_seqscan": "off"}
ISOLATION = {"default_transaction_isolation": "read committed"}  # for the session, whatever the role's default is
_MARK = """
UPDATE holds h SET details = m.details
  FROM jsonb_to_recordset(%s::jsonb) AS m (request_id text, details text) WHERE h.request_id = m.request_id
"""
_READ_FUNDS = """
SELECT l.request_id, coalesce(b.balance_nanos, 0), coalesce(b.held_nanos, 0), coalesce((
         SELECT jsonb_agg(jsonb_build_array(coalesce(p.held_nanos, 0), coalesce(p.spent_nanos, 0)) ORDER BY w.place)
           FROM ROWS FROM (jsonb_to_recordset(l.budgets) AS (period text, start date, scope text))
                WITH ORDINALITY AS w (period, start, scope, place)
           LEFT JOIN budgets p ON p.key_id = CASE WHEN w.scope LIKE ANY ('{account,member:%%}') THEN -l.account_id
                                             ELSE l.key_id END
                              AND p.period = w.period AND p.period_start = w.start AND p.scope = w.scope), '[]')
  FROM jsonb_to_recordset(%s::jsonb) AS l (request_id text, account_id bigint, key_id bigint, budgets jsonb)
  LEFT JOIN balances b ON b.account_id = l.account_id
"""
_CALL = "SELECT * FROM ledger_commit(%s::jsonb, %s::jsonb)"


def connect(url: str, *, is_pooled: bool = False) -> BoundedConnection:
    """A connection for the batch alone. It gives up within three seconds, so that no request waits longer to be
    refused."""
    connection: BoundedConnection = BoundedConnection.connect(
        url.replace("postgresql+psycopg://", "postgresql://", 1), autocommit=True, connect_timeout=3
    )
    connection.patience_seconds = PATIENCE_SECONDS
    connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED  # for a batch behind a pooler
    prepare_session(connection, WORKS_BY | ISOLATION, is_pooled=is_pooled, prepare_after=0)
    return connection


def commit_batch(connection: BoundedConnection, orders: Sequence[Order]) -> list[Outcome]:
    """Carry out the orders in one transaction. Raises psycopg.Error. After a lost connection the outcome is unknown;
    `already_held` and `already_settled` find out what was committed."""
    # if a sweeper ends the request at the same moment, the first of the two settlements counts
    settlements = list(
        {order.request_id: order for order in reversed(orders) if isinstance(order, Settlement)}.values()
    )
    holds = [order for order in orders if isinstance(order, HoldOrder)]
    rows: list[Any] = []
    if settlements or holds:
        sent = (msgspec.json.encode(settlements).decode(), msgspec.json.encode(holds).decode())
        rows = _execute(connection, _CALL, sent).fetchall()
    # separately and last: nothing waits for marks, and they lock holds in another sequence
    marks = [order for order in orders if isinstance(order, Mark)]
    if marks:
        _execute(connection, _MARK, (msgspec.json.encode(marks).decode(),))
    found: dict[str, Funds] = {}
    queries = [order for order in orders if isinstance(order, FundsQuery)]
    if queries:
        for row in _execute(connection, _READ_FUNDS, (msgspec.json.encode(queries).decode(),)).fetchall():
            found[row[0]] = Funds(row[1], row[2], tuple((held, spent) for held, spent in row[3]))
    settled = {row[0]: row for row in rows if row[1] == "settled"}
    answered = {row[0]: row for row in rows if row[1] != "settled"}
    return [
        found[order.request_id]
        if isinstance(order, FundsQuery)
        else _outcome(
            order,
            settled.pop(order.request_id, None) if isinstance(order, Settlement) else answered.get(order.request_id),
        )
        for order in orders
    ]


def _execute(connection: BoundedConnection, statement: LiteralString, parameters: tuple[str, ...]) -> Any:
    """Run one statement in one transaction. Behind a pooler the timeouts are set each time, which costs a trip or two
    more."""
    if not connection.is_pooled:
        return connection.execute(statement, parameters)
    with connection.transaction():
        set_in_transaction(connection, WORKS_BY)
        return connection.execute(statement, parameters)


def _outcome(order: HoldOrder | Settlement | Mark, row: tuple[str, str, int, int] | None) -> Outcome:
    if isinstance(order, Mark):
        return MarkWritten()
    if isinstance(order, Settlement):
        return SettleResult(row[2], row[3]) if row else SettleResult(0, 0, settled_before=True)
    if row is None:
        return HoldResult(order.amount_nanos)
    return HoldResult(row[2]) if row[1] == "held" else HoldResult(0, *row[1:])


def already_held(connection: BoundedConnection, orders: Sequence[Order]) -> dict[str, HoldResult]:
    """The holds that were placed, of a batch whose commit was in doubt."""
    ids = [order.request_id for order in orders if isinstance(order, HoldOrder)]
    rows = connection.execute(
        "SELECT request_id, amount_nanos FROM holds WHERE request_id = ANY(%s)", (ids,)
    ).fetchall()
    return {row[0]: HoldResult(row[1]) for row in rows}


def already_settled(connection: BoundedConnection, orders: Sequence[Order]) -> dict[str, SettleResult]:
    """The settlements that were committed, of such a batch, and what they charged."""
    ids = [order.request_id for order in orders if isinstance(order, Settlement)]
    rows = connection.execute(
        "SELECT request_id, charge_nanos, loss_nanos FROM usage WHERE request_id = ANY(%s)", (ids,)
    ).fetchall()
    return {row[0]: SettleResult(row[1], row[2], settled_before=True) for row in rows}
