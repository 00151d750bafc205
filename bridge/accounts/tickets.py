"""Tickets: secrets that are good for one purpose, once, and for a while. We keep their SHA-256 alone."""

import dataclasses
import datetime
import hashlib
import secrets

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from bridge.accounts.tables import Ticket
from bridge.db import clock, db, now_utc, transaction

MAX_SECRET_LENGTH = 100


@dataclasses.dataclass(frozen=True, slots=True)
class FoundTicket:
    """What a valid ticket says: whose it is, and an address, where there is one."""

    member_id: int | None
    email: str | None
    ends_at: datetime.datetime


def issue_ticket(
    session: Session,
    purpose: str,
    *,
    lasts: datetime.timedelta,
    member_id: int | None = None,
    email: str | None = None,
) -> str:
    """A new secret for this purpose, in the caller's transaction."""
    secret = secrets.token_urlsafe(32)
    values = {"member_id": member_id, "email": email, "ends_at": now_utc() + lasts}
    session.add(Ticket(digest=_digest(purpose, secret), purpose=purpose, **values))
    return secret


def read_ticket(purpose: str, secret: str) -> FoundTicket | None:
    """What the ticket says, as long as it is good; it stays good. None otherwise."""
    if not _may_be_secret(secret):
        return None
    session = db.session()
    query = sa.select(Ticket).where(Ticket.digest == _digest(purpose, secret), Ticket.ends_at > clock(session))
    ticket = session.scalars(query).one_or_none()
    return FoundTicket(ticket.member_id, ticket.email, ticket.ends_at) if ticket else None


def use_ticket(session: Session, purpose: str, secret: str) -> FoundTicket | None:
    """What the ticket says, once: of two that use it at the same moment, one gets None."""
    if not _may_be_secret(secret):
        return None
    used = (
        sa.delete(Ticket)
        .where(Ticket.digest == _digest(purpose, secret), Ticket.ends_at > clock(session))
        .returning(Ticket.member_id, Ticket.email, Ticket.ends_at)
    )
    row = session.execute(used.execution_options(synchronize_session=False)).one_or_none()
    return FoundTicket(*row) if row else None


def name_mail(secret: str) -> str:
    """A name for the mail with this secret, by which it goes out once."""
    return f"ticket:{hashlib.sha256(b'mail:' + secret.encode()).hexdigest()[:40]}"


def find_tickets(purpose: str, member_id: int) -> list[FoundTicket]:
    """A member's valid tickets for this purpose, the newest first."""
    session = db.session()
    query = sa.select(Ticket).where(Ticket.member_id == member_id, Ticket.purpose == purpose)
    rows = session.scalars(query.where(Ticket.ends_at > clock(session)).order_by(Ticket.ends_at.desc()))
    return [FoundTicket(row.member_id, row.email, row.ends_at) for row in rows]


def is_any_open(purpose: str) -> bool:
    """Whether any ticket for this purpose is still good."""
    session = db.session()
    query = sa.select(Ticket.digest).where(Ticket.purpose == purpose, Ticket.ends_at > clock(session)).limit(1)
    return session.scalar(query) is not None


def void_tickets(session: Session, member_id: int, *purposes: str) -> None:
    """Make a member's tickets worthless, in the caller's transaction: those for these purposes, or all."""
    void = sa.delete(Ticket).where(Ticket.member_id == member_id)
    if purposes:
        void = void.where(Ticket.purpose.in_(purposes))
    session.execute(void.execution_options(synchronize_session=False))


def spend(purpose: str, text: str, lasts: datetime.timedelta) -> bool:
    """Whether this text is spent for the first time since it was last remembered: for as long as it could be valid
    elsewhere."""
    with transaction() as session:
        insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
        row = insert(Ticket).values(digest=_digest(purpose, text), purpose=purpose, ends_at=now_utc() + lasts)
        again = row.on_conflict_do_update(
            index_elements=["digest"],
            set_={"ends_at": row.excluded.ends_at},
            where=Ticket.ends_at <= clock(session),  # it is over, and not deleted yet
        )
        done = session.execute(again.returning(Ticket.digest))
        return done.first() is not None


def forget_old_tickets() -> None:
    """Delete the tickets that nobody can use any more."""
    with transaction() as session:
        over = sa.delete(Ticket).where(Ticket.ends_at <= clock(session))
        session.execute(over.execution_options(synchronize_session=False))


def _may_be_secret(secret: str) -> bool:
    return secret.isascii() and 0 < len(secret) <= MAX_SECRET_LENGTH


def _digest(purpose: str, secret: str) -> bytes:
    return hashlib.sha256(f"{purpose}:{secret}".encode()).digest()
