"""An account's state, as every page of the dashboard tells it: read in one statement, since every page pays for it."""

import dataclasses
import functools
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy import orm

from bridge.accounts.own_prices import has_own_prices
from bridge.accounts.tables import Account
from bridge.db import db, now_utc
from bridge.ledger.alerts import BalanceAlert
from bridge.ledger.journal import KeyBudget, join_keys_near_budget, moment_values, read_keys_near_budget
from bridge.ledger.ledger import BalanceView
from bridge.ledger.rollups import PROGRESS, note_progress
from bridge.ledger.tables import Balance
from bridge.payments.plan_tables import IS_LIVE, Plan, Subscription
from bridge.payments.tables import AutoTopUp
from bridge.versions import select_number

CATALOGUE, INCIDENTS = select_number("catalogue"), select_number("incidents")


@dataclasses.dataclass(frozen=True, slots=True)
class AccountState:
    """An account with its money, its low-balance alert, its rule of automatic top-ups (None: never set), its plan, and
    its keys that have nearly spent a budget."""

    account: Account
    money: BalanceView
    alert: BalanceAlert | None
    rule: AutoTopUp | None
    subscription: tuple[Subscription, Plan, Plan | None] | None  # with its plan and the one that follows
    near_budget: list[KeyBudget]
    has_own_prices: bool  # the account or its group, of single models
    catalogue_number: int  # what is kept in memory of the catalogue with this number is still true
    incidents_number: int  # likewise of the open incidents

    @property
    def top_up_problem(self) -> str:
        """Why automatic top-ups have been turned off by us; "" where they weren't."""
        rule = self.rule
        return "" if rule is None or rule.enabled else rule.problem or ""


def find_state(account_id: int) -> AccountState:
    """The account's state now. How far the roll-ups reach is read with it, for the sums that pages ask for next."""
    now, session = now_utc(), db.session()
    values = {"account": account_id, **moment_values(now)}
    rows = session.execute(_write_query(), values, execution_options={"populate_existing": True}).all()
    first = rows[0]
    note_progress(session, first.progress)
    return AccountState(
        account=first.Account,
        money=BalanceView(first.balance_nanos or 0, first.held_nanos or 0),
        alert=cast("BalanceAlert | None", first.BalanceAlert),
        rule=cast("AutoTopUp | None", first.AutoTopUp),
        subscription=(first[4], first[5], first[6]) if first[4] is not None else None,
        near_budget=read_keys_near_budget(rows, now),
        has_own_prices=bool(first.has_own_prices),
        catalogue_number=first.catalogue_number or 0,
        incidents_number=first.incidents_number or 0,
    )


@functools.cache
def _write_query() -> sa.Select[Any]:
    """The statement, without its values. It is kept, since every page would write it anew."""
    following = orm.aliased(Plan)
    tables = (Account, Balance.balance_nanos, Balance.held_nanos, BalanceAlert, Subscription, Plan, following)
    numbers = (CATALOGUE.scalar_subquery().label("catalogue_number"), INCIDENTS.scalar_subquery())
    more = (PROGRESS.scalar_subquery().label("progress"), numbers[0], numbers[1].label("incidents_number"))
    own = has_own_prices(Account.id, Account.group).label("has_own_prices")
    query: sa.Select[Any] = sa.select(*tables, AutoTopUp, *more, own).select_from(Account)
    for table in (Balance, BalanceAlert, AutoTopUp):
        query = query.outerjoin(table, table.account_id == Account.id)
    query = query.outerjoin(Subscription, (Subscription.account_id == Account.id) & IS_LIVE)
    query = query.outerjoin(Plan, Plan.id == Subscription.plan_id)
    query = query.outerjoin(following, following.id == Subscription.next_plan_id)
    return join_keys_near_budget(query.where(Account.id == sa.bindparam("account", type_=sa.BigInteger)))
