"""Reads balances, entries and budgets for pages."""

import dataclasses
import datetime
from collections.abc import Iterable, Iterator

import sqlalchemy as sa

from bridge.accounts.key_rules import BUDGET_PERIODS
from bridge.accounts.tables import Key
from bridge.db import db, now_utc
from bridge.ledger.budgets import period_start
from bridge.ledger.ledger import CUSTOMER, BalanceView
from bridge.ledger.rollups import sum_by
from bridge.ledger.tables import Balance, Budget, Entry

NEAR_PERCENT = 80
MOST_NEAR = 10


@dataclasses.dataclass(frozen=True, slots=True)
class KeyBudget:
    """A key whose budget is nearly used, or used up, and what was spent of it in its running period."""

    key: Key
    spent_nanos: int

    @property
    def percent(self) -> int:
        """How much of the budget is spent."""
        return 100 * self.spent_nanos // (self.key.budget_nanos or 1)


def list_keys_near_budget(account_id: int, limit: int = MOST_NEAR) -> list[KeyBudget]:
    """The account's keys in use that have spent NEAR_PERCENT of their budget or more, the nearest first."""
    now = now_utc()
    starts = {period: period_start(period, now) for period in BUDGET_PERIODS}
    query = (
        sa.select(Key, Budget.spent_nanos)
        .join(Budget, Budget.key_id == Key.id)
        .where(
            *(Key.account_id == account_id, Key.budget_nanos > 0),
            *(Key.revoked_at.is_(None), Key.disabled_at.is_(None)),
            Key.expires_at.is_(None) | (Key.expires_at > now),
            Budget.period_start == sa.case(starts, value=Key.budget_period),
            Budget.spent_nanos >= Key.budget_nanos - Key.budget_nanos // 100 * (100 - NEAR_PERCENT),
        )
        .order_by((sa.cast(Budget.spent_nanos, sa.Float) / Key.budget_nanos).desc(), Key.id)
        .limit(limit)
    )
    return [KeyBudget(key, spent) for key, spent in db.session.execute(query)]


def list_budget_spend(periods: Iterable[tuple[int, str]]) -> dict[int, int]:
    """Key id -> nanos spent in the running period of its budget, for these (key id, period) pairs."""
    now = now_utc()
    starts = {(key_id, period_start(period, now)) for key_id, period in periods}
    if not starts:
        return {}
    query = sa.select(Budget.key_id, Budget.spent_nanos).where(
        sa.tuple_(Budget.key_id, Budget.period_start).in_(sorted(starts))
    )
    return {row.key_id: row.spent_nanos for row in db.session.execute(query)}


def list_spend_by_key(account_id: int, since: datetime.datetime) -> dict[int, int]:
    """Key id -> nanos charged since a midnight (UTC)."""
    found = sum_by("key_id", account_id=account_id, since=since)
    return {key_id: sums.charge_nanos for (key_id,), sums in found.items()}


def list_balances(account_ids: Iterable[int]) -> dict[int, BalanceView]:
    """Account id -> its money, for the accounts that ever had any."""
    query = sa.select(Balance).where(Balance.account_id.in_(list(account_ids)))
    return {row.account_id: BalanceView(row.balance_nanos, row.held_nanos) for row in db.session.scalars(query)}


def list_entries(account_id: int, limit: int = 20) -> list[Entry]:
    """The account's newest entries."""
    query = sa.select(Entry).where(Entry.account_id == account_id).order_by(Entry.id.desc()).limit(limit)
    return list(db.session.scalars(query))


def list_all_entries(account_id: int) -> Iterator[Entry]:
    """All of the account's entries, the newest first, read in pieces, so that no connection is held."""
    query, before_id = sa.select(Entry).where(Entry.account_id == account_id).order_by(Entry.id.desc()), None
    while found := list(db.session.scalars(query.where(Entry.id < before_id if before_id else sa.true()).limit(500))):
        db.session.commit()
        yield from found
        before_id = found[-1].id


def is_credit(entry: Entry) -> bool:
    """Whether the entry added to the customer's balance."""
    return entry.credit == CUSTOMER


def find_first_credit(account_id: int) -> Entry | None:
    """The account's first credit."""
    query = sa.select(Entry).where(Entry.account_id == account_id, Entry.credit == CUSTOMER)
    return db.session.scalars(query.order_by(Entry.id).limit(1)).first()
