"""Balances, credits and adjustments. Only this file and the batch beside it change balances."""

import dataclasses
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from bridge.acts import COMMAND, Actor, record_act
from bridge.db import db, transaction
from bridge.errors import InvalidRequest
from bridge.languages import translate
from bridge.ledger.tables import Balance, Entry
from bridge.money import MAX_NANOS, format_dollars

CUSTOMER = "customer"
OPERATOR = "operator"  # the source of what operators book, by page or command
MERGE = "merge"  # the source of what went from one account to another, merged one
OTHER_SIDE = {
    MERGE: "transfers",
    OPERATOR: "adjustments",
    "command": "adjustments",
    "signup": "gifts",
    "setup": "gifts",
    "code": "gifts",
    "bonus": "gifts",
    "bonus_return": "gifts",
    "referral": "gifts",
    "referral_return": "gifts",
    "refund": "refunds",
}

# looks at what was just booked, in the same transaction, and may refuse it by an exception
Guard = Callable[[Session], None] | None

# two payments of a new account may arrive together, and both find no balance
_OPEN_BALANCE = sa.text(
    "INSERT INTO balances (account_id, balance_nanos, held_nanos, debt_nanos) VALUES (:account_id, 0, 0, 0)"
    " ON CONFLICT (account_id) DO NOTHING"
)


@dataclasses.dataclass(frozen=True, slots=True)
class BalanceView:
    """An account's money at one moment. `available` is what a new request may use; it is negative after a
    charge-back."""

    balance_nanos: int
    held_nanos: int

    @property
    def available_nanos(self) -> int:
        return self.balance_nanos - self.held_nanos


def find_balance(account_id: int) -> BalanceView:
    """The account's balance and open holds; zero for an account that never had money."""
    row = db.session.execute(
        sa.select(Balance.balance_nanos, Balance.held_nanos).where(Balance.account_id == account_id)
    ).one_or_none()
    return BalanceView(*row) if row else BalanceView(0, 0)


def sum_credited(account_id: int) -> int:
    """All that was ever credited to the account, in nano-dollars."""
    signed = sa.case((Entry.credit == CUSTOMER, Entry.amount_nanos), else_=-Entry.amount_nanos)
    query = sa.select(sa.func.sum(signed)).where(Entry.account_id == account_id)
    return int(db.session.execute(query).scalar() or 0)


def credit(
    account_id: int,
    amount_nanos: int,
    *,
    source: str,
    external_id: str | None = None,
    note: str | None = None,
    made_by: str | None = None,
) -> bool:
    """Add money, once per (source, external_id). Returns False, and changes nothing, if that credit was made before.

    Raises InvalidRequest for an amount that isn't positive or is absurdly large."""
    _check_amount(amount_nanos)
    return _write_once(account_id, amount_nanos, source, external_id, note, made_by)


def adjust(
    account_id: int,
    amount_nanos: int,
    *,
    note: str,
    made_by: str,
    external_id: str | None = None,
    guard: Guard = None,
) -> bool:
    """Change the balance by an operator's decision, up or down, even below zero, once per external id. Returns False,
    and changes nothing, if that adjustment was made before. `guard` may refuse what was booked. Raises InvalidRequest
    without a reason."""
    if not note.strip():
        raise InvalidRequest(translate("An adjustment needs a reason."), param="note")
    _check_amount(abs(amount_nanos))
    return _write_once(account_id, amount_nanos, OPERATOR, external_id, note.strip(), made_by, guard)


def _write_once(
    account_id: int,
    amount_nanos: int,
    source: str,
    external_id: str | None,
    note: str | None,
    made_by: str | None,
    guard: Guard = None,
) -> bool:
    try:
        with transaction() as session:
            _write_entry(account_id, amount_nanos, source, external_id, note, made_by)
            if source == OPERATOR:
                amount = f"{'+' if amount_nanos > 0 else '-'}${format_dollars(abs(amount_nanos), 2)}"
                detail = f"{amount}: {note or 'no reason'}"
                record_act(session, account_id, "balance", Actor(made_by or COMMAND.by), detail)
            if guard is not None:
                guard(session)
    except IntegrityError:
        if external_id is None or not _made_before(source, external_id):
            raise
        return False
    return True


def _check_amount(amount_nanos: int) -> None:
    if not 0 < amount_nanos <= MAX_NANOS:
        raise InvalidRequest(
            translate("The amount must be more than zero and at most a billion dollars."), param="amount"
        )


def _made_before(source: str, external_id: str) -> bool:
    found = db.session.execute(
        sa.select(Entry.id).where(Entry.source == source, Entry.external_id == external_id)
    ).first()
    return found is not None


def book(
    session: Session,
    account_id: int,
    amount_nanos: int,
    *,
    source: str,
    external_id: str,
    note: str,
    made_by: str | None,
) -> bool:
    """Move money in, or out when negative, in the caller's transaction: once per (source, external_id). An amount out
    may take the balance below zero, since it books only what a payment provider has taken back. Returns False if that
    entry exists.

    Waits for another transaction that is writing the same entry."""
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    values = _entry_values(account_id, amount_nanos, source, external_id, note, made_by)
    statement = insert(Entry).values(**values).on_conflict_do_nothing(index_elements=["source", "external_id"])
    if session.execute(statement.returning(Entry.id)).first() is None:
        return False
    _move_balance(session, account_id, amount_nanos)
    return True


def _entry_values(
    account_id: int, amount_nanos: int, source: str, external_id: str | None, note: str | None, made_by: str | None
) -> dict[str, Any]:
    other = OTHER_SIDE.get(source, "payments")
    debit, credit_ = (other, CUSTOMER) if amount_nanos > 0 else (CUSTOMER, other)
    return {
        "account_id": account_id,
        "debit": debit,
        "credit": credit_,
        "amount_nanos": abs(amount_nanos),
        "source": source,
        "external_id": external_id,
        "note": note,
        "made_by": made_by,
    }


def _write_entry(
    account_id: int, amount_nanos: int, source: str, external_id: str | None, note: str | None, made_by: str | None
) -> None:
    """Write one entry and change the balance, in the caller's transaction."""
    session = db.session()
    session.add(Entry(**_entry_values(account_id, amount_nanos, source, external_id, note, made_by)))
    session.flush()
    _move_balance(session, account_id, amount_nanos)


def _move_balance(session: Session, account_id: int, amount_nanos: int) -> None:
    session.execute(_OPEN_BALANCE, {"account_id": account_id})
    available = Balance.balance_nanos - Balance.held_nanos + amount_nanos
    needed = sa.case((available < 0, -available), else_=0)
    if amount_nanos > 0:  # money in pays the debt back; it never makes one
        debt = sa.case((needed < Balance.debt_nanos, needed), else_=Balance.debt_nanos)
    else:
        debt = sa.case((needed > Balance.debt_nanos, needed), else_=Balance.debt_nanos)
    session.execute(
        sa.update(Balance)
        .where(Balance.account_id == account_id)
        .values(balance_nanos=Balance.balance_nanos + amount_nanos, debt_nanos=debt)
        .execution_options(synchronize_session=False)
    )
    session.expire_all()
