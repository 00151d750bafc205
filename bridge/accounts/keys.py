"""API keys: issue, look up, change, revoke. The hot path gets plain values: `recall_caller` from memory, else
`find_callers`, one query for all that wait."""

import dataclasses
import datetime
import time
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from flask import current_app

from bridge import versions
from bridge.accounts.key_format import digest, looks_like_key, make_secret
from bridge.accounts.key_limits import limit_account, limit_key
from bridge.accounts.key_rules import check_key
from bridge.accounts.tables import Account, Key
from bridge.addresses import Network, read_network
from bridge.config import Settings
from bridge.db import DEFAULT_GROUP, UtcDateTime, db, now_utc, transaction, write
from bridge.errors import AccountSuspended, InvalidApiKey, NotFound

CACHE_SECONDS = 60.0  # every change of ours is announced; this is for those made by hand
CACHE_SIZE = 20_000  # of some 700 bytes
TOPIC = "keys"


@dataclasses.dataclass(frozen=True, slots=True)
class IssuedKey:
    """A new key with its secret, which nobody can read again."""

    key: Key
    secret: str


@dataclasses.dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, as the hot path needs it. The limits are those in effect: the account's count across all of its keys,
    the key's are never more than those. 0 is no limit. `models` are canonical ids; None allows all."""

    key_id: int
    key_name: str
    account_id: int
    account_status: str
    rpm: int
    tpm: int
    concurrency: int
    account_rpm: int
    account_tpm: int
    account_concurrency: int
    budget_nanos: int | None
    budget_period: str
    models: frozenset[str] | None
    addresses: tuple[Network, ...] | None
    expires_at: datetime.datetime | None
    markup_bps: int | None = None  # on every price, instead of the models' own
    group: str = DEFAULT_GROUP  # the account's: some channels serve some groups only
    drill_fault: str | None = None  # what the account's requests meet first, as long as the drill lasts
    drill_until: datetime.datetime | None = None


class _Cache:
    """Callers by digest (None: there is no such key), each with the monotonic moment until which it counts."""

    def __init__(self) -> None:
        self.callers: dict[bytes, tuple[Caller, float]] = {}
        self.strangers: dict[bytes, float] = {}
        self.number = 0

    def clear(self) -> None:
        self.callers.clear()
        self.strangers.clear()
        self.number = versions.number(TOPIC)


_cache = _Cache()
forget_callers = _cache.clear
versions.on_change(TOPIC, forget_callers)


def recall_caller(secret: str) -> Caller | None:
    """Who calls with this secret, if memory knows and what it knows still counts; else None: ask `find_callers`."""
    if not versions.is_fresh():
        return None
    found = _cache.callers.get(digest(secret))
    if found is None or time.monotonic() >= found[1] or _has_expired(found[0]):
        return None
    return found[0]


def find_callers(secrets: Sequence[str]) -> list[Caller | InvalidApiKey]:
    """Who calls with each of these secrets; those that memory doesn't know are read in one query. A suspended account's
    caller is found: the door refuses it."""
    if not versions.is_fresh():
        versions.ensure_fresh(db.engine)
    callers = {secret: recall_caller(secret) for secret in secrets}
    unknown = {digest(secret): secret for secret, caller in callers.items() if caller is None and _may_be_key(secret)}
    if unknown:
        number = versions.number(TOPIC)
        found = _read_callers(list(unknown))
        for hashed, secret in unknown.items():
            callers[secret] = found.get(hashed)
            # what was read before a change that has been seen meanwhile must not outlive it
            if number == versions.number(TOPIC) == _cache.number:
                _remember(hashed, callers[secret])
    return [callers[secret] or InvalidApiKey("This API key is not valid.") for secret in secrets]


def _may_be_key(secret: str) -> bool:
    """Whether the database has to be asked: not for what is no key by its form, nor for what wasn't one just now."""
    return looks_like_key(secret) and time.monotonic() >= _cache.strangers.get(digest(secret), 0)


def drill_of(caller: Caller) -> str | None:
    """The fault that the caller's account rehearses now; None where there is none, or its time is over."""
    return caller.drill_fault if caller.drill_until is not None and caller.drill_until > now_utc() else None


def _has_expired(caller: Caller) -> bool:
    return caller.expires_at is not None and caller.expires_at <= now_utc()


def _remember(hashed: bytes, caller: Caller | None) -> None:
    if caller is None:
        _cache.callers.pop(hashed, None)
    kept: dict[bytes, Any] = _cache.strangers if caller is None else _cache.callers
    if len(kept) >= CACHE_SIZE and hashed not in kept:
        kept.pop(next(iter(kept)), None)
    until = time.monotonic() + CACHE_SECONDS
    kept[hashed] = until if caller is None else (caller, until)


