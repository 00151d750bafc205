"""Who is signed in: a row for each session, found by the secret in its cookie, of which we keep a hash."""

import dataclasses
import datetime
import hashlib
import secrets
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy import orm
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from bridge.accounts.memberships import record_seen
from bridge.accounts.notes import tell_member
from bridge.accounts.tables import Account, Member, MemberSession, Membership
from bridge.acts import COMMAND, Actor, record_act
from bridge.db import UtcDateTime, clock, db, now_utc, transaction
from bridge.languages import to_translate

MAX_AGE = datetime.timedelta(days=30)
MAX_UNUSED = datetime.timedelta(days=14)
MAX_UNUSED_OPERATOR = datetime.timedelta(hours=12)
RECORD_USE_EVERY = datetime.timedelta(minutes=5)  # a page view need not be a write
MAX_AGENT_LENGTH = 200
MAX_SECRET_LENGTH = 100
MOST_LISTED = 100
log = structlog.get_logger()


@dataclasses.dataclass(frozen=True, slots=True)
class SignedIn:
    """The member of a session, the status of the account that they look at, and when they last proved who they are: in
    any way, and by a second factor. `membership` is what they are there; None once they don't belong to it any more.
    `accounts` is to how many they belong, `members` how many belong to this one, and `owns_suspended`: whether one that
    they own is suspended."""

    member: Member
    account_status: str
    proven_at: datetime.datetime | None
    second_factor_at: datetime.datetime | None
    membership: Membership | None = None
    account_name: str = ""
    accounts: int = 1
    members: int = 0  # nobody has counted
    owns_suspended: bool = False


def open_session(  # noqa: PLR0913 - all of it is known at the sign-in alone
    member: Member,
    *,
    user_agent: str,
    network: str,
    how: str,
    is_known: bool = True,
    by_second_factor: bool = False,
) -> str:
    """Begin a session and return its secret, which goes into the cookie and nowhere else. Deletes the member's sessions
    that are over. `how` is by what they signed in, for the audit log; `by_second_factor`: whether a code or a passkey
    was part of it. From a browser that isn't known, the member is told by mail."""
    secret, now = secrets.token_urlsafe(32), now_utc()
    with transaction() as session:
        session.execute(
            sa.delete(MemberSession)
            .where(MemberSession.member_id == member.id, ~_lasts(session))
            .execution_options(synchronize_session=False)
        )
        agent = "".join(letter for letter in user_agent if letter.isprintable())
        session.add(
            MemberSession(
                digest=_digest(secret),
                member_id=member.id,
                made_at=now,
                used_at=now,
                ends_at=now + MAX_AGE,
                user_agent=agent[:MAX_AGENT_LENGTH],
                network=network[:64],
                proven_at=now,
                second_factor_at=now if by_second_factor else None,
            )
        )
        session.execute(sa.update(Member).where(Member.id == member.id).values(last_sign_in_at=now))
        record_act(session, member.account_id, "sign_in", Actor(member.email, network, member.is_operator), how)
        if not is_known:
            if agent:
                values = {"network": network, "agent": agent[:MAX_AGENT_LENGTH]}
                tell_member(session, member, "sign_in", to_translate("From %(network)s, by %(agent)s."), **values)
            else:
                tell_member(
                    session, member, "sign_in", to_translate("From %(network)s, by a program."), network=network
                )
    return secret


def find_signed_in(secret: str) -> SignedIn | None:
    """Who is in a session, and what they may do in the account that they look at, in one statement; None when it is
    over. Records that it was used."""
    if not secret.isascii() or len(secret) > MAX_SECRET_LENGTH:
        return None
    digest, session = _digest(secret), db.session()
    proofs = MemberSession.proven_at, MemberSession.second_factor_at
    here = (Membership.member_id == Member.id) & (Membership.account_id == Member.account_id)
    counts = _count_around()
    query: Any = sa.select(Member, Account.status, MemberSession.used_at, *proofs, Membership, Account.name, *counts)
    query = query.select_from(MemberSession).join(Member, Member.id == MemberSession.member_id)
    query = query.join(Account, Account.id == Member.account_id).outerjoin(Membership, here)
    query = query.where(MemberSession.digest == digest, _lasts(session))
    row = session.execute(query.execution_options(populate_existing=True)).one_or_none()
    if row is None:
        return None
    if now_utc() - row.used_at > RECORD_USE_EVERY:
        _record_use(digest)
    at = row.proven_at, row.second_factor_at
    numbers = row.accounts, row.members
    return SignedIn(row.Member, row.status, *at, row.Membership, row.name, *numbers, row.owns_suspended)


def _count_around() -> tuple[sa.ColumnElement[Any], ...]:
    """To how many accounts a member belongs, how many belong to the one that they look at, and whether one that they
    own is suspended."""
    theirs, others = orm.aliased(Membership), orm.aliased(Membership)
    count = sa.select(sa.func.count())
    accounts = count.where(theirs.member_id == Member.id).correlate(Member).scalar_subquery()
    members = count.where(others.account_id == Member.account_id).correlate(Member).scalar_subquery()
    return accounts.label("accounts"), members.label("members"), owns_suspended().label("owns_suspended")


