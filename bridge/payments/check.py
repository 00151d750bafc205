"""Compares payments with the journal's entries: every payment was credited once, and every return was taken back."""

from collections.abc import Iterator

import sqlalchemy as sa

from bridge.db import db, snapshot
from bridge.ledger.ledger import CUSTOMER
from bridge.ledger.tables import Entry
from bridge.money import format_dollars
from bridge.payments.rows import DISPUTE, PAID, REFUND, needs_review
from bridge.payments.tables import Payment


def check_payments() -> list[str]:
    """Every difference, a sentence each, and every payment that an operator must review; [] if there is none.

    Runs in one snapshot: a payment and its entry are committed together."""
    with snapshot():
        return [*_check_credits(), *_check_returns(), *_check_each_return(), *_list_odd()]


def _check_credits() -> Iterator[str]:
    """Compare both ways: each paid payment needs its entry, each entry its paid payment, and both the same account."""
    paid = sa.select(Payment).where(Payment.state == "paid").subquery()
    entry = sa.select(Entry).where(Entry.source == PAID).subquery()
    pairs = sa.join(paid, entry, paid.c.payment_intent == entry.c.external_id, full=True)
    differs = (
        paid.c.id.is_(None)
        | entry.c.id.is_(None)
        | (paid.c.credit_nanos != entry.c.amount_nanos)
        | (paid.c.account_id != entry.c.account_id)
        | (entry.c.credit != CUSTOMER)
    )
    columns = (paid.c.account_id, paid.c.id, paid.c.credit_nanos, entry.c.account_id, entry.c.external_id)
    query = sa.select(*columns, entry.c.amount_nanos).select_from(pairs).where(differs)
    for payer, payment_id, credited, holder, intent, amount in db.session.execute(query):
        yield (
            f"account {payer or holder}: payment {payment_id or 'that is missing'} credits {_dollars(credited)}, "
            f"entry {intent or 'that is missing'} says {_dollars(amount)}"
        )


def _check_returns() -> Iterator[str]:
    signed = sa.case((Entry.credit == CUSTOMER, -Entry.amount_nanos), else_=Entry.amount_nanos)
    entries = sa.select(Entry.account_id, sa.func.sum(signed)).where(Entry.source.in_((REFUND, DISPUTE)))
    payments = sa.select(Payment.account_id, sa.func.sum(Payment.returned_nanos))
    booked = {row[0]: int(row[1]) for row in db.session.execute(entries.group_by(Entry.account_id))}
    noted = {row[0]: int(row[1]) for row in db.session.execute(payments.group_by(Payment.account_id))}
    for account_id in sorted({*booked, *noted}):
        found, expected = noted.get(account_id, 0), booked.get(account_id, 0)
        if found != expected:
            yield (
                f"account {account_id}: its payments were returned by {_dollars(found)}, its entries by "
                f"{_dollars(expected)}"
            )


def _check_each_return() -> Iterator[str]:
    """Nothing may be taken back that was never credited, nor more than that."""
    uncredited = (Payment.state != "paid") & (Payment.returned_nanos > 0)
    query = sa.select(Payment).where(uncredited | (Payment.returned_nanos > Payment.credit_nanos))
    for payment in db.session.scalars(query.order_by(Payment.id)):
        returned, credit = _dollars(payment.returned_nanos), _dollars(payment.credit_nanos)
        of_what = f"credited {credit}" if payment.state == "paid" else "never credited: closing it gives that back"
        yield f"account {payment.account_id}: payment {payment.id} returned {returned}, but was {of_what}"


def _list_odd() -> Iterator[str]:
    for payment in db.session.scalars(sa.select(Payment).where(needs_review()).order_by(Payment.id)):
        yield f"account {payment.account_id}: payment {payment.id}: look at it at Stripe: {payment.problem}"


def _dollars(nanos: int | None) -> str:
    return "nothing" if nanos is None else format_dollars(nanos, 2)
