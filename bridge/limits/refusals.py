"""Refused requests: counted per key, model, code and hour, with the last one's message. A row for each would let
anyone fill the disk for free, and most would say the same.

A worker counts in memory and writes every two seconds, beside the requests. What a killed worker had not written is
lost: no money depends on it."""

import dataclasses
import datetime
import functools
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from bridge.accounts.key_owners import select_member_keys
from bridge.accounts.keys import Caller
from bridge.accounts.tables import Account
from bridge.db import db, now_utc, write
from bridge.errors import BridgeError
from bridge.limits.tables import Refusal
from bridge.telemetry import created_at_of, hide_keys

KEPT_FOR = datetime.timedelta(days=100)
MOST_WAITING = 10_000  # while the database is away
MESSAGE_CHARACTERS, MODEL_CHARACTERS = 500, 128
SHOWN = 50
_PLACE = ("account_id", "start", "key_id", "code", "model_id")
_LAST = ("status", "last_at", "last_message", "last_model", "last_request_id")
Place = tuple[int, datetime.datetime, int, str, str]


@dataclasses.dataclass(frozen=True)
class RefusalFilter:
    """Whose refusals: of an account, from `since` until before `until` (whole hours, UTC), of one key, of all keys of
    one member, of one model, or with one code."""

    account_id: int
    since: datetime.datetime | None = None
    until: datetime.datetime | None = None
    key_id: int | None = None
    model_id: str | None = None
    code: str | None = None
    member_id: int | None = None


@dataclasses.dataclass(frozen=True)
class Refused:
    """The refusals of one key with one code, and the last of them."""

    key_id: int
    code: str
    status: int
    requests: int
    last_at: datetime.datetime
    last_message: str
    last_model: str
    last_request_id: str


@dataclasses.dataclass(frozen=True)
class Refusals:
    """A filter's refusals: by key and code, the latest first; how many in each hour that had any; and how many of each
    model ("" is what is no model's name) or key, by its id."""

    kinds: list[Refused]
    by_hour: dict[datetime.datetime, int]
    by_part: dict[str, int]

    @property
    def requests(self) -> int:
        """How many they are."""
        return sum(self.by_hour.values())


class RefusalCounter:
    """What one process has refused since it last wrote."""

    def __init__(self) -> None:
        self._counted: dict[Place, list[Any]] = {}  # how many, and the last one

    def count(self, caller: Caller, error: BridgeError, request_id: str, asked: str, model_id: str) -> None:
        """Count one more refusal of this caller. `asked` is the name of a model that they gave, `model_id` that model:
        "" if there is none."""
        at = created_at_of(request_id)
        place = caller.account_id, at.replace(minute=0, second=0, microsecond=0), caller.key_id, error.code, model_id
        known = self._counted.get(place)
        if known is None:
            if len(self._counted) >= MOST_WAITING:
                return
            known = self._counted[place] = [0]
        known[:] = known[0] + 1, error.status, at, error.message, asked, request_id

    def write(self) -> None:
        """Add what was counted to the rows. What can't be written is kept for the next time. Needs an app context."""
        counted, self._counted = self._counted, {}
        if not counted:
            return
        rows = [_write_row(place, known) for place, known in counted.items()]
        try:
            write(lambda connection: _add(connection, rows))
        except sa.exc.SQLAlchemyError:
            for place, known in self._counted.items():  # refused in the meantime
                counted[place] = [counted.get(place, [0])[0] + known[0], *known[1:]]
            self._counted = dict(list(counted.items())[:MOST_WAITING])
            raise


def _write_row(place: Place, known: Sequence[Any]) -> dict[str, Any]:
    requests, status, at, message, model, request_id = known
    last = (
        status,
        at,
        _fit(hide_keys(message), MESSAGE_CHARACTERS),
        _fit(hide_keys(model), MODEL_CHARACTERS),
        request_id,
    )
    return dict(zip(_PLACE, place, strict=True)) | {"requests": requests} | dict(zip(_LAST, last, strict=True))


def _fit(text: str, characters: int) -> str:
    """The text as a column takes it: neither NUL nor half a surrogate pair."""
    return text.encode(errors="replace").decode().replace("\0", "�")[:characters]


def _add(connection: sa.Connection, rows: list[dict[str, Any]]) -> None:
    insert: Any = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    statement = insert(Refusal)
    new, table = statement.excluded, Refusal.__table__.c
    is_later = new.last_at >= table.last_at  # workers write by turns, not in the order of the refusals
    changes = {name: sa.case((is_later, new[name]), else_=table[name]) for name in _LAST}
    changes["requests"] = table.requests + new.requests
    statement = statement.on_conflict_do_update(index_elements=list(_PLACE), set_=changes)
    # always in one order: two workers that write the same rows must not wait for each other
    connection.execute(statement, sorted(rows, key=lambda row: tuple(row[name] for name in _PLACE)))


def sum_refusals_by_key(wanted: RefusalFilter) -> dict[int, int]:
    """How many requests of each key were refused."""
    query = sa.select(Refusal.key_id, sa.func.sum(Refusal.requests)).where(*_conditions(wanted))
    return {key_id: int(requests) for key_id, requests in db.session.execute(query.group_by(Refusal.key_id))}


