"""Refunds and disputes: money goes back only against the entry that brought it in, at most as much, each once.

What went back is remembered by the payment intent it went back of, whatever is known of that by then. So the order in
which Stripe's news arrive changes nothing: a credit that comes later is followed by what was taken back before."""

import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session

from bridge.db import db, transaction
from bridge.ledger.ledger import book
from bridge.ledger.tables import Entry
from bridge.payments.amounts import format_amount
from bridge.payments.rows import DISPUTE, MADE_BY, REFUND, describe_money, find_by_intent, lock, switch_off
from bridge.payments.tables import Payment, Return

NOTES = {
    REFUND: ("Refund", "Refund that failed, given back"),
    DISPUTE: ("Disputed with the bank", "Dispute decided for us, given back"),
}
NOT_CREDITED = ("refunded", "review")  # money came that is not credited
log = structlog.get_logger()


def take_back(payment_id: str, told: Return) -> str:
    """Note a refund or a dispute as Stripe tells of it, and book what it takes from the balance, below zero if need be;
    `undone` says that the money has come back to us, which is final. News of it that are known change nothing.

    The payment is the one that it names or that its intent belongs to. Says what was done: "known", "noted" where
    nothing of that intent is credited, else "booked"."""
    with transaction() as session:
        payment = lock(session, payment_id)
        own = find_by_intent(told.payment_intent)
        if own is not None and own.id != payment.id:
            payment = lock(session, own.id)
        known = session.get(Return, told.id, populate_existing=True)
        found = known or _note(session, payment, told)
        comes_back = told.undone and not found.undone
        found.undone = found.undone or told.undone
        if known is not None and not comes_back:
            return "known"
        if payment.payment_intent is None and payment.state not in ("paid", "closed"):
            payment.payment_intent = found.payment_intent
        if payment.payment_intent != found.payment_intent or payment.state == "closed":
            log.warning("return_without_credit", payment_id=payment.id, id=found.id, intent=found.payment_intent)
            return "noted"
        if payment.state != "paid":
            stand(session, payment)
            log.warning("return_without_credit", payment_id=payment.id, id=found.id, state=payment.state)
            return "noted"
        if known is None:
            _move(session, payment, found, back=False)
        if comes_back:
            _move(session, payment, found, back=True)
        return "booked"


def _note(session: Session, payment: Payment, told: Return) -> Return:
    """A return that was not known, as one that stands. A dispute that does ends automatic top-ups."""
    found = Return(
        id=told.id,
        payment_intent=told.payment_intent,
        source=told.source,
        amount_minor=told.amount_minor,
        currency=told.currency,
        undone=False,
    )
    session.add(found)
    session.flush()
    if told.source == DISPUTE:
        switch_off(session, payment.account_id, "A payment was disputed.", payment.id)
    return found


def take_known_back(session: Session, payment: Payment) -> None:
    """What went back before the payment was credited, now that it is; in the transaction that credits it."""
    query = sa.select(Return).where(Return.payment_intent == payment.payment_intent)
    for found in session.scalars(query.order_by(Return.created_at, Return.id)):
        _move(session, payment, found, back=False)
        if found.undone:
            _move(session, payment, found, back=True)


def _move(session: Session, payment: Payment, found: Return, *, back: bool) -> None:
    """Book what a return takes of a credited payment, or (`back`) what its end gives back: the difference that it makes
    to the share of the credit that all returns together take."""
    external_id = f"{found.id}:reversed" if back else found.id
    if _is_booked(found.source, external_id):  # before returns had rows of their own
        return
    if found.currency != payment.currency:
        amount = format_amount(found.amount_minor, found.currency)
        payment.problem = f"{found.id} took {amount} back, which is another currency: nothing was booked."
        log.error("return_differs", payment_id=payment.id, id=found.id, amount=amount)
        return
    before = payment.returned_minor
    payment.returned_minor = max(0, before - found.amount_minor if back else before + found.amount_minor)
    change = _share(payment, before) - _share(payment, payment.returned_minor)
    # what was booked before stands, whatever it came to: never more back than was taken, nor taken than was credited
    change = max(min(change, payment.returned_nanos), payment.returned_nanos - payment.credit_nanos)
    if not change:
        return
    entry = {"source": found.source, "made_by": MADE_BY, "external_id": external_id}
    if book(session, payment.account_id, change, note=NOTES[found.source][back], **entry):
        payment.returned_nanos -= change


def _share(payment: Payment, returned_minor: int) -> int:
    """What of the credit goes with so much of the payment; all of it goes with all."""
    return min(returned_minor, payment.amount_minor) * payment.credit_nanos // payment.amount_minor


def _is_booked(source: str, external_id: str) -> bool:
    query = sa.select(Entry.id).where(Entry.source == source, Entry.external_id == external_id)
    return db.session.execute(query).first() is not None


def stand(session: Session, payment: Payment) -> None:
    """The state of a payment that is not credited, now that money came for it or went back. All of it went back: it is
    refunded, and that is all. Otherwise what came is for an operator to look at; where nothing is known to have come,
    that is still to be heard of, and nothing changes."""
    returned = sum_returned(session, payment)
    if returned >= (payment.paid_minor or payment.amount_minor):
        payment.state = "refunded"
    elif payment.paid_minor is not None or payment.state in NOT_CREDITED:
        payment.state = "review"
        payment.problem = payment.problem or f"{describe_money(payment)} came back to us and is not credited."


def sum_returned(session: Session, payment: Payment) -> int:
    """What of a payment's money is refunded or disputed at Stripe, in whole cents of the currency it came in."""
    query = sa.select(sa.func.coalesce(sa.func.sum(Return.amount_minor), 0)).where(
        Return.payment_intent == payment.payment_intent,
        Return.currency == (payment.paid_currency or payment.currency),
        ~Return.undone,
    )
    return int(session.scalar(query) or 0)
