"""Mails about the budgets of keys and of members: to an account's owners, and to whose they are, once four fifths of a
budget are spent, and once it is used up."""

import dataclasses
import datetime

import sqlalchemy as sa
import structlog
from sqlalchemy import orm
from sqlalchemy.orm import Session

from bridge.accounts.keys import MemberBudget
from bridge.accounts.letters import written_for
from bridge.accounts.standing import list_owners
from bridge.accounts.tables import Account, Key, Member, Membership
from bridge.config import Settings
from bridge.db import db, now_utc, transaction
from bridge.languages import translate
from bridge.ledger.alerts import make_off_token
from bridge.ledger.batch import OF_MEMBER, BudgetWindow
from bridge.ledger.budgets import (
    PERIOD_WORDS,
    find_member_window,
    list_key_windows,
    list_starts,
    next_start,
    period_start,
)
from bridge.ledger.journal import write_is_running, write_limit
from bridge.ledger.tables import Budget
from bridge.mail.outbox import queue_mail
from bridge.money import format_dollars

NEARLY, USED_UP = 80, 100
SALT = "budget alerts off"
KEPT_DAYS = 40  # longer than any period but a total, which never ends
PLAIN = {"synchronize_session": False}
log = structlog.get_logger()


@dataclasses.dataclass(frozen=True, slots=True)
class Due:
    """A budget's row of which something has to be told, whose it is, and the window with its limit."""

    owner: Key | Member
    account_id: int
    row: Budget
    window: BudgetWindow

    @property
    def percent(self) -> int:
        """What is told: a budget is used up, too, once it refuses a request after 80 %, for hardly any is spent to the
        last cent."""
        is_used_up = self.row.spent_nanos >= self.window.limit_nanos or self.row.refused_at is not None
        return USED_UP if is_used_up else NEARLY


def queue_budget_alerts(settings: Settings) -> int:
    """Queue a mail for every budget of a key or a member that has passed 80 or 100 % in its running period, once for
    each. Returns how many this call reported; if several workers look at the same moment, one of them reports each."""
    told = 0
    for due in _list_due(now_utc()):
        with transaction() as session:
            is_ours = _tell(session, settings, due)
        if is_ours:
            told += 1
            whose = {"key_id" if isinstance(due.owner, Key) else "member_id": due.owner.id}
            log.info("budget_told", **whose, period=due.row.period, percent=due.percent)
    return told


def _list_due(now: datetime.datetime) -> list[Due]:
    """The budgets of which something may have to be told, read without a lock."""
    limit = write_limit(now)
    of_keys = (
        sa.select(Key, Budget)
        .join(Key, Key.id == Budget.key_id)
        .join(Account, Account.id == Key.account_id)
        .where(write_is_running(list_starts(now)), limit > 0, _passes(limit))
        .where(Key.revoked_at.is_(None), Account.budget_mails)
        .order_by(Budget.key_id, Budget.period)
    )
    most = Membership.budget_month_nanos
    scope = sa.literal(OF_MEMBER) + sa.cast(Membership.member_id, sa.String)
    of_members = (
        sa.select(Member, Budget, Membership)
        .join(Membership, (Budget.key_id == -Membership.account_id) & (Budget.scope == scope))
        .join(Member, Member.id == Membership.member_id)
        .join(Account, Account.id == Membership.account_id)
        .where(Budget.period == "month", Budget.period_start == period_start("month", now))
        .where(most > 0, _passes(most), Account.budget_mails)
        .order_by(Membership.account_id, Membership.member_id)
    )
    fresh = {"populate_existing": True}
    found = []
    for key, row in db.session.execute(of_keys, execution_options=fresh):
        window = next(window for window in list_key_windows(key, now) if window.period == row.period)
        found.append(Due(key, key.account_id, row, window))
    for member, row, membership in db.session.execute(of_members, execution_options=fresh):
        budget = MemberBudget(member.id, membership.budget_month_nanos or 0)
        found.append(Due(member, membership.account_id, row, find_member_window(budget, now)))
    db.session.commit()
    return found


