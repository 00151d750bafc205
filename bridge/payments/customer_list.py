"""The customers' list in other orders than by age: by what they have, spent and did last, a page after the other by
key. The list's accounts are `accounts/customers.py`; what orders them is the ledger's."""

import dataclasses
import datetime
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from bridge.accounts.tables import Account, Key
from bridge.db import UtcDateTime, db, now_utc
from bridge.languages import to_translate
from bridge.ledger.margins import DAYS
from bridge.ledger.rollup_tables import UsageRollup
from bridge.ledger.tables import Balance

NEWEST = "newest"
SORTS = {
    NEWEST: to_translate("Newest first"),
    "balance": to_translate("Most available"),
    "spend": to_translate("Most spent"),
    "used": to_translate("Last used"),
}
NEVER = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
MAX_DIGITS = 18
Ordered = tuple[Any, Any]  # a query for ids with what they are ordered by, and that column


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """Where a page begins: after this account, which had this value in the page's order. As text: `value.id`."""

    value: int
    account_id: int

    def __str__(self) -> str:
        return f"{self.value}.{self.account_id}"


def read_place(text: str) -> Place | None:
    """The place that a page's address names; None for what is none."""
    value, mark, account_id = text.partition(".")
    if not mark or not account_id.isdigit() or not value.removeprefix("-").isdigit() or not text.isascii():
        return None
    if len(value) > MAX_DIGITS or len(account_id) > MAX_DIGITS:
        return None
    return Place(int(value), int(account_id))


def list_places(matching: sa.Select[int], sort: str, after: Place | None, limit: int) -> list[Place]:
    """The accounts of this query in this order, one of SORTS, from behind a place, largest first, and of those alike
    the newest first."""
    query, column = ORDERS[sort]()
    query = query.where(Account.id.in_(matching)).order_by(column.desc(), Account.id.desc()).limit(limit)
    if after is not None:
        value = NEVER + datetime.timedelta(microseconds=after.value) if sort == "used" else after.value
        alike = (column == value) & (Account.id < after.account_id)
        query = query.where((column < value) | alike)
    rows = db.session.execute(query).all()
    return [Place(_count(row[1]), row[0]) for row in rows]


def _count(value: int | datetime.datetime) -> int:
    return (value - NEVER) // datetime.timedelta(microseconds=1) if isinstance(value, datetime.datetime) else int(value)


def _by_age() -> Ordered:
    return sa.select(Account.id, Account.id), Account.id


def _by_balance() -> Ordered:
    available = sa.func.coalesce(Balance.balance_nanos - Balance.held_nanos, 0)
    query = sa.select(Account.id, available).outerjoin(Balance, Balance.account_id == Account.id)
    return query, available


def _by_spend() -> Ordered:
    """By what was charged in the last DAYS days, as far as it is rolled up, which is a matter of seconds. The roll-ups
    alone are read: with what is newer, the order of ten thousand accounts takes twice as long."""
    today = now_utc().replace(hour=0, minute=0, second=0, microsecond=0)
    sums = sa.select(UsageRollup.account_id, sa.func.sum(UsageRollup.charge_nanos).label("spent"))
    sums = sums.where(UsageRollup.span == "day", UsageRollup.start >= today - datetime.timedelta(days=DAYS - 1))
    spending = sums.group_by(UsageRollup.account_id).subquery()
    spent = sa.func.coalesce(spending.c.spent, 0)
    return sa.select(Account.id, spent).outerjoin(spending, spending.c.account_id == Account.id), spent


def _by_use() -> Ordered:
    last = sa.select(Key.account_id, sa.func.max(Key.last_used_at).label("at")).group_by(Key.account_id).subquery()
    used = sa.func.coalesce(last.c.at, sa.literal(NEVER, UtcDateTime), type_=UtcDateTime)
    query = sa.select(Account.id, used).outerjoin(last, last.c.account_id == Account.id)
    return query, used


ORDERS: dict[str, Callable[[], Ordered]] = {
    NEWEST: _by_age,
    "balance": _by_balance,
    "spend": _by_spend,
    "used": _by_use,
}
