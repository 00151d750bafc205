"""Holds and settlements on both engines: nobody overspends, everything is settled once, every nano is accounted for."""

import datetime
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import msgspec
import psycopg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from bridge.errors import ServiceUnavailable
from bridge.ledger import postgres, sqlite
from bridge.ledger.batch import MAX_FINISH_REASON, HoldResult, Order, Settlement, SettleResult
from bridge.ledger.ledger import adjust, credit
from tests.ledger.orders import MOMENT, TODAY, Ledger, new_id, order_charge, order_hold

YESTERDAY = TODAY - datetime.timedelta(days=1)


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


# budgets


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


def test_an_excess_counts_against_the_budget_too(ledger: Ledger):
    account = ledger.open_account(100)
    hold = order_hold(account, 20, budget_nanos=30)
    ledger.commit(hold)
    ledger.commit(order_charge(hold, 50))
    assert ledger.find_budget(account) == (0, 50)
    assert ledger.commit(order_hold(account, 1, budget_nanos=30)) == [HoldResult(0, "budget", 0)]


def test_holds_and_settlements_of_several_accounts_share_a_batch(ledger: Ledger):
    accounts = [ledger.open_account(100 * (number + 1)) for number in range(4)]
    holds = [order_hold(account, 50) for account in accounts]
    ledger.commit(*holds)
    orders: list[Order] = [order_charge(hold, 10 * number) for number, hold in enumerate(holds)]
    orders += [order_hold(account, 30) for account in accounts]
    ledger.commit(*orders)
    assert [ledger.find_money(account) for account in accounts] == [(100, 30), (190, 30), (280, 30), (370, 30)]


# through the writer, as the relay calls it


@pytest.fixture
def slow(ledger: Ledger) -> Iterator[Ledger]:
    """The same ledger through a writer that a test may hold up."""
    slow = Ledger(ledger.app)
    yield slow
    slow.close()


def test_two_hundred_at_once_hold_exactly_what_the_account_affords(ledger: Ledger):
    account = ledger.open_account(70)
    calls = [gevent.spawn(ledger.writer.place_hold, order_hold(account, 10)) for _ in range(200)]
    results = [call.get() for call in calls]
    assert sum(result.held_nanos == 10 for result in results) == 7
    assert sum(result.refused == "balance" for result in results) == 193
    assert ledger.find_money(account) == (70, 70)


def test_an_upstream_s_long_word_is_cut_and_charged(ledger: Ledger):
    account = ledger.open_account(100)
    hold = order_hold(account, 60)
    ledger.writer.place_hold(hold)
    ledger.writer.settle(order_charge(hold, 25, finish_reason="st\0op" + "p" * 100))
    assert ledger.find_usage(hold.request_id).finish_reason == ("stop" + "p" * 100)[:MAX_FINISH_REASON]


def test_an_order_that_the_tables_refuse_fails_nobody_else(ledger: Ledger):
    account = ledger.open_account(100)
    good, bad, late = (order_hold(account, 20) for _ in range(3))
    ledger.commit(good, bad)
    calls = [
        gevent.spawn(ledger.writer.settle, order_charge(good, 5)),
        gevent.spawn(
            settle_or_none, ledger, order_charge(bad, 5, state="forgotten")
        ),  # a CHECK says no to such a state
        gevent.spawn(ledger.writer.place_hold, late),
    ]
    assert [call.get() for call in calls] == [SettleResult(5, 0), None, HoldResult(20)]
    assert ledger.find_money(account) == (95, 40)
    assert ledger.find_hold(bad.request_id) is not None  # for the sweeper


def settle_or_none(ledger: Ledger, settlement: Settlement) -> SettleResult | None:
    try:
        return ledger.writer.settle(settlement)
    except ServiceUnavailable:
        return None


def test_a_hold_that_comes_too_late_is_withdrawn(slow: Ledger, monkeypatch: pytest.MonkeyPatch):
    account = slow.open_account(100)
    monkeypatch.setattr("bridge.ledger.writer.HOLD_WAIT_SECONDS", 0)
    busy, go_on, commit = gevent.event.Event(), gevent.event.Event(), slow.writer._batcher._run

    def slowly(orders: list[Order]) -> Any:
        busy.set()
        go_on.wait()
        return commit(orders)

    slow.writer._batcher._run = slowly  # type: ignore[method-assign]
    running, waiting = order_hold(account, 10), order_hold(account, 20)
    slow.writer._batcher.tell(running)
    busy.wait()
    with pytest.raises(ServiceUnavailable):
        slow.writer.place_hold(waiting)
    go_on.set()
    slow.writer.settle(order_charge(running, 10))  # when that is done, so is all that came before
    assert slow.find_money(account) == (90, 0)
    assert slow.find_hold(waiting.request_id) is None


