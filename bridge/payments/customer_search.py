"""Finds the account behind a reference that a customer or Stripe names: a payment, a request or its answer."""

import sqlalchemy as sa

from bridge.db import db
from bridge.errors import NotFound
from bridge.ledger.tables import Balance, Entry, Hold, UsageRecord
from bridge.ledger.usage import normalise_id
from bridge.payments.tables import Payment

LOW_NANOS = 2 * 10**9  # below two dollars a balance is nearly empty
MIN_LENGTH = 8  # of a reference


def select_by_reference(text: str) -> sa.Select[int] | None:
    """A query for the account whose payment (our id or Stripe's) or request (its id or its answer's) this is; None for
    what can't be a reference."""
    text = text.strip()
    if len(text) < MIN_LENGTH or "@" in text or " " in text:
        return None
    paid = sa.select(Payment.account_id).where((Payment.id == text) | (Payment.payment_intent == text))
    try:
        request_id = normalise_id(text)
    except NotFound:
        return paid
    asked = sa.select(UsageRecord.account_id).where(UsageRecord.request_id == request_id)
    running = sa.select(Hold.account_id).where(Hold.request_id == request_id)
    found = sa.union_all(paid, asked, running).subquery()
    return sa.select(found.c.account_id)


def select_nearly_empty() -> sa.Select[int]:
    """A query for the accounts that have less than two dollars available, and had some once."""
    return sa.select(Balance.account_id).where(_is_nearly_empty())


def _is_nearly_empty() -> sa.ColumnElement[bool]:
    had_some = sa.exists().where(Entry.account_id == Balance.account_id).correlate(Balance)
    return (Balance.balance_nanos - Balance.held_nanos < LOW_NANOS) & had_some


def sum_balances() -> tuple[int, int]:
    """What is owed to customers, and how many of them have nearly nothing left."""
    owed = sa.func.sum(sa.case((Balance.balance_nanos > 0, Balance.balance_nanos), else_=0))
    low = sa.func.count(sa.case((_is_nearly_empty(), 1)))
    total, count = db.session.execute(sa.select(owed, low)).one()
    return int(total or 0), count
