"""Sums of settled requests at a constant cost, however many requests there are: roll-ups of most rows, plus the rows
since then.

Every usage row gets a number in the sequence in which rows arrive, whenever their requests began. Rows up to
`rollup_progress` are in the roll-ups and later rows are not, so a late row is always counted once. One statement reads
both sides, so at every moment it returns the exact sum of the rows."""

import dataclasses
import datetime
import functools
import operator
from collections.abc import Callable, Iterable
from typing import Any, cast

import gevent
import sqlalchemy as sa
import structlog
from sqlalchemy import orm
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from bridge.accounts.key_owners import select_member_keys
from bridge.accounts.key_search import select_drill_keys
from bridge.db import UtcDateTime, db, transaction
from bridge.ledger.batch import LEFT_BY_CLIENT
from bridge.ledger.rollup_tables import RollupProgress, UsageRollup
from bridge.ledger.tables import UsageRecord

SPANS = ("hour", "day")
DIMENSIONS = ("start", "account_id", "key_id", "model_id", "channel_name", "outcome")
SUMS = (
    *("requests", "charge_nanos", "cost_nanos", "loss_nanos"),
    *("prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens"),
    *("uncharged_tokens", "uncharged_nanos"),
)
MOST_AT_ONCE = 50_000  # rows in one transaction
WAIT_SECONDS, LOOK_SECONDS = 5.0, 0.05
PROGRESS = sa.select(RollupProgress.number)  # how far the roll-ups reach
log = structlog.get_logger()

# How a request ended, as filters name it. A failed request delivered nothing, was not left by its client, and cost
# nothing.
ENDING: sa.ColumnElement[str] = sa.case(
    (UsageRecord.outcome.in_(LEFT_BY_CLIENT), "client_gone"),
    (UsageRecord.outcome == "complete", "complete"),  # also an empty answer, which is released
    (UsageRecord.state == "released", "failed"),
    else_="cut",
)


@dataclasses.dataclass(frozen=True, slots=True)
class Sums:
    """Sums of some settled requests. `prompt_tokens` include cached tokens, `completion_tokens` include reasoning.
    `failed` requests delivered nothing, were not left by their client, and cost nothing. `cost_nanos` is what providers
    charge. `loss_nanos` is what answers cost beyond hold and balance, which nobody paid. `uncharged_*` is what
    providers counted beyond what a request could hold."""

    requests: int = 0
    charge_nanos: int = 0
    cost_nanos: int = 0
    loss_nanos: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    uncharged_tokens: int = 0
    uncharged_nanos: int = 0
    failed: int = 0


_each_sum = operator.attrgetter(*(field.name for field in dataclasses.fields(Sums)))


def add_up(sums: Iterable[Sums]) -> Sums:
    """The sums of all these together."""
    return Sums(*map(sum, zip(*map(_each_sum, sums), strict=True)))


def sum_by(
    *dimensions: str,
    span: str = "day",
    since: datetime.datetime | None = None,
    until: datetime.datetime | None = None,
    without_drills: bool = False,
    dearest: int | None = None,
    **wanted: Any,
) -> dict[tuple[Any, ...], Sums]:
    """The sums of each combination of these dimensions, over requests begun from `since` until before `until`; both are
    starts of an hour or a day (UTC), as `span` says. `wanted`: dimension = value or a list of values, and
    of one account `member_id`, whose keys alone count; None selects all.
    `without_drills`: of one account, all but what operators' fault drills asked for. Without dimensions the one key is
    (). A combination without requests is absent. `dearest`: only so many combinations, those that were charged most
    first."""
    size = len(dimensions)
    cells, values = select_sums_by(
        *dimensions, span=span, since=since, until=until, without_drills=without_drills, **wanted
    )
    rows = db.session.execute(_put_in_order(cells, size, dearest), values)
    return {tuple(row[:size]): Sums(*map(int, row[size:])) for row in rows if row[size] is not None}


