"""Requests a payment, and lists an account's payments for its pages."""

import datetime
from collections.abc import Iterable, Iterator

import sqlalchemy as sa

from bridge.config import Settings
from bridge.db import db, now_utc, transaction
from bridge.errors import InvalidRequest, NotFound
from bridge.languages import to_translate
from bridge.ledger.tables import Entry
from bridge.payments import booking, checkout, rows
from bridge.payments.amounts import is_within_bounds, tell_bounds, to_bonus, to_credit
from bridge.payments.auto import find_rule
from bridge.payments.checkout import PaymentRequest, StripeAway, StripeRefused
from bridge.payments.tables import Payment

SHOWN = 12
OPEN_SHOWN_FOR = datetime.timedelta(hours=1)


def open_top_up(
    settings: Settings, account_id: int, *, amount_minor: int, email: str, keeps_card: bool, site_url: str
) -> str:
    """Store a payment and open Stripe's page for it. Returns that page's address. The credit and its bonus are
    fixed here.

    Raises InvalidRequest for an amount out of bounds, and AccountSuspended; StripeAway and StripeRefused, and then the
    payment is recorded as failed."""
    if not is_within_bounds(settings, amount_minor):
        raise InvalidRequest(tell_bounds(settings), param="amount")
    rule, credit_nanos = find_rule(account_id), to_credit(settings, amount_minor)
    payment = Payment(
        id=rows.new_payment_id(),
        account_id=account_id,
        kind="checkout",
        amount_minor=amount_minor,
        currency=settings.top_up_currency,
        credit_nanos=credit_nanos,
        bonus_nanos=to_bonus(settings, amount_minor, credit_nanos),
        customer=rule.customer if rule else None,
        keeps_card=keeps_card,
        made_by=email,
    )
    with transaction() as session:
        rows.require_active(session, account_id)
        session.add(payment)
    request = PaymentRequest(payment.id, payment.amount_minor, payment.currency, payment.customer)
    return_url = f"{site_url}/dashboard/billing/payments/{payment.id}"
    try:
        return checkout.open_checkout(settings, request, email=email, keeps_card=keeps_card, return_url=return_url)
    except (StripeAway, StripeRefused):
        booking.record_failed(payment.id, "failed", to_translate("Stripe's payment page could not be opened."))
        raise


def find_payment(account_id: int, payment_id: str) -> Payment:
    """The account's payment. Raises NotFound."""
    payment = rows.find_by_id(payment_id[:36])
    if payment is None or payment.account_id != account_id:
        raise NotFound("This account has no such payment.")
    return payment


def list_payments(account_id: int, limit: int = SHOWN) -> list[Payment]:
    """The newest payments, without those whose Stripe page was opened and left. Of one that is open nobody knows that
    for an hour."""
    is_fresh = (Payment.state == "open") & (Payment.created_at > now_utc() - OPEN_SHOWN_FOR)
    is_shown = is_fresh | Payment.state.not_in(("open", "expired"))
    query = sa.select(Payment).where(Payment.account_id == account_id, is_shown)
    return list(db.session.scalars(query.order_by(Payment.id.desc()).limit(limit)))


def list_all_payments(account_id: int) -> Iterator[Payment]:
    """All of the account's payments, the newest first, read in pieces, so that no connection is held."""
    query, before_id = sa.select(Payment).where(Payment.account_id == account_id).order_by(Payment.id.desc()), None
    while found := list(db.session.scalars(query.where(Payment.id < before_id if before_id else sa.true()).limit(500))):
        db.session.commit()
        yield from found
        before_id = found[-1].id


def name_payments(entries: Iterable[Entry]) -> dict[str, str]:
    """Payment intent -> our payment's id, for entries that credit a payment or its bonus."""
    intents = [entry.external_id for entry in entries if entry.source in (rows.PAID, rows.BONUS) and entry.external_id]
    if not intents:
        return {}
    query = sa.select(Payment.payment_intent, Payment.id).where(Payment.payment_intent.in_(intents))
    return {str(intent): payment_id for intent, payment_id in db.session.execute(query)}
