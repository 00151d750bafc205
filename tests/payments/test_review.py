"""An operator finishes payments that Stripe's events don't: each once, for a reason, by Stripe's own figures."""

from collections.abc import Iterator
from typing import Any

import gevent
import pytest
import responses
import sqlalchemy as sa

from bridge.db import db, transaction
from bridge.errors import InvalidRequest, NotFound, ServiceUnavailable
from bridge.ledger.ledger import book
from bridge.payments.review import close_payment, link_payment, settle_payment
from bridge.payments.review_listing import list_payments_to_review, view_payment
from bridge.payments.tables import Decision, Payment
from tests.payments.conftest import CENT, Till
from tests.payments.stripe_side import make_event, make_intent, make_refund, make_session, new_id

API = "https://api.stripe.com/v1"
WHY = {"reason": "Seen at Stripe", "made_by": "ada@example.com"}


@pytest.fixture
def api() -> Iterator[responses.RequestsMock]:
    """Stripe's API: calls that a test hasn't registered are refused."""
    with responses.RequestsMock() as mock:
        yield mock


def know(api: responses.RequestsMock, intent: str, payment: str, amount: int, **fields: Any) -> None:
    """Let Stripe know the intent as paid."""
    api.get(f"{API}/payment_intents/{intent}", json=make_intent(payment, amount, id=intent, **fields))


def review(till: Till, amount: int = 1500, **fields: Any) -> tuple[int, str, str]:
    """A top-up of $20 for which something else came: account, payment, intent."""
    account = till.open_account()
    payment = till.open_payment(account, 2000)
    session = make_session(payment, amount, **fields)
    assert till.send(make_event("checkout.session.completed", session)).text == "review"
    return account, payment, session["payment_intent"]


def settle(till: Till, payment: str, **more: Any) -> Payment | None:
    with till.app.app_context():
        return settle_payment(till.settings, payment, **{**WHY, **more})


def link(till: Till, payment: str, intent: str, **more: Any) -> Payment:
    with till.app.app_context():
        return link_payment(till.settings, payment, intent, **{**WHY, **more})


def close(till: Till, payment: str, **more: Any) -> Payment | None:
    with till.app.app_context():
        return close_payment(payment, **{**WHY, **more})


def decisions(till: Till, payment: str) -> list[tuple[str, str, str, str]]:
    with till.app.app_context():
        found = db.session.scalars(sa.select(Decision).where(Decision.payment_id == payment).order_by(Decision.id))
        return [(one.action, one.before, one.reason, one.made_by) for one in found]


def lines(till: Till, account: int) -> list[str]:
    return [line for line in till.check() if line.startswith(f"account {account}: ")]


def waiting(till: Till) -> list[str]:
    with till.app.app_context():
        return [payment.id for payment in list_payments_to_review()]


def test_settling_credits_what_came_once_and_the_check_is_clean(till: Till, api: responses.RequestsMock):
    account, payment, intent = review(till)
    assert payment in waiting(till)
    know(api, intent, payment, 1500)
    assert settle(till, payment) is not None
    assert settle(till, payment) is None
    assert till.entries(account) == [("stripe", intent, 1500)]
    assert decisions(till, payment) == [
        ("settle", "review: $15.00 was paid, not $20.00.", WHY["reason"], WHY["made_by"]),
    ]
    assert (lines(till, account), payment in waiting(till)) == ([], False)
    till.send(make_event("refund.created", make_refund(intent, 1500)))
    assert till.balance(account) == 0


def test_settling_takes_off_what_went_back_meanwhile_also_where_only_stripe_knows(
    till: Till, api: responses.RequestsMock
):
    account, payment, intent = review(till)
    till.send(make_event("refund.created", make_refund(intent, 300)))
    unheard = make_refund(intent, 200)
    know(api, intent, payment, 1500, latest_charge={"id": "ch_7", "amount_refunded": 500})
    api.get(f"{API}/refunds", json={"object": "list", "data": [unheard], "has_more": False, "url": "/v1/refunds"})
    settle(till, payment)
    assert [entry[2] for entry in till.entries(account)] == [1500, -300, -200]
    assert lines(till, account) == []


def test_what_went_back_as_a_whole_cannot_be_settled(till: Till, api: responses.RequestsMock):
    account, payment, intent = review(till)
    know(api, intent, payment, 1500, latest_charge={"id": "ch_7", "amount_refunded": 1500})
    refund = make_refund(intent, 1500)
    api.get(f"{API}/refunds", json={"object": "list", "data": [refund], "has_more": False, "url": "/v1/refunds"})
    with pytest.raises(InvalidRequest, match="went back"):
        settle(till, payment)
    assert (till.entries(account), till.find_payment(payment).state) == ([], "refunded")