def sum_charges_by(dimension: str, **wanted: Any) -> dict[Any, int]:
    """What was charged by this dimension, otherwise as in `sum_by`: a fraction of its work where groups are many."""
    cells, values = select_sums_by(dimension, **wanted)
    return dict(db.session.execute(_select_charges(cells), values).all())


@functools.lru_cache(maxsize=64)
def _select_charges(query: sa.Select[Any]) -> sa.Select[Any]:
    cells = query.subquery()
    return sa.select(next(iter(cells.c)), sa.cast(cells.c.charge_nanos, sa.BigInteger))


def select_sums_by(*dimensions: str, **wanted: Any) -> tuple[sa.Select[Any], dict[str, Any]]:
    """The query for the sums that `sum_by` returns (these dimensions, SUMS, `failed`, in no order), and its values. It
    is the same object for all values, so what is made of it may be cached by it."""
    cells, values = select_rolled(**wanted)
    return _group(cells, dimensions), values


def select_rolled(
    *,
    span: str = "day",
    since: datetime.datetime | None = None,
    until: datetime.datetime | None = None,
    without_drills: bool = False,
    **wanted: Any,
) -> tuple[sa.Select[Any], dict[str, Any]]:
    """The query for all cells that these sums are made of (DIMENSIONS, SUMS), and its values, likewise."""
    given = {name: value for name, value in wanted.items() if value is not None}
    shape = tuple((name, isinstance(value, list)) for name, value in given.items())
    session = db.session()
    on_sqlite = session.get_bind().dialect.name == "sqlite"
    bounds = (since is not None, until is not None)
    # Read separately, so that the planner knows how few rows are above it, and once a page. It only grows: if a worker
    # rolls up in between, the statement reads the new value itself.
    if PROGRESS not in session.info:
        note_progress(session, session.scalar(PROGRESS))
    query = _write_cells(on_sqlite, span, bounds, shape, without_drills)
    return query, {"known": session.info[PROGRESS], "since": since, "until": until, **given}


def note_progress(session: Session, number: int | None) -> None:
    """Spare the session's sums from reading PROGRESS, since this is what it was just now."""
    session.info[PROGRESS] = number or 0


def sum_all(**wanted: Any) -> Sums:
    """The sums of one filter, as in `sum_by`."""
    return sum_by(**wanted).get((), Sums())


@functools.lru_cache(maxsize=256)
def _write_cells(
    on_sqlite: bool,
    span: str,
    bounds: tuple[bool, bool],
    wanted: tuple[tuple[str, bool], ...],
    without_drills: bool,
) -> sa.Select[Any]:
    """The query for such cells, without its values. It is cached, since writing it takes longer than running it."""
    since, until = bounds
    true = sa.func.coalesce(PROGRESS.scalar_subquery(), 0)
    cells = select_cells(span, on_sqlite).where(UsageRecord.number > sa.bindparam("known"), UsageRecord.number > true)
    # found by number alone, never by the account's or the day's many rows
    fresh = cells.cte("fresh").prefix_with("MATERIALIZED")
    rolled = cast("sa.Table", UsageRollup.__table__)
    sides: list[sa.Select[Any]] = []
    for side in (rolled, fresh):
        query = sa.select(*(side.c[name] for name in (*DIMENSIONS, *SUMS)))
        if side is rolled:
            query = query.where(rolled.c.span == span)
        if since:
            query = query.where(side.c.start >= sa.bindparam("since", type_=UtcDateTime))
        if until:
            query = query.where(side.c.start < sa.bindparam("until", type_=UtcDateTime))
        for name, several in wanted:
            if name == "member_id":
                query = query.where(side.c.key_id.in_(select_member_keys(*map(sa.bindparam, ("account_id", name)))))
                continue
            value = sa.bindparam(name, type_=rolled.c[name].type, expanding=several)
            query = query.where(side.c[name].in_(value) if several else side.c[name] == value)
        if without_drills:
            query = query.where(side.c.key_id.not_in(select_drill_keys(sa.bindparam("account_id"))))
        sides.append(query)
    return sa.select(sa.union_all(*sides).subquery())


