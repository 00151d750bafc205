"""What all customers used together: sums by hour, and by account and day, for the operator's home page.

They are made of few rows, however many customers, keys and models there are. Operators' fault drills are none of them:
nobody is a customer there. As with the other roll-ups, what came since the last time is added from its usage rows."""

import dataclasses
import datetime
import operator
from collections.abc import Iterable
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from bridge.accounts.customers import select_name
from bridge.accounts.tables import Account, Key
from bridge.db import db
from bridge.ledger.rollup_tables import AccountDay, HourTotal, RollupProgress
from bridge.ledger.rollups import follow_rollups, select_cells
from bridge.ledger.tables import Balance, UsageRecord

TOTALS = ("requests", "failed", "charge_nanos", "cost_nanos")
_PROGRESS = sa.select(RollupProgress.totals_number)
_HOURS, _DAYS = cast("sa.Table", HourTotal.__table__), cast("sa.Table", AccountDay.__table__)
# each table with its dimensions and the span of its cells
TABLES: tuple[tuple[sa.Table, tuple[str, ...], str], ...] = (
    (_HOURS, ("start",), "hour"),
    (_DAYS, ("start", "account_id"), "day"),
)


@dataclasses.dataclass(frozen=True, slots=True)
class Total:
    """Sums of settled requests: `charge_nanos` is revenue, `cost_nanos` what providers take. `failed` requests
    delivered nothing and cost nothing."""

    requests: int = 0
    failed: int = 0
    charge_nanos: int = 0
    cost_nanos: int = 0

    @property
    def margin_nanos(self) -> int:
        """The revenue less the costs."""
        return self.charge_nanos - self.cost_nanos

    def part(self, share: float) -> "Total":
        """A part of it, as if it had come evenly."""
        return Total(*(round(figure * share) for figure in _figures(self)))


_figures = operator.attrgetter(*TOTALS)


def add_up(totals: Iterable[Total]) -> Total:
    """The sums of all these together."""
    rows = [_figures(total) for total in totals]
    return Total(*map(sum, zip(*rows, strict=True)))  # of none: of the defaults


@dataclasses.dataclass(frozen=True, slots=True)
class Busy:
    """An account, its owner's address or its name, and what it used in a day."""

    account_id: int
    name: str
    total: Total


@dataclasses.dataclass(frozen=True, slots=True)
class Low:
    """An account whose balance is nearly used up: what is available, and what it uses in a day."""

    account_id: int
    name: str
    available_nanos: int
    day_nanos: int

    @property
    def hours_left(self) -> int:
        """For how many hours the balance lasts, if as much is used as on that day."""
        return max(0, self.available_nanos) * 24 // self.day_nanos


def sum_hours(since: datetime.datetime) -> dict[datetime.datetime, Total]:
    """The sums of each hour from `since` on, the start of one. An hour without requests is absent."""
    cells = _select_both(_HOURS, ("start",), "hour", since)
    rows = db.session.execute(sa.select(cells.c.start, *_sums(cells)).group_by(cells.c.start))
    return {start: Total(*map(int, sums)) for start, *sums in rows}


def list_busiest(day: datetime.datetime, limit: int) -> list[Busy]:
    """The accounts that were charged most on the day that begins at that midnight (UTC), and those without a charge
    last."""
    cells = _select_both(_DAYS, ("start", "account_id"), "day", day)
    charged = sa.func.sum(cells.c.charge_nanos)
    top = (
        sa.select(cells.c.account_id, *_sums(cells))
        .group_by(cells.c.account_id)
        .order_by(charged.desc(), sa.func.sum(cells.c.requests).desc(), cells.c.account_id)
        .limit(limit)
        .subquery()
    )
    query = sa.select(top.c.account_id, select_name(top.c.account_id), *(top.c[name] for name in TOTALS))
    rows = db.session.execute(query.order_by(top.c.charge_nanos.desc(), top.c.requests.desc(), top.c.account_id))
    return [Busy(account_id, name, Total(*map(int, sums))) for account_id, name, *sums in rows]


