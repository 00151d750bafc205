"""Compares payments with the journal's entries: every payment was credited once, and every return was taken back."""

from collections.abc import Iterator

import sqlalchemy as sa
from sqlalchemy.orm import InstrumentedAttribute

from bridge.db import db, snapshot
from bridge.ledger.ledger import CUSTOMER
from bridge.ledger.tables import Entry
from bridge.money import format_dollars
from bridge.payments.check_plans import check_plans
from bridge.payments.check_referrals import check_referrals
from bridge.payments.rows import BONUS, BONUS_RETURN, DISPUTE, PAID, REFUND, needs_review
from bridge.payments.tables import Payment

Given = InstrumentedAttribute[int]


def check_payments() -> list[str]:
    """Every difference, a sentence each, and every payment that an operator must review; [] if there is none.

    Runs in one snapshot: a payment and its entry are committed together."""
    with snapshot():
        return [
            *_check_credits(PAID, Payment.credit_nanos, "credits"),
            *_check_credits(BONUS, Payment.bonus_nanos, "gives a bonus of"),
            *_check_returns((REFUND, DISPUTE), Payment.returned_nanos, "payments"),
            *_check_returns((BONUS_RETURN,), Payment.bonus_returned_nanos, "bonuses"),
            *_check_each_return(),
            *check_referrals(),
            *check_plans(),
            *_list_odd(),
        ]


def _check_credits(source: str, given: Given, does: str) -> Iterator[str]:
    """Compare both ways: each paid payment needs its entry, each entry its paid payment, and both the same account."""
    columns_paid = (Payment.id, Payment.account_id, Payment.payment_intent, given.label("given_nanos"))
    paid = sa.select(*columns_paid).where(Payment.state == "paid", given > 0).subquery()
    entry = sa.select(Entry).where(Entry.source == source).subquery()
    pairs = sa.join(paid, entry, paid.c.payment_intent == entry.c.external_id, full=True)
    differs = (
        paid.c.id.is_(None)
        | entry.c.id.is_(None)
        | (paid.c.given_nanos != entry.c.amount_nanos)
        | (paid.c.account_id != entry.c.account_id)
        | (entry.c.credit != CUSTOMER)
    )
    columns = (paid.c.account_id, paid.c.id, paid.c.given_nanos, entry.c.account_id, entry.c.external_id)
    query = sa.select(*columns, entry.c.amount_nanos).select_from(pairs).where(differs)
    for payer, payment_id, given_nanos, holder, intent, amount in db.session.execute(query):
        yield (
            f"account {payer or holder}: payment {payment_id or 'that is missing'} {does} {_dollars(given_nanos)}, "
            f"entry {intent or 'that is missing'} says {_dollars(amount)}"
        )


def _check_returns(sources: tuple[str, ...], taken: Given, what: str) -> Iterator[str]:
    signed = sa.case((Entry.credit == CUSTOMER, -Entry.amount_nanos), else_=Entry.amount_nanos)
    entries = sa.select(Entry.account_id, sa.func.sum(signed)).where(Entry.source.in_(sources))
    payments = sa.select(Payment.account_id, sa.func.sum(taken))
    booked = {row[0]: int(row[1]) for row in db.session.execute(entries.group_by(Entry.account_id))}
    noted = {row[0]: int(row[1]) for row in db.session.execute(payments.group_by(Payment.account_id))}
    for account_id in sorted({*booked, *noted}):
        found, expected = noted.get(account_id, 0), booked.get(account_id, 0)
        if found != expected:
            yield (
                f"account {account_id}: its {what} were returned by {_dollars(found)}, its entries by "
                f"{_dollars(expected)}"
            )


def _check_each_return() -> Iterator[str]:
    """Nothing may be taken back that was never credited, nor more than that."""
    uncredited = (Payment.state != "paid") & (Payment.returned_nanos + Payment.bonus_returned_nanos > 0)
    more = (Payment.returned_nanos > Payment.credit_nanos) | (Payment.bonus_returned_nanos > Payment.bonus_nanos)
    query = sa.select(Payment).where(uncredited | more)
    for payment in db.session.scalars(query.order_by(Payment.id)):
        returned = _dollars(payment.returned_nanos + payment.bonus_returned_nanos)
        credit = _dollars(payment.credit_nanos + payment.bonus_nanos)
        of_what = f"credited {credit}" if payment.state == "paid" else "never credited: closing it gives that back"
        yield f"account {payment.account_id}: payment {payment.id} returned {returned}, but was {of_what}"


def _list_odd() -> Iterator[str]:
    for payment in db.session.scalars(sa.select(Payment).where(needs_review()).order_by(Payment.id)):
        yield f"account {payment.account_id}: payment {payment.id}: look at it at Stripe: {payment.problem}"


def _dollars(nanos: int | None) -> str:
    return "nothing" if nanos is None else format_dollars(nanos, 2)
