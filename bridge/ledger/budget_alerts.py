"""Mails about keys' budgets: to an account's owners once four fifths of a budget are spent, and once it is used up."""

import datetime

import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session

from bridge.accounts.letters import written_for
from bridge.accounts.standing import list_owners
from bridge.accounts.tables import Account, Key
from bridge.config import Settings
from bridge.db import db, now_utc, transaction
from bridge.languages import translate
from bridge.ledger.alerts import make_off_token
from bridge.ledger.batch import BudgetWindow
from bridge.ledger.budgets import PERIOD_WORDS, list_key_windows, list_starts, next_start
from bridge.ledger.journal import write_is_running, write_limit
from bridge.ledger.tables import Budget
from bridge.mail.outbox import queue_mail
from bridge.money import format_dollars

NEARLY, USED_UP = 80, 100
SALT = "budget alerts off"
KEPT_DAYS = 40  # longer than any period but a total, which never ends
PLAIN = {"synchronize_session": False}
log = structlog.get_logger()


def queue_budget_alerts(settings: Settings) -> int:
    """Queue a mail for every budget of a key that has passed 80 or 100 % in its running period, once for each. A budget
    is used up, too, once it refuses a request after 80 %: hardly any is spent to the last cent. Returns how many this
    call reported; if several workers look at the same moment, one of them reports each."""
    told = 0
    for key, row in _list_due(now_utc()):
        limit = next(window for window in list_key_windows(key, now_utc()) if window.period == row.period).limit_nanos
        percent = USED_UP if row.spent_nanos >= limit or row.refused_at is not None else NEARLY
        with transaction() as session:
            is_ours = _tell(session, settings, key, row, limit, percent)
        if is_ours:
            told += 1
            log.info("budget_told", key_id=key.id, period=row.period, percent=percent)
    return told


def _list_due(now: datetime.datetime) -> list[tuple[Key, Budget]]:
    """The keys and their budgets' rows of which something may have to be told, read without a lock."""
    limit = write_limit(now)
    nearly = (Budget.told_percent < NEARLY) & (limit - Budget.spent_nanos <= limit // 5)
    used_up = (Budget.told_percent < USED_UP) & ((Budget.spent_nanos >= limit) | Budget.refused_at.is_not(None))
    query = (
        sa.select(Key, Budget)
        .join(Key, Key.id == Budget.key_id)
        .join(Account, Account.id == Key.account_id)
        .where(write_is_running(list_starts(now)), limit > 0, nearly | used_up)
        .where(Key.revoked_at.is_(None), Account.budget_mails)
        .order_by(Budget.key_id, Budget.period)
    )
    found = [(key, row) for key, row in db.session.execute(query, execution_options={"populate_existing": True})]
    db.session.commit()
    return found


def _tell(session: Session, settings: Settings, key: Key, row: Budget, limit_nanos: int, percent: int) -> bool:
    """Report it, if a conditional statement gives it to this call; the mails are written in the same transaction."""
    place = (Budget.key_id == row.key_id, Budget.period == row.period, Budget.period_start == row.period_start)
    claim = sa.update(Budget).where(*place, Budget.scope == row.scope, Budget.told_percent < percent)
    claimed = session.execute(claim.values(told_percent=percent).returning(Budget.key_id), execution_options=PLAIN)
    if claimed.one_or_none() is None:
        return False
    window = BudgetWindow(row.period, row.period_start, row.scope, limit_nanos)
    for member_id, email in list_owners(session, key.account_id):
        with written_for(session, email):
            subject, text, off_url = write_alert(settings, key, window, row.spent_nanos, percent)
        once = f"budget:{key.id}:{row.period}:{row.period_start}:{percent}:{member_id}"
        queue_mail(session, once=once, recipient=email, subject=subject, text=text, off_url=off_url)
    return True


def write_alert(
    settings: Settings, key: Key, window: BudgetWindow, spent_nanos: int, percent: int
) -> tuple[str, str, str]:
    """The mail's subject, its text, and the address that turns such mails off."""
    values = {
        "key": key.name,
        "percent": f"{percent}%",
        "spent": f"${format_dollars(spent_nanos, 2)}",
        "limit": f"${format_dollars(window.limit_nanos, 2)}",
        "period": translate(PERIOD_WORDS[window.period]),
    }
    start = next_start(window)
    again = (
        translate("It starts again at 00:00 UTC on %(day)s.", day=start)
        if start
        else translate("It never starts again.")
    )
    if percent == USED_UP:
        subject = translate("Key %(key)s has used up its budget", **values)
        state = translate(
            "The budget of your key %(key)s is used up: %(spent)s of its %(limit)s %(period)s is spent. Its requests "
            "are refused with 402.",
            **values,
        )
    else:
        subject = translate("Key %(key)s has spent %(percent)s of its budget", **values)
        state = translate(
            "Your key %(key)s has spent %(percent)s of a budget: %(spent)s of its %(limit)s %(period)s is spent.",
            **values,
        )
    raised = translate("Raise it, for good or for a while:")
    off = translate(
        "You get one such mail at 80% and one when a budget is used up, in each of its periods. Switch them off, "
        "without signing in:"
    )
    off_url = f"{settings.site_url}/alerts/off/{make_off_token(settings, key.account_id, SALT)}"
    text = f"{state} {again}\n\n{raised}\n{settings.site_url}/dashboard/keys/{key.id}\n\n{off}\n{off_url}\n"
    return subject, text, off_url


def set_budget_mails(account_id: int, wanted: bool) -> None:
    """Whether the account's owners get these mails."""
    with transaction() as session:
        change = sa.update(Account).where(Account.id == account_id).values(budget_mails=wanted)
        session.execute(change, execution_options=PLAIN)


def delete_old_windows() -> None:
    """Delete what was spent of budgets in periods that have long ended."""
    oldest = now_utc().date() - datetime.timedelta(days=KEPT_DAYS)
    ended = sa.delete(Budget).where(Budget.period_start < oldest, Budget.period != "total", Budget.held_nanos == 0)
    with transaction() as session:
        session.execute(ended, execution_options=PLAIN)
