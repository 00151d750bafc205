"""Changing an address: by a link in a mail to the new one. The old one gets a note."""

import datetime
import secrets

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bridge.accounts.emails import check_email, find_by_email
from bridge.accounts.letters import written_to
from bridge.accounts.memberships import select_accounts
from bridge.accounts.password_reset import LinkExpired
from bridge.accounts.tables import Account, Invitation, Member
from bridge.accounts.tickets import (
    FoundTicket,
    find_tickets,
    issue_ticket,
    name_mail,
    read_ticket,
    use_ticket,
    void_tickets,
)
from bridge.acts import Actor, record_act
from bridge.config import Settings
from bridge.db import db, transaction
from bridge.languages import translate
from bridge.mail.outbox import queue_mail

CHANGE = "change"
CHANGE_LASTS = datetime.timedelta(hours=1)


class EmailTaken(Exception):
    """Another member has the address by now."""


def request_change(settings: Settings, member: Member, email: str, actor: Actor) -> str:
    """Mail a link to the new address, and a note to the present one. The address changes when the link is used. Returns
    the new address as we store it. Raises ValueError with a sentence.

    If somebody has the address already, they get a mail that says so, and nobody else learns it."""
    wanted = check_email(email)
    if wanted == member.email:
        raise ValueError(translate("This is your address already."))
    owner = find_by_email(wanted)
    with transaction() as session:
        void_tickets(session, member.id, CHANGE)
        secret = issue_ticket(session, CHANGE, lasts=CHANGE_LASTS, member_id=member.id, email=wanted)
        with written_to(owner or member):
            if owner is not None:
                subject, text = _write_taken(settings)
            else:
                subject, text = _write_change(settings, member.email, wanted, secret)
        _queue(session, secret, wanted, subject, text)
        with written_to(member):
            subject, text = _write_note(settings, wanted)
        _queue(session, f"note:{secret}", member.email, subject, text)
        record_act(session, member.account_id, "email_asked", actor, f"{member.email} → {wanted}")
    return wanted


def _write_taken(settings: Settings) -> tuple[str, str]:
    text = translate(
        "Somebody wants to use this address for another AI Bridge account. It already has one, so nothing changes. If "
        "it was you, sign in with this address instead:"
    )
    return translate("Your email already has an AI Bridge account"), f"{text}\n{settings.site_url}/sign-in\n"


def _write_change(settings: Settings, before: str, wanted: str, secret: str) -> tuple[str, str]:
    text = translate(
        "Sign in to AI Bridge as %(wanted)s from now on, instead of %(before)s. Confirm within an hour:",
        wanted=wanted,
        before=before,
    )
    link = f"{settings.site_url}/confirm?ticket={secret}"
    otherwise = translate("If this wasn't you, do nothing.")
    return translate("Confirm your new email for AI Bridge"), f"{text}\n{link}\n\n{otherwise}\n"


def _write_note(settings: Settings, wanted: str) -> tuple[str, str]:
    text = translate(
        "Somebody who is signed in to your AI Bridge account wants to change its email to %(wanted)s. This address "
        "stays until the new one is confirmed.",
        wanted=wanted,
    )
    change = translate("If it wasn't you, change your password now:")
    link = f"{settings.site_url}/dashboard/settings/security"
    return translate("Your AI Bridge email is about to change"), f"{text}\n\n{change}\n{link}\n"


def find_waiting_change(member_id: int) -> FoundTicket | None:
    """The change that waits for its link to be used, with the new address."""
    return next(iter(find_tickets(CHANGE, member_id)), None)


def cancel_change(member: Member, actor: Actor) -> None:
    """Make the link of a waiting change worthless."""
    with transaction() as session:
        void_tickets(session, member.id, CHANGE)
        record_act(session, member.account_id, "email_cancelled", actor)


def find_confirmation(secret: str) -> FoundTicket | None:
    """What a link would confirm; None if it is not good any more."""
    return read_ticket(CHANGE, secret)


def confirm_email(settings: Settings, secret: str, network: str) -> Member:
    """Use a link: its address becomes the member's. Returns the member. Raises LinkExpired or EmailTaken."""
    try:
        with transaction() as session:
            ticket = use_ticket(session, CHANGE, secret)
            member = session.get(Member, ticket.member_id, populate_existing=True) if ticket else None
            if ticket is None or member is None or ticket.email is None:
                raise LinkExpired
            before = member.email
            _write_email(session, member, ticket.email)
            with written_to(member):
                _tell_old_address(session, settings, secret, before, ticket.email)
            detail = f"{before} → {ticket.email}"
            record_act(session, member.account_id, "email", Actor(ticket.email, network), detail)
    except sa.exc.IntegrityError:
        raise EmailTaken from None
    return db.session.get_one(Member, member.id, populate_existing=True)


def set_email(settings: Settings, member: Member, email: str, actor: Actor) -> str:
    """Change a member's address at once, at the operator's word; the old one gets a note. Returns the address as we
    store it. Raises ValueError with a sentence, or EmailTaken."""
    wanted, before = check_email(email), member.email
    try:
        with transaction() as session:
            _write_email(session, member, wanted)
            with written_to(member):
                _tell_old_address(session, settings, secrets.token_hex(), before, wanted)
            record_act(session, member.account_id, "email", actor, f"{before} → {wanted}")
    except sa.exc.IntegrityError:
        raise EmailTaken from None
    return wanted


def _write_email(session: Session, member: Member, email: str) -> None:
    """Store the address; links to others become worthless. An account that is called after its owner's address is
    called after the new one, and invitations that the member sent are still theirs: they end with their right."""
    owned = select_accounts(Member.id == member.id, owned=True)
    named = sa.update(Account).where(Account.id.in_(owned), Account.name == member.email)
    session.execute(named.values(name=email).execution_options(synchronize_session=False))
    sent = sa.update(Invitation).where(Invitation.invited_by == member.email).values(invited_by=email)
    session.execute(sent.execution_options(synchronize_session=False))
    changed = sa.update(Member).where(Member.id == member.id).values(email=email)
    session.execute(changed.execution_options(synchronize_session=False))
    void_tickets(session, member.id, CHANGE, "reset")


def _tell_old_address(session: Session, settings: Settings, once: str, before: str, email: str) -> None:
    text = translate(
        "You sign in to AI Bridge as %(email)s from now on. If you didn't change it, write to the operator of "
        "%(site)s at once.",
        email=email,
        site=settings.site_url,
    )
    _queue(session, f"changed:{once}", before, translate("Your AI Bridge email was changed"), f"{text}\n")


def _queue(session: Session, once: str, recipient: str, subject: str, text: str) -> None:
    queue_mail(session, once=name_mail(once), recipient=recipient, subject=subject, text=text, is_secret=True)
