"""What an operator does with a payment that Stripe's events don't finish: settle it, link it to the payment intent that
paid it, or close it. Each is done once, for a reason that is kept, and by Stripe's figures where Stripe can be
asked."""

from typing import Literal

import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session

from bridge.acts import Actor, record_act
from bridge.config import Settings
from bridge.db import transaction
from bridge.errors import InvalidRequest, NotFound, ServiceUnavailable
from bridge.languages import to_translate, translate
from bridge.ledger.ledger import book
from bridge.money import MAX_NANOS
from bridge.payments import checkout
from bridge.payments.amounts import to_bonus
from bridge.payments.booking import credit, credit_at_rate, move_money_to_own_row, record_money
from bridge.payments.checkout import Intent, StripeAway, StripeMissing, StripeRefused
from bridge.payments.events import record_refund
from bridge.payments.rows import REFUND, describe_money, find_by_id, find_by_intent, lock, release
from bridge.payments.tables import Decision, Payment

MAX_REASON_LENGTH = 500
SUCCEEDED = "succeeded"
NOT_ASKED = to_translate("Stripe does not answer as it should. Nothing was changed; try again.")
# state -> what can't be done in it -> what is said about that
ENDED = {
    "closed": {
        "settled": to_translate("This payment was closed: it can't be settled any more."),
        "linked": to_translate("This payment was closed: it can't be linked any more."),
    },
    "refunded": {
        "settled": to_translate("All of this payment went back: there is nothing to be settled."),
        "linked": to_translate("All of this payment went back: there is nothing to be linked."),
    },
}
log = structlog.get_logger()


def find_payment(payment_id: str) -> Payment:
    """Any account's payment. Raises NotFound."""
    payment = find_by_id(payment_id.strip()[:36])
    if payment is None:
        raise NotFound(translate("There is no payment %(id)s.", id=payment_id.strip()[:36]))
    return payment


def settle_payment(
    settings: Settings, payment_id: str, *, reason: str, made_by: str, dollars_nanos: int | None = None
) -> Payment | None:
    """Credit the money that came for a payment, at the rate at which it was requested. Money in another currency has no
    rate, so `dollars_nanos` gives its credit. None if the payment was credited before: then nothing changed.

    Raises NotFound; InvalidRequest without a reason and for a payment that can't be settled; ServiceUnavailable."""
    reason = _read_reason(reason)
    payment = find_payment(payment_id)
    require_open(payment, "settled")
    if payment.state == "paid":
        return None
    if payment.payment_intent is None:
        raise InvalidRequest(
            translate("No money is known to have come. Link the payment intent that paid it."), param="payment"
        )
    facts = _ask_stripe(settings, payment)
    if facts is not None:
        _record_refunds(settings, payment, facts)
    with transaction() as session:
        payment = lock(session, payment.id)
        if payment.state == "paid":
            return None
        require_open(payment, "settled")
        _take_facts(payment, facts)
        before = _describe(payment)
        payment.credit_nanos = _find_credit(payment, dollars_nanos)
        payment.bonus_nanos = _find_bonus(settings, payment)
        payment.amount_minor = payment.paid_minor or 0
        payment.currency = payment.paid_currency or ""
        credit(session, payment, made_by=made_by)
        _record_decision(session, payment, "settle", before, reason, made_by)
    return payment


def link_payment(settings: Settings, payment_id: str, payment_intent: str, *, reason: str, made_by: str) -> Payment:
    """Link a payment to the payment intent that paid it. If Stripe's figures for the intent are what was asked for, the
    payment is credited; otherwise it stays in review, to be settled. An existing link changes nothing.

    Raises NotFound; InvalidRequest without a reason and for a payment that can't be linked; ServiceUnavailable."""
    reason, payment_intent = _read_reason(reason), payment_intent.strip()
    payment = find_payment(payment_id)
    if payment.payment_intent == payment_intent and (payment.state == "paid" or payment.paid_minor is not None):
        return payment
    require_linkable(payment)
    facts = _find_intent(settings, payment_intent)
    with transaction() as session:
        payment = lock(session, payment.id)
        require_linkable(payment)
        before = _describe(payment)
        _free_intent(session, payment, facts, reason, made_by)
        if payment.payment_intent != facts.id:
            move_money_to_own_row(session, payment)
            session.flush()
        if not record_money(session, payment, facts.id, facts.amount_minor, facts.currency):
            credit(session, payment, made_by=made_by)
        _record_decision(session, payment, "link", before, reason, made_by)
    _record_refunds(settings, payment, facts)
    return find_payment(payment_id)