def test_a_hold_of_unknown_fate_is_released(slow: Ledger, monkeypatch: pytest.MonkeyPatch):
    """The commit came through, and the answer to it did not come in time."""
    account = slow.open_account(100)
    monkeypatch.setattr("bridge.ledger.writer.HOLD_WAIT_SECONDS", 0.001)
    begun, go_on, commit = gevent.event.Event(), gevent.event.Event(), slow.writer._batcher._run

    def slowly(orders: list[Order]) -> Any:
        outcomes = commit(orders)
        begun.set()
        go_on.wait()
        return outcomes

    slow.writer._batcher._run = slowly  # type: ignore[method-assign]
    hold = order_hold(account, 10, details=msgspec.json.encode(Settlement("", MOMENT, model_asked="asked")).decode())
    call = gevent.spawn(place_or_none, slow, hold)
    begun.wait()
    assert call.get() is None
    go_on.set()
    slow.writer.settle(order_charge(new_id(), 1))
    assert slow.find_money(account) == (100, 0)
    row = slow.find_usage(hold.request_id)
    assert (row.state, row.status, row.model_asked) == ("released", 503, "asked")


def place_or_none(ledger: Ledger, hold: Any) -> HoldResult | None:
    try:
        return ledger.writer.place_hold(hold)
    except ServiceUnavailable:
        return None


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
@pytest.mark.parametrize("committed", [True, False])
def test_a_batch_in_doubt_is_carried_out_once(ledger: Ledger, monkeypatch: pytest.MonkeyPatch, committed: bool):
    """The connection breaks between the commit and its answer, or before the commit: the writer can't know."""
    account = ledger.open_account(100)
    first, second = order_hold(account, 30), order_hold(account, 40)
    ledger.commit(first)
    commit_batch = postgres.commit_batch

    def break_once(connection: Any, orders: Any) -> Any:
        monkeypatch.setattr(postgres, "commit_batch", commit_batch)
        if committed:
            commit_batch(connection, orders)
        connection.close()
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(postgres, "commit_batch", break_once)
    results = ledger.commit(order_charge(first, 45), second)
    assert results == [SettleResult(45, 0, settled_before=committed), HoldResult(40)]
    assert ledger.find_money(account) == (55, 40)


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_on_sqlite_a_hold_ordered_again_is_the_same_hold(ledger: Ledger):
    account = ledger.open_account(100)
    hold = order_hold(account, 60)
    assert ledger.commit(hold, hold) == [HoldResult(60), HoldResult(60)]
    assert ledger.find_money(account) == (100, 60)


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_a_batch_that_fails_on_sqlite_leaves_nothing_behind(ledger: Ledger):
    account = ledger.open_account(100)
    hold = order_hold(account, 60)
    ledger.commit(hold)
    connection = sqlite.connect(ledger.app.config["BRIDGE"].sqlalchemy_url.split("///", 1)[1])
    with pytest.raises(sqlite.sqlite3.IntegrityError):
        sqlite.commit_batch(connection, [order_hold(account, 10), order_charge(hold, 5, state="forgotten")])
    connection.close()
    assert ledger.find_money(account) == (100, 60)


# at random


@pytest.fixture(scope="module")
def both(find_ledger: Callable[[str], Ledger]) -> list[Ledger]:
    """A ledger on each engine."""
    return [find_ledger(engine) for engine in ("sqlite", "postgresql")]


AMOUNTS = st.integers(0, 60) | st.sampled_from([0, 1, 250, 1000])
HOLDS = st.tuples(st.just("hold"), st.integers(0, 2), AMOUNTS, AMOUNTS, st.sampled_from([None, None, 0, 40, 300]))
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


def play(ledger: Ledger, accounts: list[int], step: Any, ids: list[str], fresh: list[str]) -> list[Any]:
    """One step on one engine, and what it was told."""
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
            _, account, amount, least, budget = item
            fields = {"request_id": id_, "least_nanos": min(amount, least), "budget_nanos": budget}
            orders.append(order_hold(accounts[account], amount, **fields))
        elif ids:
            _, place, price = item
            request_id = ids[-1 - place % len(ids)]
            orders.append(Settlement(request_id, MOMENT) if price is None else order_charge(request_id, price))
    return ledger.commit(*orders)
