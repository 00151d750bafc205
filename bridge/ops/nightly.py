"""The ledger's check, once a day by one of the workers. Operators get a mail when it differs; a page shows the days."""

import datetime

import sqlalchemy as sa
import structlog
from flask import current_app
from gevent import get_hub

from bridge.accounts.tables import Member
from bridge.config import Settings
from bridge.daily import finish_job, take_job
from bridge.db import db, now_utc, transaction
from bridge.mail.outbox import delete_old_mails, queue_mail
from bridge.ops.books import check_books

JOB = "ledger check"
MOST_LINES = 50
CHARGES_OF_DAYS = 2  # the night before saw the others
log = structlog.get_logger()


def check_nightly(settings: Settings) -> None:
    """Check the books, if it is time and nobody did today. Needs an app context."""
    now = now_utc()
    if now.hour < settings.nightly_hour or not take_job(JOB, now.date()):
        return
    lines = _check_aside()
    with transaction():
        finish_job(JOB, now.date(), lines[:MOST_LINES])
        if lines:
            _tell_operators(settings, now.date(), lines)
    delete_old_mails()
    for line in lines[:MOST_LINES]:
        log.error("ledger_differs", line=line)
    log.info("ledger_checked", day=str(now.date()), differences=len(lines))


def _check_aside() -> list[str]:
    """On PostgreSQL others run while the database counts; SQLite counts in this process, so in a thread."""
    if db.engine.dialect.name != "sqlite":
        return check_books(CHARGES_OF_DAYS)
    app = current_app._get_current_object()  # type: ignore[attr-defined]

    def check() -> list[str]:
        with app.app_context():
            return check_books(CHARGES_OF_DAYS)

    found: list[str] = get_hub().threadpool.apply(check)
    return found


def _tell_operators(settings: Settings, day: datetime.date, lines: list[str]) -> None:
    """A mail to each operator, in the transaction that notes the result."""
    counted = f"{len(lines)} difference{'s' if len(lines) != 1 else ''}"
    text = (
        f"The check of {day} found what does not add up:\n\n" + "\n".join(lines[:MOST_LINES]) + "\n\n"
        "Nothing was changed. `flask ledger check` looks again, `flask ledger export` shows every record.\n"
        f"{settings.site_url}/admin/system\n"
    )
    operators = db.session.execute(sa.select(Member.id, Member.email).where(Member.is_operator).order_by(Member.id))
    for member_id, email in operators.all():
        queue_mail(
            db.session(),
            once=f"ledger-check:{day}:{member_id}",
            recipient=email,
            subject=f"AI Bridge: the ledger has {counted}",
            text=text,
        )
