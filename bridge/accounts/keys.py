"""API keys: issue, look up, change, revoke. The hot path gets plain values: `recall_caller` reads memory, otherwise
`find_callers` makes one query for all that wait."""

import dataclasses
import datetime
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from flask import current_app

from bridge import versions
from bridge.accounts.key_format import digest, looks_like_key, make_secret
from bridge.accounts.key_limits import LIMITS, default_limits, limit_account, limit_key
from bridge.accounts.key_rules import check_key
from bridge.accounts.key_terms import TERMS, KeyTerms
from bridge.accounts.tables import Account, Key
from bridge.acts import COMMAND, Actor, record_act
from bridge.addresses import Network, read_network
from bridge.config import Settings
from bridge.db import DEFAULT_GROUP, UtcDateTime, db, now_utc, transaction, write
from bridge.errors import AccountSuspended, InvalidApiKey, InvalidRequest, NotFound

CACHE_SECONDS = 60.0  # our own changes are announced; this is for changes made by hand
CACHE_SIZE = 20_000  # of some 700 bytes
MOST_OVERLAP = datetime.timedelta(days=30)
TOPIC = "keys"


@dataclasses.dataclass(frozen=True, slots=True)
class IssuedKey:
    """A new key with its secret, which nobody can read again."""

    key: Key
    secret: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Caller(KeyTerms):
    """Who calls, as the hot path needs it: a key's terms, and whose key it is. The limits are those in effect. An
    account's limits count across all of its keys, and a key's are never higher. 0 is no limit. `models` are model
    ids."""

    key_id: int
    account_id: int
    account_status: str
    rpm: int = 0
    tpm: int = 0
    concurrency: int = 0
    account_rpm: int
    account_tpm: int
    account_concurrency: int
    models: frozenset[str] | None = None
    addresses: tuple[Network, ...] | None = None
    markup_bps: int | None = None  # on every price, instead of the models' own
    group: str = DEFAULT_GROUP  # the account's: some channels serve only some groups
    drill_fault: str | None = None  # what the account's requests meet first, as long as the drill lasts
    drill_until: datetime.datetime | None = None

    @property
    def key_name(self) -> str:
        """The key's name, under a name that says so."""
        return self.name


class _Cache:
    """Callers by digest (None: there is no such key), each with the monotonic time until which it is valid."""

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
    """The caller with this secret, if memory has it and it is still valid; otherwise None, and `find_callers` must be
    asked."""
    if not versions.is_fresh():
        return None
    found = _cache.callers.get(digest(secret))
    if found is None or time.monotonic() >= found[1] or _has_expired(found[0]):
        return None
    return found[0]


def find_callers(secrets: Sequence[str]) -> list[Caller | InvalidApiKey]:
    """The caller with each of these secrets. Those that are not in memory are read in one query. A suspended account's
    caller is returned too: the door refuses it."""
    if not versions.is_fresh():
        versions.ensure_fresh(db.engine)
    callers = {secret: recall_caller(secret) for secret in secrets}
    unknown = {digest(secret): secret for secret, caller in callers.items() if caller is None and _may_be_key(secret)}
    if unknown:
        number = versions.number(TOPIC)
        found = _read_callers(list(unknown))
        for hashed, secret in unknown.items():
            callers[secret] = found.get(hashed)
            # a row that was read before a change must not outlive the moment in which the change was seen
            if number == versions.number(TOPIC) == _cache.number:
                _remember(hashed, callers[secret])
    return [callers[secret] or InvalidApiKey("This API key is not valid.") for secret in secrets]


def _may_be_key(secret: str) -> bool:
    """Whether the database has to be asked. It doesn't if the text is malformed, or was looked up just now and isn't a
    key."""
    return looks_like_key(secret) and time.monotonic() >= _cache.strangers.get(digest(secret), 0)


def drill_of(caller: Caller) -> str | None:
    """The fault of the drill that the caller's account runs now; None if there is none or its time is over."""
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
    by_old = sa.and_(Key.old_digest.in_(digests), Key.old_until > _database_now())
    query = _CALLER.where(
        sa.or_(Key.digest.in_(digests), by_old),
        Key.revoked_at.is_(None),
        Key.disabled_at.is_(None),
        sa.or_(Key.expires_at.is_(None), Key.expires_at > _database_now()),
    ).add_columns(by_old.label("by_old"))
    with db.engine.connect() as connection:
        rows = connection.execute(query).all()
    settings = current_app.config["BRIDGE"]
    callers = {row.digest: _make_caller(row, settings) for row in rows}
    for row in rows:
        if row.by_old:
            caller = callers[row.digest]
            until = row.old_until if caller.expires_at is None else min(row.old_until, caller.expires_at)
            callers[row.old_digest] = dataclasses.replace(caller, expires_at=until)
    return callers