@functools.lru_cache(maxsize=256)
def _group(cells: sa.Select[Any], dimensions: tuple[str, ...]) -> sa.Select[Any]:
    return group_cells(cells.subquery(), *dimensions)


def group_cells(cells: sa.FromClause, *dimensions: str) -> sa.Select[Any]:
    """A query for the sums of cells by these of their columns: those, SUMS and `failed`, in no order."""
    columns = [cells.c[name] for name in dimensions]
    return sa.select(*columns, *sum_up(cells)).group_by(*columns)


def sum_up(cells: sa.FromClause) -> list[sa.ColumnElement[int]]:
    """The fields of Sums over cells, in SQL."""
    sums: list[sa.ColumnElement[int]] = [sa.func.sum(cells.c[name]).label(name) for name in SUMS]
    failed = sa.func.sum(sa.case((cells.c.outcome == "failed", cells.c.requests), else_=0))
    return [*sums, failed.label("failed")]


@functools.lru_cache(maxsize=256)
def _put_in_order(query: sa.Select[Any], size: int, dearest: int | None) -> sa.Select[Any]:
    """The query with its groups in order; or only the dearest, those first that were charged most."""
    columns = list(query.selected_columns)
    if dearest is None:
        return query.order_by(*columns[:size])
    charge = next(column for column in columns if column.key == "charge_nanos")
    return query.order_by(charge.desc(), *columns[:size]).limit(dearest)


def select_cells(span: str, on_sqlite: bool) -> sa.Select[Any]:
    """Usage rows, each in the form of a roll-up of that one row."""
    columns: dict[str, sa.ColumnElement[Any]] = {
        **UsageRecord.__table__.columns,
        "start": _start_of(span, on_sqlite),
        "channel_name": sa.func.coalesce(UsageRecord.channel_name, ""),
        "outcome": ENDING,
        "requests": sa.literal_column("1"),
    }
    return sa.select(*(columns[name].label(name) for name in (*DIMENSIONS, *SUMS)))


def _start_of(span: str, on_sqlite: bool) -> sa.ColumnElement[datetime.datetime]:
    """The start of the hour or day (UTC) in which a usage row's request began."""
    if on_sqlite:
        form = {"hour": "%Y-%m-%d %H:00:00.000000", "day": "%Y-%m-%d 00:00:00.000000"}[span]
        return sa.type_coerce(sa.func.strftime(form, UsageRecord.created_at), UtcDateTime)
    return sa.type_coerce(sa.func.date_trunc(span, UsageRecord.created_at, "UTC"), UtcDateTime)


def select_sums(span: str) -> sa.Select[Any]:
    """Usage rows, grouped and summed as the roll-ups of this span are."""
    cells = select_cells(span, db.session.get_bind().dialect.name == "sqlite")
    names = [column.name for column in cells.selected_columns]
    columns = dict(zip(names, cells.selected_columns, strict=True))
    sums = [sa.cast(sa.func.sum(columns[name]), sa.BigInteger).label(name) for name in SUMS]
    grouped = [sa.text(str(place)) for place in range(1, len(DIMENSIONS) + 1)]
    return sa.select(*(columns[name] for name in DIMENSIONS), *sums).group_by(*grouped)


def roll_up() -> int:
    """Add the rows since the last time to the roll-ups. Returns by how many numbers they grew. Only one worker does
    this at a time; the others return at once."""
    boundary = _find_boundary()
    total = 0
    while some := _roll_up_to(boundary):
        total += some
    return total


def _find_boundary() -> int:
    """A number below which no row can still be committed; 0 if none is known now.

    On PostgreSQL a transaction draws its numbers under a table lock, which it holds until its rows are visible. So we
    wait for the transactions that had the lock after the newest number was read: no later one draws a lower number.
    SQLite's writers run one after the other."""
    session = db.session()
    newest = session.scalar(sa.select(sa.func.max(UsageRecord.number))) or 0
    reached = session.scalar(PROGRESS) or 0
    if newest <= reached or session.get_bind().dialect.name == "sqlite":
        session.commit()
        return newest
    writing = set(session.scalars(_WRITERS))
    session.commit()
    waited = 0.0
    while writing:
        if waited >= WAIT_SECONDS:
            log.warning("rollup_waits", writers=len(writing))
            return 0
        gevent.sleep(LOOK_SECONDS)
        waited += LOOK_SECONDS
        writing &= set(session.scalars(_WRITERS))
        session.commit()
    return newest


