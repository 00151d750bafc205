"""Finds and names keys: an account's, for its pages, and any, for operators' commands."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from bridge.accounts.key_format import digest
from bridge.accounts.tables import Key
from bridge.db import db, now_utc
from bridge.errors import NotFound

ANYONE = -1  # in place of a member's id


def list_all_keys(
    account_id: int, *where: sa.ColumnElement[bool], before_id: int | None = None, limit: int | None = None
) -> list[Key]:
    """All keys that the account ever had, revoked ones included, the newest first: at most `limit` of those older than
    `before_id`."""
    query = sa.select(Key).where(Key.account_id == account_id, *where)
    if before_id is not None:
        query = query.where(Key.id < before_id)
    return list(db.session.scalars(query.order_by(Key.id.desc()).limit(limit)))


@dataclasses.dataclass(frozen=True, slots=True)
class KeyFilter:
    """Which of an account's keys that are not revoked: `search` is a part of the name, or a secret or its last four
    characters; `member_id` is whose, of None the account's own; ANYONE selects all."""

    account_id: int
    search: str = ""
    member_id: int | None = ANYONE


def count_matching_keys(wanted: KeyFilter) -> tuple[int, int]:
    """How many of the account's keys match, and how many of those may be used."""
    usable = Key.disabled_at.is_(None) & (Key.expires_at.is_(None) | (Key.expires_at > now_utc()))
    query = sa.select(sa.func.count(), sa.func.sum(sa.case((usable, 1), else_=0))).where(*_match(wanted))
    total, in_use = db.session.execute(query).one()
    return total, in_use or 0


def list_matching_keys(wanted: KeyFilter, *order: Any, limit: int, offset: int) -> list[Key]:
    """Some of the account's keys that match, in this order, the newest of those alike first."""
    query = sa.select(Key).where(*_match(wanted)).order_by(*order, Key.id.desc())
    return list(db.session.scalars(query.limit(limit).offset(offset)))


def name_matching_keys(wanted: KeyFilter) -> dict[int, str]:
    """Key id -> name of all that match, the newest first: there may be thousands."""
    query = sa.select(Key.id, Key.name).where(*_match(wanted)).order_by(Key.id.desc())
    return dict(db.session.execute(query).all())


def _match(wanted: KeyFilter) -> list[sa.ColumnElement[bool]]:
    found: list[sa.ColumnElement[bool]] = [Key.account_id == wanted.account_id, Key.revoked_at.is_(None), ~Key.is_drill]
    search = wanted.search
    if wanted.member_id != ANYONE:
        found.append(Key.member_id.is_(None) if wanted.member_id is None else Key.member_id == wanted.member_id)
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


def name_newest_key(wanted: KeyFilter) -> tuple[str, str] | None:
    """Name and last four characters of the newest key that matches; None without one."""
    query = sa.select(Key.name, Key.last_four).where(*_match(wanted)).order_by(Key.id.desc()).limit(1)
    row = db.session.execute(query).first()
    return None if row is None else (row.name, row.last_four)


def name_keys(account_id: int, key_ids: Iterable[int] | None = None, member_id: int | None = None) -> dict[int, str]:
    """Key id -> name, for these keys, or for every key that the account, or a member in it, ever had: old requests name
    revoked keys."""
    query = sa.select(Key.id, Key.name).where(Key.account_id == account_id)
    if member_id is not None:
        query = query.where(Key.member_id == member_id)
    if key_ids is not None:
        query = query.where(Key.id.in_(set(key_ids)))
    return {row.id: row.name for row in db.session.execute(query)}


def find_key(account_id: int, key_id: int, member_id: int | None = None) -> Key:
    """One of the account's keys that is not revoked. Raises NotFound, also for another account's, and for a key that
    isn't this member's."""
    query = sa.select(Key).where(Key.account_id == account_id, Key.id == key_id, Key.revoked_at.is_(None))
    if member_id is not None:
        query = query.where(Key.member_id == member_id)
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
