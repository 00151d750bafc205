"""Payments as operators see them: the list of those to review, and one with everything known about it."""

import contextlib
import dataclasses
from collections.abc import Iterator

import sqlalchemy as sa

from bridge.db import db
from bridge.errors import InvalidRequest
from bridge.ledger.tables import Entry
from bridge.payments.returns import NOT_CREDITED
from bridge.payments.review import find_payment, require_linkable, require_open
from bridge.payments.rows import BONUS, BONUS_RETURN, DISPUTE, PAID, REFUND, needs_review
from bridge.payments.tables import Decision, Payment, Return

PAGE_SIZE = 50


@dataclasses.dataclass(frozen=True, slots=True)
class PaymentView:
    """A payment, its returns, its entries in the journal, what operators did with it, and what they may do."""

    payment: Payment
    returns: list[Return]
    entries: list[Entry]
    decisions: list[Decision]
    actions: list[str]


def list_payments_to_review(
    *, everything: bool = False, search: str = "", before_id: str | None = None, limit: int = PAGE_SIZE
) -> list[Payment]:
    """Payments that an operator must review, or all payments, the newest first. `search` is an id of ours or of
    Stripe's."""
    query = sa.select(Payment).order_by(Payment.id.desc()).limit(limit)
    if search:
        query = query.where((Payment.id == search) | (Payment.payment_intent == search))
    elif not everything:
        query = query.where(needs_review() | returned_uncredited())
    if before_id:
        query = query.where(Payment.id < before_id)
    return list(db.session.scalars(query))


def returned_uncredited() -> sa.ColumnElement[bool]:
    """Whether money was returned of a payment whose money we never heard of, or was taken back without a credit."""
    went_back = sa.select(Return.id).where(Return.payment_intent == Payment.payment_intent, ~Return.undone)
    unheard = Payment.state.not_in(("paid", "closed", *NOT_CREDITED)) & went_back.correlate(Payment).exists()
    return unheard | ((Payment.state != "paid") & (Payment.returned_nanos > 0))


def view_payment(payment_id: str) -> PaymentView:
    """One payment. Raises NotFound."""
    payment = find_payment(payment_id)
    intent = payment.payment_intent or ""
    returns = sa.select(Return).where(Return.payment_intent == intent).order_by(Return.created_at, Return.id)
    decisions = sa.select(Decision).where(Decision.payment_id == payment.id).order_by(Decision.id)
    found = list(db.session.scalars(returns))
    return PaymentView(
        payment, found, _list_entries(payment, found), list(db.session.scalars(decisions)), list(_list_actions(payment))
    )


def _list_entries(payment: Payment, returns: list[Return]) -> list[Entry]:
    back = [external_id for one in returns for external_id in (one.id, f"{one.id}:reversed")]
    query = sa.select(Entry).where(
        Entry.account_id == payment.account_id,
        (Entry.source.in_((PAID, BONUS)) & (Entry.external_id == payment.payment_intent))
        | (
            Entry.source.in_((REFUND, DISPUTE, BONUS_RETURN))
            & Entry.external_id.in_([*back, f"{payment.id}:given_back"])
        ),
    )
    return list(db.session.scalars(query.order_by(Entry.id)))


def _list_actions(payment: Payment) -> Iterator[str]:
    """The actions that the payment's state allows."""
    if payment.state == "paid":
        if payment.problem is not None:
            yield "close"
        return
    with contextlib.suppress(InvalidRequest):
        require_open(payment, "settled")
        if payment.payment_intent is not None:
            yield "settle"
    with contextlib.suppress(InvalidRequest):
        require_linkable(payment)
        yield "link"
    if payment.state not in ("closed", "refunded") or payment.returned_nanos:
        yield "close"
