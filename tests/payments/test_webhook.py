"""The webhook trusts Stripe alone, and credits what was paid, once, however its events come."""

import json
import time

import gevent
import pytest
from flask import Flask
from sqlalchemy.exc import OperationalError

from app import create_app
from bridge.accounts.customers import suspend_account
from bridge.payments import booking, rows
from tests.payments.conftest import Till
from tests.payments.stripe_side import PATH, SECRET, make_event, make_intent, make_session, sign
from tests.rooms import close_rooms, make_settings
from tests.services import Databases


def test_a_paid_checkout_is_credited_once_by_whatever_events_and_however_often(till: Till):
    account = till.open_account()
    payment = till.open_payment(account, 2000)
    session = make_session(payment, 2000)
    intent = make_intent(payment, 2000, id=session["payment_intent"])
    completed, succeeded = (
        make_event("checkout.session.completed", session),
        make_event("payment_intent.succeeded", intent),
    )
    for event in (completed, completed, succeeded, make_event("checkout.session.completed", session)):
        assert till.send(event).status_code == 200
    assert till.balance(account) == 2000
    assert till.entries(account) == [("stripe", session["payment_intent"], 2000)]
    assert till.find_payment(payment).state == "paid"


def test_a_suspended_account_is_credited_for_what_it_had_paid(till: Till):
    account = till.open_account()
    payment = till.open_payment(account, 2000)
    with till.app.app_context():
        suspend_account(account)
    assert till.send(make_event("checkout.session.completed", make_session(payment, 2000))).status_code == 200
    assert till.balance(account) == 2000


def test_the_same_news_in_parallel_credits_once(till: Till):
    account = till.open_account()
    payment = till.open_payment(account, 700)
    session = make_session(payment, 700)
    events = [make_event("checkout.session.completed", session) for _ in range(6)]
    events += [make_event("payment_intent.succeeded", make_intent(payment, 700, id=session["payment_intent"]))] * 2
    calls = [gevent.spawn(till.send, event) for event in events]
    assert [call.get().status_code for call in calls] == [200] * 8
    assert till.entries(account) == [("stripe", session["payment_intent"], 700)]


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({"amount_total": 1999}, "review"),
        ({"amount_total": 200_000}, "review"),
        ({"amount_total": None}, "review"),
        ({"currency": "eur"}, "review"),
        ({"payment_status": "unpaid"}, "pending"),
        ({"payment_status": "no_payment_required"}, "pending"),
        ({"mode": "subscription"}, "open"),
        ({"payment_intent": None}, "open"),
        ({"metadata": {}}, "open"),
        ({"metadata": None}, "open"),
        ({"metadata": {"bridge_payment": "pay_of_another_gateway"}}, "open"),
        ({"metadata": {"bridge_payment": 7}}, "open"),
    ],
)
def test_what_was_not_asked_for_or_not_paid_is_not_credited(till: Till, fields: dict[str, object], state: str):
    account = till.open_account()
    payment = till.open_payment(account, 2000)
    answer = till.send(make_event("checkout.session.completed", make_session(payment, 2000, **fields)))
    assert answer.status_code == 200
    assert till.entries(account) == []
    assert till.find_payment(payment).state == state


@pytest.mark.parametrize(
    ("amount", "currency", "said"), [(5, "usd", "$0.05"), (2000, "eur", "20.00 EUR"), (2000, "jpy", "2,000 JPY")]
)
def test_a_payment_that_differs_is_named_by_the_check(till: Till, amount: int, currency: str, said: str):
    account = till.open_account()
    payment = till.open_payment(account, 2000)
    till.send(make_event("checkout.session.completed", make_session(payment, amount, currency=currency)))
    assert [line for line in till.check() if payment in line] == [
        f"account {account}: payment {payment}: look at it at Stripe: {said} was paid, not $20.00."
    ]


def test_a_second_payment_intent_for_one_payment_is_not_credited(till: Till):
    account = till.open_account()
    payment = till.open_payment(account, 2000)
    for _ in range(2):
        till.send(make_event("checkout.session.completed", make_session(payment, 2000)))
    assert till.balance(account) == 2000
    first, second = till.list_payments(account)
    assert (first.id, first.state, first.problem) == (payment, "paid", None)
    assert (second.kind, second.state, second.problem) == ("again", "review", f"Paid again, beside {payment}.")


