"""What a key may spend in a period, on both engines: held and spent like the balance, and no money of its own."""

import datetime

from bridge.ledger.batch import HoldResult, Settlement
from tests.ledger.orders import MOMENT, TODAY, Ledger, order_charge, order_hold

YESTERDAY = TODAY - datetime.timedelta(days=1)


def test_a_budget_is_held_and_spent(ledger: Ledger):
    account = ledger.open_account(1000)
    hold = order_hold(account, 60, budget_nanos=100)
    refused = order_hold(account, 50, budget_nanos=100)
    assert ledger.commit(hold, refused) == [HoldResult(60), HoldResult(0, "budget", 40)]
    assert ledger.find_budget(account) == (60, 0)
    ledger.commit(order_charge(hold, 55))
    assert ledger.find_budget(account) == (0, 55)
    assert ledger.commit(order_hold(account, 46, budget_nanos=100)) == [HoldResult(0, "budget", 45)]
    assert ledger.commit(order_hold(account, 45, budget_nanos=100)) == [HoldResult(45)]


def test_a_release_gives_the_budget_back(ledger: Ledger):
    account = ledger.open_account(1000)
    hold = order_hold(account, 100, budget_nanos=100)
    ledger.commit(hold)
    ledger.commit(Settlement(hold.request_id, MOMENT))
    assert ledger.find_budget(account) == (0, 0)


def test_a_new_period_begins_with_nothing_spent(ledger: Ledger):
    account = ledger.open_account(1000)
    hold = order_hold(account, 100, budget_nanos=100, budget_start=YESTERDAY)
    ledger.commit(hold)
    assert ledger.commit(order_hold(account, 100, budget_nanos=100)) == [HoldResult(100)]
    ledger.commit(order_charge(hold, 70))  # counted where it was held
    assert ledger.find_budget(account, YESTERDAY) == (0, 70)
    assert ledger.find_budget(account) == (100, 0)


def test_a_budget_lowered_below_what_is_spent_has_nothing_left(ledger: Ledger):
    account = ledger.open_account(1000)
    ledger.commit(order_hold(account, 100, budget_nanos=100))
    assert ledger.commit(order_hold(account, 1, budget_nanos=30)) == [HoldResult(0, "budget", 0)]
    assert ledger.commit(order_hold(account, 0, budget_nanos=30)) == [HoldResult(0)]


def test_a_budget_above_the_balance_is_no_money(ledger: Ledger):
    account = ledger.open_account(50)
    assert ledger.commit(order_hold(account, 60, budget_nanos=100)) == [HoldResult(0, "balance", 50)]
    assert ledger.find_budget(account) == (0, 0)


def test_keys_of_one_account_have_budgets_of_their_own(ledger: Ledger):
    account = ledger.open_account(1000)
    orders = [order_hold(account, 80, key_id=key, budget_nanos=100) for key in (7001, 7002, 7001)]
    assert [result.refused for result in ledger.commit(*orders)] == ["", "", "budget"]


def test_a_budget_sets_the_quarter_where_it_is_less_than_the_balance(ledger: Ledger):
    account = ledger.open_account(100_000)
    assert ledger.commit(order_hold(account, 1000, least_nanos=10, budget_nanos=400)) == [HoldResult(100)]
    assert ledger.commit(order_hold(account, 1000, least_nanos=310, budget_nanos=400)) == [HoldResult(0, "budget", 300)]


def test_an_excess_counts_against_the_budget_too(ledger: Ledger):
    account = ledger.open_account(100)
    hold = order_hold(account, 20, budget_nanos=30)
    ledger.commit(hold)
    ledger.commit(order_charge(hold, 50))
    assert ledger.find_budget(account) == (0, 50)
    assert ledger.commit(order_hold(account, 1, budget_nanos=30)) == [HoldResult(0, "budget", 0)]
