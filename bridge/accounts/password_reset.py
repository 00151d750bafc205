"""Resetting a password by mail. The page only notes the address that was typed, so that it takes the same time and says
the same whether anybody has it; a job looks, and writes the mail."""

import datetime

import sqlalchemy as sa

from bridge.accounts.emails import MAX_EMAIL_LENGTH, normalise_email
from bridge.accounts.letters import written_to
from bridge.accounts.sign_in import hash_password, write_password
from bridge.accounts.tables import Member, ResetRequest
from bridge.accounts.tickets import FoundTicket, issue_ticket, name_mail, read_ticket, use_ticket, void_tickets
from bridge.acts import Actor
from bridge.config import Settings
from bridge.db import db, transaction
from bridge.languages import translate
from bridge.mail.outbox import queue_mail

PURPOSE = "reset"
LASTS = datetime.timedelta(hours=1)
INVITATION_LASTS = datetime.timedelta(days=7)
MOST_AT_ONCE = 50


class LinkExpired(Exception):
    """The link was used before, is too old, or was never ours."""


def request_reset(email: str) -> None:
    """Note that somebody wants to reset the password of this address."""
    with transaction() as session:
        session.add(ResetRequest(email=normalise_email(email)[:MAX_EMAIL_LENGTH]))


def write_reset_mails(settings: Settings) -> int:
    """Write a mail with a link for each noted address that a member has. Returns how many were written."""
    asked = list(db.session.scalars(sa.select(ResetRequest.id).order_by(ResetRequest.id).limit(MOST_AT_ONCE)))
    db.session.commit()
    return sum(_answer(settings, request_id) for request_id in asked)


def _answer(settings: Settings, request_id: int) -> bool:
    """Answer one request, unless another worker was faster."""
    with transaction() as session:
        taken = sa.delete(ResetRequest).where(ResetRequest.id == request_id).returning(ResetRequest.email)
        email = session.scalar(taken.execution_options(synchronize_session=False))
        member = session.scalar(sa.select(Member).where(Member.email == email)) if email else None
        if member is None:
            return False
        void_tickets(session, member.id, PURPOSE)
        secret = issue_ticket(session, PURPOSE, lasts=LASTS, member_id=member.id)
        with written_to(member):
            subject, text = _write_reset(f"{settings.site_url}/reset?ticket={secret}")
        queue_mail(session, once=name_mail(secret), recipient=member.email, subject=subject, text=text, is_secret=True)
    return True


def _write_reset(link: str) -> tuple[str, str]:
    text = translate("Somebody, probably you, wants to set a new password for your AI Bridge account.")
    here = translate("Set it here, within an hour:")
    otherwise = translate("The link works once. If it wasn't you, do nothing: your password stays as it is.")
    return translate("Reset your AI Bridge password"), f"{text}\n\n{here}\n{link}\n\n{otherwise}\n"


def invite_member(settings: Settings, member_id: int) -> str:
    """Let a new member, who has no password yet, choose one within a week. The link goes to them by mail. Where no mail
    goes out it is returned, for whoever hands it on: it works once, and can't be read again."""
    with transaction() as session:
        member = session.get_one(Member, member_id)
        void_tickets(session, member.id, PURPOSE)
        secret = issue_ticket(session, PURPOSE, lasts=INVITATION_LASTS, member_id=member.id)
        link = f"{settings.site_url}/reset?ticket={secret}"
        if not settings.mails_go_out:
            return link
        with written_to(member):
            subject, text = _write_invitation(settings, link)
        once = name_mail(secret)
        queue_mail(session, once=once, recipient=member.email, subject=subject, text=text, is_secret=True)
    return ""


def _write_invitation(settings: Settings, link: str) -> tuple[str, str]:
    text = translate("An AI Bridge account was opened for you at %(site)s.", site=settings.site_url)
    choose = translate("Choose a password within a week, and sign in with this address:")
    after = translate("The link works once. Afterwards, “Forgot your password?” on the sign-in page sends another.")
    return translate("Your AI Bridge account"), f"{text}\n\n{choose}\n{link}\n\n{after}\n"


def find_reset(secret: str) -> Member | None:
    """The member whose password the link may set; None if it is not good any more."""
    ticket = read_ticket(PURPOSE, secret)
    return db.session.get(Member, ticket.member_id) if ticket and ticket.member_id else None


def reset_password(secret: str, password: str, *, network: str) -> Member:
    """Set a new password by the link's secret, which is used up, and end all sessions of the member. The link also
    proves that the address is theirs. Raises LinkExpired, or ValueError with a sentence; then the link stays good."""
    if find_reset(secret) is None:
        raise LinkExpired
    password_hash = hash_password(password)
    with transaction() as session:
        ticket: FoundTicket | None = use_ticket(session, PURPOSE, secret)
        member = session.get(Member, ticket.member_id, populate_existing=True) if ticket and ticket.member_id else None
        if member is None:
            raise LinkExpired
        write_password(session, member.id, password_hash, "password_reset", Actor(member.email, network))
    return member