def test_a_delayed_payment_is_credited_when_the_bank_has_paid(till: Till):
    account = till.open_account()
    payment = till.open_payment(account, 3000)
    session = make_session(payment, 3000, payment_status="unpaid")
    assert till.send(make_event("checkout.session.completed", session)).text == "pending"
    assert (till.balance(account), till.find_payment(payment).state) == (0, "pending")
    paid = {**session, "payment_status": "paid"}
    assert till.send(make_event("checkout.session.async_payment_succeeded", paid)).text == "credited"
    assert till.send(make_event("checkout.session.completed", session)).text == "pending"  # late: changes nothing
    assert (till.balance(account), till.find_payment(payment).state) == (3000, "paid")


def test_a_delayed_payment_that_fails_is_not_credited(till: Till):
    account = till.open_account()
    payment = till.open_payment(account, 3000)
    session = make_session(payment, 3000, payment_status="unpaid")
    till.send(make_event("checkout.session.completed", session))
    assert till.send(make_event("checkout.session.async_payment_failed", session)).text == "failed"
    assert (till.balance(account), till.find_payment(payment).state) == (0, "failed")


def test_news_of_failure_that_comes_after_the_payment_changes_nothing(till: Till):
    account = till.open_account()
    payment = till.open_payment(account, 3000)
    session = make_session(payment, 3000)
    till.send(make_event("checkout.session.async_payment_succeeded", session))
    for type_ in ("checkout.session.async_payment_failed", "checkout.session.expired"):
        assert till.send(make_event(type_, session)).text == "known"
    assert (till.balance(account), till.find_payment(payment).state) == (3000, "paid")


def test_money_that_comes_after_all_is_credited(till: Till):
    account = till.open_account()
    payment = till.open_payment(account, 3000)
    session = make_session(payment, 3000)
    till.send(make_event("checkout.session.expired", session))
    till.send(make_event("checkout.session.completed", session))
    assert till.balance(account) == 3000


def test_a_failed_try_on_stripes_page_ends_nothing(till: Till):
    account = till.open_account()
    payment = till.open_payment(account, 3000)
    intent = make_intent(payment, 3000, status="requires_payment_method", amount_received=0)
    assert till.send(make_event("payment_intent.payment_failed", intent)).text == "ignored"
    assert till.find_payment(payment).state == "open"


@pytest.mark.parametrize("type_", ["customer.created", "invoice.paid", "no.such.event"])
def test_events_that_we_do_not_use_are_answered_200_and_forgotten(till: Till, type_: str):
    answer = till.send(make_event(type_, {"id": "x", "object": "y"}))
    assert (answer.status_code, answer.text) == (200, "ignored")


def test_an_event_with_live_money_is_not_believed_beside_a_test_key(till: Till):
    account = till.open_account()
    payment = till.open_payment(account, 2000)
    assert (
        till.send(make_event("checkout.session.completed", make_session(payment, 2000), livemode=True)).text
        == "ignored"
    )
    assert till.entries(account) == []


# the guard


def one_event(till: Till) -> tuple[int, str]:
    account = till.open_account()
    payment = till.open_payment(account, 2000)
    return account, json.dumps(make_event("checkout.session.completed", make_session(payment, 2000)))


def test_a_wrong_signature_credits_nothing(till: Till):
    account, body = one_event(till)
    good = sign(body)["Stripe-Signature"]
    now = int(time.time())
    wrong = [
        "",
        "nonsense",
        "é",
        good.replace("v1=", "v1=0"),
        good.replace("v1=", "v0="),
        good.replace("t=", "t=1"),
        f"t={now}",
        f"t={now},v1=é",
        f"t=,v1={'0' * 64}",
        f"t={'9' * 5000},v1={'0' * 64}",
        sign(body, secret="whsec_" + "u" * 32)["Stripe-Signature"],
        sign(body, secret=SECRET[:-1])["Stripe-Signature"],
        sign(body + " ")["Stripe-Signature"],
    ]
    for header in wrong:
        answer = till.client.post(PATH, data=body, headers={"Stripe-Signature": header.encode().decode("latin-1")})
        assert answer.status_code == 400, header
    assert till.client.post(PATH, data=body).status_code == 400
    assert till.entries(account) == []


