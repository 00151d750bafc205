"""Refunds of requests: an operator gives a charge back, whole or in parts. The usage row does not change."""

import dataclasses
import datetime
from collections.abc import Iterable, Sequence

import msgspec
import sqlalchemy as sa
from sqlalchemy.orm import Session

from bridge.acts import Actor, record_act
from bridge.db import db, transaction
from bridge.errors import InvalidRequest, NotFound
from bridge.languages import translate
from bridge.ledger.batch import own_id
from bridge.ledger.budgets import OF_KEY, OF_USER
from bridge.ledger.ledger import Guard, book
from bridge.ledger.tables import Budget, Entry, UsageRecord
from bridge.ledger.usage import normalise_id
from bridge.money import format_dollars, parse_dollars, parse_percent

REFUND = "refund"  # the entry's source
MAX_REASON_LENGTH = 500
MOST_REFUNDS = 20  # of one request: all of them are looked up by name


@dataclasses.dataclass(frozen=True, slots=True)
class Refunded:
    """A request and what was given back of it."""

    record: UsageRecord
    amount_nanos: int


def refund_request(
    request_id: str,
    *,
    reason: str,
    made_by: str,
    account_id: int | None = None,
    amount_nanos: int | None = None,
    number: int | None = None,
    guard: Guard = None,
) -> Refunded:
    """Give the charge of a request back, or `amount_nanos` of it; without an amount all that isn't refunded yet.
    `request_id` is its id or its answer's, and `account_id`, if given, must be its account. Its key's budgets get the
    money back too, in the periods in which it was spent.

    `number` is which refund of the request this is to be, from 1 on: asked for twice, it is booked once. All refunds
    of a request are numbered without gaps by their external ids, so each knows of those before it, and together they
    never exceed the charge. `guard` may refuse what was booked, in the same transaction.

    Raises InvalidRequest without a reason, for a request that cost nothing, for more than is left to refund, and where
    another refund has the number. Raises NotFound for a request that is unknown, still runs, or is another account's.
    """
    reason = check_reason(reason)
    record = find_refundable(request_id, account_id)
    with transaction() as session:
        before = list_refunds(record.account_id, record.request_id)
        next_number = len(before) + 1
        amount = check_amount(record, before, amount_nanos) if number in (None, next_number) else 0
        booked = amount > 0 and book(
            *(session, record.account_id, amount),
            source=REFUND,
            external_id=_name(record.request_id, next_number),
            note=reason,
            made_by=made_by,
        )
        if booked:
            _give_budgets_back(session, record, amount)
            detail = f"${_write(amount)} of {record.request_id}: {reason}"
            record_act(session, record.account_id, "refund", Actor(made_by), detail)
            if guard is not None:
                guard(session)
    if not booked:
        raise InvalidRequest(_tell_before(list_refunds(record.account_id, record.request_id)), param="request")
    return Refunded(record, amount)


def check_amount(record: UsageRecord, before: Sequence[Entry], amount_nanos: int | None) -> int:
    """The amount that may be given back after these refunds; None is all that is left. Raises InvalidRequest."""
    left = record.charge_nanos - sum_refunds(before)
    if left <= 0:
        raise InvalidRequest(_tell_before(before), param="request")
    if len(before) >= MOST_REFUNDS:
        said = translate(
            "A request is refunded in %(count)s parts at most. Add credit for what is left.", count=MOST_REFUNDS
        )
        raise InvalidRequest(said, param="request")
    if amount_nanos is not None and not 0 < amount_nanos <= left:
        raise InvalidRequest(
            translate("Give more than zero, and at most $%(value)s, which is left of it.", value=_write(left)),
            param="amount",
        )
    return left if amount_nanos is None else amount_nanos


def read_amount(text: str, charge_nanos: int) -> int | None:
    """The amount that an operator typed: dollars such as `0.25`, or a share of the charge such as `50%`, in whole
    nano-dollars, rounded down; None for nothing. Raises InvalidRequest."""
    text = text.strip().replace(",", "").removeprefix("$")
    if not text:
        return None
    try:
        if text.endswith("%"):
            return charge_nanos * parse_percent(text.removesuffix("%").strip()) // 10_000
        return parse_dollars(text)
    except ValueError:
        raise InvalidRequest(
            translate("Give dollars, such as 0.25, or a share, such as 50%."), param="amount"
        ) from None


