"""Applies Stripe's events to our payments. Events come twice, at the same moment and in any order. So each function
here may be called again with the same event, or an older one, and then changes nothing."""

import contextlib
from collections.abc import Callable

import structlog

from bridge.acts import Actor
from bridge.config import Settings
from bridge.languages import to_translate
from bridge.payments import booking, checkout, plan_events, rows
from bridge.payments.auto import keep_card
from bridge.payments.checkout import Event, StripeMissing, read_payment_id
from bridge.payments.invoices import find_by_intent
from bridge.payments.returns import take_back
from bridge.payments.rows import DISPUTE, REFUND
from bridge.payments.stripe_objects import Found, read_amount, read_currency, read_id
from bridge.payments.subscriptions import end_plan
from bridge.payments.tables import Payment, Return

log = structlog.get_logger()
REFUND_UNDONE = ("failed", "canceled")
NO_MONEY_MOVED = ("warning_needs_response", "warning_under_review", "warning_closed", "prevented")


def apply_event(settings: Settings, event: Event) -> str:
    """Apply an event. Returns in a word what was done; "ignored" if it isn't ours, or Stripe says that our key can't
    see the object. If this raises, nothing was done by halves, and the event may come again."""
    handle = HANDLERS.get(event.type)
    if handle is None or not checkout.concerns_us(settings, event):
        return "ignored"
    try:
        return handle(settings, event.object)
    except StripeMissing as error:
        log.warning("webhook_not_ours", event_id=event.id, event_type=event.type, error=str(error.__cause__)[:200])
        return "ignored"


def _paid_session(settings: Settings, session: Found) -> str:
    if session.get("mode") == "subscription":
        return plan_events.begun_session(settings, session)
    payment, intent = rows.find_by_id(read_payment_id(session)), read_id(session, "payment_intent")
    if payment is None or session.get("mode") != "payment" or intent is None:
        return "ignored"
    if session.get("payment_status") != "paid":
        booking.record_pending(payment.id, intent)
        return "pending"
    done = _settle(payment, intent, session, "amount_total")
    if payment.keeps_card and done in ("credited", "known"):
        with contextlib.suppress(StripeMissing):  # without a card to keep, the payment is still credited
            if card := checkout.find_card(settings, intent):
                keep_card(settings, payment, card)
    return done


def _paid_intent(settings: Settings, intent: Found) -> str:
    payment, intent_id = rows.find_by_id(read_payment_id(intent)), read_id(intent, "id")
    if payment is None or intent_id is None or intent.get("status") != "succeeded":
        return "ignored"
    return _settle(payment, intent_id, intent, "amount_received")


def _settle(payment: Payment, intent: str, found: Found, amount: str) -> str:
    minor, currency = read_amount(found, amount), read_currency(found)
    return booking.settle(payment.id, payment_intent=intent, amount_minor=minor, currency=currency)


def _failed_session(settings: Settings, session: Found) -> str:
    return _fail(read_payment_id(session), "failed", to_translate("The bank did not pay."))


def _expired_session(settings: Settings, session: Found) -> str:
    if session.get("mode") == "subscription":
        return plan_events.left_session(settings, session)
    return _fail(read_payment_id(session), "expired", to_translate("The payment page was left unpaid."))


def _failed_intent(settings: Settings, intent: Found) -> str:
    """A failed intent matters only for automatic top-ups: on Stripe's own page the customer may try again."""
    payment = rows.find_by_id(read_payment_id(intent))
    if payment is None or payment.kind != "auto":
        return "ignored"
    error = intent.get("last_payment_error")
    message = error.get("message") if isinstance(error, dict) else None
    return _fail(payment.id, "failed", str(message or to_translate("The card was not charged.")))


def _fail(payment_id: str | None, state: str, problem: str) -> str:
    payment = rows.find_by_id(payment_id)
    if payment is None:
        return "ignored"
    return state if booking.record_failed(payment.id, state, problem) else "known"


