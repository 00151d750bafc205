"""The first operator: while a gateway has none, a link from its own output lets whoever runs it become the operator.

The link is good for a day and once. It is worth nothing as soon as there is an operator, whoever made them one."""

import datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from bridge.accounts.emails import check_email, find_by_email
from bridge.accounts.sessions import end_sessions
from bridge.accounts.sign_in import AddressTaken, SignInRefused, add_account, hash_password, sign_in
from bridge.accounts.tables import Member, Ticket
from bridge.accounts.tickets import is_any_open, issue_ticket, read_ticket, spend, use_ticket
from bridge.acts import Actor, record_act
from bridge.config import Settings
from bridge.db import db, now_utc, transaction
from bridge.ledger.tables import Balance

PURPOSE = "first_operator"
LASTS = datetime.timedelta(hours=24)
PRINTED = "operator_link"
ONE_START = datetime.timedelta(seconds=60)  # within which all machines of a fleet start
TURN = b"first operator's turn".ljust(32, b".")  # the digest of a row that one transaction at a time can write


class LinkIsDead(Exception):
    """The link was used, is older than a day, or there is an operator."""


def has_operator() -> bool:
    """Whether anybody may enter /admin."""
    return db.session.scalar(sa.select(Member.id).where(Member.is_operator).limit(1)) is not None


def issue_link(settings: Settings) -> str | None:
    """A new link for the first operator; None if there is an operator. Earlier links stay good for their day."""
    if has_operator():
        return None
    with transaction() as session:
        secret = issue_ticket(session, PURPOSE, lasts=LASTS)
    return f"{settings.site_url}/first-operator?ticket={secret}"


def issue_link_at_start(settings: Settings) -> str | None:
    """The same for a start: of a fleet's machines that start together, one gets a link."""
    return issue_link(settings) if not has_operator() and spend(PRINTED, "start", ONE_START) else None


def issue_link_again(settings: Settings) -> str | None:
    """The same while the gateway runs: when the last link is over, and there is still no operator."""
    return None if is_any_open(PURPOSE) else issue_link_at_start(settings)


def is_good(secret: str) -> bool:
    """Whether the link opens the page; it stays good."""
    return read_ticket(PURPOSE, secret) is not None and not has_operator()


def become_first_operator(secret: str, email: str, password: str, network: str) -> Member:
    """Use the link: open an account for its operator. An account that exists becomes the operator's, if this is its
    password; its sessions end. Raises LinkIsDead, AddressTaken where the password is not that of the account, or
    ValueError with a sentence about address or password."""
    email = check_email(email)
    if not is_good(secret):
        raise LinkIsDead
    known = _find_known(email, password)
    password_hash = "" if known else hash_password(password)
    actor = Actor(email, network)
    with transaction() as session:
        _take_turn(session)
        if has_operator() or use_ticket(session, PURPOSE, secret) is None:
            raise LinkIsDead
        if known:
            session.execute(
                sa.update(Member).where(Member.id == known.id).values(is_operator=True, operator_role="owner")
            )
            end_sessions(session, Member.id == known.id)
            member = known
        else:
            member = _add_operator(session, email, password_hash, actor)
        record_act(session, member.account_id, "operator_on", actor, "by the first operator's link")
        session.execute(sa.delete(Ticket).where(Ticket.purpose == PURPOSE))
    return member


def _find_known(email: str, password: str) -> Member | None:
    if find_by_email(email) is None:
        return None
    try:
        return sign_in(email, password)
    except SignInRefused:
        raise AddressTaken(email) from None


def _add_operator(session: Session, email: str, password_hash: str, actor: Actor) -> Member:
    try:
        member = add_account(session, email, password_hash, is_operator=True, actor=actor)
        session.execute(sa.insert(Balance).values(account_id=member.account_id))
    except sa.exc.IntegrityError:  # a sign-up with the same address was faster
        raise AddressTaken(email) from None
    return member


def _take_turn(session: Session) -> None:
    """Wait for anybody who uses another link at this moment: two would not see each other's operator."""
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    row = {"digest": TURN, "purpose": PRINTED, "ends_at": now_utc()}
    session.execute(insert(Ticket).values(**row).on_conflict_do_nothing(index_elements=["digest"]))
    session.execute(sa.delete(Ticket).where(Ticket.digest == TURN))
