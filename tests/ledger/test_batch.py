"""Holds and settlements on both engines: nobody overspends, everything is settled once, every nano is accounted for."""

from typing import Any

import pytest

from bridge.ledger.batch import HoldResult, Order, Settlement, SettleResult
from bridge.ledger.ledger import adjust
from tests.ledger.orders import MOMENT, Ledger, new_id, order_charge, order_hold


def test_a_hold_sets_money_aside_and_a_charge_replaces_it(ledger: Ledger):
    account = ledger.open_account(100)
    hold = order_hold(account, 60)
    assert ledger.commit(hold) == [HoldResult(60)]
    assert ledger.find_money(account) == (100, 60)
    assert ledger.commit(order_charge(hold, 25)) == [SettleResult(25, 0)]
    assert ledger.find_money(account) == (75, 0)
    row = ledger.find_usage(hold.request_id)
    assert (row.account_id, row.key_id, row.state, row.created_at) == (account, account, "captured", MOMENT)
    assert (row.hold_nanos, row.charge_nanos, row.loss_nanos) == (60, 25, 0)


def test_a_release_gives_all_of_it_back(ledger: Ledger):
    account = ledger.open_account(100)
    hold = order_hold(account, 60)
    ledger.commit(hold)
    assert ledger.commit(Settlement(hold.request_id, MOMENT)) == [SettleResult(0, 0)]
    assert ledger.find_money(account) == (100, 0)
    assert ledger.find_usage(hold.request_id).state == "released"


def test_a_usage_row_says_what_its_settlement_says(ledger: Ledger):
    account = ledger.open_account(100)
    hold = order_hold(account, 60)
    ledger.commit(hold)
    told: dict[str, Any] = {
        "error_code": "upstream_error",
        "model_asked": "asked",
        "model_id": "served",
        "upstream_id": "its own name",
        "channel_name": "channel",
        "stream": True,
        "finish_reason": "stop",
        "prompt_tokens": 2**31,
        "cached_tokens": 2,
        "cache_write_tokens": 12,
        "cache_write_hour_tokens": 13,
        "completion_tokens": 3,
        "reasoning_tokens": 4,
        "tokens_source": "provider",
        "price_id": 5,
        "input_nanos_per_mtok": 6,
        "cached_nanos_per_mtok": 7,
        "cache_write_nanos_per_mtok": 14,
        "cache_write_hour_nanos_per_mtok": 15,
        "output_nanos_per_mtok": 8,
        "cost_nanos": 16,
        "pricing": '{"above_tokens":200000}',
        "output_cap_tokens": 9,
        "attempts": '[{"outcome":"200 \\u0000 €"}]',
        "adapted": '{"dropped":[]}',
        "first_content_ms": 10,
        "total_ms": 11,
    }
    ledger.commit(order_charge(hold, 1, **told))
    row = ledger.find_usage(hold.request_id)
    assert {name: getattr(row, name) for name in told} == told


@pytest.mark.parametrize(("balance", "amount", "held"), [(100, 100, 100), (100, 101, 0), (0, 1, 0), (100, 0, 0)])
def test_the_last_nano_can_be_held_and_not_one_more(ledger: Ledger, balance: int, amount: int, held: int):
    account = ledger.open_account(balance)
    result = ledger.commit(order_hold(account, amount))[0]
    assert result == (HoldResult(held) if amount <= balance else HoldResult(0, "balance", balance))
    assert ledger.find_money(account) == (balance, held)


def test_a_batch_admits_one_after_the_other_until_the_money_is_gone(ledger: Ledger):
    account = ledger.open_account(100)
    results = ledger.commit(*(order_hold(account, amount) for amount in (40, 50, 20, 10, 1)))
    assert [result.held_nanos for result in results] == [40, 50, 0, 10, 0]
    assert [result.available_nanos for result in results] == [0, 0, 10, 0, 0]
    assert ledger.find_money(account) == (100, 100)


def test_what_a_settlement_frees_can_be_held_in_the_same_batch(ledger: Ledger):
    account = ledger.open_account(100)
    first = order_hold(account, 100)
    ledger.commit(first)
    second = order_hold(account, 90)
    assert ledger.commit(second, order_charge(first, 10)) == [HoldResult(90), SettleResult(10, 0)]


def test_one_account_s_poverty_is_not_another_s(ledger: Ledger):
    rich, poor = ledger.open_account(1000), ledger.open_account(10)
    results = ledger.commit(*(order_hold(account, 20) for account in (rich, poor, rich, poor)))
    assert [result.refused for result in results] == ["", "balance", "", "balance"]
    assert (ledger.find_money(rich), ledger.find_money(poor)) == ((1000, 40), (10, 0))


def test_what_is_free_needs_no_balance(ledger: Ledger):
    newcomer = ledger.open_account()
    hold = order_hold(newcomer, 0)
    assert ledger.commit(hold) == [HoldResult(0)]
    assert ledger.commit(order_charge(hold, 0)) == [SettleResult(0, 0)]
    assert ledger.find_usage(hold.request_id).state == "captured"
    assert ledger.commit(order_hold(newcomer, 1)) == [HoldResult(0, "balance", 0)]


def test_what_is_free_is_served_in_debt_too(ledger: Ledger):
    account = ledger.open_account(10)
    with ledger.app.app_context():
        adjust(account, -50, note="charge-back", made_by="a test")
    hold = order_hold(account, 0)
    assert ledger.commit(hold, order_hold(account, 1)) == [HoldResult(0), HoldResult(0, "balance", -40)]
    assert ledger.commit(order_charge(hold, 5)) == [SettleResult(0, 5)]


