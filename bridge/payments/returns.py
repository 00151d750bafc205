"""Returns, which are refunds and disputes: money is taken back only against the entry that brought it in, at most as
much, and once.

A return is stored with its payment intent, whatever is known about that by then. So the sequence of Stripe's events
changes nothing: if the credit comes later, the returns that came before are taken back then."""

import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session

from bridge.db import db, transaction
from bridge.languages import to_translate
from bridge.ledger.ledger import book
from bridge.ledger.tables import Entry
from bridge.payments.amounts import format_amount
from bridge.payments.referrals import lock_referral, move_referral
from bridge.payments.rows import (
    BONUS_RETURN,
    DISPUTE,
    MADE_BY,
    REFUND,
    describe_money,
    find_by_intent,
    lock,
    switch_off,
)
from bridge.payments.tables import Payment, Return

NOTES = {
    REFUND: (to_translate("Refund"), to_translate("Refund that failed, given back")),
    DISPUTE: (to_translate("Disputed with the bank"), to_translate("Dispute decided for us, given back")),
}
BONUS_NOTES = (
    to_translate("Bonus taken back with its payment"),
    to_translate("Bonus given back with its payment"),
)
NOT_CREDITED = ("refunded", "review")  # the states of money that came and is not credited
log = structlog.get_logger()


def take_back(payment_id: str, reported: Return) -> str:
    """Record a refund or a dispute that Stripe reports, and take its amount from the balance, even below zero. `undone`
    says that the money has come back to us, which is final. A repeated report changes nothing.

    The return belongs to the payment with its intent, otherwise to the one that it names. Returns what was done:
    "known", "noted" if nothing of that intent is credited, otherwise "booked"."""
    with transaction() as session:
        payment = lock(session, payment_id)
        own = find_by_intent(reported.payment_intent)
        if own is not None and own.id != payment.id:
            payment = lock(session, own.id)
        known = session.get(Return, reported.id, populate_existing=True)
        found = known or _record(session, payment, reported)
        comes_back = reported.undone and not found.undone
        found.undone = found.undone or reported.undone
        if known is not None and not comes_back:
            return "known"
        if payment.payment_intent is None and payment.state not in ("paid", "closed"):
            payment.payment_intent = found.payment_intent
        if payment.payment_intent != found.payment_intent or payment.state == "closed":
            log.warning("return_without_credit", payment_id=payment.id, id=found.id, intent=found.payment_intent)
            return "noted"
        if payment.state != "paid":
            update_uncredited_state(session, payment)
            log.warning("return_without_credit", payment_id=payment.id, id=found.id, state=payment.state)
            return "noted"
        if known is None:
            _move(session, payment, found, back=False)
        if comes_back:
            _move(session, payment, found, back=True)
        return "booked"


def _record(session: Session, payment: Payment, reported: Return) -> Return:
    """Store a new return that is not undone. A dispute ends automatic top-ups."""
    found = Return(
        id=reported.id,
        payment_intent=reported.payment_intent,
        source=reported.source,
        amount_minor=reported.amount_minor,
        currency=reported.currency,
        undone=False,
    )
    session.add(found)
    session.flush()
    if reported.source == DISPUTE:
        switch_off(session, payment.account_id, to_translate("A payment was disputed."), payment.id)
    return found


def take_back_known_returns(session: Session, payment: Payment) -> None:
    """Take back the returns that came before the payment was credited, in the transaction that credits it."""
    query = sa.select(Return).where(Return.payment_intent == payment.payment_intent)
    for found in session.scalars(query.order_by(Return.created_at, Return.id)):
        _move(session, payment, found, back=False)
        if found.undone:
            _move(session, payment, found, back=True)


def _move(session: Session, payment: Payment, found: Return, *, back: bool) -> None:
    """Book what a return takes from a credited payment or, with `back`, what its end gives back. The amount is the
    change in the share of the credit that all returns take together; the same share of the bonus goes with it."""
    external_id = f"{found.id}:reversed" if back else found.id
    if _is_booked(found.source, external_id):  # it was booked before returns had rows of their own
        return
    if found.currency != payment.currency:
        amount = format_amount(found.amount_minor, found.currency)
        payment.problem = f"{found.id} took {amount} back, which is another currency: nothing was booked."
        log.error("return_differs", payment_id=payment.id, id=found.id, amount=amount)
        return
    referral, before = lock_referral(session, payment), payment.returned_minor
    payment.returned_minor = max(0, before - found.amount_minor if back else before + found.amount_minor)
    entry, note = {"made_by": MADE_BY, "external_id": external_id}, NOTES[found.source][back]
    change = _find_change(payment, before, payment.credit_nanos, payment.returned_nanos)
    if change and book(session, payment.account_id, change, source=found.source, note=note, **entry):
        payment.returned_nanos -= change
    change = _find_change(payment, before, payment.bonus_nanos, payment.bonus_returned_nanos)
    if change and book(session, payment.account_id, change, source=BONUS_RETURN, note=BONUS_NOTES[back], **entry):
        payment.bonus_returned_nanos -= change
    if referral is not None:
        move_referral(session, referral, payment, external_id, made_by=MADE_BY)


def _find_change(payment: Payment, returned_before_minor: int, given_nanos: int, taken_nanos: int) -> int:
    """What the change of a payment's returned amount moves of what was given for it. Earlier bookings stand, whatever
    they amount to: never give back more than was taken, nor take more than was given."""
    shares = (
        min(minor, payment.amount_minor) * given_nanos // payment.amount_minor
        for minor in (returned_before_minor, payment.returned_minor)
    )
    before, after = shares
    return max(min(before - after, taken_nanos), taken_nanos - given_nanos)


def _is_booked(source: str, external_id: str) -> bool:
    query = sa.select(Entry.id).where(Entry.source == source, Entry.external_id == external_id)
    return db.session.execute(query).first() is not None


def update_uncredited_state(session: Session, payment: Payment) -> None:
    """Update the state of an uncredited payment after money came for it or went back. If all of it went back, it is
    refunded. Otherwise an operator must review the money that came; if none is known to have come, nothing changes."""
    returned = sum_returned(session, payment)
    if returned >= (payment.paid_minor or payment.amount_minor):
        payment.state = "refunded"
    elif payment.paid_minor is not None or payment.state in NOT_CREDITED:
        payment.state = "review"
        payment.problem = payment.problem or f"{describe_money(payment)} came back to us and is not credited."


def sum_returned(session: Session, payment: Payment) -> int:
    """How much of a payment's money is refunded or disputed at Stripe, in whole cents of its currency."""
    query = sa.select(sa.func.coalesce(sa.func.sum(Return.amount_minor), 0)).where(
        Return.payment_intent == payment.payment_intent,
        Return.currency == (payment.paid_currency or payment.currency),
        ~Return.undone,
    )
    return int(session.scalar(query) or 0)
