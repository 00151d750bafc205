"""Whose a key is: a member's, or the account's own, which pages call the team's."""

import datetime
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from bridge.accounts.roles import list_roles_with
from bridge.accounts.tables import Key, Member, Membership
from bridge.db import db
from bridge.errors import InvalidRequest
from bridge.languages import translate


def select_member_keys(account_id: Any, member_id: Any) -> sa.Select[int]:
    """A query for the ids of the keys that belong to a member of the account (values or parameters), revoked ones
    included."""
    return sa.select(Key.id).where(Key.account_id == account_id, Key.member_id == member_id)


def select_first_made(account_id: Any, member_id: Any) -> sa.ScalarSelect[datetime.datetime]:
    """When the first of these keys was made: no request of theirs is older, and whoever looks for one need look no
    further back. NULL where there is none."""
    mine = sa.select(sa.func.min(Key.created_at)).where(Key.account_id == account_id, Key.member_id == member_id)
    return mine.scalar_subquery()


def require_owner(account_id: int, member_id: int) -> None:
    """Raises InvalidRequest unless this is a member of the account who may have keys. Their membership is locked until
    the caller's transaction ends."""
    role = _select_membership(account_id, member_id).with_only_columns(Membership.role).with_for_update(read=True)
    if db.session.scalar(role) not in list_roles_with("own_keys"):
        raise InvalidRequest(translate("Choose a member of this account who may call models."), param="belongs_to")


def name_members(member_ids: Iterable[int | None]) -> dict[int, str]:
    """Member id -> address, of those that still exist."""
    query = sa.select(Member.id, Member.email).where(Member.id.in_({one for one in member_ids if one is not None}))
    return {row.id: row.email for row in db.session.execute(query)}


def count_keys_by_member(account_id: int) -> dict[int, int]:
    """Member id -> how many keys of theirs in the account are not revoked; members without keys are left out."""
    live = (Key.account_id == account_id, Key.revoked_at.is_(None), ~Key.is_drill, Key.member_id.is_not(None))
    query = sa.select(Key.member_id, sa.func.count()).where(*live).group_by(Key.member_id)
    return {member_id: count for member_id, count in db.session.execute(query) if member_id is not None}


def _select_membership(account_id: int, member_id: int) -> sa.Select[Any]:
    return sa.select(Membership).where(Membership.account_id == account_id, Membership.member_id == member_id)
