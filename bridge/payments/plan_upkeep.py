"""What workers do beside the events: end at Stripe the subscriptions that ended here, and ask how those stand of which
nothing was heard that should have been."""

import datetime

import sqlalchemy as sa
import structlog

from bridge.config import Settings
from bridge.db import db, now_utc, transaction
from bridge.payments import subscribing
from bridge.payments.checkout import StripeAway, StripeRefused
from bridge.payments.invoices import book_invoice
from bridge.payments.plan_tables import LIVE, Subscription
from bridge.payments.rows import release
from bridge.payments.subscriptions import hear

# Stripe writes an invoice an hour after a period's end, and charges it then
LATE = datetime.timedelta(hours=2)
AGAIN = datetime.timedelta(hours=1)  # until the same subscription is asked about again
AGAIN_TO_END = datetime.timedelta(minutes=1)
PLAIN = {"synchronize_session": False}
log = structlog.get_logger()


def keep_subscriptions(settings: Settings) -> int:
    """Do what there is to do. Returns of how many subscriptions Stripe was asked. If several workers look at once, each
    is asked about once."""
    if not settings.top_ups_open:
        return 0
    done = 0
    for subscription_id, stripe_id, must_end in _take_due():
        try:
            if must_end:
                subscribing.end_now(settings, stripe_id)
                hear(settings, subscription_id, stripe_id)
            else:
                _ask(settings, subscription_id, stripe_id)
        except (StripeAway, StripeRefused) as error:
            log.warning("subscription_waits", id=subscription_id, must_end=must_end, error=str(error))
        done += 1
    return done


def _ask(settings: Settings, subscription_id: str, stripe_id: str) -> None:
    """Hear how it stands, and book its last invoice, whose event may have been lost."""
    standing = hear(settings, subscription_id, stripe_id)
    if standing.latest_invoice is not None:
        book_invoice(settings, standing.latest_invoice)


def _take_due() -> list[tuple[str, str, bool]]:
    """The subscriptions to ask about, each claimed by one conditional statement."""
    now = now_utc()
    to_end = Subscription.must_end & Subscription.ends_at.is_(None) & (Subscription.asked_at < now - AGAIN_TO_END)
    unheard = (Subscription.period_end < now - LATE) | (Subscription.state == "past_due")
    unpaid = Subscription.paid_from.is_(None) | (Subscription.paid_from < Subscription.period_start)
    unheard |= unpaid & (Subscription.period_start < now - LATE)
    late = Subscription.state.in_(LIVE) & unheard & (Subscription.asked_at < now - AGAIN)
    due = Subscription.stripe_subscription.is_not(None) & (to_end | late)
    if db.session.scalar(sa.select(Subscription.id).where(due).limit(1)) is None:
        release()
        return []
    columns = (Subscription.id, Subscription.stripe_subscription, Subscription.must_end)
    with transaction() as session:
        taken = sa.update(Subscription).where(due).values(asked_at=now).returning(*columns)
        return [(row[0], row[1] or "", row[2]) for row in session.execute(taken, execution_options=PLAIN)]
