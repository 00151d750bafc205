"""Checks the ledger, once a day by one of the workers. Operators get a mail if it finds differences; a page shows the
days."""

import datetime

import structlog
from flask import current_app
from gevent import get_hub

from bridge.config import Settings
from bridge.daily import LEDGER_CHECK, finish_job, take_job
from bridge.db import db, now_utc, transaction
from bridge.languages import translate, translate_plural
from bridge.mail.outbox import delete_old_mails
from bridge.ops.books import check_books
from bridge.ops.trouble_alerts import mail_operators

MOST_LINES = 50
CHARGES_OF_DAYS = 2  # the previous nights have checked the others
log = structlog.get_logger()


def check_nightly(settings: Settings) -> None:
    """Check the books, if it is time and no worker did today. Needs an app context."""
    now = now_utc()
    if now.hour < settings.nightly_hour or not take_job(LEDGER_CHECK, now.date()):
        return
    lines = _check_aside()
    with transaction():
        finish_job(LEDGER_CHECK, now.date(), lines[:MOST_LINES])
        if lines:
            _tell_operators(settings, now.date(), lines)
    delete_old_mails()
    for line in lines[:MOST_LINES]:
        log.error("ledger_differs", line=line)
    log.info("ledger_checked", day=str(now.date()), differences=len(lines))


def _check_aside() -> list[str]:
    """Check without blocking others: PostgreSQL counts in its own process, SQLite in ours, so it needs a thread."""
    if db.engine.dialect.name != "sqlite":
        return check_books(CHARGES_OF_DAYS)
    app = current_app._get_current_object()  # type: ignore[attr-defined]

    def check() -> list[str]:
        with app.app_context():
            return check_books(CHARGES_OF_DAYS)

    found: list[str] = get_hub().threadpool.apply(check)
    return found


def _tell_operators(settings: Settings, day: datetime.date, lines: list[str]) -> None:
    """Queue a mail to each operator, in the transaction that stores the result."""

    def write() -> tuple[str, str]:
        shown = "\n".join(lines[:MOST_LINES])
        found = translate("The check of %(day)s found what does not add up:", day=day)
        after = translate(
            "Nothing was changed. `flask ledger check` looks again, `flask ledger export` shows every record."
        )
        subject = translate_plural(
            "AI Bridge: the ledger has %(num)s difference", "AI Bridge: the ledger has %(num)s differences", len(lines)
        )
        return subject, f"{found}\n\n{shown}\n\n{after}\n{settings.site_url}/admin/system\n"

    mail_operators(db.session(), f"ledger-check:{day}", write)
