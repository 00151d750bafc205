"""API keys: issue, look up, change, revoke. The hot path gets plain values: `recall_caller` reads memory, otherwise
`find_callers` makes one query for all that wait."""

import dataclasses
import datetime
import time
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from flask import current_app

from bridge import versions
from bridge.accounts.key_format import digest, looks_like_key, make_secret
from bridge.accounts.key_limits import LIMITS, OF_PLAN, default_limits, limit_account, limit_key, require_room
from bridge.accounts.key_owners import require_owner
from bridge.accounts.key_rules import check_key
from bridge.accounts.key_search import find_key
from bridge.accounts.key_terms import TERMS, KeyTerms
from bridge.accounts.own_prices import has_own_prices, read_price_terms
from bridge.accounts.roles import may
from bridge.accounts.tables import Account, Key, Membership
from bridge.acts import COMMAND, Actor, record_act
from bridge.addresses import Network, read_network
from bridge.catalogue.price_terms import LIST_PRICES, PriceTerms
from bridge.config import Settings
from bridge.db import DEFAULT_GROUP, UtcDateTime, db, now_utc, transaction
from bridge.errors import AccountSuspended, InvalidApiKey, InvalidRequest
from bridge.languages import translate

CACHE_SECONDS = 60.0  # our own changes are announced; this is for changes made by hand
CACHE_SIZE = 20_000  # of some 700 bytes
MOST_OVERLAP = datetime.timedelta(days=30)
TOPIC = "keys"


@dataclasses.dataclass(frozen=True, slots=True)
class IssuedKey:
    """A new key with its secret, which nobody can read again."""

    key: Key
    secret: str


@dataclasses.dataclass(frozen=True, slots=True)
class MemberBudget:
    """What all keys of a member may spend together in a month, in their account."""

    member_id: int
    month_nanos: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Caller(KeyTerms):
    """Who calls, as the hot path needs it: a key's terms, and whose key it is. The limits are those in effect. An
    account's limits count across all of its keys, and a key's are never higher. 0 is no limit. `models` are model
    ids."""

    key_id: int
    account_id: int
    account_status: str
    suspend_reason: str = ""
    rpm: int = 0
    tpm: int = 0
    concurrency: int = 0
    account_rpm: int
    account_tpm: int
    account_concurrency: int
    account_spend_day_nanos: int = 0
    member_id: int | None = None  # whose key it is; None: the account's own
    member_role: str | None = None  # None of a key of the account, and of one who is no member of it any more
    member_budget: MemberBudget | None = None
    models: frozenset[str] | None = None
    addresses: tuple[Network, ...] | None = None
    price_terms: PriceTerms = LIST_PRICES  # what the account pays otherwise than the list
    group: str = DEFAULT_GROUP  # the account's: some channels serve only some groups
    drill_fault: str | None = None  # what the account's requests meet first, as long as the drill lasts
    drill_until: datetime.datetime | None = None

    @property
    def is_left_behind(self) -> bool:
        """Whether the key's member may not call models, or not any more."""
        return self.member_id is not None and not may(self.member_role, "own_keys")

    @property
    def seen_member_id(self) -> int | None:
        """Whose requests alone the caller may read about; None if all of the account's."""
        return None if self.member_id is None or may(self.member_role, "usage") else self.member_id

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


def find_caller_of(key: Key) -> Caller | None:
    """The caller that a key stands for now; None of one that is revoked, disabled or expired."""
    return _read_callers([key.digest]).get(key.digest)


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
        having = [(row.account_id, row.group, row.markup_bps) for row in rows if row.has_own_prices]
        terms = read_price_terms(connection, having) if having else {}
    settings = current_app.config["BRIDGE"]
    callers = {row.digest: _make_caller(row, settings, terms) for row in rows}
    for row in rows:
        if row.by_old:
            caller = callers[row.digest]
            until = row.old_until if caller.expires_at is None else min(row.old_until, caller.expires_at)
            callers[row.old_digest] = dataclasses.replace(caller, expires_at=until)
    return callers


_OF_KEY = ("id", "digest", "old_digest", "old_until", "account_id", "member_id")
ON_THE_WAY = (*LIMITS, "spend_day_nanos")  # the account's limits that its requests meet
_CALLER = sa.select(
    *(getattr(Key, name) for name in (*_OF_KEY, *(term.field for term in TERMS))),
    Account.status.label("account_status"),
    Account.suspend_reason,
    *(getattr(Account, name).label(f"account_{name}") for name in ON_THE_WAY),
    Account.markup_bps,
    *(getattr(Account, name) for name in OF_PLAN.values()),
    Account.group.label("group"),
    has_own_prices(Account.id, Account.group).label("has_own_prices"),
    Account.drill_fault,
    Account.drill_until,
    Membership.role.label("member_role"),
    Membership.budget_month_nanos.label("member_month_nanos"),
).join(Account, Account.id == Key.account_id)
_ITS_MEMBERSHIP = (Membership.account_id == Key.account_id) & (Membership.member_id == Key.member_id)
_CALLER = _CALLER.outerjoin(Membership, _ITS_MEMBERSHIP)


