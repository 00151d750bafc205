"""An account's monthly statement: what came in, what requests cost day by day, and the balance after each line."""

import dataclasses
import datetime

import sqlalchemy as sa

from bridge.db import db
from bridge.ledger.ledger import CUSTOMER
from bridge.ledger.rollups import sum_all
from bridge.ledger.tables import Entry
from bridge.ledger.usage import UsageFilter, sum_spans


@dataclasses.dataclass(frozen=True, slots=True)
class StatementLine:
    """An entry or, with `entry` None, the requests of a day (UTC). `balance_nanos` is the balance after it."""

    at: datetime.datetime
    entry: Entry | None
    requests: int
    amount_nanos: int
    balance_nanos: int


@dataclasses.dataclass(frozen=True, slots=True)
class Statement:
    """A month of an account, oldest line first. Opening balance, lines and closing balance add up."""

    month: datetime.date
    opening_nanos: int
    lines: list[StatementLine]
    closing_nanos: int


def next_month(month: datetime.date) -> datetime.date:
    """The first of the month after."""
    return (month.replace(day=28) + datetime.timedelta(days=4)).replace(day=1)


def read_statement(account_id: int, month: datetime.date) -> Statement:
    """The month's statement; `month` is its first day. The running month closes with the current balance."""
    start, end = _midnight(month), _midnight(next_month(month))
    query = sa.select(Entry).where(Entry.account_id == account_id, Entry.created_at >= start, Entry.created_at < end)
    found: list[tuple[datetime.datetime, Entry | None, int, int]] = [
        (entry.created_at, entry, 0, _signed(entry)) for entry in db.session.scalars(query.order_by(Entry.id))
    ]
    found += _list_days(account_id, start, end)
    left = opening = _sum_before(account_id, start)
    lines = []
    for at, entry, requests, amount in sorted(found, key=lambda line: line[0]):
        left += amount
        lines.append(StatementLine(at, entry, requests, amount, left))
    return Statement(month, opening, lines, left)


def find_first_month(account_id: int) -> datetime.date | None:
    """The month of the account's first entry; nothing can have been charged before it."""
    first = db.session.scalar(sa.select(sa.func.min(Entry.created_at)).where(Entry.account_id == account_id))
    return first.date().replace(day=1) if first else None


def _midnight(day: datetime.date) -> datetime.datetime:
    return datetime.datetime(day.year, day.month, day.day, tzinfo=datetime.UTC)


def _signed(entry: Entry) -> int:
    return entry.amount_nanos if entry.credit == CUSTOMER else -entry.amount_nanos


def _list_days(
    account_id: int, start: datetime.datetime, end: datetime.datetime
) -> list[tuple[datetime.datetime, Entry | None, int, int]]:
    """A line for each day that cost something, at the end of its day."""
    days: dict[datetime.datetime, list[int]] = {}
    for span in sum_spans(UsageFilter(account_id, since=start, until=end), "model"):
        day = days.setdefault(span.start, [0, 0])
        day[0] += span.requests
        day[1] += span.charge_nanos
    last = datetime.timedelta(days=1, microseconds=-1)
    return [(day + last, None, requests, -charge) for day, (requests, charge) in days.items() if charge]


def _sum_before(account_id: int, start: datetime.datetime) -> int:
    signed = sa.case((Entry.credit == CUSTOMER, Entry.amount_nanos), else_=-Entry.amount_nanos)
    entries = sa.select(sa.func.sum(signed)).where(Entry.account_id == account_id, Entry.created_at < start)
    charged = sum_all(account_id=account_id, until=start).charge_nanos
    return int(db.session.scalar(entries) or 0) - charged
