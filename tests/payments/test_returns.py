"""Refunds and disputes are entries of their own, once each, in any sequence, and may leave a debt."""

from collections.abc import Iterator

import gevent
import pytest
import responses
import sqlalchemy as sa
import structlog

from bridge.db import transaction
from bridge.ledger.ledger import adjust
from bridge.payments.tables import Return
from tests.payments.conftest import CENT, Till
from tests.payments.stripe_side import (
    make_charge,
    make_dispute,
    make_event,
    make_intent,
    make_refund,
    make_session,
    new_id,
)

API = "https://api.stripe.com/v1"


@pytest.fixture
def api() -> Iterator[responses.RequestsMock]:
    """Stripe's API: calls that a test hasn't registered are refused."""
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


# money that was never credited


def tell_state(till: Till, state: str) -> tuple[int, str, str]:
    """An account with $10 and a top-up of $20 that is in a state without a credit: account, payment, intent."""
    account = till.open_account(1000 * CENT)
    payment = till.open_payment(account, 2000)
    session = make_session(payment, 2000)
    news = {
        "review": ("checkout.session.completed", {"amount_total": 1500}),
        "pending": ("checkout.session.completed", {"payment_status": "unpaid"}),
        "failed": ("checkout.session.async_payment_failed", {}),
        "expired": ("checkout.session.expired", {}),
    }
    if state != "open":
        type_, fields = news[state]
        till.send(make_event(type_, {**session, **fields}))
    assert till.find_payment(payment).state == state
    return account, payment, session["payment_intent"]


@pytest.mark.parametrize("metadata", [True, False])
@pytest.mark.parametrize("kind", ["refund.created", "charge.refunded", "charge.dispute.created"])
@pytest.mark.parametrize("state", ["review", "pending", "failed", "expired", "open"])
def test_what_goes_back_of_a_payment_never_credited_books_nothing_and_ends_it(
    till: Till, api: responses.RequestsMock, state: str, kind: str, metadata: bool
):
    account, payment, intent = tell_state(till, state)
    amount = 1500 if state == "review" else 2000
    named = {"bridge_payment": payment} if metadata else {}
    refund = make_refund(intent, amount, metadata=named)
    found = {
        "refund.created": refund,
        "charge.refunded": {**make_charge(payment, intent, amount, amount), "metadata": named},
        "charge.dispute.created": make_dispute(intent, amount, "needs_response", metadata=named),
    }[kind]
    api.assert_all_requests_are_fired = False
    api.get(f"{API}/payment_intents/{intent}", json=make_intent(payment, amount, id=intent))
    api.get(f"{API}/refunds", json=list_of(refund))
    for _ in range(2):
        assert till.send(make_event(kind, found)).status_code == 200
    assert till.balance(account) == 1000
    row = till.find_payment(payment)
    assert (row.state, row.returned_nanos) == ("refunded", 0)
    assert [entry[0] for entry in till.entries(account)] == ["operator"]
    assert [line for line in till.check() if payment in line] == []


def test_what_comes_back_of_money_never_credited_is_looked_at_again(till: Till):
    account, payment, intent = tell_state(till, "review")
    dispute = make_dispute(intent, 1500, "needs_response")
    till.send(make_event("charge.dispute.created", dispute))
    assert till.find_payment(payment).state == "refunded"
    till.send(make_event("charge.dispute.closed", {**dispute, "status": "won"}))
    assert (till.find_payment(payment).state, till.balance(account)) == ("review", 1000)


def test_a_part_that_goes_back_of_money_never_credited_leaves_the_rest_to_be_looked_at(till: Till):
    account, payment, intent = tell_state(till, "review")
    till.send(make_event("refund.created", make_refund(intent, 500)))
    assert (till.find_payment(payment).state, till.balance(account)) == ("review", 1000)
    till.send(make_event("refund.created", make_refund(intent, 1000)))
    assert (till.find_payment(payment).state, till.balance(account)) == ("refunded", 1000)