def close_payment(payment_id: str, *, reason: str, made_by: str) -> Payment | None:
    """Close a payment that isn't credited, whatever its state: nothing is credited, and what was wrongly taken back is
    given back. For a credited payment, end what was wrong with it. None if there is nothing to end.

    Raises NotFound, and InvalidRequest without a reason and for a payment that is credited correctly."""
    reason = _read_reason(reason)
    payment_id = find_payment(payment_id).id
    with transaction() as session:
        payment = lock(session, payment_id)
        before = _describe(payment)
        if payment.state == "paid":
            if payment.problem is None and not _was_decided(session, payment):
                raise InvalidRequest(
                    translate("This payment is credited, and nothing is wrong with it."), param="payment"
                )
            if payment.problem is None:
                return None
            payment.problem = None
        elif payment.state == "closed" or (payment.state == "refunded" and not payment.returned_nanos):
            return None
        else:
            payment.state = "closed"
            _give_back(session, payment, made_by)
        _record_decision(session, payment, "close", before, reason, made_by)
    return payment


def _read_reason(reason: str) -> str:
    reason = reason.strip()
    if not 0 < len(reason) <= MAX_REASON_LENGTH:
        raise InvalidRequest(
            translate("Give a reason of at most %(most)s characters.", most=MAX_REASON_LENGTH), param="reason"
        )
    return reason


def require_open(payment: Payment, done: Literal["settled", "linked"]) -> None:
    """Refuse a payment that an operator closed or that went back. Raises InvalidRequest."""
    if payment.state in ENDED:
        raise InvalidRequest(translate(ENDED[payment.state][done]), param="payment")
    if payment.state != "paid" and payment.returned_nanos:
        raise InvalidRequest(
            translate("Money was taken back that was never credited: close it to give it back."), param="payment"
        )


def require_linkable(payment: Payment) -> None:
    """Refuse a payment that another intent can't pay any more. Raises InvalidRequest."""
    require_open(payment, "linked")
    if payment.invoice is not None:
        raise InvalidRequest(translate("A plan's fee belongs to its invoice: settle or close it."), param="payment")
    if payment.kind == "again":
        raise InvalidRequest(
            translate("Money that came beside a payment has no other: settle or close it."), param="payment"
        )
    if payment.state == "paid":
        raise InvalidRequest(
            translate("This payment is credited, as %(intent)s.", intent=payment.payment_intent), param="payment"
        )


def _find_intent(settings: Settings, payment_intent: str) -> Intent:
    """What Stripe knows about a paid intent. Raises InvalidRequest and ServiceUnavailable."""
    if not settings.stripe_secret_key:
        raise InvalidRequest(
            translate("STRIPE_SECRET_KEY is missing: Stripe can't be asked about it."), param="payment_intent"
        )
    release()
    try:
        facts = checkout.find_intent(settings, payment_intent)
    except StripeMissing:
        raise InvalidRequest(
            translate("Stripe knows no %(intent)s.", intent=payment_intent[:60]), param="payment_intent"
        ) from None
    except (StripeAway, StripeRefused) as error:
        log.warning("stripe_not_asked", payment_intent=payment_intent[:120], error=str(error))
        raise ServiceUnavailable(translate(NOT_ASKED)) from None
    _require_paid(facts)
    return facts


def _require_paid(facts: Intent) -> None:
    if facts.status != SUCCEEDED or facts.amount_minor <= 0:
        text = translate(
            "Stripe says that %(intent)s is not paid: %(status)s.", intent=facts.id, status=facts.status[:40]
        )
        raise InvalidRequest(text, param="payment_intent")


def _ask_stripe(settings: Settings, payment: Payment) -> Intent | None:
    """What Stripe knows about a payment's own intent. None if Stripe can't be asked, but its event said what came."""
    heard = payment.paid_minor is not None
    if heard and not settings.stripe_secret_key:
        return None
    release()
    try:
        facts = checkout.find_intent(settings, payment.payment_intent or "")
    except (StripeAway, StripeRefused) as error:
        log.warning("stripe_not_asked", payment_id=payment.id, error=str(error))
        if heard:
            return None
        raise ServiceUnavailable(translate(NOT_ASKED)) from None
    _require_paid(facts)
    return facts


def _record_refunds(settings: Settings, payment: Payment, facts: Intent) -> None:
    """Record the refunds whose events have not come, and may never come."""
    if facts.charge is None:
        return
    release()
    try:
        refunds = checkout.list_refunds(settings, facts.charge)
    except (StripeAway, StripeRefused) as error:
        log.warning("stripe_not_asked", payment_id=payment.id, error=str(error))
        raise ServiceUnavailable(translate("Stripe does not answer as it should. Try again.")) from None
    for refund in refunds:
        record_refund(payment.id, {**refund, "payment_intent": facts.id})


