"""Compares referrals with the journal's entries: both sides were credited once, and what was taken back is as its
payment says."""

from collections.abc import Iterator

import sqlalchemy as sa

from bridge.db import db
from bridge.ledger.ledger import CUSTOMER
from bridge.ledger.tables import Entry
from bridge.money import format_dollars
from bridge.payments.referral_tables import Referral
from bridge.payments.rows import REFERRAL, REFERRAL_RETURN
from bridge.payments.tables import Payment


def check_referrals() -> Iterator[str]:
    """Every difference, a sentence each, in the caller's snapshot."""
    yield from _check_sums(REFERRAL, Referral.payment_intent.is_not(None), "earned", 1)
    yield from _check_sums(REFERRAL_RETURN, Referral.is_taken_back.is_(True), "lost", -1)
    yield from _check_payments()


def _check_sums(source: str, counts: sa.ColumnElement[bool], what: str, sign: int) -> Iterator[str]:
    """Compare what each account's entries of a source sum to with its referrals, as both of their sides."""
    signed = sa.case((Entry.credit == CUSTOMER, Entry.amount_nanos), else_=-Entry.amount_nanos)
    entries = sa.select(Entry.account_id, sa.func.sum(signed)).where(Entry.source == source).group_by(Entry.account_id)
    booked = {row[0]: int(row[1]) * sign for row in db.session.execute(entries)}
    noted: dict[int, int] = {}
    for side, nanos in (
        (Referral.newcomer_id, Referral.newcomer_nanos),
        (Referral.referrer_id, Referral.referrer_nanos),
    ):
        for account_id, total in db.session.execute(sa.select(side, sa.func.sum(nanos)).where(counts).group_by(side)):
            noted[account_id] = noted.get(account_id, 0) + int(total)
    for account_id in sorted({*booked, *noted}):
        found, expected = noted.get(account_id, 0), booked.get(account_id, 0)
        if found != expected:
            yield (
                f"account {account_id}: it {what} ${format_dollars(found, 2)} by referrals, its entries say "
                f"${format_dollars(expected, 2)}"
            )


def _check_payments() -> Iterator[str]:
    """Each credit needs the newcomer's paid payment, and is taken back exactly while that is returned wholly."""
    joined = sa.outerjoin(Referral, Payment, Payment.payment_intent == Referral.payment_intent)
    wholly = Payment.returned_minor >= Payment.amount_minor
    differs = (
        Payment.id.is_(None)
        | (Payment.state != "paid")
        | (Payment.account_id != Referral.newcomer_id)
        | (wholly & ~Referral.is_taken_back)
        | (~wholly & Referral.is_taken_back)
    )
    query = sa.select(Referral.newcomer_id, Referral.payment_intent).select_from(joined)
    for account_id, intent in db.session.execute(query.where(Referral.payment_intent.is_not(None), differs)):
        yield f"account {account_id}: its referral does not go with payment {intent}"
