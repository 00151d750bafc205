"""Books the result of a payment in the journal and on its own row, in one transaction and only once."""

import sqlalchemy as sa
import structlog
from flask import current_app
from sqlalchemy.orm import Session

from bridge.db import now_utc, transaction
from bridge.languages import to_translate
from bridge.ledger.ledger import book
from bridge.payments.amounts import format_amount
from bridge.payments.plan_tables import Plan
from bridge.payments.referrals import give_referral, lock_referral
from bridge.payments.returns import take_back_known_returns, update_uncredited_state
from bridge.payments.rows import (
    BONUS,
    MADE_BY,
    MAX_PROBLEM_LENGTH,
    PAID,
    find_by_intent,
    lock,
    new_payment_id,
    switch_off,
)
from bridge.payments.tables import OPEN_STATES, AutoTopUp, Payment

log = structlog.get_logger()


def settle(payment_id: str, *, payment_intent: str, amount_minor: int | None, currency: str) -> str:
    """Credit what was paid, once per payment intent, if it is what was asked for; anything else is left for an
    operator. Returns what was done: "credited", "known", "review" or, if all of it went back, "refunded"."""
    with transaction() as session:
        payment = _find_row(session, lock(session, payment_id), payment_intent, amount_minor, currency)
        if payment.state in ("paid", "closed"):
            return "known"
        problem = record_money(session, payment, payment_intent, amount_minor, currency)
        if problem:
            log.error("payment_differs", payment_id=payment.id, payment_intent=payment_intent, problem=problem)
            return payment.state
        credit(session, payment, made_by=payment.made_by or MADE_BY)
    return "credited"


def record_money(
    session: Session, payment: Payment, payment_intent: str, amount_minor: int | None, currency: str
) -> str:
    """Record the money that came on a payment's row, in the caller's transaction. Returns what is wrong with it; "" if
    it is what was asked for, and then the caller credits it."""
    payment.payment_intent, payment.paid_minor, payment.paid_currency = payment_intent, amount_minor, currency
    problem = payment.problem or "" if payment.kind == "again" else compare(payment, amount_minor, currency)
    if problem:
        payment.problem = problem
        payment.state = "review"
        update_uncredited_state(session, payment)
    return problem


def credit(session: Session, payment: Payment, *, made_by: str) -> None:
    """Credit a payment, its bonus and, with a newcomer's first, what both sides of a referral get, in the caller's
    transaction, and take back the part that was returned meanwhile."""
    referral = lock_referral(session, payment)
    payment.paid_at, payment.state, payment.problem = now_utc(), "paid", None
    intent = payment.payment_intent or ""
    plan = session.get(Plan, payment.plan_id) if payment.plan_id else None
    note = to_translate("Automatic top-up") if payment.kind == "auto" else to_translate("Top-up")
    note = f"Plan {plan.name}" if plan else note
    fields = {"source": PAID, "external_id": intent, "note": note, "made_by": made_by}
    if payment.credit_nanos and not book(session, payment.account_id, payment.credit_nanos, **fields):
        # the journal has this payment without a row of ours: never credit it a second time
        log.error("payment_credited_before", payment_id=payment.id, payment_intent=intent)
    if payment.bonus_nanos:
        gift = f"Bonus of plan {plan.name}" if plan else "Bonus on a top-up"
        more = {"source": BONUS, "external_id": intent, "note": gift, "made_by": made_by}
        book(session, payment.account_id, payment.bonus_nanos, **more)
    if referral is not None:
        cap_nanos = current_app.config["BRIDGE"].referral_cap_nanos
        give_referral(session, referral, payment, cap_nanos, made_by=made_by)
    take_back_known_returns(session, payment)
    log.info("payment_credited", payment_id=payment.id, account_id=payment.account_id, nanos=payment.credit_nanos)


