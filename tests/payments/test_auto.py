"""Automatic top-ups: one charge however many workers look, up to the cap, and off when the card is declined."""

import dataclasses
import datetime
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs

import gevent
import pytest
import responses
import sqlalchemy as sa

from bridge.accounts.tables import Member
from bridge.db import db, now_utc, transaction
from bridge.errors import InvalidRequest
from bridge.ledger.ledger import adjust
from bridge.mail.tables import Mail
from bridge.payments import auto
from bridge.payments.amounts import format_amount
from bridge.payments.checkout import Card
from bridge.payments.tables import AutoTopUp, Payment
from bridge.payments.top_up import open_top_up
from tests.members import add_owner
from tests.payments.conftest import CENT, Till
from tests.payments.stripe_side import make_event, make_intent, make_refund, make_session, new_id

API = "https://api.stripe.com/v1"


class FakeCards:
    """The part of Stripe that charges cards: one payment intent for each idempotency key, however often it is asked."""

    def __init__(self) -> None:
        self.answers: dict[str, dict[str, Any]] = {}
        self.asked: list[str] = []
        self.fails: list[tuple[int, dict[str, Any]]] = []
        self.status = "succeeded"
        self.detached: list[str] = []

    def detach(self, request: Any) -> tuple[int, dict[str, str], str]:
        method = request.url.split("/")[-2]
        if self.fails:
            status, body = self.fails.pop(0)
            return status, {}, json.dumps(body)
        self.detached.append(method)
        return 200, {}, json.dumps({"id": method, "object": "payment_method", "customer": None})

    def answer(self, request: Any) -> tuple[int, dict[str, str], str]:
        gevent.sleep(0)  # lets other calls overtake this one
        key = request.headers["Idempotency-Key"]
        self.asked.append(key)
        form = {name: values[0] for name, values in parse_qs(request.body).items()}
        if key not in self.answers:
            intent = make_intent(form["metadata[bridge_payment]"], int(form["amount"]), id=new_id("pi"))
            intent |= {"status": self.status, "currency": form["currency"], "_form": form}
            if self.status != "succeeded":
                intent["amount_received"] = 0
            self.answers[key] = intent
        if self.fails:
            status, body = self.fails.pop(0)
            return status, {}, json.dumps(body)
        return 200, {}, json.dumps(self.answers[key])


@pytest.fixture
def cards() -> Iterator[FakeCards]:
    cards = FakeCards()
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        mock.add_callback("POST", f"{API}/payment_intents", cards.answer, content_type="application/json")
        detaching = re.compile(f"{API}/payment_methods/(?P<id>[^/]+)/detach")
        mock.add_callback("POST", detaching, cards.detach, content_type="application/json")
        yield cards


@pytest.fixture
def till(till: Till) -> Till:
    """The till without the low accounts that earlier tests may have left."""
    with till.app.app_context(), transaction() as session:
        session.execute(sa.update(AutoTopUp).values(enabled=False))
    return till


def look(till: Till) -> int:
    with till.app.app_context():
        return auto.top_up_due(till.settings)


def lapse(till: Till, account: int) -> None:
    """End the claim's time."""
    with till.app.app_context(), transaction() as session:
        past = now_utc() - datetime.timedelta(seconds=1)
        session.execute(sa.update(AutoTopUp).where(AutoTopUp.account_id == account).values(claimed_until=past))


def spend(till: Till, account: int, cents: int) -> None:
    with till.app.app_context():
        adjust(account, -cents * CENT, note="as if spent", made_by="a test")


def test_a_low_balance_is_topped_up_once_with_the_kept_card(till: Till, cards: FakeCards):
    account = till.open_account(499 * CENT)
    till.keep_card(account)
    assert [look(till), look(till), look(till)] == [1, 0, 0]
    [payment] = till.list_payments(account)
    [key] = cards.asked
    form = cards.answers[key]["_form"]
    assert key == f"bridge-auto-{payment.id}"
    assert (form["amount"], form["currency"], form["customer"], form["payment_method"]) == (
        "2000",
        "usd",
        "cus_1",
        "pm_1",
    )
    assert (form["off_session"], form["confirm"]) == ("true", "true")
    assert (payment.kind, payment.state) == ("auto", "paid")
    assert till.balance(account) == 2499