@pytest.mark.parametrize(
    ("balance", "least", "held"),
    [
        (4000, 10, 1000),  # a quarter has room for all of it
        (3999, 10, 999),
        (400, 10, 100),
        (400, 300, 300),  # never less than the least, as long as the balance has it
        (300, 300, 300),
        (41, 10, 10),
        (10, 10, 10),
    ],
)
def test_without_a_cap_a_request_takes_no_more_than_a_quarter(ledger: Ledger, balance: int, least: int, held: int):
    account = ledger.open_account(balance)
    assert ledger.commit(order_hold(account, 1000, least_nanos=least)) == [HoldResult(held)]


def test_the_quarter_is_of_what_those_before_left(ledger: Ledger):
    account = ledger.open_account(4000)
    results = ledger.commit(*(order_hold(account, 1000, least_nanos=10) for _ in range(4)))
    assert [result.held_nanos for result in results] == [1000, 750, 562, 422]


def test_less_than_the_least_is_refused(ledger: Ledger):
    account = ledger.open_account(9)
    assert ledger.commit(order_hold(account, 1000, least_nanos=10)) == [HoldResult(0, "balance", 9)]


# once, and what is beyond the hold


def test_settling_twice_changes_nothing(ledger: Ledger):
    account = ledger.open_account(100)
    hold = order_hold(account, 60)
    ledger.commit(hold)
    ledger.commit(order_charge(hold, 25))
    assert ledger.commit(order_charge(hold, 60)) == [SettleResult(0, 0, settled_before=True)]
    assert ledger.commit(Settlement(hold.request_id, MOMENT)) == [SettleResult(0, 0, settled_before=True)]
    assert ledger.find_money(account) == (75, 0)
    assert ledger.find_usage(hold.request_id).charge_nanos == 25


def test_of_two_settlements_in_one_batch_the_first_counts(ledger: Ledger):
    account = ledger.open_account(100)
    hold = order_hold(account, 60)
    ledger.commit(hold)
    results = ledger.commit(order_charge(hold, 25), Settlement(hold.request_id, MOMENT))
    assert results == [SettleResult(25, 0), SettleResult(0, 0, settled_before=True)]
    assert ledger.find_money(account) == (75, 0)


def test_a_settlement_without_a_hold_changes_nothing(ledger: Ledger):
    assert ledger.commit(order_charge(new_id(), 25)) == [SettleResult(0, 0, settled_before=True)]


@pytest.mark.parametrize(
    ("balance", "hold", "price", "charge"),
    [(100, 60, 60, 60), (100, 60, 61, 61), (100, 60, 100, 100), (100, 60, 101, 100), (100, 60, 10**15, 100)],
)
def test_an_excess_is_charged_as_far_as_the_balance_reaches_and_the_rest_is_our_loss(
    ledger: Ledger, balance: int, hold: int, price: int, charge: int
):
    account = ledger.open_account(balance)
    order = order_hold(account, hold)
    ledger.commit(order)
    assert ledger.commit(order_charge(order, price)) == [SettleResult(charge, price - charge)]
    assert ledger.find_money(account) == (balance - charge, 0)
    assert ledger.find_usage(order.request_id).loss_nanos == price - charge


def test_an_excess_never_touches_what_others_hold(ledger: Ledger):
    account = ledger.open_account(100)
    first, second = order_hold(account, 60), order_hold(account, 30)
    ledger.commit(first, second)
    assert ledger.commit(order_charge(first, 500)) == [SettleResult(70, 430)]
    assert ledger.commit(order_charge(second, 30)) == [SettleResult(30, 0)]
    assert ledger.find_money(account) == (0, 0)


def test_excesses_of_one_batch_share_what_is_there(ledger: Ledger):
    account = ledger.open_account(100)
    holds = [order_hold(account, 20) for _ in range(3)]
    ledger.commit(*holds)
    results = ledger.commit(*(order_charge(hold, 45) for hold in reversed(holds)))
    assert sorted(result.charge_nanos for result in results) == [20, 35, 45]
    assert results[-1] == SettleResult(45, 0)  # the oldest comes first, whatever the order in the batch
    assert ledger.find_money(account) == (0, 0)


def test_holds_and_settlements_of_several_accounts_share_a_batch(ledger: Ledger):
    accounts = [ledger.open_account(100 * (number + 1)) for number in range(4)]
    holds = [order_hold(account, 50) for account in accounts]
    ledger.commit(*holds)
    orders: list[Order] = [order_charge(hold, 10 * number) for number, hold in enumerate(holds)]
    orders += [order_hold(account, 30) for account in accounts]
    ledger.commit(*orders)
    assert [ledger.find_money(account) for account in accounts] == [(100, 30), (190, 30), (280, 30), (370, 30)]


def test_each_of_a_batch_says_what_was_left_after_it(ledger: Ledger):
    rich, poor = ledger.open_account(1_000), ledger.open_account(100)
    first, second, third = (order_hold(rich, 60) for _ in range(3))
    other, free = order_hold(poor, 60), order_hold(ledger.open_account(), 0)
    ledger.commit(first, second, third, other, free)
    released = Settlement(second.request_id, MOMENT)
    # in order of id, whatever the order in the batch; the excess of the third is in its charge
    ledger.commit(
        order_charge(third, 500), order_charge(other, 7), released, order_charge(free, 0), order_charge(first, 25)
    )
    left = [ledger.find_usage(hold.request_id).balance_after_nanos for hold in (first, second, third, other, free)]
    assert left == [975, 975, 475, 93, 0]
    with ledger.app.app_context():
        adjust(poor, -200, note="charge-back", made_by="a test")
    hold = order_hold(poor, 0)
    ledger.commit(hold)
    ledger.commit(order_charge(hold, 0))
    assert ledger.find_usage(hold.request_id).balance_after_nanos == -107
