"""Recomputes every balance from its records, and exports the ledger for others to check."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from bridge.accounts.roles import OWNER
from bridge.accounts.tables import Account, Key, Member, Membership
from bridge.db import db, snapshot
from bridge.ledger.batch import own_id, read_windows
from bridge.ledger.ledger import CUSTOMER
from bridge.ledger.refunds import REFUND, find_request_of
from bridge.ledger.tables import Balance, Budget, Entry, Hold, UsageRecord
from bridge.money import format_dollars


def check_ledger() -> list[str]:
    """Every difference between stored figures and the records behind them, a sentence each; [] if there is none.

    Runs in one snapshot, so that requests that are settled meanwhile don't look like differences."""
    with snapshot():
        return [*_check_balances(), *_check_holds(), *_check_budgets(), *_check_refunds()]


def _sums(statement: sa.Select[*tuple[Any, ...]]) -> dict[Any, int]:
    return {row[0]: int(row[1] or 0) for row in db.session.execute(statement)}


def _check_balances() -> Iterator[str]:
    signed = sa.case((Entry.credit == CUSTOMER, Entry.amount_nanos), else_=-Entry.amount_nanos)
    entries = _sums(sa.select(Entry.account_id, sa.func.sum(signed)).group_by(Entry.account_id))
    charges = _sums(
        sa.select(UsageRecord.account_id, sa.func.sum(UsageRecord.charge_nanos)).group_by(UsageRecord.account_id)
    )
    stored = _sums(sa.select(Balance.account_id, Balance.balance_nanos))
    for account_id in sorted({*entries, *charges, *stored}):
        expected = entries.get(account_id, 0) - charges.get(account_id, 0)
        yield from _compare(account_id, "balance", stored.get(account_id, 0), expected)


def _check_holds() -> Iterator[str]:
    holds = _sums(sa.select(Hold.account_id, sa.func.sum(Hold.amount_nanos)).group_by(Hold.account_id))
    stored = _sums(sa.select(Balance.account_id, Balance.held_nanos))
    for account_id in sorted({*holds, *stored}):
        yield from _compare(account_id, "held", stored.get(account_id, 0), holds.get(account_id, 0))
    for request_id, state, price in db.session.execute(
        sa.select(UsageRecord.request_id, UsageRecord.state, UsageRecord.charge_nanos).where(
            UsageRecord.state == "released", UsageRecord.charge_nanos != 0
        )
    ):
        yield f"request {request_id}: {state}, but charged {format_dollars(price)}"


def _check_budgets() -> Iterator[str]:
    held: Counter[tuple[int, str, Any, str]] = Counter()
    open_holds = sa.select(Hold.account_id, Hold.key_id, Hold.budgets, Hold.amount_nanos)
    for account_id, key_id, windows, amount in db.session.execute(open_holds.where(Hold.budgets.is_not(None))):
        for window in read_windows(windows):
            held[own_id(window.scope, account_id, key_id), window.period, window.start, window.scope] += amount
    places = sa.select(Budget.key_id, Budget.period, Budget.period_start, Budget.scope, Budget.held_nanos)
    for key_id, period, start, scope, found in db.session.execute(places.where(Budget.held_nanos != 0)):
        held[key_id, period, start, scope] -= found
    for (key_id, period, start, _), missing in sorted(held.items()):
        if missing:
            whose = f"key {key_id}" if key_id >= 0 else f"account {-key_id}"
            yield (
                f"{whose}: its budget from {start} ({period}) and its open holds differ by {format_dollars(missing)}"
            )


