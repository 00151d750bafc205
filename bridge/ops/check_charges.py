"""Recomputes each charge from its usage row alone: counts × unit prices, rounded up once."""

import datetime
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from bridge.catalogue.price_snapshot import COUNTS, read_snapshot
from bridge.catalogue.rates import PRICE_CLASSES
from bridge.db import db
from bridge.ledger.tables import UsageRecord
from bridge.money import format_dollars, round_up
from bridge.turns import rest

PAGE_ROWS = 500  # recomputed in a few milliseconds, since the worker also serves requests
_COLUMNS = [
    getattr(UsageRecord, name)
    for name in (
        *("created_at", "request_id", "account_id", "state", "outcome", "charge_nanos", "loss_nanos", "pricing"),
        *COUNTS,
        *(f"{name}_nanos_per_mtok" for name in PRICE_CLASSES),
    )
]


def check_charges(since: datetime.datetime | None = None) -> list[str]:
    """A line for each account with requests, begun since then, whose charge isn't what their row says.

    Rows are read page by page, each page by itself: a settled row never changes, except for a late loss."""
    wrong: dict[int, int] = {}
    first: dict[int, str] = {}
    for row in _read_pages(since):
        if difference := _compare(row):
            wrong[row.account_id] = wrong.get(row.account_id, 0) + 1
            first.setdefault(row.account_id, difference)
    return [f"account {id_}: {_count(wrong[id_])} charged wrongly, first {first[id_]}" for id_ in sorted(wrong)]


def _read_pages(since: datetime.datetime | None) -> Iterator[Any]:
    """Pages of `PAGE_ROWS` rows, the oldest first. No connection is held between pages."""
    order = (UsageRecord.created_at, UsageRecord.request_id)
    query = sa.select(*_COLUMNS).order_by(*order).limit(PAGE_ROWS)
    page = query if since is None else query.where(UsageRecord.created_at >= since)
    while True:
        rows = db.session.execute(page).all()
        db.session.commit()
        yield from rows
        if len(rows) < PAGE_ROWS:
            return
        rest()
        page = query.where(sa.tuple_(*order) > (rows[-1].created_at, rows[-1].request_id))


def _compare(row: Any) -> str:
    """What is wrong with a charge; "" if nothing is.

    A lost worker's request is charged by its last mark. If its own, higher settlement comes later, the rest is our loss
    beside the marked counts."""
    charge, booked = row.charge_nanos, row.charge_nanos + row.loss_nanos
    price = (
        round_up(sum(count * nanos for _, count, nanos in read_snapshot(row).lines)) if row.state == "captured" else 0
    )
    right = charge <= price <= booked if row.outcome == "worker_lost" else price == booked
    if right:
        return ""
    loss = f" and {format_dollars(row.loss_nanos)} our loss" if row.loss_nanos else ""
    return f"{row.request_id}: {format_dollars(charge)} charged{loss}, its row adds up to {format_dollars(price)}"


def _count(number: int) -> str:
    return f"{number} request{'s' if number != 1 else ''}"