def _take_facts(payment: Payment, facts: Intent | None) -> None:
    """Store Stripe's current figures, which count more than its event's."""
    if facts is None:
        return
    if facts.id != payment.payment_intent:
        raise InvalidRequest(
            translate("Somebody else linked this payment at the same moment. Look again."), param="payment"
        )
    payment.paid_minor, payment.paid_currency = facts.amount_minor, facts.currency


def _find_credit(payment: Payment, dollars_nanos: int | None) -> int:
    """The credit for the money that came."""
    if payment.paid_currency != payment.currency:
        if dollars_nanos is None:
            text = translate("%(money)s came: say how many dollars to credit.", money=describe_money(payment))
            raise InvalidRequest(text, param="dollars")
        if not 0 < dollars_nanos <= MAX_NANOS:
            raise InvalidRequest(translate("Give dollars, more than zero and at most a billion."), param="dollars")
        return dollars_nanos
    if dollars_nanos is not None:
        raise InvalidRequest(
            translate("What is credited follows from what was paid: give no dollars."), param="dollars"
        )
    nanos = credit_at_rate(payment, payment.paid_minor, payment.paid_currency)
    if not nanos and not (payment.invoice and not payment.credit_nanos):  # a plan may buy no credit
        raise InvalidRequest(translate("What came is not known: link the payment intent."), param="payment")
    return nanos


def _find_bonus(settings: Settings, payment: Payment) -> int:
    """What the money that came earns on top: what was promised, if it is what was asked for; otherwise what such an
    amount earns today."""
    is_as_asked = (payment.paid_minor, payment.paid_currency) == (payment.amount_minor, payment.currency)
    if is_as_asked and (payment.kind != "again" or payment.invoice):
        return payment.bonus_nanos
    if payment.paid_currency != settings.top_up_currency or payment.invoice:
        return 0
    return to_bonus(settings, payment.paid_minor or 0, payment.credit_nanos)


def _free_intent(session: Session, payment: Payment, facts: Intent, reason: str, made_by: str) -> None:
    """Take the intent from the row that has it and close that row. The row must not be credited, nor another
    account's."""
    named = find_by_id(facts.payment_id)
    if named is not None and named.account_id != payment.account_id:
        raise InvalidRequest(_name_payer(facts.id, named.account_id), param="payment_intent")
    own = find_by_intent(facts.id)
    if own is None or own.id == payment.id:
        return
    own = lock(session, own.id)
    if own.account_id != payment.account_id:
        raise InvalidRequest(_name_payer(facts.id, own.account_id), param="payment_intent")
    if own.state in ("paid", "closed", "refunded"):
        text = translate(
            "%(intent)s belongs to %(payment)s, which is %(state)s.", intent=facts.id, payment=own.id, state=own.state
        )
        raise InvalidRequest(text, param="payment_intent")
    before = _describe(own)
    own.state, own.payment_intent, own.paid_minor, own.paid_currency = "closed", None, None, None
    own.problem = f"Its money was linked to {payment.id}."
    session.flush()
    _record_decision(session, own, "close", before, reason, made_by)


def _name_payer(intent: str, account_id: int) -> str:
    return translate("%(intent)s was paid by account %(account)s.", intent=intent, account=account_id)


def _give_back(session: Session, payment: Payment, made_by: str) -> None:
    """Give back what an earlier version took back from a payment that was never credited."""
    if not payment.returned_nanos:
        return
    fields = {"source": REFUND, "external_id": f"{payment.id}:given_back", "made_by": made_by}
    note = "Taken back without a credit, given back"
    if book(session, payment.account_id, payment.returned_nanos, note=note, **fields):
        payment.returned_nanos = 0


def _was_decided(session: Session, payment: Payment) -> bool:
    query = sa.select(Decision.id).where(Decision.payment_id == payment.id, Decision.action == "close")
    return session.execute(query).first() is not None


def _describe(payment: Payment) -> str:
    return f"{payment.state}: {payment.problem}" if payment.problem else payment.state


def _record_decision(session: Session, payment: Payment, action: str, before: str, reason: str, made_by: str) -> None:
    session.add(Decision(payment_id=payment.id, action=action, before=before[:300], reason=reason, made_by=made_by))
    detail = f"{payment.id}: {action}, was {before}. {reason}"
    record_act(session, payment.account_id, "payment", Actor(made_by), detail)
    log.info("payment_decided", payment_id=payment.id, action=action, before=before, state=payment.state, by=made_by)
