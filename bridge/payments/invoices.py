"""Books the fees of subscriptions: each paid invoice is a payment, with the credit that its plan buys, once."""

import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session

from bridge.accounts.letters import written_for
from bridge.accounts.standing import list_owners
from bridge.config import Settings
from bridge.db import transaction
from bridge.languages import translate
from bridge.mail.outbox import queue_mail
from bridge.payments import booking, subscribing
from bridge.payments.amounts import format_amount
from bridge.payments.plan_tables import Plan, Subscription
from bridge.payments.plans import find_by_price
from bridge.payments.rows import new_payment_id, release
from bridge.payments.subscribing import Invoice
from bridge.payments.subscriptions import find_id, hear, lock_subscription, may_be_ours, note_period
from bridge.payments.tables import Payment

log = structlog.get_logger()


def book_invoice(settings: Settings, invoice_id: str) -> str:
    """Book a paid invoice of a subscription of ours, by what Stripe says of it now. Returns what was done: "ignored",
    "free" if nothing was paid, otherwise as `settle`. Raises StripeMissing, StripeRefused and StripeAway."""
    release()
    invoice = subscribing.find_invoice(settings, invoice_id)
    if invoice is None or not invoice.is_paid:
        return "ignored"
    if invoice.amount_minor is None:
        return "free"
    payment = _find_or_open(settings, invoice)
    if payment is None:
        return "ignored"
    if invoice.payment_intent is None:
        return payment.state
    done = booking.settle(
        payment.id,
        payment_intent=invoice.payment_intent,
        amount_minor=invoice.amount_minor,
        currency=invoice.currency,
    )
    if done in ("credited", "known") and payment.plan_id and payment.period_start and payment.subscription_id:
        with transaction() as session:
            note_period(session, payment.subscription_id, payment.plan_id, payment.period_start)
    return done


def find_by_intent(settings: Settings, payment_intent: str, customer: str | None) -> Payment | None:
    """The payment of the invoice that an intent of this customer at Stripe paid, if it is of a subscription of ours:
    also if its own event hasn't come yet. Raises StripeMissing, StripeRefused and StripeAway."""
    if not may_be_ours(customer):
        return None
    invoice_id = subscribing.find_invoice_of(settings, payment_intent)
    invoice = subscribing.find_invoice(settings, invoice_id) if invoice_id else None
    return None if invoice is None else _find_or_open(settings, invoice)


def _find_or_open(settings: Settings, invoice: Invoice) -> Payment | None:
    """The payment of this invoice, from now on; None if it is no subscription's of ours."""
    subscription_id = find_id(invoice.subscription, invoice.subscription_id)
    if subscription_id is None:
        return None
    hear(settings, subscription_id, invoice.subscription)
    with transaction() as session:
        row = lock_subscription(session, subscription_id)
        known = session.scalars(sa.select(Payment).where(Payment.invoice == invoice.id)).one_or_none()
        if known is not None:
            return known
        payment = _make_payment(session, row, invoice)
        session.add(payment)
    return payment


def _make_payment(session: Session, row: Subscription, invoice: Invoice) -> Payment:
    """The row of an invoice: of the plan that its price names, for a period that nothing else has paid. What fits no
    plan or no period waits for an operator."""
    plan = find_by_price(invoice.price)
    problem = _find_problem(session, row, plan, invoice)
    bought = session.get_one(Plan, row.plan_id) if plan is None else plan
    # what the fee is worth is paid for; what the plan gives beyond that is a gift
    credit_nanos = min(bought.credit_nanos, bought.worth_nanos)
    payment = Payment(
        id=new_payment_id(),
        account_id=row.account_id,
        kind="again" if problem else "plan",
        state="review" if problem else "open",
        amount_minor=bought.fee_minor,
        currency=bought.currency,
        credit_nanos=credit_nanos,
        returned_nanos=0,
        returned_minor=0,
        bonus_nanos=bought.credit_nanos - credit_nanos,
        bonus_returned_nanos=0,
        subscription_id=row.id,
        plan_id=bought.id,
        period_start=None if problem else invoice.period_start,
        invoice=invoice.id,
        payment_intent=invoice.payment_intent,
        customer=row.customer,
        problem=problem or None,
        made_by=row.made_by,
    )
    if invoice.payment_intent is None:
        payment.paid_minor, payment.paid_currency = invoice.amount_minor, invoice.currency
    return payment


def _find_problem(session: Session, row: Subscription, plan: Plan | None, invoice: Invoice) -> str:
    """Why an invoice isn't the fee of one period of a plan; "" if it is."""
    if row.must_end:
        return "Paid for a subscription that was ended here. Refund it at Stripe, or settle it."
    if plan is None or not invoice.is_of_period or invoice.period_start is None:
        return f"Invoice {invoice.id} is not the fee of a plan's month."
    taken = sa.select(Payment.id).where(Payment.subscription_id == row.id, Payment.period_start == invoice.period_start)
    if (other := session.scalar(taken)) is not None:
        return f"Paid for a month that {other} has paid."
    if invoice.amount_minor is not None and invoice.payment_intent is None:
        return f"Invoice {invoice.id} was paid outside of Stripe."
    return ""


def tell_unpaid(settings: Settings, invoice_id: str) -> str:
    """Hear how a subscription stands whose invoice could not be charged, and mail its owners, once an invoice. Returns
    what was done."""
    release()
    invoice = subscribing.find_invoice(settings, invoice_id)
    subscription_id = None if invoice is None else find_id(invoice.subscription, invoice.subscription_id)
    if invoice is None or subscription_id is None:
        return "ignored"
    hear(settings, subscription_id, invoice.subscription)
    with transaction() as session:
        row = lock_subscription(session, subscription_id)
        if invoice.is_paid or row.state != "past_due":
            return "known"
        plan = find_by_price(invoice.price) or session.get_one(Plan, row.plan_id)
        for member_id, email in list_owners(session, row.account_id):
            once = f"plan-unpaid:{invoice.id}:{member_id}"
            with written_for(session, email):
                subject, text = _write_unpaid(plan)
            queue_mail(session, once=once, recipient=email, subject=subject, text=text)
    return "past_due"


def _write_unpaid(plan: Plan) -> tuple[str, str]:
    unpaid = translate(
        "The fee of your plan %(plan)s, %(fee)s, could not be charged. Your bank may have refused it, or the card has "
        "expired.",
        plan=plan.name,
        fee=format_amount(plan.fee_minor, plan.currency),
    )
    after = translate(
        "Stripe tries again within the next days. The plan's limits and prices hold for three days; its credit comes "
        "when the fee is paid. On the billing page you can change the card, and see what is due."
    )
    return translate("Your plan's fee could not be charged"), f"{unpaid}\n\n{after}\n"
