"""Reads balances, entries and budgets for pages."""

import dataclasses
import datetime
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec
import sqlalchemy as sa

from bridge.accounts.tables import Key
from bridge.db import db, now_utc
from bridge.ledger.batch import BudgetWindow
from bridge.ledger.budgets import OF_KEY, OF_USER, PERIODS, list_key_windows, next_start, period_start
from bridge.ledger.ledger import CUSTOMER, BalanceView
from bridge.ledger.rollups import sum_by
from bridge.ledger.tables import Balance, Budget, Entry

NEAR_PERCENT = 80
MOST_NEAR = 10


@dataclasses.dataclass(frozen=True)
class BudgetState:
    """A budget in its running period, as pages show it."""

    window: BudgetWindow
    held_nanos: int
    spent_nanos: int

    @property
    def left_nanos(self) -> int:
        """What further requests may still hold."""
        return max(0, self.window.limit_nanos - self.held_nanos - self.spent_nanos)

    @property
    def percent(self) -> int:
        """How much of it is spent; 100 of one that allows nothing."""
        limit = self.window.limit_nanos
        return 100 * self.spent_nanos // limit if limit else 100

    @property
    def starts_again(self) -> datetime.datetime | None:
        """The midnight (UTC) at which it starts again; None for one that never does."""
        start = next_start(self.window)
        return datetime.datetime.combine(start, datetime.time(), datetime.UTC) if start else None

    @property
    def end_user(self) -> str | None:
        """Whose it is, of a key that has a budget for each end user; "" is all requests that name none."""
        scope = self.window.scope
        return None if scope == OF_KEY else scope.removeprefix(OF_USER)


def find_budgets(key_id: int, windows: Iterable[BudgetWindow]) -> list[BudgetState]:
    """What of these windows of a key is held and spent, in the same order."""
    return list_budgets({key_id: tuple(windows)}).get(key_id, [])


def list_budgets(windows: Mapping[int, Sequence[BudgetWindow]]) -> dict[int, list[BudgetState]]:
    """Key id -> what of these windows of it is held and spent, in the same order; keys without windows are left out."""
    asked = [window for each in windows.values() for window in each]
    if not asked:
        return {}
    query = sa.select(Budget).where(
        Budget.key_id.in_([key_id for key_id, each in windows.items() if each]),
        Budget.period_start.in_({window.start for window in asked}),
        Budget.scope.in_({window.scope for window in asked}),
    )
    rows = {
        (row.key_id, row.period, row.period_start, row.scope): row
        for row in db.session.scalars(query.execution_options(populate_existing=True))
    }
    found: dict[int, list[BudgetState]] = {}
    for key_id, each in windows.items():
        for window in each:
            row = rows.get((key_id, window.period, window.start, window.scope))
            state = BudgetState(window, row.held_nanos, row.spent_nanos) if row else BudgetState(window, 0, 0)
            found.setdefault(key_id, []).append(state)
    return found


@dataclasses.dataclass(frozen=True)
class KeyBudget:
    """A key, and of its own budgets the one of which most is used."""

    key: Key
    budget: BudgetState


def write_limit(now: datetime.datetime) -> sa.ColumnElement[int]:
    """In SQL, what a budget's row may come to now by its key, with a raise that lasts; NULL if there is no budget."""
    own = {period: getattr(Key, f"budget_{period}_nanos") for period in PERIODS}
    raised = sa.case((Key.budget_raise_until > now, sa.func.coalesce(Key.budget_raise_nanos, 0)), else_=0)
    return sa.case(own, value=Budget.period) + raised


def write_is_running(now: datetime.datetime) -> sa.ColumnElement[bool]:
    """In SQL, whether a budget's row is over all requests of its key, in the period of this moment."""
    starts = {period: period_start(period, now) for period in PERIODS}
    return sa.and_(Budget.scope == OF_KEY, Budget.period_start == sa.case(starts, value=Budget.period))


def list_keys_near_budget(account_id: int, limit: int = MOST_NEAR) -> list[KeyBudget]:
    """The account's keys in use that have spent NEAR_PERCENT of a budget or more, the nearest first."""
    now = now_utc()
    allowed = write_limit(now)
    query = (
        sa.select(Key, Budget)
        .join(Budget, Budget.key_id == Key.id)
        .where(
            *(Key.account_id == account_id, Key.revoked_at.is_(None), Key.disabled_at.is_(None)),
            Key.expires_at.is_(None) | (Key.expires_at > now),
            *(write_is_running(now), allowed > 0),
            Budget.spent_nanos >= allowed - allowed // 100 * (100 - NEAR_PERCENT),
        )
        .order_by((sa.cast(Budget.spent_nanos, sa.Float) / allowed).desc(), Key.id)
        .limit(limit * len(PERIODS))
    )
    found: dict[int, KeyBudget] = {}
    for key, row in db.session.execute(query):
        window = next(each for each in list_key_windows(key, now) if each.period == row.period)
        found.setdefault(key.id, KeyBudget(key, BudgetState(window, row.held_nanos, row.spent_nanos)))
    return list(found.values())[:limit]


def list_user_budgets(key_id: int, window: BudgetWindow, limit: int) -> list[BudgetState]:
    """The end users of a key that have spent most of their budget in the window's period, whosever window it is."""
    query = sa.select(Budget).where(
        *(Budget.key_id == key_id, Budget.period == window.period, Budget.period_start == window.start),
        *(Budget.scope != OF_KEY, Budget.spent_nanos > 0),
    )
    found = db.session.scalars(query.order_by(Budget.spent_nanos.desc(), Budget.scope).limit(limit))
    return [
        BudgetState(msgspec.structs.replace(window, scope=row.scope), row.held_nanos, row.spent_nanos) for row in found
    ]


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