def sum_refusals_by_model(wanted: RefusalFilter) -> dict[str, int]:
    """How many requests for each model were refused; "" is what is no model's name."""
    query = sa.select(Refusal.model_id, sa.func.sum(Refusal.requests)).where(*_conditions(wanted))
    return {model_id: int(requests) for model_id, requests in db.session.execute(query.group_by(Refusal.model_id))}


def list_refusals(wanted: RefusalFilter, limit: int | None = SHOWN) -> list[Refused]:
    """The refusals by key and code, each with its last one; the latest first."""
    return list(map(_make_refused, db.session.execute(_select_kinds(wanted, limit))))


def read_refusals(wanted: RefusalFilter, by: str = "", limit: int = SHOWN) -> Refusals:
    """What a page shows of a filter's refusals, in one statement. `by`: what they are summed by too, model or key."""
    values = {name: value for name, value in dataclasses.asdict(wanted).items() if value is not None}
    found = Refusals([], {}, {})
    for what, start, *row in db.session.execute(_write_reading(tuple(values), by, limit), values):
        one = _make_refused(row)
        if what == "kind":
            found.kinds.append(one)
        elif what == "hour":
            found.by_hour[start] = one.requests
        else:
            found.by_part[str(one.key_id if by == "key" else one.last_model)] = one.requests
    found.kinds.sort(key=lambda each: each.last_at, reverse=True)
    return found


@functools.lru_cache(maxsize=64)
def _write_reading(given: tuple[str, ...], by: str, limit: int) -> sa.CompoundSelect[Any]:
    """The statement for filters with these fields. It is cached, since writing it takes longer than running it."""
    marks: dict[str, Any] = {name: sa.bindparam(name) for name in given}
    wanted, table = RefusalFilter(**marks), Refusal.__table__.c
    kinds = _select_kinds(wanted, limit).subquery()
    dimensions = {"hour": table.start} | ({by: {"model": table.model_id, "key": table.key_id}[by]} if by else {})
    place_of = {"hour": "start", "model": "last_model", "key": "key_id"}
    parts = [sa.select(sa.literal("kind"), sa.cast(sa.null(), table.start.type).label("start"), *kinds.c)]
    for what, dimension in dimensions.items():
        found = {place_of[what]: dimension, "requests": sa.func.sum(table.requests)}
        names = ("start", *(column.name for column in kinds.c))
        columns = (found.get(name, sa.null()).label(name) for name in names)
        parts.append(sa.select(sa.literal(what), *columns).where(*_conditions(wanted)).group_by(dimension))
    return sa.union_all(*parts)


def _make_refused(row: Sequence[Any]) -> Refused:
    key_id, code, status, requests, *last = row
    return Refused(key_id, code, status, int(requests), *last)


def _select_kinds(wanted: RefusalFilter, limit: int | None) -> sa.Select[Any]:
    """The refusals by key and code: the columns of Refused."""
    table = Refusal.__table__.c
    places = [table.key_id, table.code]
    rank = sa.func.row_number().over(partition_by=places, order_by=table.last_at.desc())
    total = sa.func.sum(table.requests).over(partition_by=places)
    ranked = (
        sa.select(*places, *(table[name] for name in _LAST), total.label("requests"), rank.label("rank"))
        .where(*_conditions(wanted))
        .subquery()
    )
    columns = (ranked.c[field.name] for field in dataclasses.fields(Refused))
    return sa.select(*columns).where(ranked.c.rank == 1).order_by(ranked.c.last_at.desc()).limit(limit)


def find_last_refusal(account_id: int, key_id: int, since: datetime.datetime | None = None) -> Refused | None:
    """The key's last refusal; None if it has none."""
    found = list_refusals(RefusalFilter(account_id, since, key_id=key_id), limit=1)
    return found[0] if found else None


def list_codes(account_id: int, since: datetime.datetime | None = None, member_id: int | None = None) -> list[str]:
    """The codes that the account, or a member's keys in it, were refused with, for a filter's list."""
    query = (
        sa.select(Refusal.code).where(*_conditions(RefusalFilter(account_id, since, member_id=member_id))).distinct()
    )
    return sorted(db.session.scalars(query))


def delete_old_refusals() -> None:
    """Delete what is older than any page shows, and all of accounts that were deleted."""
    gone = sa.select(Account.id).where(Account.deleted_at.is_not(None))
    old = sa.delete(Refusal).where(sa.or_(Refusal.start < now_utc() - KEPT_FOR, Refusal.account_id.in_(gone)))
    write(lambda connection: connection.execute(old) and None)


def _conditions(wanted: RefusalFilter) -> list[sa.ColumnElement[bool]]:
    """What the filter asks of a row. In place of a value a field may have a parameter."""
    found = [Refusal.account_id == wanted.account_id]
    if wanted.since is not None:
        found.append(Refusal.start >= wanted.since)
    if wanted.until is not None:
        found.append(Refusal.start < wanted.until)
    if wanted.key_id is not None:
        found.append(Refusal.key_id == wanted.key_id)
    if wanted.member_id is not None:
        found.append(Refusal.key_id.in_(select_member_keys(wanted.account_id, wanted.member_id)))
    if wanted.model_id is not None:
        found.append(Refusal.model_id == wanted.model_id)
    if wanted.code is not None:
        found.append(Refusal.code == wanted.code)
    return found
