"""The operator's log: settled requests of all accounts, the newest first, at a bounded cost.

What a filter asks for may be rare among millions of rows, and no index has all that filters combine. So each page looks
at no more than LOOKED_AT rows, in the order of the index on their moments; if it finds too few, it says how far it has
come, and the next page goes on from there."""

import dataclasses
import datetime
import re
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from bridge.db import UtcDateTime, db
from bridge.ledger.rollups import ENDING, Sums, sum_by
from bridge.ledger.tables import Hold, UsageRecord
from bridge.ledger.usage import REQUEST_ID, normalise_id

PAGE_SIZE = 25
LOOKED_AT = 10_000  # rows
MICROSECOND = datetime.timedelta(microseconds=1)  # as finely as both engines keep moments
EXPORT_PAGE = 500
MOST_RUNNING = 100
MINUTE_FORMAT = "%Y-%m-%d %H:%M:00.000000"  # as SQLite keeps moments
Place = tuple[datetime.datetime, str]
_REFERENCE = re.compile(r"[\w.:/+=-]{6,128}", re.ASCII)


@dataclasses.dataclass(frozen=True, slots=True)
class LogFilter:
    """Which requests: begun from `since` until before `until`; of one account, key, model or channel; that ended so
    (complete, failed, client_gone, cut), with this HTTP status or error code; of one end user or tag (`name=value`).
    None selects all."""

    since: datetime.datetime
    until: datetime.datetime
    account_id: int | None = None
    key_id: int | None = None
    model_id: str | None = None
    channel_name: str | None = None
    ending: str | None = None
    status: int | None = None
    code: str | None = None
    end_user: str | None = None
    tag: str | None = None

    @property
    def is_narrow(self) -> bool:
        """Whether it asks for more than a window of time and an account, which indexes find by themselves."""
        return any(getattr(self, name) is not None for name in (*_IN_ROLLUPS, *_ONLY_IN_ROWS) if name != "account_id")

    @property
    def is_rolled_up(self) -> bool:
        """Whether roll-ups know all that it asks for."""
        return all(getattr(self, name) is None for name in _ONLY_IN_ROWS)


_IN_ROLLUPS = {
    "account_id": "account_id",
    "key_id": "key_id",
    "model_id": "model_id",
    "channel_name": "channel_name",
    "ending": "outcome",
}
_ONLY_IN_ROWS = ("status", "code", "end_user", "tag")


@dataclasses.dataclass(frozen=True, slots=True)
class LogPage:
    """Requests, the newest first, all from `before` on into the past (None: from the newest). `older` is where the next
    page begins, None at the end. `looked_back_to` is how far was looked, if that was not far enough to fill the
    page."""

    records: list[UsageRecord]
    before: datetime.datetime | None = None
    older: str | None = None
    looked_back_to: datetime.datetime | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Minutes:
    """How many requests of a filter began in each minute, by how they ended; of the newest LOOKED_AT rows. `since` is
    the moment from which on it is all of them, if that is later than the filter's."""

    counts: dict[tuple[datetime.datetime, str], int]
    since: datetime.datetime | None


def list_log(
    wanted: LogFilter, *, older_than: str = "", limit: int = PAGE_SIZE, minutes: Minutes | None = None
) -> LogPage:
    """A page of the filter's requests: the newest, or those that began before the request or the moment (ISO 8601)
    `older_than`. What can't be read as either is ignored. `minutes`: those of the same filter, if they are known."""
    place, edge = _find_place(older_than), None
    if wanted.is_narrow:
        edge = minutes.since if minutes is not None and place is None else _find_edge(wanted, place)
    records = _list(wanted, place, edge, limit + 1)
    before = place[0] if place else None
    if len(records) > limit:
        return LogPage(records[:limit], before, records[limit - 1].request_id)
    if edge is not None:
        return LogPage(records, before, edge.isoformat(), edge)
    return LogPage(records, before)


def count_minutes(wanted: LogFilter) -> Minutes:
    """The filter's requests by minute (UTC) and ending."""
    edge = _find_edge(wanted, None)
    on_sqlite = db.session.get_bind().dialect.name == "sqlite"
    minute: sa.ColumnElement[Any] = sa.func.date_trunc("minute", UsageRecord.created_at, "UTC")
    if on_sqlite:
        minute = sa.func.strftime(MINUTE_FORMAT, UsageRecord.created_at)
    start = sa.type_coerce(minute, UtcDateTime).label("start")
    ending = ENDING.label("ending")
    query = sa.select(start, ending, sa.func.count()).where(*_conditions(_cut(wanted, None, edge)))
    query = query.group_by(start, ending)
    return Minutes({(row[0], row[1]): row[2] for row in db.session.execute(query)}, edge)


def sum_log(wanted: LogFilter, span: str) -> dict[tuple[datetime.datetime, str], Sums]:
    """The filter's sums by hour or day (UTC) and ending, from roll-ups; for filters that `is_rolled_up`."""
    values = {column: getattr(wanted, name) for name, column in _IN_ROLLUPS.items()}
    found = sum_by("start", "outcome", span=span, since=wanted.since, until=wanted.until, **values)
    return {(start, ending): sums for (start, ending), sums in found.items()}