def read_caller(secret: str) -> Caller | None:
    """The caller as the database has it now; None for an unknown, revoked, disabled or expired key."""
    hashed = digest(secret)
    return _read_callers([hashed]).get(hashed)


def _read_callers(digests: Sequence[bytes]) -> dict[bytes, Caller]:
    query = _CALLER.where(
        Key.digest.in_(digests),
        Key.revoked_at.is_(None),
        Key.disabled_at.is_(None),
        sa.or_(Key.expires_at.is_(None), Key.expires_at > _database_now()),
    )
    with db.engine.connect() as connection:
        rows = connection.execute(query).all()
    settings = current_app.config["BRIDGE"]
    return {row.digest: _make_caller(row, settings) for row in rows}


_CALLER = sa.select(
    *(getattr(Key, name) for name in ("id", "name", "rpm", "tpm", "concurrency", "budget_nanos", "budget_period")),
    *(getattr(Key, name) for name in ("digest", "models", "addresses", "expires_at", "account_id")),
    Account.status.label("account_status"),
    Account.rpm.label("account_rpm"),
    Account.tpm.label("account_tpm"),
    Account.concurrency.label("account_concurrency"),
    Account.markup_bps,
    Account.group_name,
    Account.drill_fault,
    Account.drill_until,
).join(Account, Account.id == Key.account_id)


def _database_now() -> sa.ColumnElement[datetime.datetime]:
    """The database's clock, which decides what has expired."""
    if db.engine.dialect.name == "sqlite":
        return sa.func.strftime("%Y-%m-%d %H:%M:%f", "now", type_=UtcDateTime)
    return sa.func.clock_timestamp(type_=UtcDateTime)


def _make_caller(row: Any, settings: Settings) -> Caller:
    account_rpm = limit_account(row.account_rpm, settings.default_rpm)
    account_tpm = limit_account(row.account_tpm, settings.default_tpm)
    account_concurrency = limit_account(row.account_concurrency, settings.default_concurrency)
    return Caller(
        key_id=row.id,
        key_name=row.name,
        account_id=row.account_id,
        account_status=row.account_status,
        rpm=limit_key(row.rpm, account_rpm),
        tpm=limit_key(row.tpm, account_tpm),
        concurrency=limit_key(row.concurrency, account_concurrency),
        account_rpm=account_rpm,
        account_tpm=account_tpm,
        account_concurrency=account_concurrency,
        budget_nanos=row.budget_nanos,
        budget_period=row.budget_period,
        models=None if row.models is None else frozenset(row.models),
        addresses=None if row.addresses is None else tuple(read_network(text) for text in row.addresses),
        expires_at=row.expires_at,
        markup_bps=row.markup_bps,
        group=row.group_name,
        drill_fault=row.drill_fault,
        drill_until=row.drill_until,
    )


def issue_key(
    account_id: int,
    *,
    name: str,
    rpm: int | None = None,
    tpm: int | None = None,
    concurrency: int | None = None,
    budget_nanos: int | None = None,
    budget_period: str = "total",
    models: Sequence[str] | None = None,
    addresses: Sequence[str] | None = None,
    expires_at: datetime.datetime | None = None,
) -> IssuedKey:
    """Make a key. Limits left None or 0 are the account's, and none counts beyond those; `models` are ids or
    aliases, `addresses` networks. Raises InvalidRequest naming the field in `param`."""
    columns = check_key(
        name=name,
        rpm=rpm,
        tpm=tpm,
        concurrency=concurrency,
        budget_nanos=budget_nanos,
        budget_period=budget_period,
        models=models,
        addresses=addresses,
        expires_at=expires_at,
    )
    secret = make_secret()
    with transaction() as session:
        _require_active(account_id)
        key = Key(account_id=account_id, digest=digest(secret), last_four=secret[-4:], **columns)
        session.add(key)
    return IssuedKey(key, secret)


def _require_active(account_id: int) -> None:
    """Asked in the transaction itself: a suspension may have come after the door. Raises AccountSuspended."""
    status = sa.select(Account.status).where(Account.id == account_id).with_for_update(read=True)
    if db.session.scalar(status) == "suspended":
        raise AccountSuspended("This account is suspended: no key can be made or changed for it.")


