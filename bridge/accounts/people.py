"""The members of an account as operators see them, and what operators do for one."""

import dataclasses
import datetime

import sqlalchemy as sa

from bridge.accounts.memberships import select_members
from bridge.accounts.password_reset import request_reset
from bridge.accounts.roles import OWNER
from bridge.accounts.sessions import SignedIn
from bridge.accounts.tables import Account, Member, MemberSession, Membership, SecondFactor
from bridge.acts import COMMAND, Actor, record_act
from bridge.db import db, now_utc, transaction
from bridge.errors import NotFound
from bridge.languages import translate


@dataclasses.dataclass(frozen=True, slots=True)
class Person:
    """A member, their role in the account, how many sessions are open and when one was last used, and whether a second
    factor is asked for."""

    member: Member
    role: str
    sessions: int
    last_seen_at: datetime.datetime | None
    has_second_factor: bool


def list_people(account_id: int, limit: int = 100) -> list[Person]:
    """The members of an account, the first one first, in one statement."""
    ours = MemberSession.member_id == Member.id
    open_ones = sa.select(sa.func.count()).where(ours, MemberSession.ends_at > now_utc()).correlate(Member)
    last_used = sa.select(sa.func.max(MemberSession.used_at)).where(ours).correlate(Member)
    query = (
        sa.select(
            Member, Membership.role, open_ones.scalar_subquery(), last_used.scalar_subquery(), SecondFactor.member_id
        )
        .join(Membership, Membership.member_id == Member.id)
        .outerjoin(SecondFactor, SecondFactor.member_id == Member.id)
        .where(Membership.account_id == account_id)
        .order_by(Member.id)
        .limit(limit)
    )
    return [
        Person(member, role, count, used, factor is not None)
        for member, role, count, used, factor in db.session.execute(query)
    ]


def find_person(account_id: int, member_id: int) -> Member:
    """One member of an account. Raises NotFound, also for another account's."""
    query = sa.select(Member).where(Member.id == member_id, Member.id.in_(select_members(account_id)))
    member = db.session.scalar(query)
    if member is None:
        raise NotFound(translate("There is no such member."))
    return member


def send_reset_link(member: Member, actor: Actor = COMMAND) -> None:
    """Have a mail sent to a member, with the link that sets a new password."""
    request_reset(member.email)
    with transaction() as session:
        record_act(session, member.account_id, "reset_sent", actor, member.email)


def record_view(account_id: int, ends_at: datetime.datetime, actor: Actor) -> None:
    """Put on record that an operator views the pages of an account, until then at the latest. Its members read it."""
    with transaction() as session:
        record_act(session, account_id, "viewed", actor, f"until {ends_at:%H:%M} UTC at the latest, read-only")


def find_viewed(account_id: int) -> SignedIn | None:
    """An account's first owner, as whom its pages are viewed, without a proof; None if nobody signs in to it."""
    query = sa.select(Member, Account.status, Membership, Account.name).select_from(Membership)
    query = query.join(Member, Member.id == Membership.member_id).join(Account, Account.id == Membership.account_id)
    query = query.where(Account.id == account_id, Account.deleted_at.is_(None), Membership.role == OWNER)
    row = db.session.execute(query.order_by(Member.id).limit(1)).one_or_none()
    return None if row is None else SignedIn(row[0], row[1], None, None, row[2], row[3])
