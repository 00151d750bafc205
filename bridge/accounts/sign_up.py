"""Signing up by mail: the page says the same, after the same work, whether the address has an account. Its owner alone
learns that, by the mail: it has a link that opens an account, or says that there is one."""

import datetime
from urllib.parse import quote

from bridge.accounts.emails import check_email, find_by_email
from bridge.accounts.tickets import FoundTicket, issue_ticket, name_mail, read_ticket, use_ticket
from bridge.config import Settings
from bridge.db import transaction
from bridge.languages import translate
from bridge.mail.outbox import queue_mail

PURPOSE = "sign_up"
LASTS = datetime.timedelta(hours=24)


def request_sign_up(settings: Settings, email: str, referred_by: str = "") -> None:
    """Mail the address a link that opens its account, and says by whose code the newcomer came. If it has an account
    already, the mail says so instead. Both are in the language of the page, so that they take equally long. Raises
    ValueError with a sentence."""
    wanted = check_email(email)
    is_taken = find_by_email(wanted) is not None
    with transaction() as session:
        # of a taken address nobody gets to know the secret: it is made so that both take as long
        secret = issue_ticket(session, PURPOSE, lasts=LASTS, email=wanted)
        if is_taken:
            subject, text = _write_taken(settings)
        else:
            by = f"&ref={quote(referred_by)}" if referred_by else ""
            subject, text = _write_link(f"{settings.site_url}/sign-up/finish?ticket={secret}{by}")
        queue_mail(session, once=name_mail(secret), recipient=wanted, subject=subject, text=text, is_secret=True)


def _write_taken(settings: Settings) -> tuple[str, str]:
    text = translate(
        "Somebody, probably you, wants to create an AI Bridge account with this address. It already has one, so "
        "nothing changes."
    )
    enter = translate("Sign in:") + f"\n{settings.site_url}/sign-in"
    forgot = translate("Set a new password if you have forgotten yours:") + f"\n{settings.site_url}/forgot"
    return translate("You already have an AI Bridge account"), f"{text}\n\n{enter}\n\n{forgot}\n"


def _write_link(link: str) -> tuple[str, str]:
    text = translate("Choose a password to create your AI Bridge account, within 24 hours:")
    otherwise = translate("If this wasn't you, do nothing: without this link there is no account.")
    return translate("Create your AI Bridge account"), f"{text}\n{link}\n\n{otherwise}\n"


def find_sign_up(secret: str) -> FoundTicket | None:
    """What the link opens an account for; None if it is not good any more. It stays good."""
    return read_ticket(PURPOSE, secret)


def end_sign_up(secret: str) -> None:
    """Make the link worthless, once its account is there."""
    with transaction() as session:
        use_ticket(session, PURPOSE, secret)
