"""What Stripe's events about subscriptions and their invoices do. Each has us ask Stripe, so their order and age
don't matter."""

import sqlalchemy as sa

from bridge.config import Settings
from bridge.db import transaction
from bridge.payments import subscribing
from bridge.payments.invoices import book_invoice, tell_unpaid
from bridge.payments.plan_tables import Subscription
from bridge.payments.stripe_objects import Found, read_id
from bridge.payments.subscriptions import find_id, hear, may_be_ours


def begun_session(settings: Settings, session: Found) -> str:
    """The page was completed: the subscription has begun, and its first invoice is paid or under way."""
    return _hear(settings, read_id(session, "subscription"), subscribing.read_subscription_id(session))


def left_session(settings: Settings, session: Found) -> str:
    """The page has closed unpaid."""
    subscription_id = subscribing.read_subscription_id(session)
    with transaction() as writing:
        left = sa.update(Subscription).where(Subscription.id == subscription_id, Subscription.state == "open")
        left = left.where(Subscription.stripe_subscription.is_(None)).values(state="left").returning(Subscription.id)
        done = writing.execute(left, execution_options={"synchronize_session": False}).first()
    return "ignored" if done is None else "left"


def changed_subscription(settings: Settings, subscription: Found) -> str:
    """It began, changed or ended."""
    return _hear(settings, read_id(subscription, "id"), subscribing.read_subscription_id(subscription))


def paid_invoice(settings: Settings, invoice: Found) -> str:
    """A fee was paid."""
    invoice_id = read_id(invoice, "id")
    return book_invoice(settings, invoice_id) if invoice_id and may_be_ours(read_id(invoice, "customer")) else "ignored"


def unpaid_invoice(settings: Settings, invoice: Found) -> str:
    """A fee could not be charged."""
    invoice_id = read_id(invoice, "id")
    return tell_unpaid(settings, invoice_id) if invoice_id and may_be_ours(read_id(invoice, "customer")) else "ignored"


def _hear(settings: Settings, stripe_subscription: str | None, named: str | None) -> str:
    subscription_id = find_id(stripe_subscription, named) if stripe_subscription else None
    if stripe_subscription is None or subscription_id is None:
        return "ignored"
    return hear(settings, subscription_id, stripe_subscription).status
