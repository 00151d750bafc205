"""Sums by end user and by tag at a constant cost: roll-ups by day, plus the rows since then.

An account may name a new end user with each request. So of each day and account only the first MOST_LABELS end users,
and as many tags, have roll-ups of their own; those of all others are one, whose label is OTHERS. A label that has one
has it for the whole day, so its sums are exact. A request counts once under each of its tags."""

import datetime
import functools
from collections.abc import Iterable
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from bridge.accounts.key_owners import select_member_keys
from bridge.db import db
from bridge.ledger.rollup_tables import LabelRollup, RollupProgress
from bridge.ledger.rollups import ENDING, SUMS, Sums, follow_rollups, group_cells, select_cells
from bridge.ledger.tables import UsageRecord

KINDS = ("end_user", "tag")
OTHERS = ""
MOST_LABELS = 500  # of each kind, account and day
LABEL_DIMENSIONS = ("account_id", "kind", "start", "label", "key_id", "model_id", "outcome")
_PLACE = ("account_id", "kind", "start")
_ROLLED = cast("sa.Table", LabelRollup.__table__)
_PROGRESS = sa.select(RollupProgress.labels_number)


def sum_labels(
    kind: str,
    account_id: int,
    *,
    since: datetime.datetime | None = None,
    until: datetime.datetime | None = None,
    limit: int | None = None,
    **wanted: Any,
) -> dict[str, Sums]:
    """The sums of each label of this kind, the dearest first; OTHERS among them. `since` and `until` are midnights
    (UTC). `wanted`: dimension = value, and `member_id`, whose keys alone count; None selects all."""
    given = {name: value for name, value in wanted.items() if value is not None}
    query = _write_sums(_is_sqlite(), kind, since is not None, until is not None, tuple(given), limit)
    values = {"account": account_id, "since": since, "until": until, **given}
    return _read_sums(db.session.execute(query, values))


def select_label_cells(
    kind: str,
    account_id: int,
    *,
    since: datetime.datetime | None = None,
    until: datetime.datetime | None = None,
    **wanted: Any,
) -> tuple[sa.Select[Any], dict[str, Any]]:
    """The query for all cells that the sums of labels of this kind are made of (LABEL_DIMENSIONS, SUMS), and its
    values, otherwise as in `sum_labels`. It is the same object for all values, so what is made of it may be cached by
    it."""
    given = {name: value for name, value in wanted.items() if value is not None}
    query = _write_cells(_is_sqlite(), kind, since is not None, until is not None, tuple(given))
    return query, {"account": account_id, "since": since, "until": until, **given}


@functools.lru_cache(maxsize=64)
def _write_cells(on_sqlite: bool, kind: str, since: bool, until: bool, wanted: tuple[str, ...]) -> sa.Select[Any]:
    cells, conditions = _select_cells(on_sqlite, kind, since, until, wanted)
    return sa.select(cells).where(*conditions)


def select_dearest(kind: str, on_sqlite: bool, limit: int, wanted: tuple[str, ...] = ()) -> sa.Select[Any]:
    """A query for the dearest labels of this kind (label, place) of :account since :since, without OTHERS; and of what
    else is `wanted`, as in `sum_labels`: names of parameters."""
    cells, conditions = _select_cells(on_sqlite, kind, True, False, wanted)
    place = sa.func.row_number().over(order_by=[sa.func.sum(cells.c.charge_nanos).desc(), cells.c.label])
    query = sa.select(cells.c.label, place.label("place")).where(*conditions, cells.c.label != OTHERS)
    return query.group_by(cells.c.label).order_by(place).limit(limit)


@functools.lru_cache(maxsize=64)
def _write_sums(
    on_sqlite: bool, kind: str, since: bool, until: bool, wanted: tuple[str, ...], limit: int | None
) -> sa.Select[Any]:
    """The statement for such sums, without its values. It is cached, since writing it takes longer than running it."""
    cells, conditions = _select_cells(on_sqlite, kind, since, until, wanted)
    return _select_sums(cells, limit, conditions, "label")