def test_one_good_signature_among_several_is_enough_as_when_a_secret_is_changed(till: Till):
    account, body = one_event(till)
    good = sign(body)["Stripe-Signature"]
    header = f"{good.split(',')[0]},v1={'0' * 64},{good.split(',')[1]}"
    assert till.client.post(PATH, data=body, headers={"Stripe-Signature": header}).status_code == 200
    assert till.balance(account) == 2000


def test_the_signature_is_over_the_bytes_and_not_over_their_meaning(till: Till):
    account, body = one_event(till)
    header = sign(body)["Stripe-Signature"]
    same = json.dumps(json.loads(body), separators=(",", ":"))
    assert till.client.post(PATH, data=same, headers={"Stripe-Signature": header}).status_code == 400
    assert till.client.post(PATH, data=body.encode() + b"\xff", headers={"Stripe-Signature": header}).status_code == 400
    assert till.entries(account) == []


@pytest.mark.parametrize(("seconds", "status"), [(-310, 400), (-290, 200), (290, 200), (310, 400)])
def test_an_event_is_believed_for_five_minutes(till: Till, seconds: int, status: int):
    account, body = one_event(till)
    headers = sign(body, time.time() + seconds)
    assert till.client.post(PATH, data=body, headers=headers).status_code == status
    assert till.balance(account) == (2000 if status == 200 else 0)


@pytest.mark.parametrize(
    "body",
    ["", "[]", "null", "7", "{}", "{", '{"id":1,"type":"x","livemode":false}', "[" * 50_000, '{"data":{"object":[]}}'],
)
def test_signed_nonsense_is_refused(till: Till, body: str):
    assert till.client.post(PATH, data=body, headers=sign(body)).status_code == 400


def test_an_event_is_at_most_64_kib(till: Till):
    account, body = one_event(till)
    fits, too_large = body + " " * (64 * 1024 - len(body)), body + " " * (64 * 1024 + 1 - len(body))
    assert till.client.post(PATH, data=too_large, headers=sign(too_large)).status_code == 413
    assert till.entries(account) == []
    assert till.client.post(PATH, data=fits, headers=sign(fits)).status_code == 200


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("secret", "status"), [("", 404), (SECRET, 400)])
def test_without_a_secret_there_is_no_such_route(databases: Databases, tmp_path, engine: str, secret: str, status: int):
    app: Flask = create_app(make_settings(tmp_path, database_url=databases.open(engine), stripe_webhook_secret=secret))
    assert app.test_client().post(PATH, data="{}").status_code == status
    close_rooms(app)


def test_when_the_database_fails_stripe_sends_again_and_nothing_is_half_done(
    till: Till, monkeypatch: pytest.MonkeyPatch
):
    account, body = one_event(till)
    book = booking.book

    def book_and_fail(*arguments: object, **fields: object) -> bool:
        book(*arguments, **fields)  # type: ignore[arg-type]
        raise OperationalError("COMMIT", {}, Exception("the server closed the connection"))

    monkeypatch.setattr(booking, "book", book_and_fail)
    assert till.client.post(PATH, data=body, headers=sign(body)).status_code == 503
    assert (till.entries(account), till.balance(account)) == ([], 0)
    assert till.list_payments(account)[0].state == "open"
    monkeypatch.undo()
    assert till.client.post(PATH, data=body, headers=sign(body)).status_code == 200
    assert till.balance(account) == 2000


def test_a_database_that_is_away_is_answered_503(till: Till, monkeypatch: pytest.MonkeyPatch):
    def away(*_arguments: object) -> None:
        raise OperationalError("SELECT", {}, Exception("no connection"))

    _account, body = one_event(till)
    monkeypatch.setattr(rows, "find_by_id", away)
    assert till.client.post(PATH, data=body, headers=sign(body)).status_code == 503