_WRITERS = sa.text(
    "SELECT virtualtransaction FROM pg_locks WHERE locktype = 'relation' AND mode = 'RowExclusiveLock'"
    " AND relation = 'usage'::regclass"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


def _roll_up_to(boundary: int) -> int:
    """Roll up as many rows as fit into one transaction. Returns by how many numbers the roll-ups grew."""
    with transaction() as session:
        reached = session.scalar(PROGRESS.with_for_update(skip_locked=True))
        if reached is None or boundary <= reached:
            return 0
        upto = min(boundary, reached + MOST_AT_ONCE)
        for span in SPANS:
            _add_rows(session, span, reached, upto)
        session.execute(sa.update(RollupProgress).values(number=upto))
        return upto - reached


def _add_rows(session: Session, span: str, reached: int, upto: int) -> None:
    """Add these rows' sums to the roll-ups of one span."""
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    rolled = cast("sa.Table", UsageRollup.__table__)
    rows = select_sums(span).where(UsageRecord.number > reached, UsageRecord.number <= upto)
    statement = insert(rolled).from_select(
        [*DIMENSIONS, *SUMS, "span"], rows.add_columns(sa.literal(span).label("span"))
    )
    session.execute(
        statement.on_conflict_do_update(
            index_elements=list(rolled.primary_key.columns),
            set_={name: rolled.c[name] + statement.excluded[name] for name in SUMS},
        )
    )


def find_progress(session: Session) -> int:
    """How far the roll-ups reach, locked until the caller's transaction ends."""
    return session.scalar(PROGRESS.with_for_update()) or 0


def add_loss(session: Session, record: UsageRecord, progress: int, nanos: int) -> None:
    """Add a loss to an existing usage row, and to its roll-ups if they include it (`find_progress`)."""
    record.loss_nanos += nanos
    if record.number is not None and record.number > progress:
        return
    hour = record.created_at.replace(minute=0, second=0, microsecond=0)
    for span, start in (("hour", hour), ("day", hour.replace(hour=0))):
        session.execute(
            sa.update(UsageRollup)
            .where(
                UsageRollup.account_id == record.account_id,
                UsageRollup.span == span,
                UsageRollup.start == start,
                UsageRollup.key_id == record.key_id,
                UsageRollup.model_id == record.model_id,
                UsageRollup.channel_name == (record.channel_name or ""),
                UsageRollup.outcome == sa.select(ENDING).where(_is(record)).scalar_subquery(),
            )
            .values(loss_nanos=UsageRollup.loss_nanos + nanos)
            .execution_options(synchronize_session=False)
        )


def _is(record: UsageRecord) -> sa.ColumnElement[bool]:
    return sa.and_(UsageRecord.request_id == record.request_id, UsageRecord.created_at == record.created_at)


def follow_rollups(progress: orm.InstrumentedAttribute[int], add: Callable[[Session, int, int], None]) -> int:
    """Let other sums follow the roll-ups: `add` the rows after a number, up to another, until `progress`, a column of
    RollupProgress, has come as far. Returns by how many numbers it grew. One worker does this at a time."""
    total = 0
    while some := _follow_some(progress, add):
        total += some
    return total


def _follow_some(progress: orm.InstrumentedAttribute[int], add: Callable[[Session, int, int], None]) -> int:
    with transaction() as session:
        query = sa.select(RollupProgress.number, progress.label("reached")).with_for_update(skip_locked=True)
        row = session.execute(query).first()
        if row is None or row.reached >= row.number:
            return 0
        upto = min(row.number, row.reached + MOST_AT_ONCE)
        add(session, row.reached, upto)
        session.execute(sa.update(RollupProgress).values({progress: upto}))
        return int(upto - row.reached)
