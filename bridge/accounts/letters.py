"""Mails are written in their readers' languages: a job has no request whose reader it could ask."""

from contextlib import AbstractContextManager

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bridge.accounts.tables import Member
from bridge.languages import ENGLISH, LANGUAGES, find_language, speaking


def written_to(member: Member | None) -> AbstractContextManager[None]:
    """In between, speak the language that the member has chosen; English for whoever has chosen none."""
    language = member.language if member is not None else ""
    return speaking(language if language in LANGUAGES else ENGLISH)


def written_for(session: Session, email: str) -> AbstractContextManager[None]:
    """As `written_to`, for the member with this address."""
    return written_to(session.scalar(sa.select(Member).where(Member.email == email)))


def written_to_invited(session: Session, email: str) -> AbstractContextManager[None]:
    """As `written_for`; a stranger reads the language of the page by which they are invited."""
    member = session.scalar(sa.select(Member).where(Member.email == email))
    return speaking(find_language()) if member is None else written_to(member)
