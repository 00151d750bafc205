"""What pages read of settled requests: sums, lists and single receipts. Every query starts from the account."""

import dataclasses
import datetime
import re
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from bridge.db import db, now_utc
from bridge.errors import NotFound
from bridge.ledger.batch import LEFT_BY_CLIENT
from bridge.ledger.tables import Hold, UsageRecord

PAGE_SIZE = 25
EXPORT_ROWS = 50_000
EXPORT_PAGE = 500
TIMING_SAMPLE = 5_000
REQUEST_ID = re.compile(r"(?:req_|chatcmpl-)([0-9a-f]{32})")
OUTCOME_GROUPS = ("complete", "failed", "client_gone", "cut")  # what a filter can ask for


@dataclasses.dataclass(frozen=True, slots=True)
class UsageFilter:
    """Which of an account's requests: begun from `since` to before `until`, of one key, model, or group of outcomes.
    What is None is not asked for."""

    account_id: int
    since: datetime.datetime | None = None
    until: datetime.datetime | None = None
    key_id: int | None = None
    model_id: str | None = None
    outcome: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Totals:
    """Sums over a filter. `failed` requests delivered nothing, were not left by their client, and cost nothing.
    `prompt_tokens` include the cached ones, `completion_tokens` the reasoning."""

    requests: int
    failed: int
    charge_nanos: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    reasoning_tokens: int


@dataclasses.dataclass(frozen=True, slots=True)
class SpanSum:
    """What one model cost in one span of time, an hour or a day in UTC."""

    start: datetime.datetime
    model_id: str
    requests: int
    charge_nanos: int


@dataclasses.dataclass(frozen=True, slots=True)
class Timing:
    """Milliseconds to the first content, over the newest requests of a filter; None if there were none."""

    median_ms: int
    p95_ms: int


@dataclasses.dataclass(frozen=True, slots=True)
class UsagePage:
    """Requests, the newest first; whether there are newer and older ones beyond them."""

    records: list[UsageRecord]
    has_newer: bool
    has_older: bool


_failed = sa.and_(UsageRecord.state == "released", UsageRecord.outcome.not_in(LEFT_BY_CLIENT))


def _conditions(wanted: UsageFilter) -> list[sa.ColumnElement[bool]]:
    found: list[sa.ColumnElement[bool]] = [UsageRecord.account_id == wanted.account_id]
    if wanted.since is not None:
        found.append(UsageRecord.created_at >= wanted.since)
    if wanted.until is not None:
        found.append(UsageRecord.created_at < wanted.until)
    if wanted.key_id is not None:
        found.append(UsageRecord.key_id == wanted.key_id)
    if wanted.model_id is not None:
        found.append(UsageRecord.model_id == wanted.model_id)
    if wanted.outcome == "failed":
        found.append(_failed)
    elif wanted.outcome == "cut":
        found.append(sa.and_(UsageRecord.state == "captured", UsageRecord.outcome.in_(("cut", "worker_lost"))))
    elif wanted.outcome == "client_gone":
        found.append(UsageRecord.outcome.in_(LEFT_BY_CLIENT))
    elif wanted.outcome is not None:
        found.append(UsageRecord.outcome == wanted.outcome)
    return found


def sum_usage(wanted: UsageFilter) -> Totals:
    """The totals of a filter."""
    return _sum(_conditions(wanted))


def sum_last_hour() -> Totals:
    """The totals of all accounts over the last hour: the operator's."""
    return _sum([UsageRecord.created_at >= now_utc() - datetime.timedelta(hours=1)])


def _sum(conditions: list[sa.ColumnElement[bool]]) -> Totals:
    columns = ("charge_nanos", "prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens")
    query = sa.select(
        sa.func.count(),
        sa.func.sum(sa.case((_failed, 1), else_=0)),
        *(sa.func.sum(getattr(UsageRecord, column)) for column in columns),
    ).where(*conditions)
    return Totals(*(int(value or 0) for value in db.session.execute(query).one()))


def sum_by_model(wanted: UsageFilter, span: str = "day") -> list[SpanSum]:
    """Requests and charges per model and span (hour or day, in UTC), in order of time."""
    formats = {"hour": ("%Y-%m-%dT%H:00", 'YYYY-MM-DD"T"HH24:00'), "day": ("%Y-%m-%d", "YYYY-MM-DD")}
    for_sqlite, for_postgres = formats[span]
    created_at = UsageRecord.created_at
    if db.session.get_bind().dialect.name == "sqlite":
        start: sa.ColumnElement[Any] = sa.func.strftime(for_sqlite, created_at)
    else:
        start = sa.func.to_char(sa.func.timezone("UTC", created_at), for_postgres)
    query = (
        sa.select(start, UsageRecord.model_id, sa.func.count(), sa.func.sum(UsageRecord.charge_nanos))
        .where(*_conditions(wanted))
        .group_by(sa.text("1"), UsageRecord.model_id)
        .order_by(sa.text("1"), UsageRecord.model_id)
    )
    return [
        SpanSum(datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC), model_id, requests, int(charge))
        for text, model_id, requests, charge in db.session.execute(query)
    ]