def list_all_running(account_id: int | None = None, key_id: int | None = None) -> list[Hold]:
    """Running requests of all accounts or of one, or of one key, the newest first, at most MOST_RUNNING."""
    query = sa.select(Hold).order_by(Hold.created_at.desc()).limit(MOST_RUNNING)
    if account_id is not None:
        query = query.where(Hold.account_id == account_id)
    if key_id is not None:
        query = query.where(Hold.key_id == key_id)
    return list(db.session.scalars(query))


def export_log(wanted: LogFilter, most: int) -> Iterator[UsageRecord]:
    """The filter's requests, the newest first, `most` at the most. They are read in pieces, so that no connection is
    held."""
    older_than, left = "", most
    while left > 0:
        page = list_log(wanted, older_than=older_than, limit=min(left, EXPORT_PAGE))
        db.session.commit()  # gives the connection back while the client reads
        yield from page.records
        left -= len(page.records)
        if page.older is None:
            return
        older_than = page.older
        db.session.expunge_all()


def find_any_request(request_id: str) -> UsageRecord | None:
    """Any account's settled request with that id, or with that answer id. Raises NotFound for what is no id."""
    return db.session.scalars(sa.select(UsageRecord).where(UsageRecord.request_id == normalise_id(request_id))).first()


def find_any_running(request_id: str) -> Hold | None:
    """The hold of any account's running request. Raises NotFound for what is no id."""
    return db.session.get(Hold, normalise_id(request_id))


def find_by_reference(text: str, since: datetime.datetime, until: datetime.datetime) -> str | None:
    """The id of the newest request with this id of its upstream's, among the newest LOOKED_AT of the window."""
    if not _REFERENCE.fullmatch(text):
        return None
    wanted = LogFilter(since, until)
    wanted = _cut(wanted, None, _find_edge(wanted, None))
    said = UsageRecord.attempts.contains(f'"reference":"{text}"', autoescape=True)
    query = sa.select(UsageRecord.request_id).where(*_conditions(wanted), said)
    return db.session.scalars(query.order_by(UsageRecord.created_at.desc()).limit(1)).first()


def _find_place(text: str) -> Place | None:
    """The position of the request with this id, or a moment's. None if it is neither."""
    if REQUEST_ID.fullmatch(text):
        query = sa.select(UsageRecord.created_at, UsageRecord.request_id).where(UsageRecord.request_id == text)
        row = db.session.execute(query).first()
        return (row[0], row[1]) if row else None
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment, "") if moment.tzinfo is not None else None


def _find_edge(wanted: LogFilter, place: Place | None) -> datetime.datetime | None:
    """The moment of the LOOKED_AT-th row from the position on, by the index alone; None if there are fewer."""
    window = _in_window(_cut(wanted, place, None))
    query = sa.select(UsageRecord.created_at).where(*window).order_by(UsageRecord.created_at.desc())
    return db.session.scalar(query.offset(LOOKED_AT - 1).limit(1))


def _list(wanted: LogFilter, place: Place | None, edge: datetime.datetime | None, limit: int) -> list[UsageRecord]:
    query = sa.select(UsageRecord).where(*_conditions(_cut(wanted, place, edge))).limit(limit)
    if place is not None and place[1]:
        moment, request_id = place
        query = query.where(sa.or_(UsageRecord.created_at < moment, UsageRecord.request_id < request_id))
    order = UsageRecord.created_at.desc(), UsageRecord.request_id.desc()
    return list(db.session.scalars(query.order_by(*order)))


def _cut(wanted: LogFilter, place: Place | None, edge: datetime.datetime | None) -> LogFilter:
    """The filter's window from the edge on, and up to the position. Each end is one condition: of two for the same end,
    SQLite gives its index the first, and reads all rows in between."""
    since, until = wanted.since, wanted.until
    if edge is not None:
        since = max(since, edge)
    if place is not None:
        until = min(until, place[0] + MICROSECOND if place[1] else place[0])
    return dataclasses.replace(wanted, since=since, until=until)


def _in_window(wanted: LogFilter) -> list[sa.ColumnElement[bool]]:
    """What an index finds by itself."""
    found: list[sa.ColumnElement[bool]] = [
        UsageRecord.created_at >= wanted.since,
        UsageRecord.created_at < wanted.until,
    ]
    return found if wanted.account_id is None else [*found, UsageRecord.account_id == wanted.account_id]


def _conditions(wanted: LogFilter) -> list[sa.ColumnElement[bool]]:
    """All that the filter asks of a row."""
    found = _in_window(wanted)
    columns: dict[str, sa.ColumnElement[Any]] = {
        "key_id": UsageRecord.key_id.expression,
        "model_id": UsageRecord.model_id.expression,
        "channel_name": UsageRecord.channel_name.expression,
        "ending": ENDING,
        "status": UsageRecord.status.expression,
        "code": UsageRecord.error_code.expression,
        "end_user": UsageRecord.end_user.expression,
    }
    for name, column in columns.items():
        if (value := getattr(wanted, name)) is not None:
            found.append(column == value)
    if wanted.tag is not None:  # no tag has a quote of its own
        found.append(sa.func.replace(UsageRecord.tags, f'"{wanted.tag}"', "") != UsageRecord.tags)
    return found