def _refunded_charge(settings: Settings, charge: Found) -> str:
    """A charge says how much was refunded, but not by which refunds, so we ask Stripe for them."""
    payment, charge_id = _find_paid(settings, charge), read_id(charge, "id")
    if payment is None or charge_id is None:
        return "ignored"
    rows.release()
    for refund in checkout.list_refunds(settings, charge_id):
        record_refund(payment.id, {**refund, "payment_intent": charge["payment_intent"]})
    return "refunded"


def _refund(settings: Settings, refund: Found) -> str:
    payment = _find_paid(settings, refund)
    if payment is None:
        return "ignored"
    record_refund(payment.id, refund)
    return "refunded"


def record_refund(payment_id: str, refund: Found) -> None:
    """Record a refund as Stripe has it now, of this payment or of another intent that names it."""
    told = _read_return(refund, REFUND)
    if told is not None:
        told.undone = refund.get("status") in REFUND_UNDONE
        take_back(payment_id, told)


def _dispute(settings: Settings, dispute: Found) -> str:
    """An inquiry moves no money. A dispute takes it at once, and gives it back if we win."""
    payment, told = _find_paid(settings, dispute), _read_return(dispute, DISPUTE)
    if payment is None or told is None or dispute.get("status") in NO_MONEY_MOVED:
        return "ignored"
    told.undone = dispute.get("status") == "won"
    take_back(payment.id, told)
    if payment.subscription_id is not None and not told.undone:
        end_plan(payment.subscription_id, Actor(rows.MADE_BY), "its fee was disputed")
    return "disputed"


def _read_return(found: Found, source: str) -> Return | None:
    """The return that a Stripe object describes; None if it makes no sense."""
    external_id, intent = read_id(found, "id"), read_id(found, "payment_intent")
    amount, currency = read_amount(found, "amount"), read_currency(found)
    if external_id is None or intent is None or amount is None or not currency:
        log.error("return_makes_no_sense", id=external_id, intent=intent, amount=amount, currency=currency)
        return None
    return Return(id=external_id, payment_intent=intent, source=source, amount_minor=amount, currency=currency)


def _find_paid(settings: Settings, found: Found) -> Payment | None:
    """The payment that a charge, refund or dispute concerns, also if this event comes before the payment's own."""
    intent = read_id(found, "payment_intent")
    if intent is None:
        return None
    known = rows.find_by_intent(intent) or rows.find_by_id(read_payment_id(found))
    rows.release()
    if known is not None:
        return known
    payment_id, customer = checkout.find_payer(settings, intent)
    return rows.find_by_id(payment_id) or find_by_intent(settings, intent, customer)


HANDLERS: dict[str, Callable[[Settings, Found], str]] = {
    "checkout.session.completed": _paid_session,
    "checkout.session.async_payment_succeeded": _paid_session,
    "checkout.session.async_payment_failed": _failed_session,
    "checkout.session.expired": _expired_session,
    "payment_intent.succeeded": _paid_intent,
    "payment_intent.payment_failed": _failed_intent,
    "payment_intent.canceled": _failed_intent,
    "customer.subscription.created": plan_events.changed_subscription,
    "customer.subscription.updated": plan_events.changed_subscription,
    "customer.subscription.deleted": plan_events.changed_subscription,
    "customer.subscription.paused": plan_events.changed_subscription,
    "customer.subscription.resumed": plan_events.changed_subscription,
    "invoice.paid": plan_events.paid_invoice,
    "invoice.payment_failed": plan_events.unpaid_invoice,
    "charge.refunded": _refunded_charge,
    "refund.created": _refund,
    "refund.updated": _refund,
    "refund.failed": _refund,
    "charge.refund.updated": _refund,
    "charge.dispute.created": _dispute,
    "charge.dispute.updated": _dispute,
    "charge.dispute.funds_withdrawn": _dispute,
    "charge.dispute.funds_reinstated": _dispute,
    "charge.dispute.closed": _dispute,
}