def list_running_low(since: datetime.datetime, within_days: int, limit: int) -> list[Low]:
    """The active accounts whose available balance lasts for fewer days than `within_days`, if they go on as on their
    dearest day since that midnight; the one that is used up first comes first. What came in the last seconds doesn't
    count."""
    used = (
        sa.select(_DAYS.c.account_id, sa.func.max(_DAYS.c.charge_nanos).label("day_nanos"))
        .where(_DAYS.c.start >= since, _DAYS.c.charge_nanos > 0)
        .group_by(_DAYS.c.account_id)
        .subquery()
    )
    available = Balance.balance_nanos - Balance.held_nanos
    lasts = sa.cast(available, sa.Float) / used.c.day_nanos
    first = (
        sa.select(used.c.account_id, available.label("available"), used.c.day_nanos, lasts.label("lasts"))
        .join(Balance, Balance.account_id == used.c.account_id)
        .join(Account, Account.id == used.c.account_id)
        .where(available < used.c.day_nanos * within_days, Account.status == "active", Account.deleted_at.is_(None))
        .order_by(sa.literal_column("lasts"), used.c.account_id)
        .limit(limit)
        .subquery()
    )
    query = sa.select(first.c.account_id, select_name(first.c.account_id), first.c.available, first.c.day_nanos)
    query = query.order_by(first.c.lasts, first.c.account_id)
    return [Low(*row) for row in db.session.execute(query)]


def list_first_content_ms(limit: int) -> list[int]:
    """After how many milliseconds the first content of the last answers came, in order of their length: of `limit`
    requests at most, those that had content."""
    newest = sa.select(sa.func.max(UsageRecord.number)).scalar_subquery()
    query = sa.select(UsageRecord.first_content_ms).where(
        UsageRecord.number > newest - limit, UsageRecord.first_content_ms.is_not(None)
    )
    return sorted(db.session.scalars(query))


def _select_both(rolled: sa.Table, dimensions: tuple[str, ...], span: str, since: datetime.datetime) -> sa.Subquery:
    """The table's rows from `since` on, and the usage rows that it doesn't have yet."""
    on_sqlite = db.session.get_bind().dialect.name == "sqlite"
    # found by number alone, however many rows the day has
    fresh = _select_rows(span, on_sqlite).where(UsageRecord.number > _PROGRESS.scalar_subquery())
    fresh_cells = fresh.cte("fresh").prefix_with("MATERIALIZED")
    sides = [
        sa.select(*(side.c[name] for name in (*dimensions, *TOTALS))).where(side.c.start >= since)
        for side in (rolled, fresh_cells)
    ]
    return sa.union_all(*sides).subquery()


def _sums(cells: sa.FromClause) -> list[sa.ColumnElement[int]]:
    return [sa.cast(sa.func.sum(cells.c[name]), sa.BigInteger).label(name) for name in TOTALS]


def _select_rows(span: str, on_sqlite: bool) -> sa.Select[Any]:
    """Usage rows in the form of the totals, without those of drills."""
    cells = select_cells(span, on_sqlite).add_columns(UsageRecord.number.label("number"))
    columns = {column.name: column for column in cells.selected_columns}
    failed = sa.case((columns["outcome"] == "failed", 1), else_=0).label("failed")
    drills = sa.select(Key.id).where(Key.is_drill)
    return cells.add_columns(failed).where(UsageRecord.key_id.not_in(drills))


def select_totals(dimensions: tuple[str, ...], span: str, *conditions: sa.ColumnElement[bool]) -> sa.Select[Any]:
    """Usage rows, grouped and summed as the totals with these dimensions are."""
    on_sqlite = db.session.get_bind().dialect.name == "sqlite"
    rows = _select_rows(span, on_sqlite).where(*conditions).subquery()
    columns = [rows.c[name] for name in dimensions]
    return sa.select(*columns, *_sums(rows)).group_by(*columns)


def roll_up_totals() -> int:
    """Add to the totals what the other roll-ups have, and return by how many numbers they grew. One worker does this at
    a time."""
    return follow_rollups(RollupProgress.totals_number, _add_tables)


def _add_tables(session: Session, reached: int, upto: int) -> None:
    for table, dimensions, span in TABLES:
        _add_rows(session, table, dimensions, span, reached, upto)


def _add_rows(
    session: Session, table: sa.Table, dimensions: tuple[str, ...], span: str, reached: int, upto: int
) -> None:
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    rows = select_totals(dimensions, span, UsageRecord.number > reached, UsageRecord.number <= upto)
    statement = insert(table).from_select([*dimensions, *TOTALS], rows.where(sa.true()))
    session.execute(
        statement.on_conflict_do_update(
            index_elements=list(dimensions),
            set_={name: table.c[name] + statement.excluded[name] for name in TOTALS},
        )
    )