def test_the_webhooks_word_on_it_credits_nothing_more(till: Till, cards: FakeCards):
    account = till.open_account()
    till.keep_card(account)
    look(till)
    [payment] = till.list_payments(account)
    intent = make_intent(payment.id, 2000, id=payment.payment_intent)
    assert till.send(make_event("payment_intent.succeeded", intent)).text == "known"
    assert till.balance(account) == 2000


@pytest.mark.parametrize(
    "fields", [{"enabled": False}, {"threshold_nanos": 0}, {"monthly_cap_minor": 1999}, {"threshold_nanos": 300 * CENT}]
)
def test_nothing_is_charged_that_the_rule_does_not_ask_for(till: Till, cards: FakeCards, fields: dict[str, Any]):
    account = till.open_account(300 * CENT)
    till.keep_card(account, **fields)
    assert look(till) == 0
    assert cards.asked == []


def test_what_running_requests_hold_is_not_available(till: Till, cards: FakeCards):
    account = till.open_account(600 * CENT)
    till.keep_card(account)
    assert look(till) == 0
    with till.app.app_context(), transaction() as session:
        session.execute(sa.text("UPDATE balances SET held_nanos = 2000000000 WHERE account_id = :id"), {"id": account})
    assert look(till) == 1
    with till.app.app_context(), transaction() as session:
        session.execute(sa.text("UPDATE balances SET held_nanos = 0 WHERE account_id = :id"), {"id": account})


def test_a_suspended_account_is_not_charged(till: Till, cards: FakeCards):
    account = till.open_account()
    till.keep_card(account)
    with till.app.app_context(), transaction() as session:
        session.execute(sa.text("UPDATE accounts SET status = 'suspended' WHERE id = :id"), {"id": account})
    assert look(till) == 0


def test_many_who_look_at_the_same_moment_charge_once(till: Till, cards: FakeCards):
    account = till.open_account()
    till.keep_card(account)
    calls = [gevent.spawn(look, till) for _ in range(8)]
    assert sum(call.get() for call in calls) == 1
    assert len(cards.asked) == 1
    assert till.balance(account) == 2000


def test_an_old_look_does_not_charge_again_after_the_credit(till: Till, cards: FakeCards):
    account = till.open_account()
    till.keep_card(account)
    look(till)
    with till.app.app_context():
        assert auto._claim(till.settings, account) is None
    spend(till, account, 2000)  # low again at once: the claim still stands
    assert look(till) == 0
    lapse(till, account)
    assert look(till) == 1
    assert till.balance(account) == 2000


def test_a_balance_that_rose_since_the_look_is_not_charged(till: Till, cards: FakeCards):
    account = till.open_account(500 * CENT)
    till.keep_card(account)
    with till.app.app_context():
        assert auto._claim(till.settings, account) is None
    assert till.find_rule(account).claimed_until is None


def test_the_monthly_cap_holds(till: Till, cards: FakeCards):
    account = till.open_account()
    till.keep_card(account, threshold_nanos=100_000 * CENT, monthly_cap_minor=5999)
    for expected in (1, 1, 0, 0):
        assert look(till) == expected
        lapse(till, account)
    assert till.balance(account) == 4000
    assert till.find_rule(account).month_minor == 4000


def test_a_new_month_counts_from_zero(till: Till, cards: FakeCards):
    account = till.open_account()
    last_month = now_utc().date().replace(day=1) - datetime.timedelta(days=1)
    till.keep_card(account, month=last_month.replace(day=1), month_minor=10_000)
    assert look(till) == 1
    rule = till.find_rule(account)
    assert (rule.month, rule.month_minor) == (now_utc().date().replace(day=1), 2000)


DECLINED = {"type": "card_error", "code": "card_declined", "decline_code": "generic_decline"}
DECLINED |= {"message": "Your card was declined.", "payment_intent": {"id": "pi_x", "object": "payment_intent"}}
WANTS_OWNER = {"type": "card_error", "code": "authentication_required", "message": "This payment wants authentication."}
GONE = {"type": "invalid_request_error", "code": "resource_missing", "message": "No such PaymentMethod: 'pm_1'"}


@pytest.mark.parametrize(
    ("status", "error", "problem"),
    [
        (402, DECLINED, "Your card was declined."),
        (402, WANTS_OWNER, "This payment wants authentication."),
        (400, GONE, "Stripe refused this payment."),
    ],
)
def test_a_card_that_says_no_switches_it_off_and_says_why(
    till: Till, cards: FakeCards, status: int, error: dict[str, Any], problem: str
):
    account = till.open_account()
    till.keep_card(account)
    cards.fails = [(status, {"error": error})]
    assert look(till) == 1
    rule = till.find_rule(account)
    assert (rule.enabled, rule.problem, rule.month_minor) == (False, problem, 0)
    assert [payment.state for payment in till.list_payments(account)] == ["failed"]
    lapse(till, account)
    assert look(till) == 0
    assert till.entries(account) == []