def _check_refunds() -> Iterator[str]:
    """The refunds of a request must be no more than its charge, and its own account's."""
    parts: dict[tuple[int, str], int] = defaultdict(int)  # the second one and further ones of each
    refunds = sa.select(Entry).where(Entry.source == REFUND).order_by(Entry.id)
    for entry in db.session.scalars(refunds.where(Entry.external_id.contains(":"))):
        parts[entry.account_id, find_request_of(entry)] += _signed(entry)
    same = sa.and_(UsageRecord.request_id == Entry.external_id, UsageRecord.account_id == Entry.account_id)
    query = refunds.with_only_columns(Entry, UsageRecord.charge_nanos).outerjoin(UsageRecord, same)
    for entry, charge in db.session.execute(query.where(~Entry.external_id.contains(":"))):
        given = _signed(entry)
        given += parts.pop((entry.account_id, find_request_of(entry)), 0) if given > 0 else 0
        if charge is None or not 0 < given <= charge:
            cost = "no request of this account" if charge is None else f"{format_dollars(charge)} charged"
            yield f"account {entry.account_id}: {format_dollars(given)} refunded for {entry.external_id}, {cost}"
    for (account_id, request_id), given in parts.items():
        yield f"account {account_id}: {format_dollars(given)} refunded for {request_id}, without its first refund"


def _signed(entry: Entry) -> int:
    return entry.amount_nanos if entry.credit == CUSTOMER else -entry.amount_nanos


def _compare(account_id: int, what: str, stored: int, expected: int) -> Iterator[str]:
    if stored != expected:
        yield (
            f"account {account_id}: {what} is {format_dollars(stored)}, its records add up to "
            f"{format_dollars(expected)}, difference {format_dollars(stored - expected)}"
        )


def export_ledger() -> Iterator[dict[str, Any]]:
    """Requests, credits and balances as plain values, oldest first, one at a time."""
    owners = {
        row[0]: row[1]
        for row in db.session.execute(
            sa.select(Account.id, sa.func.min(Member.email))
            .join(Membership, Membership.account_id == Account.id)
            .join(Member, Member.id == Membership.member_id)
            .where(Membership.role == OWNER)
            .group_by(Account.id)
        )
    }
    names = {row[0]: row[1] for row in db.session.execute(sa.select(Key.id, Key.name))}
    yield from _export_requests(owners, names)
    for entry in db.session.execute(sa.select(Entry).order_by(Entry.id)).scalars().yield_per(1000):
        sign = 1 if entry.credit == CUSTOMER else -1
        yield {
            "type": "credit",
            "account": owners.get(entry.account_id),
            "source": entry.source,
            "external_id": entry.external_id,
            "amount_nanos": sign * entry.amount_nanos,
        }
    for balance in db.session.execute(sa.select(Balance).order_by(Balance.account_id)).scalars():
        yield {
            "type": "balance",
            "account": owners.get(balance.account_id),
            "balance_nanos": balance.balance_nanos,
            "held_nanos": balance.held_nanos,
        }


def _export_requests(owners: dict[int, str], names: dict[int, str]) -> Iterator[dict[str, Any]]:
    settled = sa.select(UsageRecord).order_by(UsageRecord.created_at, UsageRecord.request_id)
    for usage in db.session.execute(settled).scalars().yield_per(1000):
        yield {
            "type": "request",
            "request_id": usage.request_id,
            "account": owners.get(usage.account_id),
            "key": names.get(usage.key_id),
            "state": usage.state,
            "held_nanos": usage.hold_nanos,
            "charged_nanos": usage.charge_nanos,
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "source": usage.tokens_source,
            "outcome": usage.outcome,
            "created_at": usage.created_at.isoformat(),
            "settled_at": usage.settled_at.isoformat(),
        }
    for hold in db.session.execute(sa.select(Hold).order_by(Hold.created_at)).scalars().yield_per(1000):
        yield {
            "type": "request",
            "request_id": hold.request_id,
            "account": owners.get(hold.account_id),
            "key": names.get(hold.key_id),
            "state": "open",
            "held_nanos": hold.amount_nanos,
            "charged_nanos": 0,
            "prompt_tokens": 0,
            "completion_tokens": 0,
            "source": "none",
            "outcome": None,
            "created_at": hold.created_at.isoformat(),
            "settled_at": None,
        }
