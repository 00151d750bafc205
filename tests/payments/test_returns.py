"""Refunds and disputes are entries of their own, once each, in whatever order they come, and may leave a debt."""

from collections.abc import Iterator

import gevent
import pytest
import responses

from bridge.ledger.ledger import adjust
from tests.payments.conftest import Till
from tests.payments.stripe_side import make_charge, make_dispute, make_event, make_intent, make_refund, make_session

API = "https://api.stripe.com/v1"


@pytest.fixture
def api() -> Iterator[responses.RequestsMock]:
    """Stripe's API: what a test has not written down is refused."""
    with responses.RequestsMock() as mock:
        yield mock


def list_of(*refunds: dict[str, object]) -> dict[str, object]:
    return {"object": "list", "data": list(refunds), "has_more": False, "url": "/v1/refunds"}


def paid(till: Till, amount: int = 2000) -> tuple[int, str, str]:
    """An account with a paid top-up: account, payment, payment intent."""
    account = till.open_account()
    payment = till.open_payment(account, amount)
    session = make_session(payment, amount)
    till.send(make_event("checkout.session.completed", session))
    return account, payment, session["payment_intent"]


def test_a_refund_is_an_entry_of_its_own_once(till: Till):
    account, payment, intent = paid(till)
    refund = make_refund(intent, 500)
    for type_ in ("refund.created", "refund.updated", "charge.refund.updated", "refund.created"):
        assert till.send(make_event(type_, refund)).status_code == 200
    assert till.entries(account) == [("stripe", intent, 2000), ("stripe_refund", refund["id"], -500)]
    assert till.balance(account) == 1500
    assert till.find_payment(payment).returned_nanos == 5_000_000_000


def test_a_refunded_charge_books_every_refund_that_stripe_lists(till: Till, api: responses.RequestsMock):
    account, payment, intent = paid(till)
    first, second = make_refund(intent, 300), make_refund(intent, 200)
    charge = make_charge(payment, intent, 2000, 500)
    query = {"charge": charge["id"], "limit": "100"}
    match = [responses.matchers.query_param_matcher(query)]
    api.get(f"{API}/refunds", json=list_of(second, first), match=match)
    till.send(make_event("refund.created", first))
    for _ in range(2):
        assert till.send(make_event("charge.refunded", charge)).text == "refunded"
    assert [entry[1:] for entry in till.entries(account)] == [(intent, 2000), (first["id"], -300), (second["id"], -200)]


def test_without_an_answer_of_stripe_the_event_is_sent_again(till: Till, api: responses.RequestsMock):
    account, payment, intent = paid(till)
    charge = make_charge(payment, intent, 2000, 500)
    api.get(f"{API}/refunds", status=500, json={"error": {"type": "api_error", "message": "no"}})
    assert till.send(make_event("charge.refunded", charge)).status_code == 503
    api.replace("GET", f"{API}/refunds", json=list_of(make_refund(intent, 500)))
    assert till.send(make_event("charge.refunded", charge)).status_code == 200
    assert till.balance(account) == 1500


def test_a_wrong_key_of_ours_is_answered_503_and_not_shown(till: Till, api: responses.RequestsMock):
    _account, payment, intent = paid(till)
    message = f"Invalid API Key provided: {till.settings.stripe_secret_key}"
    api.get(f"{API}/refunds", status=401, json={"error": {"type": "invalid_request_error", "message": message}})
    answer = till.send(make_event("charge.refunded", make_charge(payment, intent, 2000, 500)))
    assert (answer.status_code, "sk_test" in answer.text) == (503, False)


def test_refunds_in_parallel_are_taken_once_each(till: Till):
    account, _payment, intent = paid(till)
    refunds = [make_refund(intent, 100), make_refund(intent, 250)]
    calls = [gevent.spawn(till.send, make_event("refund.created", refund)) for refund in refunds * 4]
    assert [call.get().status_code for call in calls] == [200] * 8
    assert till.balance(account) == 1650


def test_a_refund_of_what_is_spent_leaves_a_debt_and_the_next_top_up_pays_it(till: Till):
    account, _payment, intent = paid(till)
    with till.app.app_context():
        adjust(account, -19_000_000_000, note="as if spent", made_by="a test")
    till.send(make_event("refund.created", make_refund(intent, 2000)))
    assert (till.balance(account), till.debt(account)) == (-1900, 1900)
    payment = till.open_payment(account, 2500)
    till.send(make_event("checkout.session.completed", make_session(payment, 2500)))
    assert (till.balance(account), till.debt(account)) == (600, 0)