def _select_cells(
    on_sqlite: bool, kind: str, since: bool, until: bool, wanted: tuple[str, ...]
) -> tuple[sa.Subquery, list[sa.ColumnElement[bool]]]:
    """The roll-ups and the rows since then, as cells, and the conditions that choose some of them."""
    progress, account_id = _PROGRESS.scalar_subquery(), sa.bindparam("account", type_=sa.BigInteger)
    fresh = (
        select_labelled(kind, on_sqlite)
        .where(UsageRecord.number > progress, UsageRecord.account_id == account_id)
        .subquery()
    )
    names = (*LABEL_DIMENSIONS, *SUMS)
    rolled = sa.select(*(_ROLLED.c[name] for name in names)).where(
        _ROLLED.c.account_id == account_id, _ROLLED.c.kind == kind
    )
    both = sa.union_all(rolled, sa.select(*(fresh.c[name] for name in names))).subquery()
    dimensions = [name for name in wanted if name != "member_id"]
    conditions = [both.c[name] == sa.bindparam(name, type_=both.c[name].type) for name in dimensions]
    if "member_id" in wanted:
        conditions.append(both.c.key_id.in_(select_member_keys(account_id, sa.bindparam("member_id"))))
    if since:
        conditions.append(both.c.start >= sa.bindparam("since", type_=both.c.start.type))
    if until:
        conditions.append(both.c.start < sa.bindparam("until", type_=both.c.start.type))
    return both, conditions


def sum_labelled(
    cells: sa.Subquery, limit: int | None = None, *conditions: sa.ColumnElement[bool], by: str = "label"
) -> dict[str, Sums]:
    """The sums of each label of these cells, or of each value of another column, the dearest first."""
    return _read_sums(db.session.execute(_select_sums(cells, limit, conditions, by)))


def _select_sums(
    cells: sa.Subquery, limit: int | None, conditions: Iterable[sa.ColumnElement[bool]], by: str
) -> sa.Select[Any]:
    query = group_cells(cells, by).where(*conditions)
    return query.order_by(sa.func.sum(cells.c.charge_nanos).desc(), cells.c[by]).limit(limit)


def _read_sums(rows: Iterable[Any]) -> dict[str, Sums]:
    return {str(name): Sums(*map(int, sums)) for name, *sums in rows}


def has_others(kind: str, account_id: int, since: datetime.datetime | None, until: datetime.datetime | None) -> bool:
    """Whether some labels of these days have no roll-up of their own, so that their sums are in their rows alone."""
    query = sa.select(_ROLLED.c.label).where(
        _ROLLED.c.account_id == account_id, _ROLLED.c.kind == kind, _ROLLED.c.label == OTHERS
    )
    if since is not None:
        query = query.where(_ROLLED.c.start >= since)
    if until is not None:
        query = query.where(_ROLLED.c.start < until)
    return db.session.execute(query.limit(1)).first() is not None


def roll_up_labels() -> int:
    """Roll up the labels of all rows that `roll_up` has passed, and return by how many numbers they grew. One worker
    does this at a time."""
    return follow_rollups(RollupProgress.labels_number, _add_kinds)


def _add_kinds(session: Session, reached: int, upto: int) -> None:
    for kind in KINDS:
        _add_rows(session, kind, reached, upto)


def _add_rows(session: Session, kind: str, reached: int, upto: int) -> None:
    """Add these rows' sums. Labels that are new come in the order of their rows, for as long as the day has room."""
    cells = (
        select_labelled(kind, _is_sqlite()).where(UsageRecord.number > reached, UsageRecord.number <= upto).cte("cells")
    )
    known = _select_known(cells)
    counts = (
        sa.select(*(known.c[name] for name in _PLACE), sa.func.count().label("many"))
        .group_by(*(known.c[name] for name in _PLACE))
        .cte("counts")
    )
    firsts = (
        sa.select(*(cells.c[name] for name in (*_PLACE, "label")), sa.func.min(cells.c.number).label("first"))
        .group_by(*(cells.c[name] for name in (*_PLACE, "label")))
        .cte("firsts")
    )
    rank = sa.func.row_number().over(
        partition_by=[*(firsts.c[name] for name in _PLACE), known.c.label.is_(None)],
        order_by=[firsts.c.first, firsts.c.label],
    )
    ranked = (
        sa.select(*(firsts.c[name] for name in (*_PLACE, "label")), known.c.label.label("known"), rank.label("rank"))
        .select_from(firsts.outerjoin(known, _same(firsts, known, *_PLACE, "label")))
        .cte("ranked")
    )
    room = MOST_LABELS - sa.func.coalesce(counts.c.many, 0)
    kept = sa.or_(ranked.c.known.is_not(None), ranked.c.rank <= room)
    columns = {name: cells.c[name] for name in LABEL_DIMENSIONS} | {
        "label": sa.case((kept, cells.c.label), else_=OTHERS)
    }
    rows = (
        sa.select(
            *(columns[name].label(name) for name in LABEL_DIMENSIONS),
            *(sa.cast(sa.func.sum(cells.c[name]), sa.BigInteger).label(name) for name in SUMS),
        )
        .select_from(
            cells.join(ranked, _same(cells, ranked, *_PLACE, "label")).outerjoin(counts, _same(cells, counts, *_PLACE))
        )
        .group_by(*(sa.text(str(place)) for place in range(1, len(LABEL_DIMENSIONS) + 1)))
    )
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    statement = insert(_ROLLED).from_select([*LABEL_DIMENSIONS, *SUMS], rows)
    session.execute(
        statement.on_conflict_do_update(
            index_elements=list(_ROLLED.primary_key.columns),
            set_={name: _ROLLED.c[name] + statement.excluded[name] for name in SUMS},
        )
    )


