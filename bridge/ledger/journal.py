"""Reads balances, entries and budgets for pages."""

import dataclasses
import datetime
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from bridge.accounts.tables import Account, Key
from bridge.db import UtcDateTime, db
from bridge.ledger.batch import BudgetWindow, own_id
from bridge.ledger.budgets import OF_KEY, OF_USER, PERIODS, list_key_windows, list_starts, next_start
from bridge.ledger.ledger import CUSTOMER, BalanceView
from bridge.ledger.rollups import sum_charges_by
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


def find_all_budgets(account_id: int, key_id: int, windows: Sequence[BudgetWindow]) -> list[BudgetState]:
    """What is held and spent of these windows of a key and of its account, in no particular order."""
    found: dict[int, list[BudgetWindow]] = {}
    for window in windows:
        found.setdefault(own_id(window.scope, account_id, key_id), []).append(window)
    return [state for states in list_budgets(found).values() for state in states]


def find_account_spend(account_id: int, window: BudgetWindow) -> BudgetState:
    """What an account has held and spent of its day."""
    return list_budgets({-account_id: (window,)})[-account_id][0]


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
            found.setdefault(key_id, []).append(_make_state(window, row))
    return found


@dataclasses.dataclass(frozen=True)
class KeyBudget:
    """A key, and of its own budgets the one of which most is used."""

    key: Key
    budget: BudgetState


def write_limit(now: Any) -> sa.ColumnElement[int]:
    """In SQL, what a budget's row may come to by its key at this moment (a value or a parameter), with a raise that
    lasts; NULL if there is no budget."""
    own = {period: getattr(Key, f"budget_{period}_nanos") for period in PERIODS}
    raised = sa.case((Key.budget_raise_until > now, sa.func.coalesce(Key.budget_raise_nanos, 0)), else_=0)
    return sa.case(own, value=Budget.period) + raised


def write_is_running(starts: Mapping[str, Any]) -> sa.ColumnElement[bool]:
    """In SQL, whether a budget's row is over all requests of its key, in a period that has this first day."""
    return sa.and_(Budget.scope == OF_KEY, Budget.period_start == sa.case(dict(starts), value=Budget.period))


def join_keys_near_budget(query: sa.Select[Any]) -> sa.Select[Any]:
    """A query for one account, with its keys in use that have spent NEAR_PERCENT of a budget or more, the nearest
    first: each with its budget's row, or one row without either. Its further values are those of `moment_values`."""
    now = sa.bindparam("now", type_=UtcDateTime)
    allowed = write_limit(now)
    near = sa.and_(
        *(Key.account_id == Account.id, Key.revoked_at.is_(None), Key.disabled_at.is_(None)),
        Key.expires_at.is_(None) | (Key.expires_at > now),
        *(write_is_running({period: sa.bindparam(period, type_=sa.Date) for period in PERIODS}), allowed > 0),
        Budget.spent_nanos >= allowed - allowed // 100 * (100 - NEAR_PERCENT),
    )
    query = query.add_columns(Key, Budget).outerjoin(sa.join(Key, Budget, Budget.key_id == Key.id), near)
    nearest = (sa.cast(Budget.spent_nanos, sa.Float) / allowed).desc()
    return query.order_by(nearest, Key.id).limit(MOST_NEAR * len(PERIODS))


def moment_values(now: datetime.datetime) -> dict[str, Any]:
    """The values of such a query at this moment."""
    return {"now": now, **list_starts(now)}


def read_keys_near_budget(rows: Iterable[Any], now: datetime.datetime) -> list[KeyBudget]:
    """What such a query found at this moment: each key once."""
    found: dict[int, KeyBudget] = {}
    for key, row in ((row.Key, row.Budget) for row in rows if row.Key is not None):
        window = next(each for each in list_key_windows(key, now) if each.period == row.period)
        found.setdefault(key.id, KeyBudget(key, BudgetState(window, row.held_nanos, row.spent_nanos)))
    return list(found.values())[:MOST_NEAR]


def list_key_budgets(
    key_id: int, windows: Sequence[BudgetWindow], user_window: BudgetWindow | None, limit: int
) -> tuple[list[BudgetState], list[BudgetState]]:
    """What of these windows of a key is held and spent, in the same order; and the end users of it that have spent most
    of their budget in the period of one's window, at most `limit`."""
    wanted = [_is_window(window) & (Budget.scope == OF_KEY) for window in windows]
    if user_window is not None:
        wanted.append(_is_window(user_window) & (Budget.scope != OF_KEY) & (Budget.spent_nanos > 0))
    if not wanted:
        return [], []
    of_key = (Budget.scope == OF_KEY).desc()
    query = sa.select(Budget).where(Budget.key_id == key_id, sa.or_(*wanted))
    query = query.order_by(of_key, Budget.spent_nanos.desc(), Budget.scope).limit(len(windows) + limit)
    rows = list(db.session.scalars(query.execution_options(populate_existing=True)))
    own = {row.period: row for row in rows if row.scope == OF_KEY}
    states = [_make_state(window, own.get(window.period)) for window in windows]
    users = [row for row in rows if row.scope != OF_KEY][:limit]
    if user_window is None:
        return states, []
    return states, [_make_state(msgspec.structs.replace(user_window, scope=row.scope), row) for row in users]


def _is_window(window: BudgetWindow) -> sa.ColumnElement[bool]:
    return (Budget.period == window.period) & (Budget.period_start == window.start)


def _make_state(window: BudgetWindow, row: Budget | None) -> BudgetState:
    return BudgetState(window, row.held_nanos, row.spent_nanos) if row else BudgetState(window, 0, 0)


def list_spend_by_key(account_id: int, since: datetime.datetime, key_ids: list[int] | None = None) -> dict[int, int]:
    """Key id -> nanos charged since a midnight (UTC), of all of the account's keys or of these."""
    return sum_charges_by("key_id", account_id=account_id, since=since, key_id=key_ids)


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
