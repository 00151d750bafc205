"""What the members of an account spend this month, beside the budgets that they have."""

import dataclasses
import datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from bridge.accounts.keys import MemberBudget
from bridge.accounts.roles import may
from bridge.accounts.tables import Key, Member, Membership
from bridge.db import db, now_utc
from bridge.ledger.batch import OF_MEMBER
from bridge.ledger.budgets import find_member_window, period_start
from bridge.ledger.journal import BudgetState, list_spend_by_key
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
    return {member_id: owner.budget for member_id, owner in list_key_owners(account_id).items() if owner.budget}


@dataclasses.dataclass(frozen=True, slots=True)
class KeyOwner:
    """A member as whose a key can be: their name or address, whether they may have keys, and their budget."""

    name: str
    may_have: bool
    budget: BudgetState | None


def list_key_owners(account_id: int, member_id: int | None = None) -> dict[int, KeyOwner]:
    """Member id -> that member, of all of the account, or of one, in one statement."""
    now = now_utc()
    window = find_member_window(MemberBudget(0, 0), now)
    scope = sa.literal(OF_MEMBER) + sa.cast(Membership.member_id, sa.String)
    theirs = sa.and_(
        *(Budget.key_id == -Membership.account_id, Budget.scope == scope),
        *(Budget.period == window.period, Budget.period_start == window.start),
    )
    query = (
        sa.select(Member.id, Member.name, Member.email, Membership.role, Membership.budget_month_nanos)
        .add_columns(Budget.held_nanos, Budget.spent_nanos)
        .select_from(Membership)
        .join(Member, Member.id == Membership.member_id)
        .outerjoin(Budget, theirs)
        .where(Membership.account_id == account_id)
    )
    found = {}
    for row in db.session.execute(query if member_id is None else query.where(Member.id == member_id)):
        state, most = None, row.budget_month_nanos
        if most is not None:
            own = find_member_window(MemberBudget(row.id, most), now)
            state = BudgetState(own, row.held_nanos or 0, row.spent_nanos or 0)
        found[row.id] = KeyOwner(row.name or row.email, may(row.role, "own_keys"), state)
    return dict(sorted(found.items(), key=lambda item: item[1].name.casefold()))


def find_member_budget(account_id: int, member_id: int) -> BudgetState | None:
    """The budget of this month that the member has in the account."""
    owner = list_key_owners(account_id, member_id).get(member_id)
    return owner.budget if owner else None


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
