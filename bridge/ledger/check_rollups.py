"""Compares the roll-ups with the usage rows that they sum."""

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from bridge.db import db, snapshot
from bridge.ledger.rollup_tables import RollupProgress, UsageRollup
from bridge.ledger.rollups import DIMENSIONS, SPANS, SUMS, select_sums
from bridge.ledger.tables import UsageRecord
from bridge.money import format_dollars

MOST_LINES = 100  # for each span
SIDES = ("has", "should")


def check_rollups() -> list[str]:
    """Every roll-up that is not the sum of its usage rows, a sentence each; [] if there is none. Runs in one
    snapshot."""
    with snapshot():
        progress = db.session.scalar(sa.select(RollupProgress.number)) or 0
        return [line for span in SPANS for line in _compare(span, progress)]


def _compare(span: str, progress: int) -> Iterator[str]:
    # rows without a number were rolled up when numbers were introduced
    rows = select_sums(span).where(sa.or_(UsageRecord.number.is_(None), UsageRecord.number <= progress)).subquery()
    stored = sa.select(*(getattr(UsageRollup, name) for name in (*DIMENSIONS, *SUMS))).where(UsageRollup.span == span)
    both = sa.union_all(_as_side(stored.subquery(), "has"), _as_side(rows, "should")).subquery()
    dimensions = [both.c[name] for name in DIMENSIONS]
    sums = {name: [sa.func.sum(both.c[f"{side}_{name}"]) for side in SIDES] for name in SUMS}
    query = sa.select(*dimensions, *(column for pair in sums.values() for column in pair)).group_by(*dimensions)
    differs = sa.or_(*(has != should for has, should in sums.values()))
    for row in db.session.execute(query.having(differs).order_by(*dimensions).limit(MOST_LINES)):
        start, account_id, key_id, model_id, channel_name, outcome = row[: len(DIMENSIONS)]
        pairs = list(zip(row[len(DIMENSIONS) :: 2], row[len(DIMENSIONS) + 1 :: 2], strict=True))
        what = "; ".join(
            f"{name} {_show(name, has)}, its requests add up to {_show(name, should)}"
            for name, (has, should) in zip(SUMS, pairs, strict=True)
            if has != should
        )
        when = f"{start:%Y-%m-%d %H:00}" if span == "hour" else f"{start:%Y-%m-%d}"
        yield (
            f"account {account_id}: the roll-up of the {span} {when} (key {key_id}, {model_id}, "
            f"{channel_name or 'no channel'}, {outcome}) has {what}"
        )


def _as_side(cells: sa.Subquery, side: str) -> sa.Select[Any]:
    """Cells with their sums on one side of the comparison, and zero on the other."""
    zero: sa.ColumnElement[int] = sa.literal_column("0")
    sums = ((cells.c[name] if side == one else zero).label(f"{one}_{name}") for one in SIDES for name in SUMS)
    return sa.select(*(cells.c[name] for name in DIMENSIONS), *sums)


def _show(name: str, value: int) -> str:
    return f"${format_dollars(int(value))}" if name.endswith("_nanos") else str(value)
