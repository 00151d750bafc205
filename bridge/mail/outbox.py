"""The outbox: a mail is written in the transaction that decides on it, and sent by the worker that claims it first."""

import dataclasses
import datetime
from typing import cast

import sqlalchemy as sa
import structlog
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from bridge import vault
from bridge.config import Settings
from bridge.db import db, now_utc, transaction
from bridge.mail.smtp import MailDelayed, MailRefused, MailServer, find_server, send, write_message
from bridge.mail.tables import Mail

# after the first attempt, the second …; each longer than an attempt can take, since a worker may die during one
RETRY_AFTER_SECONDS = (300, 900, 3600, 4 * 3600, 12 * 3600)
MOST_AT_ONCE = 20
KEPT_DAYS = 30
log = structlog.get_logger()


@dataclasses.dataclass(frozen=True, slots=True)
class MailFigures:
    """How many mails of the last thirty days were sent, wait, or failed."""

    waiting: int
    sent: int
    failed: int
    last_problem: str | None


def queue_mail(
    session: Session,
    *,
    once: str,
    recipient: str,
    subject: str,
    text: str,
    off_url: str | None = None,
    is_secret: bool = False,
) -> None:
    """Write a mail in the caller's transaction. It goes out if and only if that is committed, and once per `once`. A
    secret text is sealed, and forgotten once the mail has gone."""
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    statement = insert(cast("sa.Table", Mail.__table__)).values(
        once=once,
        recipient=recipient,
        subject=subject,
        text="" if is_secret else text,
        sealed=vault.seal(text) if is_secret else None,
        off_url=off_url,
    )
    session.execute(statement.on_conflict_do_nothing(index_elements=["once"]))


def send_due(settings: Settings) -> int:
    """Send the mails that are due. Returns how many the server accepted. Waits for the network, so only the background
    calls it.

    If a worker dies after handing a mail over and before recording that, the mail is sent again with the same
    Message-ID."""
    server = find_server(settings)
    sent = 0
    for mail_id in _list_due():
        mail = _claim(mail_id)
        if mail is None:
            continue
        if server is None:
            _do_without(settings, mail)
            continue
        sent += _send(server, mail)
    return sent


def _list_due() -> list[int]:
    query = sa.select(Mail.id).where(Mail.state == "waiting", Mail.due_at <= now_utc())
    found = list(db.session.scalars(query.order_by(Mail.due_at).limit(MOST_AT_ONCE)))
    db.session.commit()
    return found


def _claim(mail_id: int) -> Mail | None:
    """The mail, if no other worker has this attempt: one conditional statement moves the next attempt into the
    future."""
    now = now_utc()
    with transaction() as session:
        row = session.execute(sa.select(Mail.attempts).where(Mail.id == mail_id)).one_or_none()
        attempts = row[0] if row else 0
        seconds = RETRY_AFTER_SECONDS[min(attempts, len(RETRY_AFTER_SECONDS) - 1)]
        taken = session.execute(
            sa.update(Mail)
            .where(Mail.id == mail_id, Mail.state == "waiting", Mail.due_at <= now, Mail.attempts == attempts)
            .values(attempts=attempts + 1, due_at=now + datetime.timedelta(seconds=seconds))
            .returning(Mail.id)
            .execution_options(synchronize_session=False)
        )
        if taken.first() is None:
            return None
        return session.get_one(Mail, mail_id, populate_existing=True)


def _send(server: MailServer, mail: Mail) -> bool:
    """Make one attempt. No database connection is held while it waits for the server."""
    try:
        message = write_message(server, mail.recipient, mail.subject, _text_of(mail), mail.id)
        if mail.off_url:
            message["List-Unsubscribe"] = f"<{mail.off_url}>"
            message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
        send(server, message)
    except MailDelayed as error:
        last = mail.attempts > len(RETRY_AFTER_SECONDS)
        _record_attempt(mail, "failed" if last else "waiting", str(error))
        return False
    except MailRefused as error:
        _record_attempt(mail, "failed", str(error))
        return False
    _record_attempt(mail, "sent", None)
    return True


def _text_of(mail: Mail) -> str:
    return vault.unseal(mail.sealed) if mail.sealed else mail.text


def forget_recipient(session: Session, email: str) -> None:
    """Delete every mail to this address, sent or not, in the caller's transaction."""
    session.execute(sa.delete(Mail).where(Mail.recipient == email).execution_options(synchronize_session=False))


def _do_without(settings: Settings, mail: Mail) -> None:
    """Handle a mail without a mail server: development logs it, production drops it, as the start said."""
    if settings.development:
        log.info("mail", recipient=mail.recipient, subject=mail.subject, text=_text_of(mail))
    _record_attempt(mail, "logged" if settings.development else "skipped", None)


def _record_attempt(mail: Mail, state: str, problem: str | None) -> None:
    with transaction() as session:
        values: dict[str, object] = {"state": state, "problem": problem}
        if state != "waiting":
            values |= {"ended_at": now_utc(), "sealed": None}
        session.execute(
            sa.update(Mail).where(Mail.id == mail.id).values(**values).execution_options(synchronize_session=False)
        )
    level = log.warning if problem else log.info
    level("mail_" + ("delayed" if state == "waiting" else state), mail_id=mail.id, once=mail.once, problem=problem)


def delete_old_mails() -> None:
    """Delete old mails: addresses and texts are kept only as long as somebody may ask about them."""
    with transaction() as session:
        old = now_utc() - datetime.timedelta(days=KEPT_DAYS)
        session.execute(sa.delete(Mail).where(Mail.ended_at < old))


def select_failed_count(since: datetime.datetime) -> sa.Select[int]:
    """A query for how many mails were given up since then."""
    return sa.select(sa.func.count()).select_from(Mail).where(Mail.state == "failed", Mail.ended_at >= since)


def select_overdue_count(before: datetime.datetime) -> sa.Select[int]:
    """A query for how many mails wait although their attempt was due before then: the job doesn't run."""
    return sa.select(sa.func.count()).select_from(Mail).where(Mail.state == "waiting", Mail.due_at < before)


def count_mails() -> MailFigures:
    """The figures that operators see."""
    counts = dict(db.session.execute(sa.select(Mail.state, sa.func.count()).group_by(Mail.state)).all())
    problem = sa.select(Mail.problem).where(Mail.problem.is_not(None)).order_by(Mail.id.desc()).limit(1)
    return MailFigures(
        counts.get("waiting", 0), counts.get("sent", 0), counts.get("failed", 0), db.session.scalar(problem)
    )