def test_news_of_the_payment_that_come_again_do_not_open_what_went_back(till: Till):
    account = till.open_account()
    payment = till.open_payment(account, 2000)
    session = make_session(payment, 1500)
    till.send(make_event("checkout.session.completed", session))
    till.send(make_event("refund.created", make_refund(session["payment_intent"], 1500)))
    assert till.send(make_event("checkout.session.completed", session)).text == "refunded"
    assert (till.find_payment(payment).state, till.balance(account)) == ("refunded", 0)


def test_another_intents_refund_is_not_taken_from_what_was_credited(till: Till):
    account, payment, _intent = paid(till)
    metadata = {"bridge_payment": payment}
    till.send(make_event("refund.created", make_refund(new_id("pi"), 2000, metadata=metadata)))
    till.send(make_event("charge.dispute.created", make_dispute(new_id("pi"), 2000, "lost", metadata=metadata)))
    assert (till.balance(account), till.find_payment(payment).state) == (2000, "paid")
    assert [line for line in till.check() if payment in line] == []


def test_what_is_paid_again_and_refunded_leaves_the_first_payment_alone(till: Till):
    account, payment, _intent = paid(till)
    second = make_session(payment, 2000)
    till.send(make_event("checkout.session.completed", second))
    till.send(make_event("refund.created", make_refund(second["payment_intent"], 2000)))
    assert till.balance(account) == 2000
    assert [row.state for row in till.list_payments(account)] == ["paid", "refunded"]
    assert [line for line in till.check() if f"account {account}:" in line] == []


def test_never_more_goes_back_than_was_credited(till: Till):
    account, payment, intent = paid(till)
    refund, dispute = make_refund(intent, 1500), make_dispute(intent, 2000, "needs_response")
    till.send(make_event("refund.created", refund))
    till.send(make_event("charge.dispute.created", dispute))
    assert till.balance(account) == 0
    assert till.find_payment(payment).returned_nanos == 20_000_000_000
    till.send(make_event("refund.failed", {**refund, "status": "failed"}))  # the dispute still takes all of it
    assert till.balance(account) == 0
    till.send(make_event("charge.dispute.closed", {**dispute, "status": "won"}))
    assert till.balance(account) == 2000


def test_a_refund_that_failed_before_the_credit_takes_nothing(till: Till):
    account, payment, intent = tell_state(till, "open")
    metadata = {"bridge_payment": payment}
    till.send(make_event("refund.failed", make_refund(intent, 2000, status="failed", metadata=metadata)))
    till.send(make_event("checkout.session.completed", make_session(payment, 2000, payment_intent=intent)))
    assert (till.balance(account), till.find_payment(payment).returned_nanos) == (3000, 0)


def test_what_was_taken_before_returns_had_rows_is_not_taken_again(till: Till):
    """As an earlier version left it: entry and sum, but no row of the return."""
    account, payment, intent = paid(till)
    refund = make_refund(intent, 2000)
    till.send(make_event("refund.created", refund))
    with till.app.app_context(), transaction() as session:
        session.execute(sa.delete(Return).where(Return.id == refund["id"]))
    till.send(make_event("refund.updated", refund))
    assert till.balance(account) == 0
    till.send(make_event("refund.failed", {**refund, "status": "failed"}))
    assert (till.balance(account), till.find_payment(payment).returned_nanos) == (2000, 0)


def test_a_dispute_in_another_currency_is_left_for_the_operator(till: Till):
    account, payment, intent = paid(till)
    till.send(make_event("charge.dispute.created", make_dispute(intent, 1700, "lost", currency="eur")))
    assert till.balance(account) == 2000
    assert "took 17.00 EUR back" in str(till.find_payment(payment).problem)


# what is not ours

MISSING = {"error": {"type": "invalid_request_error", "code": "resource_missing", "message": "No such payment_intent"}}


