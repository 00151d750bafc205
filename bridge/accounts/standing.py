"""What the ledger and payments ask about an account: whether it is active, and who its owners are."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bridge.accounts.tables import Account, Member


def lock_status(session: Session, account_id: int) -> str | None:
    """The account's status, locked until the caller's transaction ends."""
    return session.scalar(sa.select(Account.status).where(Account.id == account_id).with_for_update(read=True))


def select_active(account_id: Any) -> sa.Select[int]:
    """A query for the account with that id (a value or a column); it finds nothing while the account is suspended."""
    return sa.select(Account.id).where(Account.id == account_id, Account.status == "active")


def tell_suspension(reason: str) -> str:
    """That an account is suspended, and why, as its members read it."""
    if not reason:
        return "This account is suspended. Write to the operator of this gateway."
    return f"This account is suspended: {end_sentence(reason)}"


def end_sentence(reason: str) -> str:
    """The reason with a full stop, unless it ends with a sign of its own."""
    return reason if reason.endswith((".", "!", "?", "。", "！", "？")) else f"{reason}."


def list_owners(session: Session, account_id: int) -> list[tuple[int, str]]:
    """Id and address of the members who get mail about the account."""
    owners = sa.select(Member.id, Member.email).where(Member.account_id == account_id, Member.role == "owner")
    return [(member_id, email) for member_id, email in session.execute(owners.order_by(Member.id))]