def measure_first_content(wanted: UsageFilter) -> Timing | None:
    """How fast answers began, over the newest 5,000 requests of the filter."""
    query = (
        sa.select(UsageRecord.first_content_ms)
        .where(*_conditions(wanted), UsageRecord.first_content_ms.is_not(None))
        .order_by(UsageRecord.created_at.desc())
        .limit(TIMING_SAMPLE)
    )
    times = sorted(ms for ms in db.session.scalars(query) if ms is not None)
    if not times:
        return None
    return Timing(times[(len(times) - 1) // 2], times[(len(times) - 1) * 95 // 100])


def list_requests(
    wanted: UsageFilter, *, older_than: str | None = None, newer_than: str | None = None, limit: int = PAGE_SIZE
) -> UsagePage:
    """A page of the filter's requests: those just older, or just newer, than the request of that id; else the newest.
    An id that is not one of the account's counts as none."""
    place = _find_place(wanted.account_id, older_than or newer_than)
    if place is None:
        records = _list(wanted, None, newer=False, limit=limit + 1)
        return UsagePage(records[:limit], False, len(records) > limit)
    if older_than:
        records = _list(wanted, place, newer=False, limit=limit + 1)
        return UsagePage(records[:limit], True, len(records) > limit)
    records = _list(wanted, place, newer=True, limit=limit + 1)
    return UsagePage(records[:limit][::-1], len(records) > limit, True)


def _find_place(account_id: int, request_id: str | None) -> tuple[datetime.datetime, str] | None:
    if not request_id:
        return None
    row = db.session.execute(
        sa.select(UsageRecord.created_at, UsageRecord.request_id).where(
            UsageRecord.request_id == request_id, UsageRecord.account_id == account_id
        )
    ).first()
    return (row.created_at, row.request_id) if row else None


def _list(
    wanted: UsageFilter, place: tuple[datetime.datetime, str] | None, *, newer: bool, limit: int
) -> list[UsageRecord]:
    """From the place onwards: into the past, or (newer) towards the present."""
    query = sa.select(UsageRecord).where(*_conditions(wanted)).limit(limit)
    order = (UsageRecord.created_at, UsageRecord.request_id)
    if place is not None:
        moment, request_id = place
        beyond = UsageRecord.created_at > moment if newer else UsageRecord.created_at < moment
        same = UsageRecord.request_id > request_id if newer else UsageRecord.request_id < request_id
        query = query.where(sa.or_(beyond, sa.and_(UsageRecord.created_at == moment, same)))
    return list(db.session.scalars(query.order_by(*(order if newer else (column.desc() for column in order)))))


def export_requests(wanted: UsageFilter) -> Iterator[UsageRecord]:
    """The filter's requests, the newest first, at most 50,000; read in pieces, so that no connection is kept."""
    place: tuple[datetime.datetime, str] | None = None
    for _ in range(EXPORT_ROWS // EXPORT_PAGE):
        records = _list(wanted, place, newer=False, limit=EXPORT_PAGE)
        db.session.commit()  # gives the connection back while the client reads
        yield from records
        if len(records) < EXPORT_PAGE:
            return
        place = (records[-1].created_at, records[-1].request_id)
        db.session.expunge_all()


def find_request(account_id: int, request_id: str) -> UsageRecord:
    """The settled request of that id, or whose answer had that id (`chatcmpl-…`). Raises NotFound."""
    record = db.session.scalars(
        sa.select(UsageRecord).where(
            UsageRecord.request_id == normalise_id(request_id), UsageRecord.account_id == account_id
        )
    ).first()
    if record is None:
        raise NotFound(
            "There is no receipt of this id: the request still runs, or it was refused before it cost anything."
        )
    return record


def find_running_request(account_id: int, request_id: str) -> Hold:
    """The hold of a request that runs. Raises NotFound."""
    hold = db.session.scalars(
        sa.select(Hold).where(Hold.request_id == normalise_id(request_id), Hold.account_id == account_id)
    ).first()
    if hold is None:
        raise NotFound(
            "There is no receipt of this id: the request still runs, or was refused before it cost anything."
        )
    return hold


def normalise_id(text: str) -> str:
    """A request's id from itself or from its answer's id. Raises NotFound for what is neither."""
    match = REQUEST_ID.fullmatch(text.strip().lower())
    if not match:
        raise NotFound("There is no such request.")
    return f"req_{match[1]}"


def find_first_request(account_id: int, key_id: int | None = None) -> UsageRecord | None:
    """The account's, or the key's, first settled request."""
    query = sa.select(UsageRecord).where(*_conditions(UsageFilter(account_id, key_id=key_id)))
    return db.session.scalars(query.order_by(UsageRecord.created_at).limit(1)).first()


def list_models_used(account_id: int, since: datetime.datetime | None = None) -> list[str]:
    """The models of the account's requests, in order: what a filter can offer."""
    query = sa.select(UsageRecord.model_id).where(*_conditions(UsageFilter(account_id, since=since)))
    return list(db.session.scalars(query.distinct().order_by(UsageRecord.model_id).limit(200)))