@pytest.mark.parametrize("kind", ["refund.created", "charge.refunded", "charge.dispute.created"])
def test_what_stripe_does_not_know_of_ours_is_ignored(till: Till, api: responses.RequestsMock, kind: str):
    intent = new_id("pi")
    found = {
        "refund.created": make_refund(intent, 900),
        "charge.refunded": {**make_charge("", intent, 900, 900), "metadata": {"order": "17"}},
        "charge.dispute.created": make_dispute(intent, 900, "needs_response"),
    }[kind]
    api.get(f"{API}/payment_intents/{intent}", status=404, json=MISSING)
    with structlog.testing.capture_logs() as logs:
        answer = till.send(make_event(kind, found))
    assert (answer.status_code, answer.text) == (200, "ignored")
    assert "webhook_not_ours" in [line["event"] for line in logs]


def test_a_charge_that_stripe_does_not_know_is_ignored(till: Till, api: responses.RequestsMock):
    _account, payment, intent = paid(till)
    api.get(f"{API}/refunds", status=404, json=MISSING)
    assert till.send(make_event("charge.refunded", make_charge(payment, intent, 2000, 2000))).status_code == 200


@pytest.mark.parametrize("status", [400, 401, 403, 429, 500, 503])
def test_other_errors_of_stripe_are_sent_again(till: Till, api: responses.RequestsMock, status: int):
    intent = new_id("pi")
    error = {"error": {"type": "invalid_request_error", "message": "no"}}
    api.get(f"{API}/payment_intents/{intent}", status=status, json=error)
    assert till.send(make_event("refund.created", make_refund(intent, 900))).status_code == 503


@pytest.mark.parametrize(
    "metadata",
    [{"bridge_payment": "pay_\0"}, {"bridge_payment": "x" * 500}, {"bridge_payment": "é"}, {"bridge_payment": ""}, 7],
)
def test_foreign_metadata_never_fails_the_endpoint(till: Till, api: responses.RequestsMock, metadata: object):
    foreign = make_intent("", 900, metadata=metadata)
    api.get(f"{API}/payment_intents/{foreign['id']}", json=foreign)
    refund = make_refund(foreign["id"], 900, metadata=metadata)
    for event in (
        make_event("payment_intent.succeeded", foreign),
        make_event("checkout.session.completed", make_session("", 900, metadata=metadata)),
        make_event("refund.created", refund),
    ):
        assert (till.send(event).status_code, till.send(event).text) == (200, "ignored")


@pytest.mark.parametrize("change", [{"id": None}, {"id": "re_\0"}, {"payment_intent": "pi_\0"}, {"amount": 2**70}])
def test_a_refund_without_sense_never_fails_the_endpoint(till: Till, change: dict[str, object]):
    account, payment, intent = paid(till)
    refund = {**make_refund(intent, 900, metadata={"bridge_payment": payment}), **change}
    assert till.send(make_event("refund.created", refund)).status_code == 200
    assert till.balance(account) == 2000


def test_a_connected_accounts_events_move_nothing(till: Till):
    """Its owner writes the metadata, and could pay themselves what we credit."""
    account = till.open_account()
    payment = till.open_payment(account, 2000)
    event = make_event("checkout.session.completed", make_session(payment, 2000), account="acct_1")
    assert till.send(event).text == "ignored"
    assert till.balance(account) == 0


def test_an_event_without_an_object_of_its_own_is_ignored(till: Till):
    thin = {"id": "evt_1", "object": "v2.core.event", "type": "v1.billing.meter.no_meter_found", "livemode": False}
    assert till.send(thin).text == "ignored"


def test_a_payment_whose_card_stripe_does_not_know_is_credited_all_the_same(till: Till, api: responses.RequestsMock):
    account = till.open_account()
    payment = till.open_payment(account, 2000, keeps_card=True)
    session = make_session(payment, 2000)
    api.get(f"{API}/payment_intents/{session['payment_intent']}", status=404, json=MISSING)
    answer = till.send(make_event("checkout.session.completed", session))
    assert (answer.status_code, answer.text, till.balance(account)) == (200, "credited", 2000)