def test_money_of_another_currency_is_settled_for_the_dollars_that_the_operator_says(
    till: Till, api: responses.RequestsMock
):
    account, payment, intent = review(till, 2000, currency="eur")
    know(api, intent, payment, 2000, currency="eur")
    with pytest.raises(InvalidRequest, match=r"20\.00 EUR came: say how many dollars"):
        settle(till, payment)
    settle(till, payment, dollars_nanos=2150 * CENT)
    assert till.balance(account) == 2150
    till.send(make_event("refund.created", make_refund(intent, 1000, currency="eur")))
    assert till.balance(account) == 1075


def test_stripes_word_of_now_counts_and_without_it_that_of_its_event(till: Till, api: responses.RequestsMock):
    account, payment, intent = review(till)
    know(api, intent, payment, 0, status="canceled")
    with pytest.raises(InvalidRequest, match="not paid: canceled"):
        settle(till, payment)
    api.replace("GET", f"{API}/payment_intents/{intent}", status=500, json={"error": {"type": "api_error"}})
    settle(till, payment)
    assert till.balance(account) == 1500


def test_a_payment_whose_event_was_lost_is_settled_by_stripes_word(till: Till, api: responses.RequestsMock):
    account = till.open_account()
    payment = till.open_payment(account, 2000)
    session = make_session(payment, 2000, payment_status="unpaid")
    till.send(make_event("checkout.session.completed", session))
    api.get(f"{API}/payment_intents/{session['payment_intent']}", status=500, json={"error": {"type": "api_error"}})
    with pytest.raises(ServiceUnavailable):
        settle(till, payment)
    api.replace(
        "GET",
        f"{API}/payment_intents/{session['payment_intent']}",
        json=make_intent(payment, 2000, id=session["payment_intent"]),
    )
    settle(till, payment)
    till.send(make_event("checkout.session.async_payment_succeeded", {**session, "payment_status": "paid"}))
    assert till.entries(account) == [("stripe", session["payment_intent"], 2000)]


def test_closing_credits_nothing_once_whatever_the_state(till: Till):
    for state in ("open", "pending", "failed", "expired", "review"):
        account = till.open_account()
        payment = till.open_payment(account, 2000, state=state)
        assert close(till, payment) is not None
        assert close(till, payment) is None
        assert (till.find_payment(payment).state, till.entries(account), lines(till, account)) == ("closed", [], [])
        assert [one[0] for one in decisions(till, payment)] == ["close"]


def test_news_that_come_again_do_not_open_what_was_closed(till: Till):
    account = till.open_account()
    payment = till.open_payment(account, 2000)
    session = make_session(payment, 1500)
    event = make_event("checkout.session.completed", session)
    till.send(event)
    close(till, payment)
    assert till.send(event).text == "known"
    till.send(make_event("refund.created", make_refund(session["payment_intent"], 1500)))
    assert (till.find_payment(payment).state, till.balance(account), lines(till, account)) == ("closed", 0, [])


def test_money_that_comes_after_the_close_is_not_lost(till: Till, api: responses.RequestsMock):
    account = till.open_account()
    payment = till.open_payment(account, 2000)
    close(till, payment)
    session = make_session(payment, 2000)
    for _ in range(2):
        assert till.send(make_event("checkout.session.completed", session)).text == "review"
    _closed, late = till.list_payments(account)
    assert (late.state, late.problem) == ("review", f"Paid after {payment} was closed.")
    know(api, session["payment_intent"], payment, 2000)
    settle(till, late.id)
    assert (till.balance(account), lines(till, account)) == (2000, [])


def test_closing_gives_back_what_was_taken_without_a_credit(till: Till):
    """As an earlier version left it: $15 was taken back of a payment in review."""
    account = till.open_account(1000 * CENT)
    payment = till.open_payment(account, 2000, state="review", returned_nanos=1500 * CENT, problem="1500 was paid.")
    refund = new_id("re")
    with till.app.app_context(), transaction() as session:
        book(session, account, -1500 * CENT, source="stripe_refund", external_id=refund, note="Refund", made_by="x")
    assert any("closing it gives that back" in line for line in lines(till, account))
    with pytest.raises(InvalidRequest, match="close it"):
        settle(till, payment)
    close(till, payment)
    assert (till.balance(account), lines(till, account)) == (1000, [])


def test_linking_credits_what_fits(till: Till, api: responses.RequestsMock):
    account = till.open_account()
    payment, intent = till.open_payment(account, 2000, state="expired"), new_id("pi")
    know(api, intent, "", 2000, metadata={})
    assert link(till, payment, intent).state == "paid"
    assert link(till, payment, intent).state == "paid"
    assert till.entries(account) == [("stripe", intent, 2000)]
    assert [one[0] for one in decisions(till, payment)] == ["link"]
    assert lines(till, account) == []


def test_linking_what_differs_leaves_it_to_be_settled(till: Till, api: responses.RequestsMock):
    account = till.open_account()
    payment, intent = till.open_payment(account, 2000), new_id("pi")
    know(api, intent, "", 1800, metadata={})
    assert (link(till, payment, intent).state, till.balance(account)) == ("review", 0)
    settle(till, payment)
    assert till.balance(account) == 1800


