"""What the members of an account spend this month, beside the budgets that they have."""

import datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from bridge.accounts.keys import MemberBudget
from bridge.accounts.tables import Key, Membership
from bridge.db import db, now_utc
from bridge.ledger.budgets import find_member_window, period_start
from bridge.ledger.journal import BudgetState, list_budgets, list_spend_by_key
from bridge.ledger.tables import Budget


def list_member_spend(account_id: int) -> dict[int, int]:
    """Member id -> nanos that their keys have spent since the first of the month (UTC), as their budgets count it where
    they have one. Members who spent nothing are left out."""
    spent: dict[int, int] = {}
    by_key = list_spend_by_key(account_id, _first_of_month())
    owners = sa.select(Key.id, Key.member_id).where(Key.account_id == account_id, Key.member_id.is_not(None))
    for key_id, member_id in db.session.execute(owners):
        if member_id is not None and by_key.get(key_id):
            spent[member_id] = spent.get(member_id, 0) + by_key[key_id]
    spent |= {member_id: state.spent_nanos for member_id, state in list_member_budgets(account_id).items()}
    return {member_id: nanos for member_id, nanos in spent.items() if nanos}


def list_member_budgets(account_id: int) -> dict[int, BudgetState]:
    """Member id -> their budget of this month, of those who have one in the account."""
    query = sa.select(Membership.member_id, Membership.budget_month_nanos).where(
        Membership.account_id == account_id, Membership.budget_month_nanos.is_not(None)
    )
    budgets = [MemberBudget(member_id, nanos) for member_id, nanos in db.session.execute(query) if nanos is not None]
    now = now_utc()
    windows = {-account_id: [find_member_window(budget, now) for budget in budgets]}
    states = list_budgets(windows).get(-account_id, [])
    return {budget.member_id: state for budget, state in zip(budgets, states, strict=True)}


def find_member_budget(account_id: int, member_id: int) -> BudgetState | None:
    """The budget of this month that the member has in the account."""
    nanos = db.session.scalar(
        sa.select(Membership.budget_month_nanos).where(
            Membership.account_id == account_id, Membership.member_id == member_id
        )
    )
    if nanos is None:
        return None
    window = find_member_window(MemberBudget(member_id, nanos), now_utc())
    return list_budgets({-account_id: [window]})[-account_id][0]


def count_spend_so_far(session: Session, account_id: int, member_id: int) -> None:
    """Let a member's budget count what their keys have spent this month before it was set, in the caller's transaction:
    whoever sets a budget calls this. What the budget has counted already is never made less."""
    keys = session.scalars(sa.select(Key.id).where(Key.account_id == account_id, Key.member_id == member_id))
    mine = list(keys)
    spent = sum(list_spend_by_key(account_id, _first_of_month(), mine).values()) if mine else 0
    window = find_member_window(MemberBudget(member_id, 0), now_utc())
    place = {"key_id": -account_id, "period": window.period, "period_start": window.start, "scope": window.scope}
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    added = insert(Budget).values(**place, held_nanos=0, spent_nanos=spent, told_percent=0)
    more = sa.case((Budget.spent_nanos < spent, spent), else_=Budget.spent_nanos)
    session.execute(added.on_conflict_do_update(index_elements=list(place), set_={"spent_nanos": more}))


def _first_of_month() -> datetime.datetime:
    first = period_start("month", now_utc())
    return datetime.datetime.combine(first, datetime.time(), datetime.UTC)