def test_a_refund_that_comes_before_its_payment_is_not_lost(till: Till, api: responses.RequestsMock):
    account = till.open_account()
    payment = till.open_payment(account, 2000)
    session = make_session(payment, 2000)
    intent = session["payment_intent"]
    api.get(f"{API}/payment_intents/{intent}", json=make_intent(payment, 2000, id=intent))
    till.send(make_event("refund.created", make_refund(intent, 800)))
    assert (till.balance(account), till.debt(account)) == (0, 0)  # nothing was credited that could go back
    till.send(make_event("checkout.session.completed", session))
    assert (till.balance(account), till.debt(account)) == (1200, 0)
    assert [entry[2] for entry in till.entries(account)] == [2000, -800]


def test_a_charges_own_metadata_finds_the_payment_without_asking(till: Till, api: responses.RequestsMock):
    account = till.open_account()
    payment = till.open_payment(account, 2000)
    session = make_session(payment, 2000)
    intent = session["payment_intent"]
    api.get(f"{API}/refunds", json=list_of(make_refund(intent, 2000)))
    till.send(make_event("charge.refunded", make_charge(payment, intent, 2000, 2000)))
    till.send(make_event("checkout.session.completed", session))
    assert till.balance(account) == 0


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("status", ["failed", "canceled"])
def test_a_refund_that_fails_is_given_back_once(till: Till, status: str, late: bool):
    account, payment, intent = paid(till)
    refund = make_refund(intent, 500, status="pending")
    created, failed = make_event("refund.created", refund), make_event("refund.failed", {**refund, "status": status})
    for event in [failed, failed, created] if late else [created, failed, failed]:
        till.send(event)
    assert (till.balance(account), till.find_payment(payment).returned_nanos) == (2000, 0)
    assert [entry[2] for entry in till.entries(account)] == [2000, -500, 500]


def test_refunds_of_other_payments_are_not_ours(till: Till, api: responses.RequestsMock):
    foreign = make_intent("", 900, metadata={})
    api.get(f"{API}/payment_intents/{foreign['id']}", json=foreign)
    assert till.send(make_event("refund.created", make_refund(foreign["id"], 900))).text == "ignored"
    assert till.send(make_event("refund.created", make_refund("", 9, payment_intent=None))).text == "ignored"


@pytest.mark.parametrize("fields", [{"amount": -5}, {"amount": 0}, {"amount": "5"}, {"currency": "eur"}])
def test_a_refund_that_makes_no_sense_moves_nothing(till: Till, fields: dict[str, object]):
    account, _payment, intent = paid(till)
    till.send(make_event("refund.created", {**make_refund(intent, 500), **fields}))
    assert till.balance(account) == 2000


# disputes


def test_a_dispute_takes_the_money_and_a_lost_one_keeps_it(till: Till):
    account, payment, intent = paid(till)
    dispute = make_dispute(intent, 2000, "needs_response")
    till.send(make_event("charge.dispute.created", dispute))
    assert till.balance(account) == 0
    till.send(make_event("charge.dispute.closed", {**dispute, "status": "lost"}))
    till.send(make_event("charge.dispute.created", dispute))
    assert till.entries(account)[1:] == [("stripe_dispute", dispute["id"], -2000)]
    assert till.find_payment(payment).returned_nanos == 20_000_000_000


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (0, 1, 1, 0), (1, 1)])
def test_a_dispute_that_we_win_is_given_back_once_whatever_comes_first(till: Till, order: tuple[int, ...]):
    account, _payment, intent = paid(till)
    dispute = make_dispute(intent, 1500, "needs_response")
    events = [
        make_event("charge.dispute.created", dispute),
        make_event("charge.dispute.closed", {**dispute, "status": "won"}),
    ]
    for number in order:
        till.send(events[number])
    assert till.balance(account) == 2000
    assert [entry[2] for entry in till.entries(account)] == [2000, -1500, 1500]


def test_an_inquiry_moves_no_money_until_it_becomes_a_dispute(till: Till):
    account, _payment, intent = paid(till)
    inquiry = make_dispute(intent, 2000, "warning_needs_response")
    till.send(make_event("charge.dispute.created", inquiry))
    assert till.balance(account) == 2000
    till.send(make_event("charge.dispute.funds_withdrawn", {**inquiry, "status": "needs_response"}))
    assert till.balance(account) == 0


def test_a_dispute_switches_automatic_top_ups_off(till: Till):
    account, _payment, intent = paid(till)
    till.keep_card(account)
    till.send(make_event("charge.dispute.created", make_dispute(intent, 2000, "needs_response")))
    rule = till.find_rule(account)
    assert (rule.enabled, rule.problem) == (False, "A payment was disputed.")
