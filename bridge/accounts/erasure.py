"""Erases the people of an account: members who belong to no other, how they sign in, and their names wherever we keep
them."""

import dataclasses

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bridge import vault, versions
from bridge.accounts.keys import TOPIC
from bridge.accounts.memberships import move_away
from bridge.accounts.operator_notes import forget_notes
from bridge.accounts.roles import OWNER
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
    """Whose names are to be erased elsewhere too: of everybody in what is the account's, of those who are gone in all
    else. And how many keys were revoked."""

    emails: list[str]
    gone: list[str]
    keys: int


def erase_people(session: Session, account_id: int, actor: Actor) -> Erased:
    """Revoke every key of the account, and delete the members whose last account it was, with all that says who they
    are, and their sessions, in the caller's transaction. The others move on to another account of theirs. The account's
    row stays, for its usage and its payments."""
    of_account = sa.select(Member, Membership.role).join(Membership, Membership.member_id == Member.id)
    of_account = of_account.where(Membership.account_id == account_id).order_by(Member.id)
    rows = session.execute(of_account).all()
    members = [member for member, _ in rows]
    owner = next((member for member, role in rows if role == OWNER), None)
    session.execute(sa.delete(Membership).where(Membership.account_id == account_id), execution_options=PLAIN)
    last_here = {member.id for member in members if member.account_id == account_id}
    gone = [member for member in members if not _stays(session, member.id, looks_here=member.id in last_here)]
    for member in gone:
        _erase_person(session, member)
    keys = _revoke_keys(session, account_id)
    forget_notes(session, account_id)
    ended = {"status": "suspended", "deleted_at": now_utc(), "name": "deleted"}
    ended |= {"billing_name": "", "billing_address": "", "tax_id": ""}
    mark = mark_owner(owner.email) if owner else None
    changed = sa.update(Account).where(Account.id == account_id).values(**ended, owner_mark=mark)
    session.execute(changed, execution_options=PLAIN)
    # only now, for the database keeps the lines of every account that isn't deleted; what operators decided stays
    named = sa.or_(Act.network != "", Act.what.not_in(DECISIONS))
    session.execute(sa.delete(Act).where(Act.account_id == account_id, named), execution_options=PLAIN)
    emails = [member.email for member in members]
    record_act(session, account_id, "deleted", Actor(GONE if actor.by in emails else actor.by))
    versions.bump(TOPIC)
    return Erased(emails, [member.email for member in gone], keys)


def _stays(session: Session, member_id: int, *, looks_here: bool) -> bool:
    """Whether a person belongs to another account too. If they looked at this one, they look at that from now on."""
    if looks_here:
        return move_away(session, member_id)
    return (
        session.scalar(sa.select(Membership.account_id).where(Membership.member_id == member_id).limit(1)) is not None
    )


def _erase_person(session: Session, member: Member) -> None:
    """Delete a person with all that says who they are."""
    void_tickets(session, member.id)
    session.execute(sa.delete(Invitation).where(Invitation.email == member.email), execution_options=PLAIN)
    for table in (Identity, Passkey):
        session.execute(sa.delete(table).where(table.member_id == member.id), execution_options=PLAIN)
    forget_second_factor(session, member.id)
    forget_recipient(session, member.email)
    end_sessions(session, Member.id == member.id)
    session.execute(sa.delete(Member).where(Member.id == member.id), execution_options=PLAIN)


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