@pytest.mark.parametrize("status", ["requires_action", "requires_payment_method", "canceled", "no_such_status"])
def test_a_charge_that_did_not_succeed_credits_nothing(till: Till, cards: FakeCards, status: str):
    account = till.open_account()
    till.keep_card(account)
    cards.status = status
    look(till)
    assert till.entries(account) == []
    assert not till.find_rule(account).enabled


def test_a_charge_without_an_answer_is_asked_again_with_its_own_key(till: Till, cards: FakeCards):
    """Stripe did charge, and the answer was lost."""
    account = till.open_account()
    till.keep_card(account)
    cards.fails = [(500, {"error": {"type": "api_error"}})] * 2  # the library tries twice by itself
    look(till)
    assert till.entries(account) == []
    assert look(till) == 0  # claimed
    lapse(till, account)
    assert look(till) == 1
    assert len(cards.answers) == 1
    assert len(set(cards.asked)) == 1
    assert till.balance(account) == 2000
    assert till.find_rule(account).month_minor == 2000


def test_a_key_that_is_in_use_at_the_moment_says_nothing_about_the_card(till: Till, cards: FakeCards):
    account = till.open_account()
    till.keep_card(account)
    in_use = {"type": "idempotency_error", "code": "idempotency_key_in_use", "message": "in use"}
    cards.fails = [(409, {"error": in_use})] * 2
    look(till)
    assert till.find_rule(account).enabled
    lapse(till, account)
    look(till)
    assert till.balance(account) == 2000


def test_a_worker_that_died_in_between_is_finished_by_another(till: Till, cards: FakeCards):
    account = till.open_account()
    till.keep_card(account)
    with till.app.app_context():
        payment = auto._claim(till.settings, account)  # and then it was killed
    assert payment is not None
    assert look(till) == 0
    lapse(till, account)
    calls = [gevent.spawn(look, till) for _ in range(4)]
    assert sum(call.get() for call in calls) == 1
    assert cards.asked == [f"bridge-auto-{payment.id}"]
    assert till.balance(account) == 2000


def test_a_charge_older_than_its_key_is_not_asked_again(till: Till, cards: FakeCards):
    account = till.open_account()
    till.keep_card(account)
    with till.app.app_context():
        payment = auto._claim(till.settings, account)
        assert payment is not None
        with transaction() as session:
            session.execute(sa.update(Payment).values(created_at=now_utc() - datetime.timedelta(hours=23, minutes=1)))
    lapse(till, account)
    look(till)
    assert cards.asked == []
    rule = till.find_rule(account)
    assert (rule.enabled, rule.problem) == (False, "What became of the last charge is not known.")
    intent = make_intent(payment.id, 2000)
    assert till.send(make_event("payment_intent.succeeded", intent)).text == "credited"  # the webhook knows it
    assert till.balance(account) == 2000


def test_a_charge_on_its_way_is_ended_by_the_webhook_and_none_begins_meanwhile(till: Till, cards: FakeCards):
    account = till.open_account()
    till.keep_card(account)
    cards.status = "processing"
    look(till)
    [payment] = till.list_payments(account)
    assert payment.state == "pending"
    lapse(till, account)
    assert look(till) == 0
    failed = make_intent(payment.id, 2000, id=payment.payment_intent, status="requires_payment_method")
    failed["last_payment_error"] = {"message": "The bank said no."}
    assert till.send(make_event("payment_intent.payment_failed", failed)).text == "failed"
    rule = till.find_rule(account)
    assert (rule.enabled, rule.problem, rule.month_minor) == (False, "The bank said no.", 0)
    assert till.entries(account) == []


def test_the_database_itself_allows_one_running_charge_an_account(till: Till):
    account = till.open_account()
    till.open_payment(account, kind="auto")
    with pytest.raises(sa.exc.IntegrityError):
        till.open_payment(account, kind="auto")
    with till.app.app_context(), transaction() as session:
        session.execute(sa.update(Payment).where(Payment.account_id == account).values(state="failed"))


