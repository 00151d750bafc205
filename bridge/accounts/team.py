"""What owners and admins change of an account's members: role, budget, who belongs to it, and what it is called. Nobody
changes their own role, gives one above it, or takes one from somebody above them; an account always has an owner."""

import secrets
from collections.abc import Callable

import sqlalchemy as sa
from flask import current_app
from sqlalchemy.orm import Session

from bridge import versions
from bridge.accounts.keys import TOPIC
from bridge.accounts.letters import written_for
from bridge.accounts.memberships import move_away
from bridge.accounts.roles import ADMIN, OWNER, ROLES, list_given, may
from bridge.accounts.tables import Account, Invitation, Key, Member, Membership
from bridge.acts import Actor, record_act, write_change
from bridge.db import now_utc, transaction
from bridge.errors import InvalidRequest, NotFound, RoleRefused
from bridge.languages import to_translate, translate
from bridge.mail.outbox import queue_mail
from bridge.money import format_dollars

PLAIN = {"synchronize_session": False}
MAX_NAME_LENGTH = 100
LAST_OWNER = to_translate(
    "You are the last owner of this account. Make somebody else an owner first, or delete the account."
)


def check_account_name(name: str) -> str:
    """The name of an account, its spaces put in order. It stands in mails to people whom its members invite: so it is
    no address of a web page. Raises InvalidRequest."""
    name = " ".join(name.split())
    if not name or len(name) > MAX_NAME_LENGTH or not name.isprintable():
        raise InvalidRequest(translate("Use 1 to %(most)s letters.", most=MAX_NAME_LENGTH), param="account_name")
    if "://" in name or "www." in name.lower():
        raise InvalidRequest(translate("Use a name, not the address of a web page."), param="account_name")
    return name


def rename_account(account_id: int, name: str, actor: Actor) -> str:
    """Call an account otherwise. Returns the name as we store it. Raises InvalidRequest."""
    name = check_account_name(name)
    with transaction() as session:
        before = session.scalars(sa.select(Account.name).where(Account.id == account_id).with_for_update()).one()
        session.execute(sa.update(Account).where(Account.id == account_id).values(name=name), execution_options=PLAIN)
        record_act(session, account_id, "account_name", actor, write_change("name", before, name))
    return name


def set_role(account_id: int, member_id: int, role: str, *, by: int, actor: Actor) -> None:
    """Give a member another role, from their next request on. Where it doesn't include keys, theirs are disabled. `by`
    is who gives it. Raises NotFound, RoleRefused, or InvalidRequest for a role that doesn't exist."""
    with transaction() as session:
        given, theirs, email = _lock_pair(session, account_id, by, member_id)
        if role not in ROLES:
            raise InvalidRequest(translate("The roles are %(names)s.", names=", ".join(ROLES)), param="role")
        has_ended = not may(role, "own_keys")
        if role not in given:
            raise RoleRefused(translate("Only an owner makes others an owner. Nothing was changed."))
        before = theirs.role
        theirs.role = role
        disabled = _end_keys(session, account_id, member_id, disabled_at=now_utc()) if has_ended else []
        if not may(role, "members"):
            _void_invitations(session, account_id, email)
        detail = f"{email}; {write_change('role', before, role)}"
        record_act(session, account_id, "member_role", actor, _add_keys(detail, disabled, "disabled"))
        versions.bump(TOPIC)  # what their keys may read about depends on it
    if has_ended:
        versions.wait_until_seen(current_app.config["BRIDGE"])


def set_member_budget(
    account_id: int,
    member_id: int,
    nanos: int | None,
    *,
    by: int,
    actor: Actor,
    count: Callable[[Session, int, int], None],
) -> None:
    """Limit what all keys of a member may spend together in a calendar month (UTC); None is no limit. When this
    returns, every worker applies it. `count` lets a budget where there was none know what was spent in this month.
    Raises NotFound, RoleRefused, or InvalidRequest for an amount below zero."""
    check_budget(nanos)
    with transaction() as session:
        _, theirs, email = _lock_pair(session, account_id, by, member_id, own_too=True)
        before, theirs.budget_month_nanos = theirs.budget_month_nanos, nanos
        detail = f"{email}; {write_change('budget a month', _show(before), _show(nanos))}"
        record_act(session, account_id, "member_budget", actor, detail)
        if nanos is not None and before is None:  # otherwise it has counted itself, and knows what was refunded
            count(session, account_id, member_id)
        versions.bump(TOPIC)
    versions.wait_until_seen(current_app.config["BRIDGE"])


def check_budget(nanos: int | None) -> int | None:
    """A member's budget. Raises InvalidRequest for one below zero, or that no database could keep."""
    if nanos is not None and not 0 <= nanos < 2**63:
        raise InvalidRequest(translate("Give an amount of zero or more."), param="budget")
    return nanos


def remove_member(account_id: int, member_id: int, *, by: int, actor: Actor) -> str:
    """Take somebody out of an account. Their keys there are revoked, and their sessions leave it; when this returns,
    every worker refuses those keys. Returns their address. Raises NotFound and RoleRefused."""
    with transaction() as session:
        _, _, email = _lock_pair(session, account_id, by, member_id)
        _take_out(session, account_id, member_id, email, "member_removed", actor)
        name = session.scalars(sa.select(Account.name).where(Account.id == account_id)).one()
        with written_for(session, email):
            queue_mail(
                session,
                once=f"removed:{secrets.token_hex(16)}",
                recipient=email,
                subject=translate("You were removed from an AI Bridge account"),
                text=translate(
                    "You no longer belong to the account “%(name)s”. Your keys in it are refused. Your sign-in and "
                    "your other accounts stay.\n",
                    name=name,
                ),
            )
    versions.wait_until_seen(current_app.config["BRIDGE"])
    return email


