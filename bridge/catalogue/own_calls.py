"""What operators' own calls cost: tests of channels, and checks of idle ones. No customer pays for them, so margins
count them as a cost. A row a channel and day, kept for good."""

import dataclasses
import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from bridge.catalogue.tables import OwnCall
from bridge.db import db, now_utc


@dataclasses.dataclass(frozen=True, slots=True)
class OwnCalls:
    """How many there were, and what providers take for them."""

    calls: int
    cost_nanos: int


def add_own_call(session: Session, channel_name: str, cost_nanos: int) -> None:
    """Count one more call, in the caller's transaction."""
    insert: Any = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    row = {"day": now_utc().date(), "channel_name": channel_name, "calls": 1, "cost_nanos": cost_nanos}
    statement = insert(OwnCall).values(**row)
    table, new = OwnCall.__table__.c, statement.excluded
    changes = {"calls": table.calls + new.calls, "cost_nanos": table.cost_nanos + new.cost_nanos}
    session.execute(statement.on_conflict_do_update(index_elements=["day", "channel_name"], set_=changes))


def sum_own_calls(
    since: datetime.datetime | None = None, until: datetime.datetime | None = None, channel_name: str | None = None
) -> OwnCalls:
    """The calls of the days from `since` until before `until` (both midnights, UTC), of one channel or all."""
    query = sa.select(sa.func.sum(OwnCall.calls), sa.func.sum(OwnCall.cost_nanos))
    if since is not None:
        query = query.where(OwnCall.day >= since.date())
    if until is not None:
        query = query.where(OwnCall.day < until.date())
    if channel_name is not None:
        query = query.where(OwnCall.channel_name == channel_name)
    calls, cost_nanos = db.session.execute(query).one()
    return OwnCalls(int(calls or 0), int(cost_nanos or 0))