def list_refunds(account_id: int, request_id: str) -> list[Entry]:
    """The refunds of an account's request, the first one first."""
    names = [_name(request_id, number) for number in range(1, MOST_REFUNDS + 1)]
    query = sa.select(Entry).where(Entry.source == REFUND, Entry.external_id.in_(names))
    return list(db.session.scalars(query.where(Entry.account_id == account_id).order_by(Entry.id)))


def sum_refunds(refunds: Iterable[Entry]) -> int:
    """What was given back by these, in nano-dollars."""
    return sum(each.amount_nanos for each in refunds)


def find_request_of(entry: Entry) -> str:
    """The id of the request that an entry refunded."""
    return (entry.external_id or "").partition(":")[0]


def _name(request_id: str, number: int) -> str:
    """The external id of a request's refund of this number."""
    return request_id if number == 1 else f"{request_id}:{number}"


def _tell_before(before: Sequence[Entry]) -> str:
    if not before:
        return translate("Nothing was refunded: the request was refunded otherwise a moment ago. Look again.")
    last = before[-1]
    day = f"{last.created_at:%Y-%m-%d}"
    return translate(
        "This request was refunded before: $%(amount)s on %(day)s, by %(name)s. Nothing was refunded now.",
        amount=_write(sum_refunds(before)),
        day=day,
        name=last.made_by,
    )


def _write(nanos: int) -> str:
    return format_dollars(nanos, 2)


def check_reason(reason: str) -> str:
    """The reason without spaces around it. Raises InvalidRequest without one, and for one that is too long."""
    reason = reason.strip()
    if not 0 < len(reason) <= MAX_REASON_LENGTH:
        raise InvalidRequest(
            translate(
                "A refund needs a reason of at most %(max_reason_length)s characters.",
                max_reason_length=MAX_REASON_LENGTH,
            ),
            param="reason",
        )
    return reason


def find_refundable(request_id: str, account_id: int | None = None) -> UsageRecord:
    """The request of this id, or of its answer's, whose charge may be given back; `account_id` as above. Raises
    NotFound, and InvalidRequest for one that cost nothing."""
    query = sa.select(UsageRecord).where(UsageRecord.request_id == normalise_id(request_id))
    record = db.session.scalars(
        query if account_id is None else query.where(UsageRecord.account_id == account_id)
    ).first()
    if record is None:
        raise NotFound(
            translate(
                "There is no settled request of this id: it still runs, it was refused before it cost anything, or it "
                "is another account's."
            )
        )
    if not record.charge_nanos:
        raise InvalidRequest(translate("This request cost nothing: there is nothing to refund."), param="request")
    return record


def _give_budgets_back(session: Session, record: UsageRecord, amount: int) -> None:
    """Give this much of the charge back to the budgets that the row names: those that key, member and account had
    then."""
    pricing = msgspec.json.decode(record.pricing) if record.pricing else {}
    places = [
        (Budget.period == period)
        & (Budget.period_start == datetime.date.fromisoformat(start))
        & (Budget.scope == (scope := _read_scope(record, whose)))
        & (Budget.key_id == own_id(scope, record.account_id, record.key_id))
        for period, start, whose in pricing.get("budgets", ())
    ]
    if start := pricing.get("budget_start"):  # of a request from when a key had one budget at most
        of_key = (Budget.key_id == record.key_id) & (Budget.scope == OF_KEY)
        places = [(Budget.period_start == datetime.date.fromisoformat(start)) & of_key]
    if not places:
        return
    spent = Budget.spent_nanos
    left = sa.case((spent > amount, spent - amount), else_=0)
    session.execute(
        sa.update(Budget).where(sa.or_(*places)).values(spent_nanos=left).execution_options(synchronize_session=False)
    )


def _read_scope(record: UsageRecord, whose: bool | str) -> str:
    """The scope of a budget as the row names it: its end user's, the key's own, or one that keys share."""
    if isinstance(whose, str):
        return whose
    return OF_USER + (record.end_user or "") if whose else OF_KEY
