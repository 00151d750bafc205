"""The parts of a filter's usage (keys, end users, tags), for a page: in one statement, however many they are."""

import dataclasses
import datetime
import functools
from typing import Any

import sqlalchemy as sa

from bridge.chart import OTHER, SpanSum
from bridge.db import db
from bridge.ledger.rollups import Sums, add_up, sum_up


@dataclasses.dataclass(frozen=True, slots=True)
class Parts:
    """The sums of all, of the dearest parts in that order, and of each part and span of time. Only the parts that a
    chart colours have spans of their own; the others' are OTHER together."""

    totals: Sums
    groups: dict[str, Sums]
    spans: list[SpanSum]


def read_parts(cells: sa.Select[Any], values: dict[str, Any], by: str, most: int, coloured: int) -> Parts:
    """The parts of these cells, by one of their columns: a query, and its values. `most` parts are listed, and
    `coloured` have spans of their own, or all if there is but one more. A query with values is taken to be the same
    object for all values."""
    groups: dict[int, tuple[str, Sums]] = {}
    named: list[SpanSum] = []
    days: dict[datetime.datetime, Sums] = {}
    query = (_keep_parts if values else _write_parts)(cells, by, most, coloured)
    for what, start, name, place, *row in db.session.execute(query, values):
        sums = Sums(*map(int, row))
        if what == "part":
            groups[place] = (str(name), sums)
        elif what == "span":
            named.append(SpanSum(start, str(name), sums.requests, sums.charge_nanos))
        else:
            days[start] = sums
    left = {start: (sums.requests, sums.charge_nanos) for start, sums in days.items()}
    for one in named:
        requests, nanos = left[one.start]
        left[one.start] = requests - one.requests, nanos - one.charge_nanos
    others = [SpanSum(start, OTHER, requests, nanos) for start, (requests, nanos) in left.items() if requests]
    return Parts(add_up(days.values()), dict(group for _, group in sorted(groups.items())), named + others)


def _write_parts(query: sa.Select[Any], by: str, most: int, coloured: int) -> sa.CompoundSelect[Any]:
    """The statement for the parts of these cells. It reads them three times over, which costs less than to keep the
    sums of thousands of parts by day."""
    cells, again, all_of_them = query.subquery(), query.subquery(), query.subquery()
    name, start = cells.c[by], again.c.start
    charge, requests = sa.func.sum(cells.c.charge_nanos).desc(), sa.func.sum(cells.c.requests).desc()
    place = sa.func.row_number().over(order_by=[charge, name]).label("place")
    rank = sa.func.row_number().over(order_by=[charge, requests, name]).label("rank")  # as the chart ranks them
    many = sa.func.count().over().label("many")
    parts = sa.select(name.label("name"), place, rank, many, *sum_up(cells)).group_by(name).cte("parts")
    has_colour = sa.or_(parts.c.rank <= coloured, parts.c.many <= coloured + 1)
    own = [parts.c[field.name] for field in dataclasses.fields(Sums)]
    return sa.union_all(
        sa.select(sa.literal("part"), sa.cast(sa.null(), start.type), parts.c.name, parts.c.place, *own).where(
            parts.c.place <= most
        ),
        sa.select(sa.literal("span"), start, again.c[by], sa.null(), *sum_up(again))
        .where(again.c[by].in_(sa.select(parts.c.name).where(has_colour)))
        .group_by(start, again.c[by]),
        sa.select(sa.literal("day"), all_of_them.c.start, sa.null(), sa.null(), *sum_up(all_of_them)).group_by(
            all_of_them.c.start
        ),
    )


_keep_parts = functools.lru_cache(maxsize=128)(_write_parts)  # writing it takes longer than running it