def _find_row(session: Session, payment: Payment, intent: str, amount_minor: int | None, currency: str) -> Payment:
    """The row for this money: its own, if it has one; the one that it names; or a new one beside that."""
    own = find_by_intent(intent)
    if own is not None and own.id != payment.id:
        return lock(session, own.id)
    if payment.state == "closed" and payment.paid_minor is None:  # closed before any money came
        payment.payment_intent = None
        return add_review_row(session, payment, intent, amount_minor, currency, f"Paid after {payment.id} was closed.")
    if payment.payment_intent == intent:
        return payment
    if payment.state not in ("paid", "closed") and (
        payment.paid_minor is None or not compare(payment, amount_minor, currency)
    ):
        move_money_to_own_row(session, payment)  # the fitting money takes this row; earlier money gets another
        return payment
    return add_review_row(session, payment, intent, amount_minor, currency, f"Paid again, beside {payment.id}.")


def add_review_row(
    session: Session, payment: Payment, intent: str, amount_minor: int | None, currency: str, problem: str
) -> Payment:
    """Add a row for money that came beside a payment's own, for an operator to review."""
    again = Payment(
        id=new_payment_id(),
        account_id=payment.account_id,
        kind="again",
        state="review",
        amount_minor=amount_minor or payment.amount_minor,
        currency=currency if amount_minor else payment.currency,
        credit_nanos=credit_at_rate(payment, amount_minor, currency) or payment.credit_nanos,
        returned_nanos=0,
        returned_minor=0,
        bonus_nanos=0,
        bonus_returned_nanos=0,
        payment_intent=intent,
        problem=problem,
        made_by=payment.made_by,
    )
    session.flush()
    session.add(again)
    session.flush()
    return again


def credit_at_rate(payment: Payment, amount_minor: int | None, currency: str | None) -> int:
    """The credit for an amount at the payment's own rate; 0 if that rate doesn't apply."""
    if amount_minor is None or currency != payment.currency:
        return 0
    return amount_minor * payment.credit_nanos // payment.amount_minor


def move_money_to_own_row(session: Session, payment: Payment) -> None:
    """Make room on a payment's row: money that is known to have come gets a row of its own."""
    intent, amount_minor, currency = payment.payment_intent, payment.paid_minor, payment.paid_currency
    payment.payment_intent = payment.paid_minor = payment.paid_currency = payment.problem = None
    if intent is not None and amount_minor is not None:
        again = add_review_row(session, payment, intent, amount_minor, currency or "", f"Paid beside {payment.id}.")
        again.paid_minor, again.paid_currency = amount_minor, currency
        update_uncredited_state(session, again)


def compare(payment: Payment, amount_minor: int | None, currency: str) -> str:
    """What is wrong with the money that came for a payment; "" if nothing is."""
    if (amount_minor, currency) == (payment.amount_minor, payment.currency):
        return ""
    paid = "An unknown amount" if amount_minor is None else format_amount(amount_minor, currency)
    return f"{paid} was paid, not {format_amount(payment.amount_minor, payment.currency)}."


def record_pending(payment_id: str, payment_intent: str) -> None:
    """Record that the customer has paid and the bank takes its time. Nothing is credited yet."""
    with transaction() as session:
        payment = lock(session, payment_id)
        if payment.state not in OPEN_STATES:
            return
        payment.state = "pending"
        if payment.payment_intent is None and find_by_intent(payment_intent) is None:
            payment.payment_intent = payment_intent


def record_failed(payment_id: str, state: str, problem: str) -> bool:
    """Record that a payment failed or expired (`state`). A final state stays. If an automatic top-up failed, it is
    switched off and says why. Returns whether this call changed the state."""
    with transaction() as session:
        payment = lock(session, payment_id)
        if payment.state not in OPEN_STATES:
            return False
        payment.state, payment.problem = state, problem[:MAX_PROBLEM_LENGTH]
        if payment.kind == "auto":
            switch_off(session, payment.account_id, problem, payment.id)
            _give_month_back(session, payment)
    return True


def _give_month_back(session: Session, payment: Payment) -> None:
    """Take a failed charge out of the month's sum, so that it doesn't count against the cap."""
    left = AutoTopUp.month_minor - payment.amount_minor
    session.execute(
        sa.update(AutoTopUp)
        .where(AutoTopUp.account_id == payment.account_id, AutoTopUp.currency == payment.currency)
        .where(AutoTopUp.month == payment.created_at.date().replace(day=1))
        .values(month_minor=sa.case((left > 0, left), else_=0))
        .execution_options(synchronize_session=False)
    )