def select_labels(kind: str, upto: int) -> sa.Select[Any]:
    """The usage rows up to this number, grouped and summed as the roll-ups of this kind are: what belongs to a label
    without one of its own is the others'."""
    cells = select_labelled(kind, _is_sqlite()).where(UsageRecord.number <= upto).cte("cells")
    known = _select_known(cells)
    columns = {name: cells.c[name] for name in LABEL_DIMENSIONS} | {"label": sa.func.coalesce(known.c.label, OTHERS)}
    return (
        sa.select(
            *(columns[name].label(name) for name in LABEL_DIMENSIONS),
            *(sa.cast(sa.func.sum(cells.c[name]), sa.BigInteger).label(name) for name in SUMS),
        )
        .select_from(cells.outerjoin(known, _same(cells, known, *_PLACE, "label")))
        .group_by(*(sa.text(str(place)) for place in range(1, len(LABEL_DIMENSIONS) + 1)))
    )


def add_label_loss(session: Session, record: UsageRecord, nanos: int) -> None:
    """Add a loss to the roll-ups of an existing row's labels, if they include it. The progress is locked."""
    reached = session.scalar(_PROGRESS) or 0
    if record.number is None or record.number > reached:
        return
    day = record.created_at.replace(hour=0, minute=0, second=0, microsecond=0)
    ending = sa.select(ENDING).where(
        UsageRecord.request_id == record.request_id, UsageRecord.created_at == record.created_at
    )
    for kind in KINDS:
        own = select_labelled(kind, _is_sqlite()).where(
            UsageRecord.request_id == record.request_id, UsageRecord.created_at == record.created_at
        )
        for label in [row.label for row in session.execute(own)]:
            for name in (label, OTHERS):
                changed = session.execute(
                    sa.update(LabelRollup)
                    .where(
                        LabelRollup.account_id == record.account_id,
                        LabelRollup.kind == kind,
                        LabelRollup.start == day,
                        LabelRollup.label == name,
                        LabelRollup.key_id == record.key_id,
                        LabelRollup.model_id == record.model_id,
                        LabelRollup.outcome == ending.scalar_subquery(),
                    )
                    .values(loss_nanos=LabelRollup.loss_nanos + nanos)
                    .execution_options(synchronize_session=False)
                )
                if cast("sa.CursorResult[Any]", changed).rowcount:
                    break


def _select_known(cells: sa.CTE) -> sa.CTE:
    """The labels that have roll-ups of their own, of the accounts and days of these cells."""
    places = sa.select(*(cells.c[name] for name in _PLACE)).distinct().subquery()
    return (
        sa.select(*(_ROLLED.c[name] for name in (*_PLACE, "label")))
        .distinct()
        .select_from(_ROLLED.join(places, _same(_ROLLED, places, *_PLACE)))
        .where(_ROLLED.c.label != OTHERS)
        .cte("known")
    )


def _same(left: sa.FromClause, right: sa.FromClause, *names: str) -> sa.ColumnElement[bool]:
    return sa.and_(*(left.c[name] == right.c[name] for name in names))


def _is_sqlite() -> bool:
    return bool(db.session.get_bind().dialect.name == "sqlite")


def select_labelled(kind: str, on_sqlite: bool) -> sa.Select[Any]:
    """Usage rows as cells of this kind: each once for each of its labels."""
    cells, label = select_cells("day", on_sqlite), UsageRecord.end_user.expression
    if kind == "tag":
        unnest = sa.func.json_each if on_sqlite else sa.func.json_array_elements_text
        given = unnest(UsageRecord.tags if on_sqlite else sa.cast(UsageRecord.tags, sa.JSON)).table_valued("value")
        cells = cells.select_from(UsageRecord).join(given, sa.true())
        label = given.c.value
    return cells.add_columns(
        sa.literal(kind).label("kind"), label.label("label"), UsageRecord.number.label("number")
    ).where((UsageRecord.end_user if kind == "end_user" else UsageRecord.tags).is_not(None))
