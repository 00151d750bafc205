"""What Stripe's events do to our payments. They come twice, at the same moment and in any order: each of these
functions may be called again with the same event, or with an older one, and changes nothing then."""

from collections.abc import Callable
from typing import Any

import structlog

from bridge.config import Settings
from bridge.payments import booking, checkout
from bridge.payments.auto import keep_card
from bridge.payments.checkout import Event, read_payment_id
from bridge.payments.tables import Payment

Found = dict[str, Any]
log = structlog.get_logger()
REFUND_UNDONE = ("failed", "canceled")
NO_MONEY_MOVED = ("warning_needs_response", "warning_under_review", "warning_closed", "prevented")


def apply_event(settings: Settings, event: Event) -> str:
    """Do what the event says, and say in a word what that was; "ignored" is for all that is not ours. Whatever is
    raised, nothing was done by halves, and the event may come again."""
    handle = HANDLERS.get(event.type)
    if handle is None or not checkout.is_ours_to_hear(settings, event):
        return "ignored"
    return handle(settings, event.object)


def _paid_session(settings: Settings, session: Found) -> str:
    payment = booking.find_by_id(read_payment_id(session))
    intent = session.get("payment_intent")
    if payment is None or session.get("mode") != "payment" or not isinstance(intent, str):
        return "ignored"
    if session.get("payment_status") != "paid":
        booking.note_pending(payment.id, intent)
        return "pending"
    done = _settle(payment, intent, session.get("amount_total"), session.get("currency"))
    if payment.keeps_card and done != "review" and (card := checkout.find_card(settings, intent)):
        keep_card(settings, payment, card)
    return done


def _paid_intent(settings: Settings, intent: Found) -> str:
    payment = booking.find_by_id(read_payment_id(intent))
    if payment is None or intent.get("status") != "succeeded":
        return "ignored"
    return _settle(payment, str(intent["id"]), intent.get("amount_received"), intent.get("currency"))


def _settle(payment: Payment, intent: str, amount: object, currency: object) -> str:
    paid = amount if isinstance(amount, int) else -1
    return booking.settle(payment.id, payment_intent=intent, amount_minor=paid, currency=str(currency).lower())


def _failed_session(settings: Settings, session: Found) -> str:
    return _fail(read_payment_id(session), "failed", "The bank did not pay.")


def _expired_session(settings: Settings, session: Found) -> str:
    return _fail(read_payment_id(session), "expired", "The payment page was left unpaid.")


def _failed_intent(settings: Settings, intent: Found) -> str:
    """On Stripe's own page the customer may try again, so there it means nothing."""
    payment = booking.find_by_id(read_payment_id(intent))
    if payment is None or payment.kind != "auto":
        return "ignored"
    error = intent.get("last_payment_error")
    message = error.get("message") if isinstance(error, dict) else None
    return _fail(payment.id, "failed", str(message or "The card was not charged."))


def _fail(payment_id: str | None, state: str, problem: str) -> str:
    payment = booking.find_by_id(payment_id)
    if payment is None:
        return "ignored"
    return state if booking.note_failed(payment.id, state, problem) else "known"


def _refunded_charge(settings: Settings, charge: Found) -> str:
    """The charge says how much, not which refunds: that is asked of Stripe, as it is now."""
    payment = _find_paid(settings, charge)
    if payment is None:
        return "ignored"
    for refund in checkout.list_refunds(settings, str(charge["id"])):
        _book_refund(payment, refund)
    return "refunded"


def _refund(settings: Settings, refund: Found) -> str:
    payment = _find_paid(settings, refund)
    if payment is None:
        return "ignored"
    _book_refund(payment, refund)
    return "refunded"


def _book_refund(payment: Payment, refund: Found) -> None:
    if not _is_amount(payment, refund):
        return
    booking.take_back(
        payment.id,
        source=booking.REFUND,
        external_id=str(refund["id"]),
        amount_minor=refund["amount"],
        reversed_=refund.get("status") in REFUND_UNDONE,
    )


def _dispute(settings: Settings, dispute: Found) -> str:
    """An inquiry moves no money. A dispute takes it at once, and gives it back if we win."""
    payment = _find_paid(settings, dispute)
    if payment is None or dispute.get("status") in NO_MONEY_MOVED or not _is_amount(payment, dispute):
        return "ignored"
    booking.take_back(
        payment.id,
        source=booking.DISPUTE,
        external_id=str(dispute["id"]),
        amount_minor=dispute["amount"],
        reversed_=dispute.get("status") == "won",
    )
    return "disputed"


def _is_amount(payment: Payment, found: Found) -> bool:
    amount, currency = found.get("amount"), str(found.get("currency")).lower()
    if isinstance(amount, int) and amount > 0 and currency == payment.currency:
        return True
    log.error("return_differs", payment_id=payment.id, id=found.get("id"), amount=amount, currency=currency)
    return False


def _find_paid(settings: Settings, found: Found) -> Payment | None:
    """The payment that a charge, refund or dispute is about, also when it comes before the payment's own event."""
    intent = found.get("payment_intent")
    intent = intent.get("id") if isinstance(intent, dict) else intent
    if not isinstance(intent, str):
        return None
    known = booking.find_by_intent(intent) or booking.find_by_id(read_payment_id(found))
    booking.release()
    return known or booking.find_by_id(checkout.find_payment_id(settings, intent))


HANDLERS: dict[str, Callable[[Settings, Found], str]] = {
    "checkout.session.completed": _paid_session,
    "checkout.session.async_payment_succeeded": _paid_session,
    "checkout.session.async_payment_failed": _failed_session,
    "checkout.session.expired": _expired_session,
    "payment_intent.succeeded": _paid_intent,
    "payment_intent.payment_failed": _failed_intent,
    "payment_intent.canceled": _failed_intent,
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