def leave_account(account_id: int, member: Member, actor: Actor) -> None:
    """Let a member leave an account, as `remove_member` does. Raises NotFound, and InvalidRequest for the last
    owner."""
    with transaction() as session:
        rows = _lock_members(session, account_id)
        mine = rows.get(member.id)
        if mine is None:
            raise NotFound(translate("You don't belong to that account."))
        if mine.role == OWNER and sum(row.role == OWNER for row in rows.values()) == 1:
            raise InvalidRequest(translate(LAST_OWNER))
        _take_out(session, account_id, member.id, member.email, "left", actor)
    versions.wait_until_seen(current_app.config["BRIDGE"])


def transfer_account(account_id: int, member_id: int, *, by: int, actor: Actor) -> str:
    """Make a member the owner in place of the one who does it, who becomes an admin. Returns the new owner's address.
    Raises NotFound and RoleRefused."""
    with transaction() as session:
        given, theirs, email = _lock_pair(session, account_id, by, member_id)
        if OWNER not in given:
            raise RoleRefused(translate("Only an owner can transfer the account. Nothing was changed."))
        theirs.role = OWNER
        mine = sa.update(Membership).where(Membership.account_id == account_id, Membership.member_id == by)
        session.execute(mine.values(role=ADMIN), execution_options=PLAIN)
        record_act(session, account_id, "transferred", actor, f"to {email}")
    return email


def revoke_member_keys(session: Session, account_id: int, member_id: int) -> list[str]:
    """Revoke all keys of a member in one account, in the caller's transaction; every worker refuses them once it has
    seen that. Returns their names."""
    return _end_keys(session, account_id, member_id, revoked_at=now_utc())


def _end_keys(session: Session, account_id: int, member_id: int, **ended: object) -> list[str]:
    """Set when a member's keys, as far as they aren't revoked, have ended in one way or the other."""
    name, when = next(iter(ended.items()))
    chosen = sa.update(Key).where(Key.account_id == account_id, Key.member_id == member_id)
    chosen = chosen.where(Key.revoked_at.is_(None), getattr(Key, name).is_(None)).values({name: when})
    names = list(session.scalars(chosen.returning(Key.name), execution_options=PLAIN))
    versions.bump(TOPIC)
    return names


def _void_invitations(session: Session, account_id: int, email: str) -> None:
    """Void the invitations of somebody who may no longer send any."""
    theirs = sa.delete(Invitation).where(Invitation.account_id == account_id, Invitation.invited_by == email)
    session.execute(theirs, execution_options=PLAIN)


def _take_out(session: Session, account_id: int, member_id: int, email: str, what: str, actor: Actor) -> None:
    revoked = revoke_member_keys(session, account_id, member_id)
    _void_invitations(session, account_id, email)
    mine = sa.delete(Membership).where(Membership.account_id == account_id, Membership.member_id == member_id)
    session.execute(mine, execution_options=PLAIN)
    looked_at = session.scalar(sa.select(Member.account_id).where(Member.id == member_id))
    if looked_at == account_id:
        move_away(session, member_id)
    record_act(session, account_id, what, actor, _add_keys(email, revoked, "revoked"))


def _lock_members(session: Session, account_id: int) -> dict[int, Membership]:
    """The account's memberships by member. Until the transaction ends nobody else changes them: two owners who leave at
    the same moment would leave none."""
    session.execute(sa.select(Account.id).where(Account.id == account_id).with_for_update(key_share=True))
    query = sa.select(Membership).where(Membership.account_id == account_id)
    rows = session.scalars(query.execution_options(populate_existing=True))
    return {row.member_id: row for row in rows}


def _lock_pair(
    session: Session, account_id: int, by: int, member_id: int, *, own_too: bool = False
) -> tuple[list[str], Membership, str]:
    """The roles that one member may give, what another one is in the account, and the other's address. Raises NotFound,
    and RoleRefused where the first is not above the other; `own_too`: unless they are the same."""
    rows = _lock_members(session, account_id)
    mine, theirs = rows.get(by), rows.get(member_id)
    if theirs is None:
        raise NotFound(translate("There is no such member."))
    given = list_given(mine.role if mine else None)
    if theirs.role not in given:
        raise RoleRefused(translate("Only an owner changes what an owner is. Nothing was changed."))
    if by == member_id and not own_too:
        raise RoleRefused(translate("Nobody changes their own role. Ask an owner. Nothing was changed."))
    return given, theirs, session.scalars(sa.select(Member.email).where(Member.id == member_id)).one()


def _add_keys(detail: str, names: list[str], ended: str) -> str:
    """A line's detail, with the keys that ended by it."""
    return f"{detail}; keys {ended}: {', '.join(names)}" if names else detail


def _show(nanos: int | None) -> str | None:
    return None if nanos is None else f"${format_dollars(nanos, 2)}"