def owns_suspended() -> sa.ColumnElement[bool]:
    """Whether a member, of a query, owns an account that is suspended: then they are no operator."""
    theirs, account = orm.aliased(Membership), orm.aliased(Account)
    found = sa.select(theirs.account_id).join(account, account.id == theirs.account_id)
    found = found.where(theirs.member_id == Member.id, theirs.role == "owner", account.status == "suspended")
    return found.correlate(Member).exists()


def record_proof(secret: str, *, by_second_factor: bool) -> None:
    """Record that the session's member has just proved who they are, by a code or a passkey or otherwise."""
    with transaction() as session:
        proven = sa.update(MemberSession).where(MemberSession.digest == _digest(secret)).values(proven_at=now_utc())
        if by_second_factor:
            proven = proven.values(second_factor_at=now_utc())
        session.execute(proven.execution_options(synchronize_session=False))


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _lasts(session: Session) -> sa.ColumnElement[bool]:
    """Whether a session is still valid, by the database's clock. An unused session of an operator ends sooner."""
    of_operator = sa.select(Member.id).where(Member.id == MemberSession.member_id, Member.is_operator)
    used = MemberSession.used_at
    return sa.and_(
        MemberSession.ends_at > clock(session),
        used > _ago(session, MAX_UNUSED),
        (used > _ago(session, MAX_UNUSED_OPERATOR)) | ~of_operator.correlate(MemberSession).exists(),
    )


def _ago(session: Session, period: datetime.timedelta) -> sa.ColumnElement[datetime.datetime]:
    if session.get_bind().dialect.name == "sqlite":
        return sa.literal(now_utc() - period, UtcDateTime)
    return sa.func.now() - period


def _record_use(digest: bytes) -> None:
    """Record the use; a page is shown even if this can't be written."""
    try:
        with transaction() as session:
            used = sa.update(MemberSession).where(MemberSession.digest == digest).values(used_at=now_utc())
            session.execute(used.execution_options(synchronize_session=False))
            record_seen(session, digest)
    except DBAPIError as error:
        log.warning("session_use_not_noted", error=type(error).__name__)


def list_sessions(member_id: int) -> list[MemberSession]:
    """A member's valid sessions, the one used last first, at most MOST_LISTED."""
    query = sa.select(MemberSession).where(MemberSession.member_id == member_id, _lasts(db.session()))
    query = query.order_by(MemberSession.used_at.desc(), MemberSession.made_at.desc()).limit(MOST_LISTED)
    return list(db.session.scalars(query))


def is_of(row: MemberSession, secret: str) -> bool:
    """Whether the secret, which is the cookie's, belongs to this session."""
    return secrets.compare_digest(row.digest, _digest(secret))


def end_session(secret: str) -> None:
    """End one session."""
    with transaction() as session:
        session.execute(sa.delete(MemberSession).where(MemberSession.digest == _digest(secret)))


def end_named_session(member: Member, name: str, actor: Actor) -> MemberSession | None:
    """End the member's session of this name (see `name_session`). None if the member has no such session."""
    found = next((row for row in list_sessions(member.id) if name_session(row) == name), None)
    if found is None:
        return None
    with transaction() as session:
        ended = sa.delete(MemberSession).where(MemberSession.digest == found.digest)
        session.execute(ended.execution_options(synchronize_session=False))
        record_act(session, member.account_id, "sign_out", actor, f"{found.network}, {found.user_agent}")
    return found


def name_session(row: MemberSession) -> str:
    """What a form calls a session: of its hash, from which nobody can find the secret, again a hash."""
    return hashlib.sha256(b"name:" + row.digest).hexdigest()[:24]


def end_other_sessions(session: Session, member_id: int, secret: str) -> int:
    """End every session of the member but this one, in the caller's transaction. Returns how many were ended."""
    ended = sa.delete(MemberSession).where(
        MemberSession.member_id == member_id, MemberSession.digest != _digest(secret)
    )
    gone = session.execute(ended.returning(MemberSession.digest).execution_options(synchronize_session=False))
    return len(gone.all())


def sign_out_elsewhere(member: Member, secret: str, actor: Actor) -> int:
    """End every session of the member but this one. Returns how many were ended."""
    with transaction() as session:
        ended = end_other_sessions(session, member.id, secret)
        record_act(session, member.account_id, "sign_out_others", actor, f"{ended} ended")
    return ended


def end_sessions(session: Session, *members: sa.ColumnElement[bool]) -> None:
    """End every session of these members, in the caller's transaction."""
    chosen = sa.select(Member.id).where(*members)
    ended = sa.delete(MemberSession).where(MemberSession.member_id.in_(chosen))
    session.execute(ended.execution_options(synchronize_session=False))


def sign_out_everywhere(member: Member, actor: Actor = COMMAND) -> None:
    """End all sessions of a member."""
    with transaction() as session:
        end_sessions(session, Member.id == member.id)
        record_act(session, member.account_id, "sign_out_all", actor)