def test_the_money_that_a_link_replaces_stands_beside(till: Till, api: responses.RequestsMock):
    account, payment, wrong = review(till)
    right = new_id("pi")
    know(api, right, "", 2000, metadata={})
    link(till, payment, right)
    first, beside = till.list_payments(account)
    assert (first.state, first.payment_intent) == ("paid", right)
    assert (beside.state, beside.payment_intent, beside.paid_minor) == ("review", wrong, 1500)
    till.send(make_event("refund.created", make_refund(wrong, 1500)))
    assert (till.balance(account), lines(till, account)) == (2000, [])


def test_an_intent_is_linked_once_and_never_anothers(till: Till, api: responses.RequestsMock):
    account, other = till.open_account(), till.open_account()
    credited = till.open_payment(account, 2000)
    session = make_session(credited, 2000)
    till.send(make_event("checkout.session.completed", session))
    know(api, session["payment_intent"], credited, 2000)
    mine, theirs = till.open_payment(account, 2000), till.open_payment(other, 2000)
    with pytest.raises(InvalidRequest, match=f"belongs to {credited}, which is paid"):
        link(till, mine, session["payment_intent"])
    with pytest.raises(InvalidRequest, match=f"paid by account {account}"):
        link(till, theirs, session["payment_intent"])
    assert (till.balance(account), till.balance(other)) == (2000, 0)


def test_what_stripe_does_not_know_cannot_be_linked(till: Till, api: responses.RequestsMock):
    payment, intent = till.open_payment(till.open_account(), 2000), new_id("pi")
    missing = {"error": {"type": "invalid_request_error", "code": "resource_missing", "message": "No such intent"}}
    api.get(f"{API}/payment_intents/{intent}", status=404, json=missing)
    with pytest.raises(InvalidRequest, match=f"Stripe knows no {intent}"):
        link(till, payment, intent)


def test_each_action_wants_a_reason_and_a_payment(till: Till):
    _account, payment, _intent = review(till)
    for reason in ("", "  ", "x" * 501):
        for act in (lambda **more: settle(till, payment, **more), lambda **more: close(till, payment, **more)):
            with pytest.raises(InvalidRequest, match="reason"):
                act(reason=reason)
        with pytest.raises(InvalidRequest, match="reason"):
            link(till, payment, "pi_1", reason=reason)
    for act in (settle, close):
        with pytest.raises(NotFound):
            act(till, "pay_of_nobody")


def test_a_payment_that_is_as_it_should_be_is_not_closed(till: Till):
    account = till.open_account()
    payment = till.open_payment(account, 2000)
    till.send(make_event("checkout.session.completed", make_session(payment, 2000)))
    with pytest.raises(InvalidRequest, match="nothing is wrong"):
        close(till, payment)
    with till.app.app_context():
        assert view_payment(payment).actions == []


def test_what_is_wrong_with_a_credited_payment_is_closed_once(till: Till):
    account = till.open_account()
    payment = till.open_payment(account, 2000)
    till.send(make_event("checkout.session.completed", make_session(payment, 2000)))
    with till.app.app_context(), transaction() as session:
        session.execute(sa.update(Payment).where(Payment.id == payment).values(problem="Disputed in another currency."))
    assert lines(till, account)
    assert close(till, payment) is not None
    assert close(till, payment) is None
    assert (till.find_payment(payment).state, lines(till, account)) == ("paid", [])


def test_what_went_back_unheard_of_is_listed_though_the_books_are_exact(till: Till):
    account = till.open_account()
    payment, intent = till.open_payment(account, 2000, state="expired"), new_id("pi")
    refund = make_refund(intent, 500, metadata={"bridge_payment": payment})
    till.send(make_event("refund.created", refund))
    assert (lines(till, account), payment in waiting(till)) == ([], True)


def test_operators_who_act_at_the_same_moment_do_it_once(till: Till, api: responses.RequestsMock):
    account, payment, intent = review(till)
    know(api, intent, payment, 1500)
    calls = [gevent.spawn(settle, till, payment) for _ in range(4)]
    assert sum(call.get() is not None for call in calls) == 1
    assert till.entries(account) == [("stripe", intent, 1500)]
    assert len(decisions(till, payment)) == 1


def test_of_a_settlement_and_a_close_at_the_same_moment_one_counts(till: Till, api: responses.RequestsMock):
    account, payment, intent = review(till)
    know(api, intent, payment, 1500)
    calls = [gevent.spawn(act, till, payment) for act in (settle, close, close, settle)]
    gevent.joinall(calls)  # those that came too late are refused
    state, balance = till.find_payment(payment).state, till.balance(account)
    assert (state, balance) in [("paid", 1500), ("closed", 0)]
    assert (len(decisions(till, payment)), lines(till, account)) == (1, [])
