"""E-mail addresses in the one form that we keep: whoever writes, looks up or counts one asks here."""

import sqlalchemy as sa
from email_validator import EmailNotValidError, validate_email

from bridge.accounts.tables import Member
from bridge.db import db

MAX_EMAIL_LENGTH = 254


def check_email(text: str) -> str:
    """The address in the form we keep: lower case, composed letters, the domain in letters and not in punycode, which
    browsers make of it. Raises ValueError, with a sentence, when it is not one."""
    if len(text) > MAX_EMAIL_LENGTH:
        raise ValueError(f"An e-mail address has at most {MAX_EMAIL_LENGTH} characters.")
    try:
        kept = validate_email(text.strip(), check_deliverability=False, test_environment=True).normalized.lower()
    except EmailNotValidError as error:
        raise ValueError(str(error)) from None
    if "\0" in kept:
        raise ValueError("An e-mail address has no such characters.")
    return kept


def as_kept(text: str) -> str:
    """The same for an address that is looked up or counted: what is none belongs to nobody, whatever it is."""
    try:
        return check_email(text)
    except ValueError:
        return text.strip().lower()[:MAX_EMAIL_LENGTH].replace("\0", "")


def find_by_email(text: str) -> Member | None:
    """The member who signs in with this address, however it is written."""
    return db.session.scalar(sa.select(Member).where(Member.email == as_kept(text)))
