"""What came in by payments, in figures for the operator's home page. Most are a query for one number, so that a page
reads all of them by one statement."""

import datetime
from collections.abc import Iterable

import sqlalchemy as sa

from bridge.db import db
from bridge.payments.plan_tables import Plan
from bridge.payments.review_listing import returned_uncredited
from bridge.payments.rows import needs_review
from bridge.payments.tables import AutoTopUp, Payment

PAID_LATE = datetime.timedelta(days=7)  # a bank may take so long


def select_paid_nanos(since: datetime.datetime) -> sa.Select[int]:
    """What came by all payments that were paid since then: top-ups as the credit that they bought, plans' fees as what
    they were worth, for a part of those may be earned at once."""
    worth = sa.case((Payment.kind == "plan", Plan.worth_nanos), else_=Payment.credit_nanos)
    query = sa.select(sa.func.coalesce(sa.func.sum(worth), 0)).select_from(Payment)
    return query.outerjoin(Plan, Plan.id == Payment.plan_id).where(*_paid(since))


def select_paid_count(since: datetime.datetime) -> sa.Select[int]:
    """How many payments were paid since then."""
    return sa.select(sa.func.count()).where(*_paid(since))


def select_declined_count(since: datetime.datetime) -> sa.Select[int]:
    """How many payments that were begun since then were declined."""
    return sa.select(sa.func.count()).where(Payment.id >= _first_id(since), Payment.state == "failed")


def select_review_count() -> sa.Select[int]:
    """How many payments an operator must review."""
    return sa.select(sa.func.count()).select_from(Payment).where(needs_review() | returned_uncredited())


def _paid(since: datetime.datetime) -> tuple[sa.ColumnElement[bool], ...]:
    return Payment.id >= _first_id(since - PAID_LATE), Payment.state == "paid", Payment.paid_at >= since


def _first_id(since: datetime.datetime) -> str:
    """No payment that was begun since then has a smaller id: a UUIDv7 begins with the milliseconds of its time."""
    return f"pay_{int(since.timestamp() * 1000):012x}"


def list_rules(account_ids: Iterable[int]) -> dict[int, AutoTopUp]:
    """Account id -> its rule for automatic top-ups, on or off, of those accounts that have one."""
    rows = db.session.scalars(sa.select(AutoTopUp).where(AutoTopUp.account_id.in_(list(account_ids))))
    return {rule.account_id: rule for rule in rows}
