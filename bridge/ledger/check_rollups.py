"""Compares the roll-ups with the usage rows that they sum."""

from collections.abc import Iterator, Sequence
from typing import Any, cast

import sqlalchemy as sa

from bridge.db import db, snapshot
from bridge.ledger.label_rollups import KINDS, LABEL_DIMENSIONS, MOST_LABELS, OTHERS, select_labels
from bridge.ledger.rollup_tables import LabelRollup, RollupProgress, UsageRollup
from bridge.ledger.rollups import DIMENSIONS, SPANS, SUMS, select_sums
from bridge.ledger.tables import UsageRecord
from bridge.ledger.totals import TABLES, TOTALS, select_totals
from bridge.money import format_dollars

MOST_LINES = 100  # for each span, and each kind of label
SIDES = ("has", "should")


def check_rollups() -> list[str]:
    """Every roll-up that is not the sum of its usage rows, a sentence each; [] if there is none. Runs in one
    snapshot."""
    with snapshot():
        columns = (RollupProgress.number, RollupProgress.labels_number, RollupProgress.totals_number)
        progress, labels_progress, totals_progress = db.session.execute(sa.select(*columns)).first() or (0, 0, 0)
        return [
            *(line for span in SPANS for line in _compare(span, progress)),
            *(line for kind in KINDS for line in _compare_labels(kind, labels_progress)),
            *_find_too_many(),
            *(line for table in TABLES for line in _compare_totals(*table, totals_progress)),
        ]


def _compare(span: str, progress: int) -> Iterator[str]:
    # rows without a number were rolled up when numbers were introduced
    rows = select_sums(span).where(sa.or_(UsageRecord.number.is_(None), UsageRecord.number <= progress)).subquery()
    rolled = cast("sa.Table", UsageRollup.__table__)
    stored = sa.select(*(rolled.c[name] for name in (*DIMENSIONS, *SUMS))).where(rolled.c.span == span)
    for row, what in _find_differences(stored.subquery(), rows, DIMENSIONS):
        start, account_id, key_id, model_id, channel_name, outcome = row
        when = f"{start:%Y-%m-%d %H:00}" if span == "hour" else f"{start:%Y-%m-%d}"
        yield (
            f"account {account_id}: the roll-up of the {span} {when} (key {key_id}, {model_id}, "
            f"{channel_name or 'no channel'}, {outcome}) has {what}"
        )


def _compare_labels(kind: str, progress: int) -> Iterator[str]:
    rolled = cast("sa.Table", LabelRollup.__table__)
    stored = sa.select(*(rolled.c[name] for name in (*LABEL_DIMENSIONS, *SUMS))).where(rolled.c.kind == kind)
    rows = select_labels(kind, progress).subquery()
    for row, what in _find_differences(stored.subquery(), rows, LABEL_DIMENSIONS):
        account_id, _, start, label, key_id, model_id, outcome = row
        whose = f"the {kind.replace('_', ' ')} {label!r}" if label != OTHERS else f"the other {kind.replace('_', ' ')}s"
        yield (
            f"account {account_id}: the roll-up of {whose} on {start:%Y-%m-%d} (key {key_id}, {model_id}, {outcome}) "
            f"has {what}"
        )


def _compare_totals(table: sa.Table, dimensions: tuple[str, ...], span: str, progress: int) -> Iterator[str]:
    numbered = sa.or_(UsageRecord.number.is_(None), UsageRecord.number <= progress)
    rows = select_totals(dimensions, span, numbered).subquery()
    stored = sa.select(*(table.c[name] for name in (*dimensions, *TOTALS))).subquery()
    for (start, *account), what in _find_differences(stored, rows, dimensions, TOTALS):
        whose = f"account {account[0]}'s" if account else "everybody's"
        yield f"{whose} total of the {span} {start:%Y-%m-%d %H:00} has {what}"


def _find_too_many() -> Iterator[str]:
    """Days with more labels than are to have roll-ups of their own."""
    places = (LabelRollup.account_id, LabelRollup.kind, LabelRollup.start)
    many = sa.func.count(LabelRollup.label.distinct())
    query = sa.select(*places, many).where(LabelRollup.label != OTHERS).group_by(*places).having(many > MOST_LABELS)
    for account_id, kind, start, found in db.session.execute(query.limit(MOST_LINES)):
        yield f"account {account_id}: {found} {kind} labels of {start:%Y-%m-%d} have roll-ups, of {MOST_LABELS} at most"


def _find_differences(
    stored: sa.Subquery, rows: sa.Subquery, names: Sequence[str], figures: Sequence[str] = SUMS
) -> Iterator[tuple[tuple[Any, ...], str]]:
    """The cells whose sums differ, by these dimensions, and how they do."""
    both = sa.union_all(_as_side(stored, "has", names, figures), _as_side(rows, "should", names, figures)).subquery()
    dimensions = [both.c[name] for name in names]
    sums = {name: [sa.func.sum(both.c[f"{side}_{name}"]) for side in SIDES] for name in figures}
    query = sa.select(*dimensions, *(column for pair in sums.values() for column in pair)).group_by(*dimensions)
    differs = sa.or_(*(has != should for has, should in sums.values()))
    for row in db.session.execute(query.having(differs).order_by(*dimensions).limit(MOST_LINES)):
        pairs = list(zip(row[len(names) :: 2], row[len(names) + 1 :: 2], strict=True))
        what = "; ".join(
            f"{name} {_show(name, has)}, its requests add up to {_show(name, should)}"
            for name, (has, should) in zip(figures, pairs, strict=True)
            if has != should
        )
        yield tuple(row[: len(names)]), what


def _as_side(cells: sa.Subquery, side: str, names: Sequence[str], figures: Sequence[str]) -> sa.Select[Any]:
    """Cells with their sums on one side of the comparison, and zero on the other."""
    zero: sa.ColumnElement[int] = sa.literal_column("0")
    sums = ((cells.c[name] if side == one else zero).label(f"{one}_{name}") for one in SIDES for name in figures)
    return sa.select(*(cells.c[name] for name in names), *sums)


def _show(name: str, value: int) -> str:
    return f"${format_dollars(int(value))}" if name.endswith("_nanos") else str(value)
