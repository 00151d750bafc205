"""Reads settled requests for pages: sums, lists and single receipts. Every query starts from the account, and what
operators' fault drills asked for counts in none."""

import dataclasses
import datetime
import functools
import itertools
import re
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from bridge.accounts.key_owners import select_first_made, select_member_keys
from bridge.accounts.key_search import select_drill_keys
from bridge.chart import SpanSum
from bridge.db import db, now_utc
from bridge.dialects import ANSWER_PREFIXES
from bridge.errors import NotFound
from bridge.ledger.label_rollups import (
    KINDS,
    has_others,
    select_label_cells,
    select_labelled,
    sum_labelled,
    sum_labels,
)
from bridge.ledger.parts import Parts, read_parts
from bridge.ledger.rollups import ENDING, SUMS, Sums, add_up, select_cells, select_rolled, sum_all, sum_by
from bridge.ledger.tables import Hold, UsageRecord

PAGE_SIZE = 25
EXPORT_ROWS = 50_000
EXPORT_PAGE = 500
TIMING_SAMPLE = 5_000
MOST_GROUPS, MOST_EXPORTED_GROUPS = 50, 10_000
MOST_RUNNING = 100
REQUEST_ID = re.compile(rf"(?:{'|'.join(('req_', *ANSWER_PREFIXES.values()))})([0-9a-f]{{32}})")
COLUMNS = {"model": "model_id", "key": "key_id", "end_user": "label", "tag": "label"}  # by what usage is grouped
OUTCOME_GROUPS = ("complete", "failed", "client_gone", "cut")  # values of a filter


