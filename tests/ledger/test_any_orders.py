"""Random sequences of orders: money is conserved, and both engines give the same results."""

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from bridge.db import db
from bridge.ledger.batch import BudgetWindow, Order, Settlement
from bridge.ledger.budgets import NEVER
from bridge.ledger.ledger import adjust, credit
from bridge.ledger.tables import UsageRecord
from tests.ledger.orders import MOMENT, TODAY, Ledger, new_id, order_charge, order_hold


@pytest.fixture(scope="module")
def both(find_ledger: Callable[[str], Ledger]) -> list[Ledger]:
    """A ledger on each engine."""
    return [find_ledger(engine) for engine in ("sqlite", "postgresql")]


PLACES = (("day", TODAY, ""), ("total", NEVER, ""), ("day", TODAY, "user:ada"), ("day", TODAY, "member:7"))
AMOUNTS = st.integers(0, 60) | st.sampled_from([0, 1, 250, 1000])
# of these places, in their order
BUDGETS = st.sampled_from([None, None, (0,), (40,), (300, 300), (300, 40), (1000, 300, 60), (300, 300, 90, 40)])
HOLDS = st.tuples(st.just("hold"), st.integers(0, 2), AMOUNTS, AMOUNTS, BUDGETS)
CHARGES = st.tuples(st.just("charge"), st.integers(0, 40), AMOUNTS | st.none())
MOVES = st.tuples(st.just("move"), st.integers(0, 2), st.integers(-150, 300).filter(bool))


@hypothesis_settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    st.lists(st.integers(0, 400), min_size=3, max_size=3),
    st.lists(st.lists(HOLDS | CHARGES, min_size=1, max_size=8) | MOVES, max_size=12),
)
def test_any_sequence_of_orders_conserves_money_and_gives_the_same_on_both_engines(
    both: list[Ledger], balances: list[int], steps: list[Any]
):
    names = [[ledger.open_account(balance) for balance in balances] for ledger in both]
    ids: list[str] = []
    for step in steps:
        fresh = [new_id() for _ in step]
        told = [play(ledger, accounts, step, ids, fresh) for ledger, accounts in zip(both, names, strict=True)]
        ids += fresh
        assert told[0] == told[1]
        money = [
            [ledger.find_money(account) for account in accounts] for ledger, accounts in zip(both, names, strict=True)
        ]
        assert money[0] == money[1]
        assert [ledger.check() for ledger in both] == [[], []]
    assert list_left(both[0], ids) == list_left(both[1], ids)


def list_left(ledger: Ledger, ids: list[str]) -> list[Any]:
    """What each request's account had right after it was settled."""
    query = sa.select(UsageRecord.request_id, UsageRecord.balance_after_nanos).where(UsageRecord.request_id.in_(ids))
    with ledger.app.app_context():
        return [tuple(row) for row in db.session.execute(query.order_by(UsageRecord.request_id))]


def play(ledger: Ledger, accounts: list[int], step: Any, ids: list[str], fresh: list[str]) -> list[Any]:
    """Play one step on one engine; returns its result."""
    if step[0] == "move":
        _, account, amount = step
        with ledger.app.app_context():
            if amount > 0:
                credit(accounts[account], amount, source="operator")
            else:
                adjust(accounts[account], amount, note="a test", made_by="a test")
        return []
    orders: list[Order] = []
    for item, id_ in zip(step, fresh, strict=True):
        if item[0] == "hold":
            _, account, amount, least, limits = item
            places = zip(PLACES, limits or (), strict=False)
            budgets = tuple(BudgetWindow(*place, limit) for place, limit in places) or None
            fields = {"request_id": id_, "least_nanos": min(amount, least), "budgets": budgets}
            orders.append(order_hold(accounts[account], amount, **fields))
        elif ids:
            _, place, price = item
            request_id = ids[-1 - place % len(ids)]
            orders.append(Settlement(request_id, MOMENT) if price is None else order_charge(request_id, price))
    return ledger.commit(*orders)
