"""Invitations to an account, by a link in a mail. Neither the page that sends one nor the mail depends on whether the
address has an account; only who opens the link learns that."""

import dataclasses
import datetime
import hashlib
import secrets

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bridge.accounts.emails import check_email
from bridge.accounts.letters import written_to_invited
from bridge.accounts.memberships import add_member, count_members
from bridge.accounts.roles import INVITED, list_given, name_role
from bridge.accounts.sign_in import AddressTaken, hash_password
from bridge.accounts.tables import Account, Invitation, Member, Membership
from bridge.accounts.team import check_budget
from bridge.acts import Actor, record_act
from bridge.config import Settings
from bridge.db import clock, db, now_utc, transaction
from bridge.errors import InvalidRequest, NotFound, RoleRefused
from bridge.languages import translate
from bridge.mail.outbox import queue_mail

LASTS = datetime.timedelta(days=7)
MOST_MEMBERS = 50  # members and invitations of one account together
MAX_SECRET_LENGTH = 100
PLAIN = {"synchronize_session": False}


class InvitationOver(Exception):
    """The link doesn't work: it was used, cancelled, replaced or has expired, or its account takes nobody now."""


class WrongAddress(Exception):
    """The invitation is for another address than that of the member who is signed in."""


@dataclasses.dataclass(frozen=True, slots=True)
class FoundInvitation:
    """What a link asks somebody to join, and whether there is a person with that address."""

    account_id: int
    account: str
    email: str
    role: str
    invited_by: str
    is_known: bool


def list_invitations(account_id: int) -> list[Invitation]:
    """The account's invitations, open and expired, the newest first."""
    query = sa.select(Invitation).where(Invitation.account_id == account_id)
    return list(db.session.scalars(query.order_by(Invitation.created_at.desc(), Invitation.id.desc())))


def invite(
    settings: Settings,
    account_id: int,
    email: str,
    role: str,
    budget_month_nanos: int | None,
    *,
    by: Member,
    actor: Actor,
) -> str:
    """Mail somebody a link by which they join the account, within 7 days; one that they have already is void. Returns
    the address as we store it. Raises InvalidRequest naming the field, and RoleRefused."""
    try:
        wanted = check_email(email)
    except ValueError as error:
        raise InvalidRequest(str(error), param="email") from None
    if role not in INVITED:
        raise InvalidRequest(translate("The roles are %(names)s.", names=", ".join(INVITED)), param="role")
    check_budget(budget_month_nanos)
    with transaction() as session:
        account = _lock_account(session, account_id)
        _require_inviter(session, account_id, by, role)
        _require_stranger(session, account_id, wanted)
        earlier = sa.select(Invitation).where(Invitation.account_id == account_id, Invitation.email == wanted)
        row = session.scalars(earlier.execution_options(populate_existing=True)).one_or_none()
        if row is None:
            _require_room(session, account_id)
            row = Invitation(account_id=account_id, email=wanted)
            session.add(row)
        secret, now = secrets.token_urlsafe(32), now_utc()
        row.role, row.budget_month_nanos, row.invited_by = role, budget_month_nanos, by.email
        row.digest, row.created_at, row.ends_at = _digest(secret), now, now + LASTS
        _mail(session, settings, secret, row, account)
        record_act(session, account_id, "invited", actor, f"{wanted}, {role}")
    return wanted


def send_again(settings: Settings, account_id: int, invitation_id: int, *, by: Member, actor: Actor) -> str:
    """Mail an invitation again, with a new link that works for 7 days; the old one is void. Returns the address. Raises
    NotFound, InvalidRequest and RoleRefused."""
    row = _find(account_id, invitation_id)
    return invite(settings, account_id, row.email, row.role, row.budget_month_nanos, by=by, actor=actor)


def find_invited(account_id: int, invitation_id: int) -> str:
    """The address that one of the account's invitations is for; "" where there is none."""
    query = sa.select(Invitation.email).where(Invitation.id == invitation_id, Invitation.account_id == account_id)
    return db.session.scalar(query) or ""


def cancel_invitation(account_id: int, invitation_id: int, actor: Actor) -> str:
    """Make an invitation's link worthless. Returns its address. Raises NotFound."""
    row = _find(account_id, invitation_id)
    with transaction() as session:
        session.execute(sa.delete(Invitation).where(Invitation.id == row.id), execution_options=PLAIN)
        record_act(session, account_id, "invitation_cancelled", actor, row.email)
    return row.email


def find_invitation(secret: str) -> FoundInvitation:
    """What the link asks somebody to join; it stays good. Raises InvitationOver."""
    session = db.session()
    known = sa.select(Member.id).where(Member.email == Invitation.email).correlate(Invitation).exists()
    query = _select_good(session, secret).with_only_columns(Invitation, Account.name, known)
    row = session.execute(query.execution_options(populate_existing=True)).one_or_none()
    if row is None:
        raise InvitationOver
    one, name, is_known = row
    return FoundInvitation(one.account_id, name, one.email, one.role, one.invited_by, is_known)