_OF_KEY = ("id", "digest", "old_digest", "old_until", "account_id")
_CALLER = sa.select(
    *(getattr(Key, name) for name in (*_OF_KEY, *(term.field for term in TERMS))),
    Account.status.label("account_status"),
    *(getattr(Account, name).label(f"account_{name}") for name in LIMITS),
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
    shared = {
        name: limit_account(getattr(row, f"account_{name}"), default)
        for name, default in default_limits(settings).items()
    }
    terms: dict[str, Any] = {term.field: getattr(row, term.field) for term in TERMS}
    terms |= {name: limit_key(terms[name], shared[name]) for name in LIMITS}
    terms |= {f"account_{name}": limit for name, limit in shared.items()}
    terms["models"] = None if row.models is None else frozenset(row.models)
    terms["addresses"] = None if row.addresses is None else tuple(read_network(text) for text in row.addresses)
    return Caller(
        **terms,
        key_id=row.id,
        account_id=row.account_id,
        account_status=row.account_status,
        markup_bps=row.markup_bps,
        group=row.group_name,
        drill_fault=row.drill_fault,
        drill_until=row.drill_until,
    )


def issue_key(account_id: int, terms: KeyTerms, *, is_drill: bool = False, actor: Actor = COMMAND) -> IssuedKey:
    """Make a key. `is_drill`: it is an operator's, for a fault drill. Raises InvalidRequest with the wrong field in
    `param`."""
    columns = check_key(terms)
    secret = make_secret()
    with transaction() as session:
        _require_active(account_id)
        key = Key(account_id=account_id, digest=digest(secret), last_four=secret[-4:], is_drill=is_drill, **columns)
        session.add(key)
        record_act(session, account_id, "drill_sent" if is_drill else "key_created", actor, key.name)
    return IssuedKey(key, secret)


def rotate_key(account_id: int, key_id: int, overlap: datetime.timedelta, actor: Actor = COMMAND) -> IssuedKey:
    """Give a key a new secret. Limits, budget and usage stay. The one before it works for the `overlap` and then ends
    by itself; one that was still in its overlap ends at once. Returns when every worker knows. Raises InvalidRequest
    for an overlap below zero or over MOST_OVERLAP."""
    if not datetime.timedelta() <= overlap <= MOST_OVERLAP:
        raise InvalidRequest(f"The old secret can go on for at most {MOST_OVERLAP.days} days.", param="overlap")
    secret = make_secret()
    with transaction() as session:
        _require_active(account_id)
        session.execute(sa.select(Key.id).where(Key.id == key_id, Key.account_id == account_id).with_for_update())
        key = find_key(account_id, key_id)  # locked: of two rotations at once the second finds the first one's secret
        key.old_digest, key.old_until = (key.digest, now_utc() + overlap) if overlap else (None, None)
        key.digest, key.last_four = digest(secret), secret[-4:]
        until = "none" if key.old_until is None else f"{key.old_until:%Y-%m-%d %H:%M} UTC"
        record_act(session, account_id, "key_rotated", actor, f"{key.name}; the old secret works until: {until}")
        versions.bump(TOPIC)
    versions.wait_until_seen(current_app.config["BRIDGE"])
    return IssuedKey(key, secret)


def end_old_secret(account_id: int, key_id: int, actor: Actor = COMMAND) -> Key:
    """End the secret that a rotated key had before. When this returns, every worker refuses it. Raises NotFound."""
    return _change(account_id, key_id, "key_old_ended", actor, {"old_digest": None, "old_until": None})


def _require_active(account_id: int) -> None:
    """Raises AccountSuspended. This is checked in the transaction, since a suspension may have come after the door's
    check."""
    status = sa.select(Account.status).where(Account.id == account_id).with_for_update(read=True)
    if db.session.scalar(status) == "suspended":
        raise AccountSuspended("This account is suspended: no key can be made or changed. Write to the operator.")


def update_key(account_id: int, key_id: int, terms: KeyTerms, actor: Actor = COMMAND) -> Key:
    """Set everything that can be set on a key, as `issue_key` does. Returns when every worker applies it."""
    columns = check_key(terms, find_key(account_id, key_id))
    return _change(account_id, key_id, "key_changed", actor, columns, grows=True)


def list_all_keys(
    account_id: int, *where: sa.ColumnElement[bool], before_id: int | None = None, limit: int | None = None
) -> list[Key]:
    """All keys that the account ever had, revoked ones included, the newest first: at most `limit` of those older than
    `before_id`."""
    query = sa.select(Key).where(Key.account_id == account_id, *where)
    if before_id is not None:
        query = query.where(Key.id < before_id)
    return list(db.session.scalars(query.order_by(Key.id.desc()).limit(limit)))


def count_matching_keys(account_id: int, search: str = "") -> tuple[int, int]:
    """How many of the account's keys match, and how many of those may be used."""
    usable = Key.disabled_at.is_(None) & (Key.expires_at.is_(None) | (Key.expires_at > now_utc()))
    query = sa.select(sa.func.count(), sa.func.sum(sa.case((usable, 1), else_=0))).where(*_match(account_id, search))
    total, in_use = db.session.execute(query).one()
    return total, in_use or 0


def list_matching_keys(account_id: int, search: str, *order: Any, limit: int, offset: int) -> list[Key]:
    """Some of the account's keys that match, in this order, the newest of those alike first. `search` is a part of the
    name, or a secret or its last four characters; revoked keys match nothing."""
    query = sa.select(Key).where(*_match(account_id, search)).order_by(*order, Key.id.desc())
    return list(db.session.scalars(query.limit(limit).offset(offset)))


def name_matching_keys(account_id: int, search: str) -> dict[int, str]:
    """Key id -> name of all that match, the newest first: there may be thousands."""
    query = sa.select(Key.id, Key.name).where(*_match(account_id, search)).order_by(Key.id.desc())
    return {row.id: row.name for row in db.session.execute(query)}


def _match(account_id: int, search: str) -> list[sa.ColumnElement[bool]]:
    found: list[sa.ColumnElement[bool]] = [Key.account_id == account_id, Key.revoked_at.is_(None), ~Key.is_drill]
    if search:
        found.append(Key.name.icontains(search, autoescape=True) | (Key.last_four == search[-4:]))
    return found


def find_keys(account_id: int, key_ids: Sequence[int]) -> list[Key]:
    """Those of the account's keys that are not revoked, in the order of their ids in `key_ids`."""
    found = {key.id: key for key in list_all_keys(account_id, Key.id.in_(key_ids), Key.revoked_at.is_(None))}
    return [found[key_id] for key_id in key_ids if key_id in found]


def select_drill_keys(account_id: Any) -> sa.Select[int]:
    """A query for the ids of the keys with which operators sent drills for the account (a value or a parameter)."""
    return sa.select(Key.id).where(Key.account_id == account_id, Key.is_drill)


def name_keys(account_id: int, key_ids: Iterable[int] | None = None) -> dict[int, str]:
    """Key id -> name, for these keys, or for every key that the account ever had: old requests name revoked keys."""
    query = sa.select(Key.id, Key.name).where(Key.account_id == account_id)
    if key_ids is not None:
        query = query.where(Key.id.in_(set(key_ids)))
    return {row.id: row.name for row in db.session.execute(query)}


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
    hashed = digest(secret_or_id)
    test = Key.id == int(secret_or_id) if is_id else sa.or_(Key.digest == hashed, Key.old_digest == hashed)
    key = db.session.scalars(sa.select(Key).where(test)).one_or_none()
    if key is None:
        raise NotFound("There is no such key.")
    return key


def revoke_key(account_id: int, key_id: int, wait: bool = True, actor: Actor = COMMAND) -> Key:
    """End a key for good. With `wait`, every worker refuses it when this returns; a key that nobody has yet needs no
    `wait`. Raises NotFound."""
    return _change(account_id, key_id, "key_revoked", actor, {"revoked_at": now_utc()}, wait)


def disable_key(account_id: int, key_id: int, actor: Actor = COMMAND) -> Key:
    """Refuse a key until it is enabled again. When this returns, every worker refuses it. Raises NotFound."""
    return _change(account_id, key_id, "key_disabled", actor, {"disabled_at": now_utc()})


def enable_key(account_id: int, key_id: int, actor: Actor = COMMAND) -> Key:
    """Accept a disabled key again. Every worker does within a second. Raises NotFound."""
    return _change(account_id, key_id, "key_enabled", actor, {"disabled_at": None}, wait=False, grows=True)


def _change(
    account_id: int,
    key_id: int,
    what: str,
    actor: Actor,
    columns: Mapping[str, Any],
    wait: bool = True,
    *,
    grows: bool = False,
) -> Key:
    """Set columns of a key. `grows`: the key may do more than before, which a suspended account's key may not."""
    with transaction() as session:
        if grows:
            _require_active(account_id)
        key = find_key(account_id, key_id)
        detail, changed = key.name, [column for column, value in columns.items() if getattr(key, column) != value]
        if what == "key_changed":
            detail += f": {', '.join(changed) or 'nothing'}"
        for column, value in columns.items():
            setattr(key, column, value)
        if not key.is_drill:  # the drill itself is on record
            record_act(session, account_id, what, actor, detail)
        versions.bump(TOPIC)
    if wait:
        versions.wait_until_seen(current_app.config["BRIDGE"])
    return key


def record_use(key_ids: Mapping[int, datetime.datetime]) -> None:
    """Record when keys were last used, in one statement for all of them. A moment earlier than the recorded one changes
    nothing."""
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
