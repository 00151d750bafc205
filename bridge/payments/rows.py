"""Finds and locks payments' rows, describes their money, and switches off an account's automatic top-ups."""

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bridge.accounts.letters import written_for
from bridge.accounts.standing import list_owners, lock_status, select_active
from bridge.db import db
from bridge.errors import AccountSuspended
from bridge.languages import translate
from bridge.mail.outbox import queue_mail
from bridge.payments.amounts import format_amount
from bridge.payments.tables import AutoTopUp, Payment
from bridge.telemetry import new_request_id

PAID, REFUND, DISPUTE = "stripe", "stripe_refund", "stripe_dispute"
BONUS, BONUS_RETURN = "bonus", "bonus_return"  # what a payment earned on top, and what of that was taken back
REFERRAL, REFERRAL_RETURN = "referral", "referral_return"  # for both sides of a referral
MADE_BY = "stripe"
MAX_PROBLEM_LENGTH = 300


def new_payment_id() -> str:
    """`pay_` and a UUIDv7 in hex: ids sort by time."""
    return "pay_" + new_request_id()[4:]


def find_by_id(payment_id: str | None) -> Payment | None:
    return db.session.get(Payment, payment_id) if payment_id else None


def find_by_intent(payment_intent: str) -> Payment | None:
    return db.session.scalars(sa.select(Payment).where(Payment.payment_intent == payment_intent)).one_or_none()


def require_active(session: Session, account_id: int) -> None:
    """Raises AccountSuspended. No suspension can come before the caller's transaction ends."""
    if lock_status(session, account_id) == "suspended":
        raise AccountSuspended(
            translate("This account is suspended: nothing can be paid or redeemed. Write to the operator.")
        )


def may_be_charged() -> sa.ColumnElement[bool]:
    """Whether the account of a rule of automatic top-ups is not suspended."""
    return select_active(AutoTopUp.account_id).correlate(AutoTopUp).exists()


def release() -> None:
    """Give the database connection back before a call to Stripe."""
    db.session.commit()


def lock(session: Session, payment_id: str) -> Payment:
    """The current row, locked until the transaction ends."""
    query = sa.select(Payment).where(Payment.id == payment_id).with_for_update()
    return session.scalars(query.execution_options(populate_existing=True)).one()


def needs_review() -> sa.ColumnElement[bool]:
    """Selects the payments that an operator must settle, link or close."""
    return (Payment.state == "review") | ((Payment.state == "paid") & Payment.problem.is_not(None))


def describe_money(payment: Payment) -> str:
    """The money that came for a payment or, if that isn't known, what was asked for: "$15.00"."""
    return format_amount(payment.paid_minor or payment.amount_minor, payment.paid_currency or payment.currency)


def switch_off(session: Session, account_id: int, problem: str, once: str) -> bool:
    """Switch automatic top-ups off. If they were on, the account's owners get one mail each. `once` names the reason,
    uniquely for the account. Returns whether they were on."""
    was_on = session.execute(
        sa.update(AutoTopUp)
        .where(AutoTopUp.account_id == account_id, AutoTopUp.enabled)
        .values(enabled=False, problem=problem[:MAX_PROBLEM_LENGTH])
        .returning(AutoTopUp.account_id)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if was_on is None:
        return False
    for member_id, email in list_owners(session, account_id):
        with written_for(session, email):
            subject, text = _write_off(problem)
        queue_mail(session, once=f"auto-off:{once}:{member_id}", recipient=email, subject=subject, text=text)
    return True


def _write_off(problem: str) -> tuple[str, str]:
    reason = translate("Your card is no longer charged when the balance is low, for this reason:")
    after = translate(
        "Requests go on until the balance is used up; then they answer 402. On the billing page you can pay, keep "
        "another card, and switch automatic top-ups on again."
    )
    return translate("Automatic top-ups are off"), f"{reason}\n\n{translate(problem)}\n\n{after}\n"
