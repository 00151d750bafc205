"""Refunds of requests: an operator gives a whole charge back, once. The usage row does not change."""

import datetime

import msgspec
import sqlalchemy as sa
from sqlalchemy.orm import Session

from bridge.acts import Actor, record_act
from bridge.db import db, transaction
from bridge.errors import InvalidRequest, NotFound
from bridge.ledger.budgets import OF_KEY, OF_USER
from bridge.ledger.ledger import book
from bridge.ledger.tables import Budget, Entry, UsageRecord
from bridge.ledger.usage import normalise_id
from bridge.money import format_dollars

REFUND = "refund"  # the entry's source; its external id is the request's, so there is at most one
MAX_REASON_LENGTH = 500


def refund_request(request_id: str, *, reason: str, made_by: str, account_id: int | None = None) -> UsageRecord:
    """Give the whole charge of a request back; `request_id` is its id or its answer's, and `account_id`, if given, must
    be its account. Its key's budgets get the money back too, in the periods in which it was spent. Returns the request.

    Raises InvalidRequest without a reason, for a request that cost nothing, and for one that was refunded before.
    Raises NotFound for a request that is unknown, still runs, or is another account's."""
    reason = reason.strip()
    if not 0 < len(reason) <= MAX_REASON_LENGTH:
        raise InvalidRequest(f"A refund needs a reason of at most {MAX_REASON_LENGTH} characters.", param="reason")
    query = sa.select(UsageRecord).where(UsageRecord.request_id == normalise_id(request_id))
    record = db.session.scalars(
        query if account_id is None else query.where(UsageRecord.account_id == account_id)
    ).first()
    if record is None:
        raise NotFound(
            "There is no settled request of this id: it still runs, it was refused before it cost anything, or it is "
            "another account's."
        )
    if not record.charge_nanos:
        raise InvalidRequest("This request cost nothing: there is nothing to refund.", param="request")
    request_id, charge = record.request_id, record.charge_nanos
    with transaction() as session:
        booked = book(
            session, record.account_id, charge, source=REFUND, external_id=request_id, note=reason, made_by=made_by
        )
        if booked:
            _give_budgets_back(session, record)
            detail = f"${format_dollars(charge, 2)} of {request_id}: {reason}"
            record_act(session, record.account_id, "refund", Actor(made_by), detail)
    if not booked:
        before = find_refund(record.account_id, request_id)
        assert before is not None
        raise InvalidRequest(
            f"This request was refunded before: ${format_dollars(before.amount_nanos, 2)} on "
            f"{before.created_at:%Y-%m-%d}, by {before.made_by}.",
            param="request",
        )
    return record


def _give_budgets_back(session: Session, record: UsageRecord) -> None:
    """Give the charge back to the budgets that the row names: those that its key had at that time."""
    pricing = msgspec.json.decode(record.pricing) if record.pricing else {}
    places = [
        (Budget.period == period)
        & (Budget.period_start == datetime.date.fromisoformat(start))
        & (Budget.scope == (OF_USER + (record.end_user or "") if of_user else OF_KEY))
        for period, start, of_user in pricing.get("budgets", ())
    ]
    if start := pricing.get("budget_start"):  # of a request from when a key had one budget at most
        places = [(Budget.period_start == datetime.date.fromisoformat(start)) & (Budget.scope == OF_KEY)]
    if not places:
        return
    spent = Budget.spent_nanos
    left = sa.case((spent > record.charge_nanos, spent - record.charge_nanos), else_=0)
    session.execute(
        sa.update(Budget)
        .where(Budget.key_id == record.key_id, sa.or_(*places))
        .values(spent_nanos=left)
        .execution_options(synchronize_session=False)
    )


def find_refund(account_id: int, request_id: str) -> Entry | None:
    """The entry that refunded an account's request, if there is one."""
    query = sa.select(Entry).where(Entry.source == REFUND, Entry.external_id == request_id)
    return db.session.scalars(query.where(Entry.account_id == account_id)).one_or_none()
