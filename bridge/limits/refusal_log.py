"""Refused requests of all accounts, for the operator's log: at a bounded cost, however many are refused."""

import dataclasses
import datetime

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from bridge.db import db
from bridge.limits.tables import Refusal

LOOKED_AT = 10_000  # rows, of which each is a key's refusals with one code in one hour


@dataclasses.dataclass(frozen=True, slots=True)
class RefusedFilter:
    """Which refusals: of hours (UTC) in which some last came from `since` until before `until`, of one account, key or
    model, with one code or HTTP status. None selects all."""

    since: datetime.datetime
    until: datetime.datetime
    account_id: int | None = None
    key_id: int | None = None
    model_id: str | None = None
    code: str | None = None
    status: int | None = None


def list_all_refusals(wanted: RefusedFilter, limit: int) -> list[Refusal]:
    """The refusals by account, key, model, code and hour, those first that came last."""
    newest = sa.select(Refusal).where(*_in_hours(wanted)).order_by(Refusal.start.desc()).limit(LOOKED_AT).subquery()
    one = aliased(Refusal, newest)
    query = sa.select(one).where(one.last_at >= wanted.since, one.last_at < wanted.until, *_narrow(wanted, one))
    return list(db.session.scalars(query.order_by(one.last_at.desc()).limit(limit)))


def count_refusals_by_hour(wanted: RefusedFilter) -> dict[datetime.datetime, int]:
    """How many requests were refused in each hour (UTC) that had any."""
    newest = sa.select(Refusal).where(*_in_hours(wanted)).order_by(Refusal.start.desc()).limit(LOOKED_AT).subquery()
    one = aliased(Refusal, newest)
    query = sa.select(one.start, sa.func.sum(one.requests)).where(*_narrow(wanted, one)).group_by(one.start)
    return {start: int(requests) for start, requests in db.session.execute(query)}


def _in_hours(wanted: RefusedFilter) -> list[sa.ColumnElement[bool]]:
    """What an index finds by itself."""
    first = wanted.since.replace(minute=0, second=0, microsecond=0)
    found: list[sa.ColumnElement[bool]] = [Refusal.start >= first, Refusal.start < wanted.until]
    return found if wanted.account_id is None else [*found, Refusal.account_id == wanted.account_id]


def _narrow(wanted: RefusedFilter, one: type[Refusal]) -> list[sa.ColumnElement[bool]]:
    return [
        getattr(one, name) == value
        for name in ("key_id", "model_id", "code", "status")
        if (value := getattr(wanted, name)) is not None
    ]
