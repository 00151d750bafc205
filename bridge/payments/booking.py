"""What comes of a payment, in the journal and on its own row: both in one transaction, each once."""

import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session

from bridge.db import now_utc, transaction
from bridge.ledger.ledger import book
from bridge.payments.amounts import format_amount
from bridge.payments.returns import stand, take_known_back
from bridge.payments.rows import MADE_BY, MAX_PROBLEM_LENGTH, PAID, find_by_intent, lock, new_payment_id, switch_off
from bridge.payments.tables import OPEN_STATES, AutoTopUp, Payment

log = structlog.get_logger()


def settle(payment_id: str, *, payment_intent: str, amount_minor: int | None, currency: str) -> str:
    """Credit what was paid, once per payment intent, if it is what was asked for; what else came is left for the
    operator to look at. Says what was done: "credited", "known", "review" or, if all of it went back, "refunded"."""
    with transaction() as session:
        payment = _find_row(session, lock(session, payment_id), payment_intent, amount_minor, currency)
        if payment.state in ("paid", "closed"):
            return "known"
        problem = take_money(session, payment, payment_intent, amount_minor, currency)
        if problem:
            log.error("payment_differs", payment_id=payment.id, payment_intent=payment_intent, problem=problem)
            return payment.state
        credit(session, payment, made_by=payment.made_by or MADE_BY)
    return "credited"


def take_money(session: Session, payment: Payment, payment_intent: str, amount_minor: int | None, currency: str) -> str:
    """Note what came on a payment's row, in the caller's transaction. What is wrong with it, as the row says then; ""
    where it is what was asked for, which the caller credits."""
    payment.payment_intent, payment.paid_minor, payment.paid_currency = payment_intent, amount_minor, currency
    problem = payment.problem or "" if payment.kind == "again" else compare(payment, amount_minor, currency)
    if problem:
        payment.problem = problem
        payment.state = "review"
        stand(session, payment)
    return problem


def credit(session: Session, payment: Payment, *, made_by: str) -> None:
    """Credit a payment, in the caller's transaction, and take back what went back of it meanwhile."""
    payment.paid_at, payment.state, payment.problem = now_utc(), "paid", None
    intent = payment.payment_intent or ""
    note = "Automatic top-up" if payment.kind == "auto" else "Top-up"
    fields = {"source": PAID, "external_id": intent, "note": note, "made_by": made_by}
    if not book(session, payment.account_id, payment.credit_nanos, **fields):
        # the journal has this payment without a row of ours: never a second time
        log.error("payment_credited_before", payment_id=payment.id, payment_intent=intent)
    take_known_back(session, payment)
    log.info("payment_credited", payment_id=payment.id, account_id=payment.account_id, nanos=payment.credit_nanos)


def _find_row(session: Session, payment: Payment, intent: str, amount_minor: int | None, currency: str) -> Payment:
    """The row of this money: its own, if it has one; the one that it names; or a new one beside that."""
    own = find_by_intent(intent)
    if own is not None and own.id != payment.id:
        return lock(session, own.id)
    if payment.state == "closed" and payment.paid_minor is None:  # closed before anything came
        payment.payment_intent = None
        return open_again(session, payment, intent, amount_minor, currency, f"Paid after {payment.id} was closed.")
    if payment.payment_intent == intent:
        return payment
    if payment.state not in ("paid", "closed") and (
        payment.paid_minor is None or not compare(payment, amount_minor, currency)
    ):
        move_money_out(session, payment)  # what fits is the order's; what came before it and doesn't fit stands beside
        return payment
    return open_again(session, payment, intent, amount_minor, currency, f"Paid again, beside {payment.id}.")


def open_again(
    session: Session, payment: Payment, intent: str, amount_minor: int | None, currency: str, problem: str
) -> Payment:
    """A row for money that came beside a payment's own, for an operator to look at."""
    again = Payment(
        id=new_payment_id(),
        account_id=payment.account_id,
        kind="again",
        state="review",
        amount_minor=amount_minor or payment.amount_minor,
        currency=currency if amount_minor else payment.currency,
        credit_nanos=worth(payment, amount_minor, currency) or payment.credit_nanos,
        returned_nanos=0,
        returned_minor=0,
        payment_intent=intent,
        problem=problem,
        made_by=payment.made_by,
    )
    session.flush()
    session.add(again)
    session.flush()
    return again


def worth(payment: Payment, amount_minor: int | None, currency: str | None) -> int:
    """What so much is credited as, at the payment's own rate; 0 where that rate says nothing."""
    if amount_minor is None or currency != payment.currency:
        return 0
    return amount_minor * payment.credit_nanos // payment.amount_minor


def move_money_out(session: Session, payment: Payment) -> None:
    """Make room on a payment's row for other money: what is known to have come gets a row of its own."""
    intent, amount_minor, currency = payment.payment_intent, payment.paid_minor, payment.paid_currency
    payment.payment_intent = payment.paid_minor = payment.paid_currency = payment.problem = None
    if intent is not None and amount_minor is not None:
        again = open_again(session, payment, intent, amount_minor, currency or "", f"Paid beside {payment.id}.")
        again.paid_minor, again.paid_currency = amount_minor, currency
        stand(session, again)


def compare(payment: Payment, amount_minor: int | None, currency: str) -> str:
    """What is wrong with money that came for a payment; "" if nothing is."""
    if (amount_minor, currency) == (payment.amount_minor, payment.currency):
        return ""
    paid = "An unknown amount" if amount_minor is None else format_amount(amount_minor, currency)
    return f"{paid} was paid, not {format_amount(payment.amount_minor, payment.currency)}."


def note_pending(payment_id: str, payment_intent: str) -> None:
    """The customer has done their part, and the bank takes its time. Nothing is credited yet."""
    with transaction() as session:
        payment = lock(session, payment_id)
        if payment.state not in OPEN_STATES:
            return
        payment.state = "pending"
        if payment.payment_intent is None and find_by_intent(payment_intent) is None:
            payment.payment_intent = payment_intent


def note_failed(payment_id: str, state: str, problem: str) -> bool:
    """It came to nothing; `state` is failed or expired. What is final stays as it is. An automatic top-up that failed
    switches itself off and says why; whether it was this call that did so."""
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
    """What was not charged does not count against the month's cap."""
    left = AutoTopUp.month_minor - payment.amount_minor
    session.execute(
        sa.update(AutoTopUp)
        .where(AutoTopUp.account_id == payment.account_id, AutoTopUp.currency == payment.currency)
        .where(AutoTopUp.month == payment.created_at.date().replace(day=1))
        .values(month_minor=sa.case((left > 0, left), else_=0))
        .execution_options(synchronize_session=False)
    )