@dataclasses.dataclass(frozen=True, slots=True)
class UsageFilter:
    """Which of an account's requests: begun from `since` until before `until`, of one key, of all keys of one member,
    of one model, group of outcomes, end user or tag (`name=value`). A field of None selects all."""

    account_id: int
    since: datetime.datetime | None = None
    until: datetime.datetime | None = None
    key_id: int | None = None
    model_id: str | None = None
    outcome: str | None = None
    end_user: str | None = None
    tag: str | None = None
    member_id: int | None = None

    def as_sums(self) -> dict[str, Any]:
        """What roll-ups are asked with: they know no end users and no tags."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in KINDS}


@dataclasses.dataclass(frozen=True, slots=True)
class LastHour:
    """The number of requests, how many of them failed, and the sum of their charges."""

    requests: int
    failed: int
    charge_nanos: int


@dataclasses.dataclass(frozen=True, slots=True)
class Timing:
    """Milliseconds to the first content, over the newest requests of a filter; None if there are none."""

    median_ms: int
    p95_ms: int


@dataclasses.dataclass(frozen=True, slots=True)
class UsagePage:
    """Requests, the newest first, and whether there are newer and older ones."""

    records: list[UsageRecord]
    has_newer: bool
    has_older: bool


def _conditions(wanted: UsageFilter) -> list[sa.ColumnElement[bool]]:
    """What the filter asks of a row. In place of a value a field may have a parameter."""
    found: list[sa.ColumnElement[bool]] = [
        UsageRecord.account_id == wanted.account_id,
        UsageRecord.key_id.not_in(select_drill_keys(wanted.account_id)),
    ]
    if wanted.since is not None:
        found.append(UsageRecord.created_at >= wanted.since)
    if wanted.until is not None:
        found.append(UsageRecord.created_at < wanted.until)
    if wanted.key_id is not None:
        found.append(UsageRecord.key_id == wanted.key_id)
    if wanted.member_id is not None:
        found.append(UsageRecord.key_id.in_(select_member_keys(wanted.account_id, wanted.member_id)))
        found.append(UsageRecord.created_at >= select_first_made(wanted.account_id, wanted.member_id))
    if wanted.model_id is not None:
        found.append(UsageRecord.model_id == wanted.model_id)
    if wanted.outcome is not None:
        found.append(ENDING.in_((wanted.outcome,)))
    if wanted.end_user is not None:
        found.append(UsageRecord.end_user == wanted.end_user)
    if wanted.tag is not None:  # no tag has a quote of its own
        quoted = sa.literal('"') + wanted.tag + '"'
        found.append(sa.func.replace(UsageRecord.tags, quoted, "") != UsageRecord.tags)
    return found


def sum_usage(wanted: UsageFilter) -> Sums:
    """The totals of a filter, whose bounds are midnights (UTC). Those of an end user or a tag are in roll-ups too, but
    for days with more of them than have one."""
    labels = {"end_user": wanted.end_user, "tag": wanted.tag}
    given = [(kind, label) for kind, label in labels.items() if label is not None]
    if not given:
        return sum_all(**wanted.as_sums(), without_drills=True)
    if len(given) == 1 and not has_others(given[0][0], wanted.account_id, wanted.since, wanted.until):
        kind, label = given[0]
        return sum_labels(kind, **wanted.as_sums(), label=label).get(label, Sums())
    sums = [sa.func.count() if name == "requests" else sa.func.sum(getattr(UsageRecord, name)) for name in SUMS]
    failed = sa.func.sum(sa.case((ENDING == "failed", 1), else_=0))
    row = db.session.execute(sa.select(*sums, failed).where(*_conditions(wanted))).one()
    return Sums(*(int(value or 0) for value in row))


def read_usage(wanted: UsageFilter, by: str, span: str, coloured: int) -> Parts:
    """What a filter comes to: its sums, those of each group (as `group_usage`), and of each group and span (hour or
    day, in UTC; end users and tags have days alone). Of models all is read at once; of thousands of keys or labels,
    only the dearest (`coloured`) have spans of their own."""
    values: dict[str, Any] = {}
    if wanted.end_user is not None or wanted.tag is not None:
        cells = sa.select(_select_rows(wanted, by, span))
    elif by == "model":
        return _read_models(wanted, span)
    elif by == "key":
        cells, values = select_rolled(span=span, **wanted.as_sums(), without_drills=True)
    else:
        cells, values = select_label_cells(by, **wanted.as_sums())
    parts = read_parts(cells, values, COLUMNS[by], MOST_GROUPS, coloured)
    if by not in KINDS:
        return parts
    return dataclasses.replace(parts, totals=sum_usage(wanted))  # there are requests without a label, and with several


def _read_models(wanted: UsageFilter, span: str) -> Parts:
    cells = _sum_by(wanted, "start", "model_id", span=span)
    of_model: dict[str, list[Sums]] = {}
    for (_, name), sums in cells.items():
        of_model.setdefault(name, []).append(sums)
    groups = {name: add_up(sums) for name, sums in of_model.items()}
    ranked = sorted(groups.items(), key=lambda item: (-item[1].charge_nanos, item[0]))[:MOST_GROUPS]
    spans = [SpanSum(start, name, sums.requests, sums.charge_nanos) for (start, name), sums in cells.items()]
    return Parts(add_up(groups.values()), dict(ranked), spans)


def group_usage(wanted: UsageFilter, by: str) -> dict[str, Sums]:
    """The sums of a filter by model, key (its id), end user or tag, the dearest first, at most MOST_EXPORTED_GROUPS;
    OTHERS are the end users or tags without a roll-up of their own. Within one end user or one tag they are summed from
    the rows."""
    if wanted.end_user is not None or wanted.tag is not None:
        return sum_labelled(_select_rows(wanted, by, "day"), MOST_EXPORTED_GROUPS, by=COLUMNS[by])
    if by in KINDS:
        return sum_labels(by, **wanted.as_sums(), limit=MOST_EXPORTED_GROUPS)
    found = _sum_by(wanted, COLUMNS[by], dearest=MOST_EXPORTED_GROUPS)
    return {str(name): sums for (name,), sums in found.items()}


def _sum_by(wanted: UsageFilter, *dimensions: str, **more: Any) -> dict[tuple[Any, ...], Sums]:
    return sum_by(*dimensions, **{**wanted.as_sums(), "without_drills": True, **more})


def sum_spans(wanted: UsageFilter, span: str = "day") -> list[SpanSum]:
    """Requests and charges by model and span (hour or day, in UTC), in order of time. For filters without an end user
    and a tag."""
    return _read_models(wanted, span).spans


def _select_rows(wanted: UsageFilter, by: str, span: str) -> sa.Subquery:
    """The filter's rows as cells; by end user or tag each once for each of them, by day."""
    on_sqlite = db.session.get_bind().dialect.name == "sqlite"
    cells = select_labelled(by, on_sqlite) if by in KINDS else select_cells(span, on_sqlite)
    return cells.where(*_conditions(wanted)).subquery()


