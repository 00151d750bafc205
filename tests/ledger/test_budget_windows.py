"""Several budgets of a key at once: each has to pay, none is overspent, and each gets its own back."""

import datetime

import gevent
import msgspec

from bridge.accounts.key_terms import KeyTerms
from bridge.ledger.batch import BudgetWindow, HoldOrder, HoldResult, Settlement
from bridge.ledger.budgets import NEVER, find_raise, list_windows, next_start
from bridge.ledger.refunds import refund_request
from bridge.ledger.writer import Writer
from tests.ledger.orders import MOMENT, TODAY, Ledger, order_charge, order_hold

HOUR = datetime.timedelta(hours=1)


def order(account: int, amount: int, terms: KeyTerms, user: str | None = None, at=MOMENT) -> HoldOrder:
    return order_hold(account, amount, created_at=at, budgets=list_windows(terms, user, at))


def test_requests_at_once_overspend_neither_of_two_windows(ledger: Ledger):
    """From two workers, each with a connection of its own."""
    writers = [ledger.writer, Writer(ledger.app.config["BRIDGE"])]
    for day, total, admitted in ((70, 50, 5), (50, 70, 5), (60, 60, 6)):
        account = ledger.open_account(1000)
        terms = KeyTerms(name="k", budget_day_nanos=day, budget_total_nanos=total)
        calls = [gevent.spawn(writer.place_hold, order(account, 10, terms)) for _ in range(20) for writer in writers]
        results = [call.get() for call in calls]
        assert sum(result.held_nanos == 10 for result in results) == admitted
        assert {(each.refused, each.window) for each in results if each.refused} == {("budget", int(total < day))}
        held = (10 * admitted, 0)
        assert ledger.find_budget(account) == ledger.find_budget(account, NEVER, "total") == held
    writers[1].close()


def test_each_window_gets_back_what_was_not_spent(ledger: Ledger):
    account = ledger.open_account(1000)
    terms = KeyTerms(name="k", budget_day_nanos=100, budget_total_nanos=500, budget_user_nanos=100)
    charged, released = order(account, 60, terms, "ada"), order(account, 40, terms, "ada")
    ledger.commit(charged, released)
    ledger.commit(order_charge(charged, 25), Settlement(released.request_id, MOMENT))
    for place in ((TODAY, "day"), (NEVER, "total"), (TODAY, "day", "user:ada")):
        assert ledger.find_budget(account, *place) == (0, 25)


def test_a_refund_goes_back_to_each_window_and_to_its_end_user(ledger: Ledger):
    account = ledger.open_account(1000)
    terms = KeyTerms(name="k", budget_day_nanos=100, budget_total_nanos=500, budget_user_nanos=100)
    for user in ("ada", "kim"):
        hold = order(account, 60, terms, user)
        ledger.commit(hold)
        budgets = [(window.period, window.start, bool(window.scope)) for window in hold.budgets or ()]
        pricing = msgspec.json.encode({"budgets": budgets}).decode()
        ledger.commit(order_charge(hold, 30, end_user=user, pricing=pricing))
    refund_request(hold.request_id, reason="empty", made_by="a test")
    assert ledger.find_budget(account) == ledger.find_budget(account, NEVER, "total") == (0, 30)
    assert [ledger.find_budget(account, scope=f"user:{user}") for user in ("ada", "kim")] == [(0, 30), (0, 0)]


def test_what_one_end_user_spent_refuses_nobody_else(ledger: Ledger):
    account = ledger.open_account(1000)
    terms = KeyTerms(name="k", budget_user_nanos=50)
    assert ledger.commit(order(account, 50, terms, "ada")) == [HoldResult(50)]
    assert ledger.commit(order(account, 1, terms, "ada")) == [HoldResult(0, "budget", 0)]
    assert ledger.commit(order(account, 50, terms, "kim")) == [HoldResult(50)]
    assert ledger.commit(order(account, 50, terms), order(account, 1, terms, "")) == [  # those without a name are one
        HoldResult(50),
        HoldResult(0, "budget", 0),
    ]


def test_a_raise_adds_to_each_budget_until_it_ends(ledger: Ledger):
    account = ledger.open_account(1000)
    raised = {"budget_raise_nanos": 30, "budget_raise_until": MOMENT + HOUR}
    terms = KeyTerms(name="k", budget_day_nanos=50, budget_total_nanos=60, budget_user_nanos=75, **raised)
    assert ledger.commit(order(account, 75, terms, "ada")) == [HoldResult(75)]
    assert ledger.commit(order(account, 1, terms, "ada")) == [HoldResult(0, "budget", 0, 2)]  # of the user, unraised
    assert ledger.commit(order(account, 5, terms, "kim")) == [HoldResult(5)]
    assert find_raise(terms, MOMENT + HOUR) == 0
    assert ledger.commit(order(account, 1, terms, "kim", MOMENT + HOUR)) == [HoldResult(0, "budget", 0)]


def test_a_key_without_a_budget_asks_for_none(ledger: Ledger):
    assert list_windows(KeyTerms(name="k"), "ada", MOMENT) is None


def test_a_window_starts_again_where_the_next_one_begins(ledger: Ledger):
    for period, start, following in (
        ("day", "2026-12-31", "2027-01-01"),
        ("week", "2026-12-28", "2027-01-04"),
        ("month", "2026-12-01", "2027-01-01"),
        ("month", "2027-02-01", "2027-03-01"),
    ):
        window = BudgetWindow(period, datetime.date.fromisoformat(start), "", 1)
        assert str(next_start(window)) == following
    assert next_start(BudgetWindow("total", NEVER, "", 1)) is None