def update_key(
    account_id: int,
    key_id: int,
    *,
    name: str,
    rpm: int | None = None,
    tpm: int | None = None,
    concurrency: int | None = None,
    budget_nanos: int | None = None,
    budget_period: str = "total",
    models: Sequence[str] | None = None,
    addresses: Sequence[str] | None = None,
    expires_at: datetime.datetime | None = None,
) -> Key:
    """Set all that can be set of a key, as `issue_key` does, and return when every worker goes by it."""
    passed = find_key(account_id, key_id).expires_at
    unchanged = expires_at == passed  # an expiry that has passed may stay as it is
    columns = check_key(
        name=name,
        rpm=rpm,
        tpm=tpm,
        concurrency=concurrency,
        budget_nanos=budget_nanos,
        budget_period=budget_period,
        models=models,
        addresses=addresses,
        expires_at=None if unchanged else expires_at,
    )
    if unchanged:
        columns["expires_at"] = passed
    return _change(account_id, key_id, columns, grows=True)


def list_keys(account_id: int, *, before_id: int | None = None, limit: int | None = None) -> list[Key]:
    """The account's keys that are not revoked, the newest first; those older than `before_id`, at most `limit`."""
    query = sa.select(Key).where(Key.account_id == account_id, Key.revoked_at.is_(None))
    if before_id is not None:
        query = query.where(Key.id < before_id)
    return list(db.session.scalars(query.order_by(Key.id.desc()).limit(limit)))


def list_all_keys(account_id: int) -> list[Key]:
    """Every key the account ever had, revoked ones included, the newest first."""
    return list(db.session.scalars(sa.select(Key).where(Key.account_id == account_id).order_by(Key.id.desc())))


def is_usable(key: Key) -> bool:
    """Whether the key is neither revoked, disabled nor expired, by this machine's clock: for pages."""
    return not key.revoked_at and not key.disabled_at and (key.expires_at is None or key.expires_at > now_utc())


def has_keys(account_id: int) -> bool:
    """Whether the account ever had a key."""
    return db.session.scalar(sa.select(Key.id).where(Key.account_id == account_id).limit(1)) is not None


def name_keys(account_id: int) -> dict[int, str]:
    """Key id -> name, of every key the account ever had: what old requests were made with."""
    return {key.id: key.name for key in list_all_keys(account_id)}


def find_key(account_id: int, key_id: int) -> Key:
    """One of the account's keys that is not revoked. Raises NotFound, also for another account's."""
    query = sa.select(Key).where(Key.account_id == account_id, Key.id == key_id, Key.revoked_at.is_(None))
    key = db.session.scalars(query.execution_options(populate_existing=True)).one_or_none()
    if key is None:
        raise NotFound("There is no such key.")
    return key


def find_any_key(secret_or_id: str) -> Key:
    """A key of any account by its secret or id, revoked or not: for operators' commands. Raises NotFound."""
    is_id = secret_or_id.isascii() and secret_or_id.isdigit() and len(secret_or_id) < 19
    test = Key.id == int(secret_or_id) if is_id else Key.digest == digest(secret_or_id)
    key = db.session.scalars(sa.select(Key).where(test)).one_or_none()
    if key is None:
        raise NotFound("There is no such key.")
    return key


def revoke_key(account_id: int, key_id: int, wait: bool = True) -> Key:
    """End a key for good; when this returns, every worker refuses it, unless nobody has the key and this needn't
    `wait`. Raises NotFound."""
    return _change(account_id, key_id, {"revoked_at": now_utc()}, wait)


def disable_key(account_id: int, key_id: int) -> Key:
    """Refuse a key until it is enabled again; when this returns, every worker does. Raises NotFound."""
    return _change(account_id, key_id, {"disabled_at": now_utc()})


def enable_key(account_id: int, key_id: int) -> Key:
    """Let a disabled key in again, within a second on every worker. Raises NotFound."""
    return _change(account_id, key_id, {"disabled_at": None}, wait=False, grows=True)


def _change(account_id: int, key_id: int, columns: Mapping[str, Any], wait: bool = True, *, grows: bool = False) -> Key:
    """Set columns of a key. `grows`: it may be more than before, which a suspended account's key may not."""
    with transaction():
        if grows:
            _require_active(account_id)
        key = find_key(account_id, key_id)
        for column, value in columns.items():
            setattr(key, column, value)
        versions.bump(TOPIC)
    if wait:
        versions.wait_until_seen(current_app.config["BRIDGE"])
    return key


def note_use(key_ids: Mapping[int, datetime.datetime]) -> None:
    """Note when keys were last used, in one statement for all; a moment earlier than the one noted changes nothing."""
    if not key_ids:
        return
    used = sa.bindparam("used_at", type_=UtcDateTime)
    statement = (
        sa.update(Key)
        .where(Key.id == sa.bindparam("used_id"), sa.or_(Key.last_used_at.is_(None), Key.last_used_at < used))
        .values(last_used_at=used)
    )
    rows = [{"used_id": id_, "used_at": key_ids[id_]} for id_ in sorted(key_ids)]  # in order: no deadlocks
    write(lambda connection: connection.execute(statement, rows) and None)