def _database_now() -> sa.ColumnElement[datetime.datetime]:
    """The database's clock, which decides what has expired."""
    if db.engine.dialect.name == "sqlite":
        return sa.func.strftime("%Y-%m-%d %H:%M:%f", "now", type_=UtcDateTime)
    return sa.func.clock_timestamp(type_=UtcDateTime)


def _make_caller(row: Any, settings: Settings, price_terms: Mapping[int, PriceTerms]) -> Caller:
    defaults = default_limits(settings)
    plan = {name: getattr(row, column) for name, column in OF_PLAN.items()}
    shared = {n: limit_account(getattr(row, f"account_{n}"), defaults[n], plan.get(n)) for n in ON_THE_WAY}
    terms: dict[str, Any] = {term.field: getattr(row, term.field) for term in TERMS}
    terms |= {name: limit_key(terms[name], shared[name]) for name in LIMITS}
    terms |= {f"account_{name}": limit for name, limit in shared.items()}
    month = row.member_month_nanos
    terms["models"] = None if row.models is None else frozenset(row.models)
    terms["addresses"] = None if row.addresses is None else tuple(read_network(text) for text in row.addresses)
    return Caller(
        **terms,
        key_id=row.id,
        account_id=row.account_id,
        account_status=row.account_status,
        suspend_reason=row.suspend_reason,
        member_id=row.member_id,
        member_role=row.member_role,
        member_budget=None if month is None else MemberBudget(row.member_id, month),
        price_terms=price_terms.get(row.account_id) or PriceTerms(row.markup_bps),
        group=row.group,
        drill_fault=row.drill_fault,
        drill_until=row.drill_until,
    )


def issue_key(
    account_id: int,
    terms: KeyTerms,
    *,
    member_id: int | None = None,
    is_drill: bool = False,
    is_playground: bool = False,
    actor: Actor = COMMAND,
) -> IssuedKey:
    """Make a key of a member, or of the account itself. `is_drill`: it is an operator's, for a fault drill;
    `is_playground`: it is the playground's. Raises InvalidRequest with the wrong field in `param`."""
    columns = check_key(terms)
    secret = make_secret()
    with transaction() as session:
        _require_active(account_id, alone=True)
        if not is_drill:
            require_room(account_id)
        if member_id is not None:
            require_owner(account_id, member_id)
        key = Key(account_id=account_id, digest=digest(secret), last_four=secret[-4:], member_id=member_id, **columns)
        key.is_drill, key.is_playground = is_drill, is_playground
        session.add(key)
        record_act(session, account_id, "drill_sent" if is_drill else "key_created", actor, key.name)
    return IssuedKey(key, secret)


def rotate_key(account_id: int, key_id: int, overlap: datetime.timedelta, actor: Actor = COMMAND) -> IssuedKey:
    """Give a key a new secret. Limits, budget and usage stay. The one before it works for the `overlap` and then ends
    by itself; one that was still in its overlap ends at once. Returns when every worker knows. Raises InvalidRequest
    for an overlap below zero or over MOST_OVERLAP."""
    if not datetime.timedelta() <= overlap <= MOST_OVERLAP:
        raise InvalidRequest(
            translate("The old secret can go on for at most %(days)s days.", days=MOST_OVERLAP.days), param="overlap"
        )
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


def _require_active(account_id: int, *, alone: bool = False) -> None:
    """Raises AccountSuspended. This is checked in the transaction, since a suspension may have come after the door's
    check. `alone`: only one transaction at a time comes past this, though requests go on."""
    status = sa.select(Account.status).where(Account.id == account_id)
    status = status.with_for_update(key_share=True) if alone else status.with_for_update(read=True)
    if db.session.scalar(status) == "suspended":
        raise AccountSuspended(
            translate("This account is suspended: no key can be made or changed. Write to the operator.")
        )


def update_key(account_id: int, key_id: int, terms: KeyTerms, actor: Actor = COMMAND) -> Key:
    """Set everything that can be set on a key, as `issue_key` does. Returns when every worker applies it."""
    columns = check_key(terms, find_key(account_id, key_id))
    return _change(account_id, key_id, "key_changed", actor, columns, grows=True)


def give_key(account_id: int, key_id: int, member_id: int | None, actor: Actor = COMMAND) -> Key:
    """Make a key that of another member, or of the account itself. What it used goes with it, but not from one member's
    budget to the other's. Returns when every worker counts it there. Raises NotFound and InvalidRequest."""
    if member_id is not None:
        require_owner(account_id, member_id)
    return _change(account_id, key_id, "key_given", actor, {"member_id": member_id}, grows=True)


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
