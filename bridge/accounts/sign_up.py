"""Signing up by mail: the page says the same, after the same work, whether the address has an account. Its owner alone
learns that, by the mail: it has a link that opens an account, or says that there is one."""

import datetime
from urllib.parse import quote

from bridge.accounts.emails import check_email, find_by_email
from bridge.accounts.tickets import FoundTicket, issue_ticket, name_mail, read_ticket, use_ticket
from bridge.config import Settings
from bridge.db import transaction
from bridge.mail.outbox import queue_mail

PURPOSE = "sign_up"
LASTS = datetime.timedelta(hours=24)


def request_sign_up(settings: Settings, email: str, referred_by: str = "") -> None:
    """Mail the address a link that opens its account, and says by whose code the newcomer came. If it has an account
    already, the mail says so instead. Raises ValueError with a sentence."""
    wanted = check_email(email)
    is_taken = find_by_email(wanted) is not None
    with transaction() as session:
        # of a taken address nobody gets to know the secret: it is made so that both take as long
        secret = issue_ticket(session, PURPOSE, lasts=LASTS, email=wanted)
        if is_taken:
            subject = "You already have an AI Bridge account"
            text = (
                "Somebody, probably you, wants to create an AI Bridge account with this address. It already has one, "
                f"so nothing changes.\n\nSign in:\n{settings.site_url}/sign-in\n\n"
                f"Set a new password if you have forgotten yours:\n{settings.site_url}/forgot\n"
            )
        else:
            by = f"&ref={quote(referred_by)}" if referred_by else ""
            subject = "Create your AI Bridge account"
            text = (
                "Choose a password to create your AI Bridge account, within 24 hours:\n"
                f"{settings.site_url}/sign-up/finish?ticket={secret}{by}\n\n"
                "If this wasn't you, do nothing: without this link there is no account.\n"
            )
        queue_mail(session, once=name_mail(secret), recipient=wanted, subject=subject, text=text, is_secret=True)


def find_sign_up(secret: str) -> FoundTicket | None:
    """What the link opens an account for; None if it is not good any more. It stays good."""
    return read_ticket(PURPOSE, secret)


def end_sign_up(secret: str) -> None:
    """Make the link worthless, once its account is there."""
    with transaction() as session:
        use_ticket(session, PURPOSE, secret)