def test_nothing_is_charged_where_top_ups_are_not_set_up(till: Till, cards: FakeCards):
    account = till.open_account()
    till.keep_card(account)
    with till.app.app_context():
        assert auto.top_up_due(dataclasses.replace(till.settings, stripe_webhook_secret="")) == 0
    assert cards.asked == []


def detach(till: Till) -> None:
    with till.app.app_context():
        auto.detach_forgotten(till.settings)


def test_a_forgotten_card_is_detached_at_stripe_as_soon_as_stripe_answers(till: Till, cards: FakeCards):
    account, other = till.open_account(), till.open_account(500 * CENT)
    method = new_id("pm")
    till.keep_card(account, payment_method=method)
    till.keep_card(other, payment_method=new_id("pm"))
    with till.app.app_context():
        auto.forget_card(account)
    assert look(till) == 0
    cards.fails = [(500, {"error": {"type": "api_error"}})] * 2  # the library tries twice by itself
    detach(till)
    assert (cards.detached, till.find_rule(account).payment_method) == ([], method)
    for _ in range(2):
        detach(till)
    assert (cards.detached, till.find_rule(account).payment_method) == ([method], None)
    assert till.find_rule(other).card


def test_a_card_that_is_gone_at_stripe_is_not_detached_for_ever(till: Till, cards: FakeCards):
    account = till.open_account()
    till.keep_card(account, payment_method=new_id("pm"))
    with till.app.app_context():
        auto.forget_card(account)
    error = {"type": "invalid_request_error", "message": "The payment method is not attached to a customer."}
    cards.fails = [(400, {"error": error})]
    detach(till)
    assert till.find_rule(account).payment_method is None


@pytest.mark.parametrize("forgotten", [False, True])
def test_a_card_that_another_one_replaces_is_detached_too(till: Till, cards: FakeCards, forgotten: bool):
    account = till.open_account()
    former, new = new_id("pm"), new_id("pm")
    till.keep_card(account, payment_method=former)
    payment = till.find_payment(till.open_payment(account, keeps_card=True))
    with till.app.app_context():
        if forgotten:
            auto.forget_card(account)
        for _ in range(2):  # the event comes twice
            auto.keep_card(till.settings, payment, Card("cus_1", new, "Visa …1881"))
    detach(till)
    assert cards.detached == [former]
    assert till.find_rule(account).payment_method == new


# an amount keeps its currency, and its bounds are asked when it is used


def look_with(till: Till, **changes: Any) -> int:
    """One run of the job after a restart with other settings."""
    with till.app.app_context():
        return auto.top_up_due(dataclasses.replace(till.settings, **changes))


def mails_to(till: Till, account: int) -> list[str]:
    with till.app.app_context():
        member = db.session.scalar(sa.select(Member.email).where(Member.account_id == account))
        found = db.session.scalars(sa.select(Mail).where(Mail.recipient == member).order_by(Mail.id))
        return [f"{mail.subject}: {mail.text}" for mail in found]


def open_owner(till: Till, account: int) -> None:
    with till.app.app_context(), transaction() as session:
        add_owner(session, account)


RUPEES = {"currency": "inr", "amount_minor": 200_000, "monthly_cap_minor": 1_000_000}


@pytest.mark.parametrize("cents", [0, 10_000])
def test_a_rule_of_another_currency_is_switched_off_with_one_mail_and_never_charged(
    till: Till, cards: FakeCards, cents: int
):
    account = till.open_account(cents * CENT)
    open_owner(till, account)
    till.keep_card(account, **RUPEES)
    assert [look(till), look(till)] == [0, 0]
    assert (cards.asked, till.list_payments(account)) == ([], [])
    rule = till.find_rule(account)
    assert (rule.enabled, rule.currency, rule.amount_minor) == (False, "inr", 200_000)
    problem = "You are charged in USD now, and the top-up was set to 2,000.00 INR."
    assert rule.problem == problem
    [mail] = mails_to(till, account)
    assert problem in mail
    back = {"top_up_currency": "inr", "top_up_rate": "0.012", "top_up_maximum": "50000"}
    assert look_with(till, **back) == 0  # it stays off until its owner wants it on


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"top_up_maximum": "19.99"}, "A top-up is $5.00 to $19.99 now, and it was set to $20.00."),
        ({"top_up_minimum": "20.01"}, "A top-up is $20.01 to $500.00 now, and it was set to $20.00."),
        ({"top_up_currency": "eur"}, "You are charged in EUR now, and the top-up was set to $20.00."),
    ],
)
def test_todays_bounds_count_when_a_rule_is_used(till: Till, cards: FakeCards, changes: dict[str, str], problem: str):
    account = till.open_account()
    open_owner(till, account)
    till.keep_card(account)
    assert [look_with(till, **changes) for _ in range(2)] == [0, 0]
    assert cards.asked == []
    assert (till.find_rule(account).enabled, till.find_rule(account).problem) == (False, problem)
    assert len(mails_to(till, account)) == 1


