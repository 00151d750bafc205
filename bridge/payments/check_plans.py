"""Compares plans' fees with what they bought, and accounts' quotas with their plans. That each fee has its entries is
checked with the other payments."""

from collections.abc import Iterator
from datetime import timedelta

import sqlalchemy as sa

from bridge.accounts.tables import Account
from bridge.db import db, now_utc
from bridge.money import format_dollars
from bridge.payments.plan_tables import LIVE, Plan, Subscription
from bridge.payments.tables import Decision, Payment

LATE = timedelta(days=1)  # Stripe charges an hour after a period's start


def check_plans() -> Iterator[str]:
    """Every difference, a sentence each, in the caller's snapshot."""
    yield from _check_fees()
    yield from _check_periods()
    yield from _check_quotas()


def _check_fees() -> Iterator[str]:
    """A paid fee buys what its plan says, neither less nor more, unless an operator settled it; and each has its plan
    and its invoice."""
    settled = sa.select(Decision.id).where(Decision.payment_id == Payment.id, Decision.action == "settle")
    bought = Payment.credit_nanos + Payment.bonus_nanos
    differs = (
        Plan.id.is_(None)
        | Payment.invoice.is_(None)
        | (Payment.credit_nanos > Plan.worth_nanos)
        | (bought != Plan.credit_nanos)
        | (Payment.amount_minor != Plan.fee_minor)
    )
    query = (
        sa.select(Payment.account_id, Payment.id, bought, Plan.credit_nanos)
        .outerjoin(Plan, Plan.id == Payment.plan_id)
        .where(Payment.kind == "plan", Payment.state == "paid", differs, ~settled.correlate(Payment).exists())
    )
    for account_id, payment_id, nanos, expected in db.session.execute(query.order_by(Payment.id)):
        yield (
            f"account {account_id}: the fee {payment_id} bought ${format_dollars(nanos, 2)} of credit, its plan "
            f"says {'nothing' if expected is None else '$' + format_dollars(expected, 2)}"
        )


def _check_periods() -> Iterator[str]:
    """A subscription that Stripe calls active has paid for its period: its invoice is booked."""
    paid = sa.select(Payment.id).where(
        Payment.subscription_id == Subscription.id,
        Payment.period_start == Subscription.period_start,
        Payment.state.in_(("paid", "refunded")),
    )
    other = sa.select(Payment.id).where(Payment.subscription_id == Subscription.id, Payment.state == "review")
    query = sa.select(Subscription).where(
        Subscription.state == "active",
        Subscription.period_start < now_utc() - LATE,
        ~paid.correlate(Subscription).exists(),
        ~other.correlate(Subscription).exists(),  # that is a line of its own
    )
    for row in db.session.scalars(query.order_by(Subscription.id)):
        yield (
            f"account {row.account_id}: subscription {row.id} is active, and no invoice of the month from "
            f"{row.period_start:%Y-%m-%d} is booked: look at {row.stripe_subscription} at Stripe"
        )


def _check_quotas() -> Iterator[str]:
    """An account has its plan's quotas, or none; while a fee is due, either."""
    joined = sa.outerjoin(
        Account, Subscription, (Subscription.account_id == Account.id) & Subscription.state.in_(LIVE)
    ).outerjoin(Plan, Plan.id == Subscription.plan_id)
    pairs = (
        (Account.plan_rpm, Plan.rpm),
        (Account.plan_tpm, Plan.tpm),
        (Account.plan_concurrency, Plan.concurrency),
        (Account.plan_group, Plan.group_name),
    )
    wrong = sa.or_(*(has.is_distinct_from(gives) for has, gives in pairs))
    has_none = sa.and_(*(has.is_(None) for has, _ in pairs))
    excused = (Subscription.state == "past_due") & has_none
    query = sa.select(Account.id, Plan.name).select_from(joined).where(wrong, sa.func.coalesce(~excused, sa.true()))
    for account_id, name in db.session.execute(query.order_by(Account.id)):
        yield f"account {account_id}: its quotas are not those of {f'its plan {name}' if name else 'no plan'}"
    gone = Account.deleted_at.is_not(None) | Account.merged_into.is_not(None)
    kept = sa.select(Account.id, Subscription.id).join(Subscription, Subscription.account_id == Account.id)
    for account_id, subscription_id in db.session.execute(kept.where(gone, Subscription.state.in_(LIVE))):
        yield f"account {account_id}: it is gone, and its subscription {subscription_id} goes on"
