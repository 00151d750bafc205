"""An account's monthly statement: what came in, what requests cost day by day, and the balance after each line."""

import dataclasses
import datetime
import itertools

import sqlalchemy as sa

from bridge.accounts.tables import Key
from bridge.db import db
from bridge.ledger.ledger import CUSTOMER
from bridge.ledger.refunds import REFUND
from bridge.ledger.rollups import select_rolled
from bridge.ledger.tables import Entry, UsageRecord

Line = tuple[datetime.datetime, Entry | None, int, int]  # moment, entry, requests, signed amount


@dataclasses.dataclass(frozen=True, slots=True)
class StatementLine:
    """An entry or, with `entry` None, the requests of a day (UTC). `balance_nanos` is the balance after it."""

    at: datetime.datetime
    entry: Entry | None
    requests: int
    amount_nanos: int
    balance_nanos: int


@dataclasses.dataclass(frozen=True, slots=True)
class StatementDay:
    """A day (UTC): its entries and their sum, its requests and what they cost, and the balance at its end."""

    day: datetime.date
    entries: list[Entry]
    added_nanos: int
    requests: int
    charged_nanos: int
    balance_nanos: int


@dataclasses.dataclass(frozen=True, slots=True)
class Statement:
    """A month of an account, oldest line first. Opening balance, lines and closing balance add up. `has_older`: there
    are earlier months with entries; nothing can have been charged before the first entry."""

    month: datetime.date
    opening_nanos: int
    lines: list[StatementLine]
    closing_nanos: int
    has_older: bool = False

    @property
    def added_nanos(self) -> int:
        """The sum of all entries."""
        return sum(line.amount_nanos for line in self.lines if line.entry is not None)

    @property
    def charged_nanos(self) -> int:
        """What the month's requests cost."""
        return sum(-line.amount_nanos for line in self.lines if line.entry is None)

    def list_days(self) -> list[StatementDay]:
        """The days on which something happened, the newest first."""
        found = []
        for day, grouped in itertools.groupby(self.lines, key=lambda line: line.at.date()):
            lines = list(grouped)
            booked, used = ([line for line in lines if (line.entry is None) == is_use] for is_use in (False, True))
            found.append(
                StatementDay(
                    day,
                    [line.entry for line in booked if line.entry],
                    sum(line.amount_nanos for line in booked),
                    sum(line.requests for line in used),
                    sum(-line.amount_nanos for line in used),
                    lines[-1].balance_nanos,
                )
            )
        return found[::-1]


def next_month(month: datetime.date) -> datetime.date:
    """The first of the month after."""
    return (month.replace(day=28) + datetime.timedelta(days=4)).replace(day=1)


def read_statement(account_id: int, month: datetime.date) -> Statement:
    """The month's statement; `month` is its first day. The running month closes with the current balance. An operator's
    fault drill that was given back within the month is no line of it."""
    start, end = _midnight(month), _midnight(next_month(month))
    query = sa.select(Entry).where(Entry.account_id == account_id, Entry.created_at >= start, Entry.created_at < end)
    entries = list(db.session.scalars(query.order_by(Entry.id)))
    drills = _list_drills(account_id, start, end, entries)
    found: list[Line] = [
        (entry.created_at, entry, 0, _signed(entry))
        for entry in entries
        if entry.source != REFUND or entry.external_id not in drills
    ]
    days, charged_before = _list_days(account_id, start, end, drills)
    booked_before = _sum_entries_before(account_id, start)
    left = opening = (booked_before or 0) - charged_before
    lines = []
    for at, entry, requests, amount in sorted(found + days, key=lambda line: line[0]):
        left += amount
        lines.append(StatementLine(at, entry, requests, amount, left))
    return Statement(month, opening, lines, left, booked_before is not None)


def _midnight(day: datetime.date) -> datetime.datetime:
    return datetime.datetime(day.year, day.month, day.day, tzinfo=datetime.UTC)


def _signed(entry: Entry) -> int:
    return entry.amount_nanos if entry.credit == CUSTOMER else -entry.amount_nanos


def _list_drills(
    account_id: int, start: datetime.datetime, end: datetime.datetime, entries: list[Entry]
) -> dict[str, tuple[datetime.datetime, int]]:
    """Request id -> moment and charge of the drills between these moments that cost nothing, or whose charge is given
    back by one of these entries."""
    refunds = {entry.external_id: entry.amount_nanos for entry in entries if entry.source == REFUND}
    query = (
        sa.select(UsageRecord.request_id, UsageRecord.created_at, UsageRecord.charge_nanos)
        .join(Key, Key.id == UsageRecord.key_id)
        .where(Key.account_id == account_id, Key.is_drill, UsageRecord.account_id == account_id)
        .where(UsageRecord.created_at >= start, UsageRecord.created_at < end)
    )
    return {id_: (at, nanos) for id_, at, nanos in db.session.execute(query) if refunds.get(id_, 0) == nanos}


def _list_days(
    account_id: int,
    start: datetime.datetime,
    end: datetime.datetime,
    drills: dict[str, tuple[datetime.datetime, int]],
) -> tuple[list[Line], int]:
    """A line for each day that cost something, at the end of its day; and what was charged before the first one."""
    rolled, values = select_rolled(account_id=account_id, until=end)
    cells = rolled.subquery()
    day_of = sa.case((cells.c.start >= start, cells.c.start))
    sums = sa.select(day_of, sa.func.sum(cells.c.requests), sa.func.sum(cells.c.charge_nanos))
    found = db.session.execute(sums.group_by(sa.text("1")), values)
    days = {day: [int(requests), int(nanos)] for day, requests, nanos in found}
    _, charged_before = days.pop(None, [0, 0])
    for at, charge_nanos in drills.values():
        day = days[at.replace(hour=0, minute=0, second=0, microsecond=0)]
        day[:] = day[0] - 1, day[1] - charge_nanos
    last = datetime.timedelta(days=1, microseconds=-1)
    lines: list[Line] = [(day + last, None, requests, -charge) for day, (requests, charge) in days.items() if charge]
    return lines, charged_before


def _sum_entries_before(account_id: int, start: datetime.datetime) -> int | None:
    """The sum of all entries before this midnight (UTC); None if there are none."""
    signed = sa.case((Entry.credit == CUSTOMER, Entry.amount_nanos), else_=-Entry.amount_nanos)
    query = sa.select(sa.func.sum(signed)).where(Entry.account_id == account_id, Entry.created_at < start)
    booked = db.session.scalar(query)
    return None if booked is None else int(booked)
