"""E-mail addresses in the one form that we store. Whoever stores, looks up or counts an address uses this form."""

import sqlalchemy as sa
from email_validator import EmailNotValidError, validate_email

from bridge.accounts.tables import Member
from bridge.db import db
from bridge.errors import NotFound
from bridge.languages import to_translate, translate

MAX_EMAIL_LENGTH = 254
# what email_validator says most
SAID_OF_ADDRESSES = (
    to_translate("An email address must have an @-sign."),
    to_translate("There must be something before the @-sign."),
    to_translate("There must be something after the @-sign."),
    to_translate("The part after the @-sign is not valid. It should have a period."),
)


def check_email(text: str) -> str:
    """The address in the form we store: lower case, composed letters, and the domain in letters, though browsers send
    it in punycode. Raises ValueError, with a sentence, if it is not an address."""
    if len(text) > MAX_EMAIL_LENGTH:
        raise ValueError(translate("An email address has at most %(num)s characters.", num=MAX_EMAIL_LENGTH))
    try:
        kept = validate_email(text.strip(), check_deliverability=False, test_environment=True).normalized.lower()
    except EmailNotValidError as error:
        raise ValueError(translate(str(error))) from None
    if "\0" in kept:
        raise ValueError(translate("An email address has no such characters."))
    return kept


def normalise_email(text: str) -> str:
    """The stored form of an address that is looked up or counted. Text that is not an address comes back too, in lower
    case: it belongs to no member."""
    try:
        return check_email(text)
    except ValueError:
        return text.strip().lower()[:MAX_EMAIL_LENGTH].replace("\0", "")


def find_by_email(text: str) -> Member | None:
    """The member who signs in with this address, however it is written."""
    return db.session.scalar(sa.select(Member).where(Member.email == normalise_email(text)))


def find_member(email: str) -> Member:
    """By e-mail, however it is written. Raises NotFound."""
    member = find_by_email(email)
    if member is None:
        raise NotFound(f"Nobody signs in as {email}.")
    return member