def count_last_hour() -> LastHour:
    """The requests of all accounts in the last hour, for operators."""
    failed = sa.func.sum(sa.case((ENDING == "failed", 1), else_=0))
    query = sa.select(sa.func.count(), failed, sa.func.sum(UsageRecord.charge_nanos)).where(
        UsageRecord.created_at >= now_utc() - datetime.timedelta(hours=1)
    )
    return LastHour(*(int(value or 0) for value in db.session.execute(query).one()))


def measure_first_content(wanted: UsageFilter) -> Timing | None:
    """How fast answers began, over the newest 5,000 requests of the filter."""
    values = {name: value for name, value in dataclasses.asdict(wanted).items() if value is not None}
    times = list(db.session.scalars(_write_timing(tuple(values)), values))
    return Timing(times[0], times[-1]) if times else None


@functools.lru_cache(maxsize=64)
def _write_timing(given: tuple[str, ...]) -> sa.Select[int]:
    """The statement for filters with these fields. It is cached, since writing it takes longer than running it."""
    marks: dict[str, Any] = {name: sa.bindparam(name) for name in given}
    newest = (
        sa.select(UsageRecord.first_content_ms.label("ms"))
        .where(*_conditions(UsageFilter(**marks)), UsageRecord.first_content_ms.is_not(None))
        .order_by(UsageRecord.created_at.desc())
        .limit(TIMING_SAMPLE)
        .subquery()
    )
    place = sa.func.row_number().over(order_by=newest.c.ms) - 1
    ranked = sa.select(newest.c.ms, place.label("place"), (sa.func.count().over() - 1).label("last")).subquery()
    wanted_places = (ranked.c.last // 2, ranked.c.last * 95 // 100)
    return sa.select(ranked.c.ms).where(ranked.c.place.in_(wanted_places)).order_by(ranked.c.place)


def list_requests(
    wanted: UsageFilter, *, older_than: str | None = None, newer_than: str | None = None, limit: int = PAGE_SIZE
) -> UsagePage:
    """A page of the filter's requests: those just older or just newer than the request with that id, otherwise the
    newest. An id that is not one of the account's, or of the member's, is ignored."""
    place = _find_place(wanted, older_than or newer_than)
    if place is None:
        records = _list(wanted, None, newer=False, limit=limit + 1)
        return UsagePage(records[:limit], False, len(records) > limit)
    if older_than:
        records = _list(wanted, place, newer=False, limit=limit + 1)
        return UsagePage(records[:limit], True, len(records) > limit)
    records = _list(wanted, place, newer=True, limit=limit + 1)
    return UsagePage(records[:limit][::-1], len(records) > limit, True)


def _find_place(wanted: UsageFilter, request_id: str | None) -> tuple[datetime.datetime, str] | None:
    if not request_id:
        return None
    query = sa.select(UsageRecord.created_at, UsageRecord.request_id).where(UsageRecord.request_id == request_id)
    row = db.session.execute(query.where(*_is_seen(UsageRecord, wanted.account_id, wanted.member_id))).first()
    return (row.created_at, row.request_id) if row else None


def _list(
    wanted: UsageFilter, place: tuple[datetime.datetime, str] | None, *, newer: bool, limit: int
) -> list[UsageRecord]:
    """Requests from this position on: into the past, or (newer) towards the present."""
    query = sa.select(UsageRecord).where(*_conditions(wanted)).limit(limit)
    order = (UsageRecord.created_at, UsageRecord.request_id)
    if place is not None:
        moment, request_id = place
        beyond = UsageRecord.created_at > moment if newer else UsageRecord.created_at < moment
        same = UsageRecord.request_id > request_id if newer else UsageRecord.request_id < request_id
        query = query.where(sa.or_(beyond, sa.and_(UsageRecord.created_at == moment, same)))
    return list(db.session.scalars(query.order_by(*(order if newer else (column.desc() for column in order)))))


def export_requests(wanted: UsageFilter, most: int | None = EXPORT_ROWS) -> Iterator[UsageRecord]:
    """The filter's requests, the newest first, at most 50,000, or all of them. They are read in pieces, so that no
    connection is held."""
    place: tuple[datetime.datetime, str] | None = None
    for _ in itertools.count() if most is None else range(most // EXPORT_PAGE):
        records = _list(wanted, place, newer=False, limit=EXPORT_PAGE)
        db.session.commit()  # gives the connection back while the client reads
        yield from records
        if len(records) < EXPORT_PAGE:
            return
        place = (records[-1].created_at, records[-1].request_id)
        db.session.expunge_all()


def _is_seen(
    table: type[UsageRecord] | type[Hold], account_id: int, member_id: int | None
) -> list[sa.ColumnElement[bool]]:
    """Of the account, and of this member's keys if only they are seen."""
    found: list[sa.ColumnElement[bool]] = [table.account_id == account_id]
    if member_id is not None:
        found.append(table.key_id.in_(select_member_keys(account_id, member_id)))
    return found


def find_request(account_id: int, request_id: str, member_id: int | None = None) -> UsageRecord:
    """The settled request with that id, or with that answer id (`chatcmpl-…`). Raises NotFound, also for what no key of
    this member asked for."""
    query = sa.select(UsageRecord).where(UsageRecord.request_id == normalise_id(request_id))
    record = db.session.scalars(query.where(*_is_seen(UsageRecord, account_id, member_id))).first()
    if record is None:
        raise NotFound(
            "There is no receipt of this id: the request still runs, or it was refused before it cost anything."
        )
    return record


def find_running_request(account_id: int, request_id: str, member_id: int | None = None) -> Hold:
    """The hold of a running request. Raises NotFound, likewise."""
    query = sa.select(Hold).where(Hold.request_id == normalise_id(request_id))
    hold = db.session.scalars(query.where(*_is_seen(Hold, account_id, member_id))).first()
    if hold is None:
        raise NotFound(
            "There is no receipt of this id: the request still runs, or was refused before it cost anything."
        )
    return hold


def list_running(account_id: int, key_id: int | None = None, member_id: int | None = None) -> list[Hold]:
    """The account's running requests, or a key's or a member's, the newest first, at most MOST_RUNNING."""
    own = Hold.key_id.not_in(select_drill_keys(account_id))
    query = sa.select(Hold).where(*_is_seen(Hold, account_id, member_id), own)
    query = query.order_by(Hold.created_at.desc()).limit(MOST_RUNNING)
    return list(db.session.scalars(query if key_id is None else query.where(Hold.key_id == key_id)))


def normalise_id(text: str) -> str:
    """A request's id, from that id or from its answer's. Raises NotFound for anything else."""
    match = REQUEST_ID.fullmatch(text.strip().lower())
    if not match:
        raise NotFound("There is no such request.")
    return f"req_{match[1]}"


def find_first_request(account_id: int, key_id: int) -> UsageRecord | None:
    """The first settled request of one of the account's keys."""
    days = _sum_by(UsageFilter(account_id, key_id=key_id), "start")
    if not days:
        return None
    first = min(day for (day,) in days)
    query = sa.select(UsageRecord).where(*_conditions(UsageFilter(account_id, since=first, key_id=key_id)))
    return db.session.scalars(query.order_by(UsageRecord.created_at).limit(1)).first()
