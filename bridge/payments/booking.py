"""What becomes of a payment, in the journal and on its own row: both in one transaction, each once."""

import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session

from bridge.db import db, now_utc, transaction
from bridge.ledger.ledger import book
from bridge.mail.outbox import queue_mail
from bridge.payments.tables import OPEN_STATES, AutoTopUp, Payment
from bridge.telemetry import new_request_id

PAID, REFUND, DISPUTE = "stripe", "stripe_refund", "stripe_dispute"
SOURCES = (PAID, REFUND, DISPUTE)
MADE_BY = "stripe"
OFF_TEXT = """Your card is no longer charged when the balance is low, for this reason:

{problem}

Requests go on until the balance is used up; then they answer 402. On the billing page you can pay, keep another card,
and switch automatic top-ups on again.
"""
_members = sa.table("members", *map(sa.column, ("id", "account_id", "email", "role")))
log = structlog.get_logger()


def new_payment_id() -> str:
    """`pay_` and a UUIDv7 in hex: ids sort by time."""
    return "pay_" + new_request_id()[4:]


def find_by_id(payment_id: str | None) -> Payment | None:
    return db.session.get(Payment, payment_id) if payment_id else None


def find_by_intent(payment_intent: str) -> Payment | None:
    return db.session.scalars(sa.select(Payment).where(Payment.payment_intent == payment_intent)).one_or_none()


def release() -> None:
    """Give the database connection back: a call to Stripe follows."""
    db.session.commit()


def _lock(session: Session, payment_id: str) -> Payment:
    """The row as it is now, and nobody else's until the transaction ends."""
    query = sa.select(Payment).where(Payment.id == payment_id).with_for_update()
    return session.scalars(query.execution_options(populate_existing=True)).one()


def settle(payment_id: str, *, payment_intent: str, amount_minor: int, currency: str) -> str:
    """Credit what was paid, once per payment intent, if it is what was asked for; what else came is left for the
    operator to look at. Says what was done: "credited", "known" or "review"."""
    with transaction() as session:
        payment = _lock(session, payment_id)
        if payment.state == "paid" and payment.payment_intent == payment_intent:
            return "known"
        problem = _compare(payment, payment_intent, amount_minor, currency)
        if problem:
            payment.problem = problem
            if payment.state != "paid":
                payment.state = "review"
            log.error("payment_differs", payment_id=payment_id, payment_intent=payment_intent, problem=problem)
            return "review"
        payment.payment_intent, payment.paid_at, payment.state = payment_intent, now_utc(), "paid"
        payment.problem = None
        made = book(
            session,
            payment.account_id,
            payment.credit_nanos,
            source=PAID,
            external_id=payment_intent,
            note="Automatic top-up" if payment.kind == "auto" else "Top-up",
            made_by=payment.made_by or MADE_BY,
        )
        if not made:  # the journal has this payment without a row of ours: never a second time
            log.error("payment_credited_before", payment_id=payment_id, payment_intent=payment_intent)
    log.info("payment_credited", payment_id=payment_id, account_id=payment.account_id, nanos=payment.credit_nanos)
    return "credited"


def _compare(payment: Payment, payment_intent: str, amount_minor: int, currency: str) -> str:
    """What is wrong with a payment that came; "" if nothing is."""
    if payment.payment_intent not in (None, payment_intent):
        return f"Paid again, as {payment_intent}."
    if currency != payment.currency:
        return f"Paid in {currency[:10]}, not in {payment.currency}."
    if amount_minor != payment.amount_minor:
        return f"{amount_minor} was paid, not {payment.amount_minor}."
    return ""


def note_pending(payment_id: str, payment_intent: str) -> None:
    """The customer has done their part, and the bank takes its time. Nothing is credited yet."""
    with transaction() as session:
        payment = _lock(session, payment_id)
        if payment.state in OPEN_STATES:
            payment.state, payment.payment_intent = "pending", payment.payment_intent or payment_intent


def note_failed(payment_id: str, state: str, problem: str) -> bool:
    """It came to nothing; `state` is failed or expired. What is final stays as it is. An automatic top-up that failed
    switches itself off and says why; whether it was this call that did so."""
    with transaction() as session:
        payment = _lock(session, payment_id)
        if payment.state not in OPEN_STATES:
            return False
        payment.state, payment.problem = state, problem[:300]
        if payment.kind == "auto":
            _switch_off(session, payment.account_id, payment.id, problem)
            _give_month_back(session, payment)
    return True


def _switch_off(session: Session, account_id: int, payment_id: str, problem: str) -> None:
    """No automatic top-up any more; the account's owners are told by mail, if it was on."""
    was_on = session.execute(
        sa.update(AutoTopUp)
        .where(AutoTopUp.account_id == account_id, AutoTopUp.enabled)
        .values(enabled=False, problem=problem[:300])
        .returning(AutoTopUp.account_id)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if was_on is None:
        return
    owners = sa.select(_members.c.id, _members.c.email).where(_members.c.account_id == account_id)
    for member_id, email in session.execute(owners.where(_members.c.role == "owner")):
        queue_mail(
            session,
            once=f"auto-off:{payment_id}:{member_id}",
            recipient=email,
            subject="Automatic top-ups are off",
            text=OFF_TEXT.format(problem=problem),
        )


def _give_month_back(session: Session, payment: Payment) -> None:
    """What was not charged does not count against the month's cap."""
    left = AutoTopUp.month_minor - payment.amount_minor
    session.execute(
        sa.update(AutoTopUp)
        .where(AutoTopUp.account_id == payment.account_id)
        .where(AutoTopUp.month == payment.created_at.date().replace(day=1))
        .values(month_minor=sa.case((left > 0, left), else_=0))
        .execution_options(synchronize_session=False)
    )


NOTES = {
    REFUND: ("Refund", "Refund that failed, given back"),
    DISPUTE: ("Disputed with the bank", "Dispute decided for us, given back"),
}


def take_back(payment_id: str, *, source: str, external_id: str, amount_minor: int, reversed_: bool) -> None:
    """Book a refund or a dispute, below zero if need be; `reversed_` says that the money has come back to us. Each of
    both entries is made once, whatever comes first: a reversal that comes alone books the two."""
    note, note_reversed = NOTES[source]
    with transaction() as session:
        payment = _lock(session, payment_id)
        nanos = amount_minor * payment.credit_nanos // payment.amount_minor
        if nanos <= 0:
            return
        entry = {"source": source, "made_by": MADE_BY}
        if book(session, payment.account_id, -nanos, external_id=external_id, note=note, **entry):
            payment.returned_nanos += nanos
            if source == DISPUTE:
                _switch_off(session, payment.account_id, payment.id, "A payment was disputed.")
        entry |= {"external_id": f"{external_id}:reversed", "note": note_reversed}
        if reversed_ and book(session, payment.account_id, nanos, **entry):
            payment.returned_nanos -= nanos