def test_a_rule_that_fits_to_the_cent_is_charged(till: Till, cards: FakeCards):
    account = till.open_account()
    till.keep_card(account)
    assert look_with(till, top_up_minimum="20", top_up_maximum="20") == 1
    assert till.balance(account) == 2000


def test_the_claim_itself_asks_again_whatever_the_look_saw(till: Till, cards: FakeCards):
    """A worker that still runs with other settings looked first."""
    account = till.open_account()
    till.keep_card(account, **RUPEES)
    with till.app.app_context():
        assert auto._claim(till.settings, account) is None
    assert till.list_payments(account) == []


@pytest.mark.parametrize("changes", [{"top_up_currency": "eur"}, {"top_up_maximum": "19"}])
def test_a_charge_that_was_begun_is_not_begun_again_under_other_settings(
    till: Till, cards: FakeCards, changes: dict[str, str]
):
    account = till.open_account()
    till.keep_card(account)
    with till.app.app_context():
        payment = auto._claim(till.settings, account)
    assert payment is not None
    lapse(till, account)
    assert look_with(till, **changes) == 0
    assert cards.asked == []
    intent = make_intent(payment.id, 2000)
    assert till.send(make_event("payment_intent.succeeded", intent)).text == "credited"  # should it have been charged
    assert till.balance(account) == 2000


def test_a_rule_set_anew_in_another_currency_counts_that_currencys_month(till: Till, cards: FakeCards):
    account = till.open_account()
    till.keep_card(account)
    assert look(till) == 1
    euros = dataclasses.replace(till.settings, top_up_currency="eur")
    amounts = {"threshold_nanos": 500 * CENT, "amount_minor": 1000, "monthly_cap_minor": 2000}
    with till.app.app_context():
        auto.set_rule(euros, account, **amounts)
    rule = till.find_rule(account)
    assert (rule.currency, rule.month_minor) == ("eur", 0)
    with till.app.app_context():
        auto.set_rule(till.settings, account, **amounts)
    rule = till.find_rule(account)
    assert (rule.currency, rule.month_minor) == ("usd", 2000)


def test_an_amount_out_of_bounds_is_refused_wherever_it_comes_from(till: Till):
    account = till.open_account()
    till.keep_card(account)
    with till.app.app_context():
        with pytest.raises(InvalidRequest, match=r"\$5\.00 to \$500\.00"):
            auto.set_rule(till.settings, account, threshold_nanos=0, amount_minor=499, monthly_cap_minor=9999)
        with pytest.raises(InvalidRequest, match=r"\$5\.00 to \$500\.00"):
            open_top_up(till.settings, account, amount_minor=50_001, email="x", keeps_card=False, site_url="https://x")
    assert till.list_payments(account) == []


def test_a_checkout_of_before_is_credited_by_the_terms_that_it_was_opened_with(till: Till):
    """Rate and currency were changed while the customer was on Stripe's page."""
    account = till.open_account()
    payment = till.open_payment(account, 200_000, currency="inr")
    with till.app.app_context(), transaction() as session:
        session.execute(sa.update(Payment).where(Payment.id == payment).values(credit_nanos=2400 * CENT))
    session = make_session(payment, 200_000, currency="inr")
    till.send(make_event("checkout.session.completed", session))
    assert till.balance(account) == 2400
    till.send(make_event("refund.created", make_refund(session["payment_intent"], 100_000, currency="inr")))
    assert till.balance(account) == 1200


@pytest.mark.parametrize(
    ("minor", "currency", "shown"),
    [(2000, "usd", "$20.00"), (5, "eur", "0.05 EUR"), (2000, "jpy", "2,000 JPY"), (1234, "kwd", "1.234 KWD")],
)
def test_an_amount_is_shown_in_the_units_of_its_currency(minor: int, currency: str, shown: str):
    assert format_amount(minor, currency) == shown
