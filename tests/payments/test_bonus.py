"""A larger top-up earns a bonus: fixed when it is asked for, booked once beside its credit, taken back in its share."""

import dataclasses

import pytest
import responses
import sqlalchemy as sa

from bridge.config import Settings
from bridge.db import db
from bridge.ledger.tables import Entry
from bridge.payments import auto, review, top_up
from bridge.payments.amounts import describe_bonus, to_bonus, to_credit
from bridge.payments.checkout import Intent
from bridge.settings_rules import find_problem
from tests.payments.conftest import CENT, Till
from tests.payments.stripe_side import make_event, make_intent, make_refund, make_session, new_id

API = "https://api.stripe.com/v1"


@pytest.fixture
def settings(till: Till) -> Settings:
    """The till's, with steps."""
    return dataclasses.replace(till.settings, top_up_bonus="50:5,200:10")


def find_payment(till: Till, account: int) -> tuple[str, int]:
    """The id and the bonus in cents of an account's only payment."""
    [payment] = till.list_payments(account)
    return payment.id, payment.bonus_nanos // CENT


@pytest.mark.parametrize(("cents", "bonus_cents"), [(4999, 0), (5000, 250), (19_999, 999), (20_000, 2000)])
def test_the_highest_step_that_is_reached_counts(settings: Settings, cents: int, bonus_cents: int):
    assert to_bonus(settings, cents, to_credit(settings, cents)) // CENT == bonus_cents


def test_steps_are_told_and_wrong_ones_are_refused_at_the_start(settings: Settings):
    assert describe_bonus(settings) == "5% from $50.00, 10% from $200.00"
    for wrong in ("50", "50:", ":5", "200:10,50:5", "50:5,50:6", "50:-5", "50:101", "0:5", "x:5"):
        assert find_problem("top_up_bonus", wrong), wrong
    assert find_problem("top_up_bonus", "") is None


def test_the_bonus_promised_is_the_bonus_booked_once(till: Till, settings: Settings):
    """The steps may change between the request and the payment."""
    account = till.open_account()
    with responses.RequestsMock() as mock, till.app.app_context():
        mock.post(f"{API}/checkout/sessions", json={"id": "cs_1", "object": "checkout.session", "url": "https://pay"})
        fields = {"amount_minor": 5000, "email": "a@example.com", "keeps_card": False, "site_url": "https://x"}
        top_up.open_top_up(settings, account, **fields)
    payment, bonus = find_payment(till, account)
    session = make_session(payment, 5000)
    for _ in range(2):
        till.send(make_event("checkout.session.completed", session))
    intent = session["payment_intent"]
    assert bonus == 250
    assert till.entries(account) == [("stripe", intent, 5000), ("bonus", intent, 250)]
    with till.app.app_context():
        entries = list(db.session.scalars(sa.select(Entry).where(Entry.account_id == account)))
        assert [(entry.debit, entry.note) for entry in entries][1] == ("gifts", "Bonus on a top-up")
        assert top_up.name_payments(entries) == {intent: payment}


def test_a_refund_takes_the_same_share_of_the_bonus_even_if_it_comes_first(till: Till):
    account = till.open_account()
    payment, intent = till.open_payment(account, 5000, bonus_nanos=250 * CENT), new_id("pi")
    refund = make_refund(intent, 2000, metadata={"bridge_payment": payment})
    paid = make_event("checkout.session.completed", make_session(payment, 5000, payment_intent=intent))
    for event in (make_event("refund.created", refund), paid, make_event("refund.updated", refund), paid):
        till.send(event)
    assert till.entries(account)[2:] == [("stripe_refund", refund["id"], -2000), ("bonus_return", refund["id"], -100)]
    assert till.balance(account) == 3150
    till.send(make_event("refund.failed", {**refund, "status": "failed"}))
    assert till.balance(account) == 5250


def test_an_automatic_top_up_earns_it_too(till: Till, settings: Settings):
    account = till.open_account()
    till.keep_card(account, amount_minor=5000)
    with responses.RequestsMock() as mock, till.app.app_context():
        mock.post(f"{API}/payment_intents", json=make_intent("", 5000))
        auto.top_up_due(settings)
    assert [(source, cents) for source, _, cents in till.entries(account)] == [("stripe", 5000), ("bonus", 250)]


@pytest.mark.parametrize(("came", "bonus"), [(6000, 300), (4000, 0)])
def test_money_in_review_earns_what_its_own_amount_does(
    till: Till, settings: Settings, monkeypatch: pytest.MonkeyPatch, came: int, bonus: int
):
    account = till.open_account()
    payment, intent = till.open_payment(account, 5000, bonus_nanos=250 * CENT), new_id("pi")
    till.send(make_event("checkout.session.completed", make_session(payment, came, payment_intent=intent)))
    assert till.entries(account) == []
    facts = Intent(intent, payment, "succeeded", came, "usd", None)
    monkeypatch.setattr(review.checkout, "find_intent", lambda *_: facts)
    with till.app.app_context():
        review.settle_payment(settings, payment, reason="Seen", made_by="a test")
    assert till.balance(account) == came + bonus