def accept_invitation(secret: str, member: Member, actor: Actor) -> FoundInvitation:
    """Use the link: the member belongs to the account, and looks at it. Raises InvitationOver and WrongAddress."""
    found = find_invitation(secret)
    if found.email != member.email:
        raise WrongAddress
    with transaction() as session:
        _join(session, secret, member.id, actor)
    return found


def join_as_newcomer(secret: str, password: str, network: str) -> Member:
    """Use the link: a person begins, who belongs to this account and has none of their own. The link has shown that the
    address is theirs. Raises InvitationOver, AddressTaken, or ValueError with a sentence about the password."""
    found = find_invitation(secret)
    password_hash = hash_password(password)
    try:
        with transaction() as session:
            member = Member(account_id=found.account_id, email=found.email, password_hash=password_hash)
            session.add(member)
            session.flush()
            _join(session, secret, member.id, Actor(found.email, network))
            member_id = member.id
    except sa.exc.IntegrityError:  # they signed up meanwhile
        raise AddressTaken(found.email) from None
    return db.session.get_one(Member, member_id, populate_existing=True)


def _join(session: Session, secret: str, member_id: int, actor: Actor) -> None:
    """Use up the invitation: of two who do so at the same moment, one is refused."""
    good = session.scalars(_select_good(session, secret).with_only_columns(Invitation.id)).one_or_none()
    used = sa.delete(Invitation).where(Invitation.id == good, Invitation.digest == _digest(secret))
    columns = (Invitation.account_id, Invitation.role, Invitation.budget_month_nanos, Invitation.invited_by)
    row = session.execute(used.returning(*columns), execution_options=PLAIN).one_or_none()
    if row is None:
        raise InvitationOver
    if session.get(Membership, (row.account_id, member_id)) is None:
        add_member(session, row.account_id, member_id, row.role, row.budget_month_nanos)
        record_act(session, row.account_id, "joined", actor, f"{row.role}, invited by {row.invited_by}")


def _select_good(session: Session, secret: str) -> sa.Select[Invitation]:
    """A query for the invitation with this secret, as long as somebody can join by it."""
    secret = secret if secret.isascii() and len(secret) <= MAX_SECRET_LENGTH else ""
    query = sa.select(Invitation).join(Account, Account.id == Invitation.account_id)
    query = query.where(Invitation.digest == _digest(secret), Invitation.ends_at > clock(session))
    return query.where(Account.status == "active")


def _find(account_id: int, invitation_id: int) -> Invitation:
    query = sa.select(Invitation).where(Invitation.id == invitation_id, Invitation.account_id == account_id)
    row = db.session.scalar(query)
    if row is None:
        raise NotFound(translate("There is no such invitation."))
    return row


def _lock_account(session: Session, account_id: int) -> str:
    """The account's name. Until the transaction ends nobody else invites to it."""
    name = sa.select(Account.name).where(Account.id == account_id, Account.status == "active")
    found = session.scalar(name.with_for_update(key_share=True))
    if found is None:
        raise NotFound("There is no such account.")
    return found


def _require_inviter(session: Session, account_id: int, by: Member, role: str) -> None:
    mine = session.get(Membership, (account_id, by.id), populate_existing=True)
    if role not in list_given(mine.role if mine else None):
        raise RoleRefused(translate("Only an owner or admin invites others. Nothing was sent."))


def _require_stranger(session: Session, account_id: int, email: str) -> None:
    """Who is in the team is no secret to those who invite."""
    query = sa.select(Member.id).join(Membership, Membership.member_id == Member.id)
    if session.scalar(query.where(Membership.account_id == account_id, Member.email == email)) is not None:
        raise InvalidRequest(translate("%(email)s is a member already.", email=email), param="email")


def _require_room(session: Session, account_id: int) -> None:
    asked = session.scalar(sa.select(sa.func.count()).where(Invitation.account_id == account_id)) or 0
    if count_members(session, account_id) + asked >= MOST_MEMBERS:
        raise InvalidRequest(
            translate("An account has at most %(most)s members and invitations. Cancel one first.", most=MOST_MEMBERS)
        )


def _mail(session: Session, settings: Settings, secret: str, row: Invitation, account: str) -> None:
    once, url = f"invitation:{_digest(secret).hex()[:40]}", f"{settings.site_url}/join/{secret}"
    with written_to_invited(session, row.email):
        subject = translate("You are invited to an AI Bridge account")
        text = translate(
            "%(inviter)s asks you to join the AI Bridge account “%(account)s”, with the role %(role)s. The link works "
            "for %(days)s days:\n%(url)s\n\n"
            "If you don't know who that is, do nothing: without this link nobody joins.\n",
            inviter=row.invited_by,
            account=account,
            role=name_role(row.role),
            days=LASTS.days,
            url=url,
        )
    queue_mail(session, once=once, recipient=row.email, subject=subject, text=text, is_secret=True)


def _digest(secret: str) -> bytes:
    return hashlib.sha256(b"invitation:" + secret.encode()).digest()
