"""Which accounts a person belongs to, with which role, and which of them they look at."""

import dataclasses
import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bridge.accounts.roles import OWNER
from bridge.accounts.tables import Account, Member, MemberSession, Membership
from bridge.acts import Actor, record_act
from bridge.db import db, now_utc, transaction
from bridge.errors import NotFound
from bridge.languages import translate

PLAIN = {"synchronize_session": False}


@dataclasses.dataclass(frozen=True, slots=True)
class TeamMember:
    """A member of an account, as its team page shows them."""

    member: Member
    membership: Membership
    last_seen_at: datetime.datetime | None  # in this account

    @property
    def name(self) -> str:
        """What the page calls them: their name, otherwise their address."""
        return self.member.name or self.member.email


def select_members(account_id: object) -> sa.Select[int]:
    """A query for the ids of an account's members."""
    return sa.select(Membership.member_id).where(Membership.account_id == account_id)


def select_owners(account_id: int) -> sa.Select[int]:
    """The same for its owners."""
    return select_members(account_id).where(Membership.role == OWNER)


def select_accounts(*people: sa.ColumnExpressionArgument[bool], owned: bool = False) -> sa.Select[int]:
    """A query for the accounts to which these people belong, or which they own."""
    query = sa.select(Membership.account_id).join(Member, Member.id == Membership.member_id).where(*people)
    return query.where(Membership.role == OWNER) if owned else query


def list_team(account_id: int) -> list[TeamMember]:
    """The members of an account, those who joined first at the top."""
    query = sa.select(Member, Membership).join(Membership, Membership.member_id == Member.id)
    query = query.where(Membership.account_id == account_id).order_by(Membership.joined_at, Member.id)
    rows = db.session.execute(query.execution_options(populate_existing=True))
    return [TeamMember(member, membership, membership.seen_at) for member, membership in rows]


def count_members(session: Session, account_id: int) -> int:
    """How many members an account has."""
    return session.scalar(sa.select(sa.func.count()).where(Membership.account_id == account_id)) or 0


def may_leave(account_id: int, member_id: int) -> bool:
    """Whether a member is not the account's last owner."""
    other = select_owners(account_id).where(Membership.member_id != member_id).limit(1)
    return db.session.scalar(other) is not None


def find_membership(account_id: int, member_id: int) -> Membership | None:
    """What a person is in an account; None if they don't belong to it."""
    return db.session.get(Membership, (account_id, member_id), populate_existing=True)


def find_main_account(member: Member) -> int:
    """The account that a person's address stands for: the first that they own, otherwise the first that they joined.
    It doesn't depend on what they look at."""
    query = sa.select(Membership.account_id).where(Membership.member_id == member.id)
    query = query.order_by(Membership.role != OWNER, Membership.joined_at, Membership.account_id).limit(1)
    found = db.session.scalar(query)
    return member.account_id if found is None else found


def switch_account(member: Member, account_id: int, actor: Actor) -> str:
    """Let a person look at another of their accounts from the next request on, in every browser of theirs. Returns its
    name. Raises NotFound for an account to which they don't belong."""
    with transaction() as session:
        mine = select_members(account_id).where(Membership.member_id == member.id)
        if session.scalar(mine) is None:
            raise NotFound(translate("You don't belong to that account."))
        _look_at(session, member.id, account_id)
        record_act(session, account_id, "switched", actor)
        return session.scalars(sa.select(Account.name).where(Account.id == account_id)).one()


def move_on(member_id: int) -> bool:
    """Let a person who no longer belongs to the account that they looked at look at another of theirs: one in good
    standing, and one that they own, if possible. Returns whether there is one."""
    with transaction() as session:
        return move_away(session, member_id) or _own_account(session, member_id)


def _own_account(session: Session, member_id: int) -> bool:
    """A worker of the release before memberships may have opened an account while this one began: nobody belongs to
    it, so its person owns it. Returns whether it was so."""
    account = sa.select(Account.id).join(Member, Member.account_id == Account.id)
    account = account.where(Member.id == member_id, ~select_members(Account.id).correlate(Account).exists())
    # such an account has no members either, and somebody who was taken out of it before may still look at it
    account = account.where(Account.deleted_at.is_(None), Account.merged_into.is_(None))
    account_id = session.scalar(account.with_for_update(of=Account))
    if account_id is None:
        return False
    add_member(session, account_id, member_id, OWNER)
    return True


def move_away(session: Session, member_id: int) -> bool:
    """The same in the caller's transaction."""
    query = sa.select(Membership.account_id).join(Account, Account.id == Membership.account_id)
    query = query.where(Membership.member_id == member_id)
    order = (Account.status != "active", Membership.role != OWNER, Membership.account_id)
    found = session.scalar(query.order_by(*order).limit(1))
    if found is None:
        return False
    _look_at(session, member_id, found)
    return True


def _look_at(session: Session, member_id: int, account_id: int) -> None:
    seen = sa.update(Member).where(Member.id == member_id).values(account_id=account_id)
    session.execute(seen, execution_options=PLAIN)


def add_member(
    session: Session, account_id: int, member_id: int, role: str, budget_month_nanos: int | None = None
) -> None:
    """Let a person belong to an account, and look at it, in the caller's transaction."""
    session.add(
        Membership(
            account_id=account_id,
            member_id=member_id,
            role=role,
            budget_month_nanos=budget_month_nanos,
            joined_at=now_utc(),
        )
    )
    _look_at(session, member_id, account_id)


def record_seen(session: Session, digest: bytes) -> None:
    """Record in the account that a session's member looks at that they were there, in the caller's transaction."""
    ours = sa.select(Member.id, Member.account_id).join(MemberSession, MemberSession.member_id == Member.id)
    ours = ours.where(MemberSession.digest == digest)
    here = sa.tuple_(Membership.member_id, Membership.account_id).in_(ours)
    session.execute(sa.update(Membership).where(here).values(seen_at=now_utc()), execution_options=PLAIN)