def _passes(limit: sa.ColumnElement[int] | orm.InstrumentedAttribute[int | None]) -> sa.ColumnElement[bool]:
    """Whether a row with this limit has passed what it was last told of."""
    nearly = (Budget.told_percent < NEARLY) & (limit - Budget.spent_nanos <= limit // 5)
    return nearly | (Budget.told_percent < USED_UP) & ((Budget.spent_nanos >= limit) | Budget.refused_at.is_not(None))


def _tell(session: Session, settings: Settings, due: Due) -> bool:
    """Report it, if a conditional statement gives it to this call; the mails are written in the same transaction."""
    row, percent = due.row, due.percent
    place = (Budget.key_id == row.key_id, Budget.period == row.period, Budget.period_start == row.period_start)
    claim = sa.update(Budget).where(*place, Budget.scope == row.scope, Budget.told_percent < percent)
    claimed = session.execute(claim.values(told_percent=percent).returning(Budget.key_id), execution_options=PLAIN)
    if claimed.one_or_none() is None:
        return False
    off_url = f"{settings.site_url}/alerts/off/{make_off_token(settings, due.account_id, SALT)}"
    for member_id, email, is_owner in _list_readers(session, due):
        with written_for(session, email):
            subject, text = write_alert(settings, due)
            if is_owner:
                text = f"{text} {translate('Switch them off, without signing in:')}\n{off_url}"
        once = f"budget:{row.key_id}:{row.scope}:{row.period}:{row.period_start}:{percent}:{member_id}"
        to_off = off_url if is_owner else None
        queue_mail(session, once=once, recipient=email, subject=subject, text=f"{text}\n", off_url=to_off)
    return True


def _list_readers(session: Session, due: Due) -> list[tuple[int, str, bool]]:
    """Id and address of whoever is told, and whether they are an owner, who alone may switch the account's mails off:
    the owners, and the member whose budget or key it is."""
    owners = list_owners(session, due.account_id)
    member_id = due.owner.member_id if isinstance(due.owner, Key) else due.owner.id
    found = [(owner_id, email, True) for owner_id, email in owners]
    if member_id is not None and member_id not in dict(owners):
        theirs = sa.select(Member.email).join(Membership, Membership.member_id == Member.id)
        theirs = theirs.where(Membership.account_id == due.account_id, Member.id == member_id)
        found += [(member_id, email, False) for email in session.scalars(theirs)]
    return found


def write_alert(settings: Settings, due: Due) -> tuple[str, str]:
    """The mail's subject and its text, in the language that is spoken."""
    start = next_start(due.window)
    again = (
        translate("It starts again at 00:00 UTC on %(day)s.", day=start)
        if start
        else translate("It never starts again.")
    )
    told = _tell_of_key if isinstance(due.owner, Key) else _tell_of_member
    subject, state, remedy = told(settings, due)
    often = translate("You get one such mail at 80% and one when a budget is used up, in each of its periods.")
    return subject, f"{state} {again}\n\n{remedy}\n\n{often}"


def _values(due: Due) -> dict[str, str]:
    return {
        "name": due.owner.name or getattr(due.owner, "email", ""),
        "percent": f"{due.percent}%",
        "spent": f"${format_dollars(due.row.spent_nanos, 2)}",
        "limit": f"${format_dollars(due.window.limit_nanos, 2)}",
        "period": translate(PERIOD_WORDS[due.window.period]),
    }


def _tell_of_key(settings: Settings, due: Due) -> tuple[str, str, str]:
    values = _values(due)
    remedy = translate("Raise it, for good or for a while:")
    remedy = f"{remedy}\n{settings.site_url}/dashboard/keys/{due.owner.id}"
    if due.percent == USED_UP:
        state = translate(
            "The budget of your key %(name)s is used up: %(spent)s of its %(limit)s %(period)s is spent. Its requests "
            "are refused with 402.",
            **values,
        )
        return translate("Key %(name)s has used up its budget", **values), state, remedy
    state = translate(
        "Your key %(name)s has spent %(percent)s of a budget: %(spent)s of its %(limit)s %(period)s is spent.", **values
    )
    return translate("Key %(name)s has spent %(percent)s of its budget", **values), state, remedy


def _tell_of_member(_settings: Settings, due: Due) -> tuple[str, str, str]:
    values = _values(due)
    remedy = translate("Owners and admins of the account can raise it on its Team page.")
    if due.percent == USED_UP:
        state = translate(
            "The budget of %(name)s is used up: %(spent)s of its %(limit)s %(period)s is spent. Requests with their "
            "keys are refused with 402.",
            **values,
        )
        return translate("%(name)s has used up their budget", **values), state, remedy
    state = translate(
        "%(name)s has spent %(percent)s of a budget: %(spent)s of its %(limit)s %(period)s is spent.", **values
    )
    return translate("%(name)s has spent %(percent)s of their budget", **values), state, remedy


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
