"""Erases the people of an account: members, how they sign in, and their names wherever we keep them."""

import dataclasses

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bridge import vault, versions
from bridge.accounts.keys import TOPIC
from bridge.accounts.operator_notes import forget_notes
from bridge.accounts.second_factor import forget_second_factor
from bridge.accounts.sessions import end_sessions
from bridge.accounts.tables import Account, Identity, Invitation, Key, Member, Membership, Passkey
from bridge.accounts.tickets import void_tickets
from bridge.acts import DECISIONS, Act, Actor, record_act
from bridge.db import db, now_utc
from bridge.mail.outbox import forget_recipient

GONE = "a former member"
PLAIN = {"synchronize_session": False}


@dataclasses.dataclass(frozen=True, slots=True)
class Erased:
    """Whose names are to be erased elsewhere too, and how many keys were revoked."""

    emails: list[str]
    keys: int


def erase_people(session: Session, account_id: int, actor: Actor) -> Erased:
    """Revoke every key of the account, end all sessions, and delete its members with all that says who they are, in the
    caller's transaction. The account's row stays, for its usage and its payments."""
    members = list(session.scalars(sa.select(Member).where(Member.account_id == account_id)))
    for member in members:
        void_tickets(session, member.id)
        session.execute(sa.delete(Identity).where(Identity.member_id == member.id), execution_options=PLAIN)
        session.execute(sa.delete(Passkey).where(Passkey.member_id == member.id), execution_options=PLAIN)
        forget_second_factor(session, member.id)
        forget_recipient(session, member.email)
    end_sessions(session, Member.account_id == account_id)
    keys = _revoke_keys(session, account_id)
    owner = next((member for member in members if member.role == "owner"), None)
    forget_notes(session, account_id)
    gone = [member.id for member in members]
    session.execute(sa.delete(Invitation).where(Invitation.account_id == account_id), execution_options=PLAIN)
    session.execute(sa.delete(Membership).where(Membership.member_id.in_(gone)), execution_options=PLAIN)
    session.execute(sa.delete(Member).where(Member.account_id == account_id), execution_options=PLAIN)
    ended = {"status": "suspended", "deleted_at": now_utc(), "name": "deleted"}
    ended |= {"billing_name": "", "billing_address": "", "tax_id": ""}
    mark = mark_owner(owner.email) if owner else None
    changed = sa.update(Account).where(Account.id == account_id).values(**ended, owner_mark=mark)
    session.execute(changed, execution_options=PLAIN)
    # only now, for the database keeps the lines of every account that isn't deleted; what operators decided stays
    named = sa.or_(Act.network != "", Act.what.not_in(DECISIONS))
    session.execute(sa.delete(Act).where(Act.account_id == account_id, named), execution_options=PLAIN)
    is_own = actor.by in [member.email for member in members]
    record_act(session, account_id, "deleted", Actor(GONE if is_own else actor.by))
    versions.bump(TOPIC)
    return Erased([member.email for member in members], keys)


def _revoke_keys(session: Session, account_id: int) -> int:
    """Revoke the account's keys, and forget what they were called and from where they were used."""
    good = sa.update(Key).where(Key.account_id == account_id, Key.revoked_at.is_(None)).values(revoked_at=now_utc())
    revoked = session.execute(good.returning(Key.id), execution_options=PLAIN).all()
    named = sa.update(Key).where(Key.account_id == account_id).values(name="deleted", addresses=None)
    session.execute(named, execution_options=PLAIN)
    return len(revoked)


def mark_owner(email: str) -> str:
    """By what we know an owner again who deletes an account and opens another; it doesn't reveal the address."""
    return vault.fingerprint("owner", email)


def was_here_before(email: str) -> bool:
    """Whether the owner of a deleted account had this address."""
    query = sa.select(Account.id).where(Account.owner_mark == mark_owner(email))
    return db.session.scalar(query.limit(1)) is not None
