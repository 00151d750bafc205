"""Billing: the statement adds up, Stripe's page is opened for the requested amount, and a receipt says what was
paid."""

import csv
import dataclasses
import datetime
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import responses
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from bridge.accounts.key_terms import KeyTerms
from bridge.accounts.keys import issue_key
from bridge.config import Settings
from bridge.db import db, now_utc, transaction
from bridge.ledger.ledger import adjust
from bridge.ledger.refunds import refund_request
from bridge.ledger.statement import next_month, read_statement
from bridge.mail.tables import Mail
from bridge.ops.books import check_books
from bridge.payments.auto import top_up_due
from bridge.payments.tables import AutoTopUp, Payment
from tests.dashboard.pages import post, sign_in
from tests.factories import DOLLAR, Factories, MadeAccount
from tests.ledger.records import add_record
from tests.payments.stripe_side import PATH, SECRET, make_event, make_intent, make_refund, make_session, sign
from tests.rooms import make_settings

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
API = "https://api.stripe.com/v1"
KEY = "sk_test_" + "k" * 24
CARD: dict[str, Any] = {"brand": "visa", "last4": "4242", "exp_month": 2, "exp_year": 2032}
PAGE = "https://checkout.stripe.com/c/pay/cs_test_1"


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return make_settings(
        tmp_path,
        database_url=database_url,
        stripe_secret_key=KEY,
        stripe_webhook_secret=SECRET,
        public_base_url="https://gateway.example",
        receipt_issuer="Bridge Ltd; 1 Quay Street; VAT XX123",
    )


@pytest.fixture
def account(make: Factories, client: FlaskClient) -> MadeAccount:
    account = make.make_account(0)
    sign_in(client, account.email, account.password)
    return account


@pytest.fixture
def stripe() -> Iterator[responses.RequestsMock]:
    """Stripe's API: calls that a test hasn't registered are refused."""
    with responses.RequestsMock() as mock:
        yield mock


def open_session(stripe: responses.RequestsMock) -> None:
    stripe.post(f"{API}/checkout/sessions", json={"id": "cs_test_1", "object": "checkout.session", "url": PAGE})


def asked(stripe: responses.RequestsMock, number: int = -1) -> dict[str, str]:
    """The form of a call to Stripe."""
    return {name: values[0] for name, values in parse_qs(str(stripe.calls[number].request.body)).items()}


def tell(client: FlaskClient, type_: str, found: dict[str, object]) -> str:
    body = json.dumps(make_event(type_, found))
    return client.post(PATH, data=body, headers=sign(body)).text


def find_payments(app: Flask, account: MadeAccount) -> list[Payment]:
    with app.app_context():
        return list(db.session.scalars(sa.select(Payment).where(Payment.account_id == account.id).order_by(Payment.id)))


def top_up(client: FlaskClient, **fields: str):
    return post(client, "/dashboard/billing/top-up", "/dashboard/billing", **fields)


def test_a_top_up_opens_stripes_page_for_what_was_asked_and_is_credited_by_its_webhook(
    app: Flask, client: FlaskClient, account: MadeAccount, stripe: responses.RequestsMock, make: Factories
):
    open_session(stripe)
    answer = top_up(client, amount="12.50")
    assert (answer.status_code, answer.location) == (303, PAGE)
    [payment] = find_payments(app, account)
    fields = asked(stripe)
    assert fields["line_items[0][price_data][unit_amount]"] == "1250"
    assert fields["line_items[0][price_data][currency]"] == "usd"
    assert fields["mode"] == "payment"
    assert fields["customer_email"] == account.email
    assert fields["metadata[bridge_payment]"] == fields["payment_intent_data[metadata][bridge_payment]"] == payment.id
    assert fields["success_url"] == f"https://gateway.example/dashboard/billing/payments/{payment.id}"
    assert "payment_intent_data[setup_future_usage]" not in fields
    headers = stripe.calls[0].request.headers
    assert headers["Idempotency-Key"] == f"bridge-checkout-{payment.id}"
    assert make.find_money(account.id) == (0, 0)  # asking is not paying
    assert tell(client, "checkout.session.completed", make_session(payment.id, 1250)) == "credited"
    assert make.find_money(account.id) == (12_500_000_000, 0)


def test_an_amount_of_ones_own_counts_before_the_chosen_one(
    client: FlaskClient, account: MadeAccount, stripe: responses.RequestsMock
):
    open_session(stripe)
    assert top_up(client, amount="", preset="50").status_code == 303
    assert asked(stripe)["line_items[0][price_data][unit_amount]"] == "5000"
    assert top_up(client, amount="12.50", preset="25").status_code == 303
    assert asked(stripe)["line_items[0][price_data][unit_amount]"] == "1250"


def test_what_an_amount_earns_stands_beside_it_and_on_the_receipt_and_the_statement(
    app: Flask, client: FlaskClient, account: MadeAccount, stripe: responses.RequestsMock
):
    app.config["BRIDGE"] = dataclasses.replace(app.config["BRIDGE"], top_up_bonus="50:5,100:10")
    page = re.sub(r"<[^>]+>|\s+", " ", client.get("/dashboard/billing").text)
    assert re.search(r"\$25 +\$50 +\+\$2\.50 +\$100 +\+\$10\.00", page)
    assert "You get more for more: 5% from $50.00, 10% from $100.00." in page
    open_session(stripe)
    top_up(client, amount="", preset="50")
    [payment] = find_payments(app, account)
    tell(client, "checkout.session.completed", make_session(payment.id, 5000))
    receipt = client.get(f"/dashboard/billing/payments/{payment.id}").text
    assert "$52.50 is added." in receipt
    assert "+$2.50" in receipt
    statement = client.get(f"/dashboard/billing/statement/{now_utc():%Y-%m}.csv").text
    assert [row[1] for row in csv.reader(io.StringIO(statement))][2:4] == ["Top-up", "Bonus on a top-up"]
    assert statement.count(payment.id) == 2


@pytest.mark.parametrize("amount", ["", "4.99", "500.01", "10.001", "-10", "ten", "1e2", "999999999999"])
def test_an_amount_out_of_bounds_is_refused_beside_its_field(
    app: Flask, client: FlaskClient, account: MadeAccount, amount: str
):
    answer = top_up(client, amount=amount)
    assert answer.status_code == 400
    assert 'id="amount-error"' in answer.text
    assert find_payments(app, account) == []


@pytest.mark.parametrize(("status", "type_"), [(500, "api_error"), (401, "invalid_request_error"), (400, "card_error")])
def test_when_stripe_refuses_nothing_is_credited_and_its_words_stay_with_us(
    app: Flask, client: FlaskClient, account: MadeAccount, stripe: responses.RequestsMock, status: int, type_: str
):
    stripe.post(f"{API}/checkout/sessions", status=status, json={"error": {"type": type_, "message": f"no {KEY}"}})
    answer = top_up(client, amount="10")
    assert answer.status_code == 503
    assert "You were not charged" in answer.text
    assert KEY not in answer.text
    assert [payment.state for payment in find_payments(app, account)] == ["failed"]


def test_the_page_may_send_its_form_on_to_stripe(client: FlaskClient, account: MadeAccount):
    policy = client.get("/dashboard/billing").headers["Content-Security-Policy"]
    assert "form-action 'self' https://checkout.stripe.com" in policy


# a payment's page


def pay(client: FlaskClient, app: Flask, account: MadeAccount, amount: int = 2000) -> Payment:
    with app.app_context(), transaction() as session:
        payment = Payment(
            id=f"pay_{now_utc().timestamp():.6f}",
            account_id=account.id,
            kind="checkout",
            amount_minor=amount,
            currency="usd",
            credit_nanos=amount * 10_000_000,
            created_at=now_utc(),
        )
        session.add(payment)
    return payment


def test_the_payments_page_goes_from_waiting_to_receipt(client: FlaskClient, app: Flask, account: MadeAccount):
    payment = pay(client, app, account)
    path = f"/dashboard/billing/payments/{payment.id}"
    waiting = client.get(path).text
    assert "Waiting for Stripe" in waiting
    assert f'data-poll="{path}/state"' in waiting
    assert '<noscript><meta http-equiv="refresh" content="3">' in waiting  # what polls without script
    assert client.get(f"{path}/state").status_code == 204
    left = client.get(f"{path}?left=1").text
    assert "You left Stripe" in left
    assert "data-poll" not in left
    assert "http-equiv" not in left
    session = make_session(payment.id, 2000)
    tell(client, "checkout.session.completed", {**session, "payment_status": "unpaid"})
    assert "still processing" in client.get(path).text
    tell(client, "checkout.session.async_payment_succeeded", session)
    details = {"billing_name": "Holt GmbH", "billing_address": " Kai 4\r\n\r\n20457  Hamburg ", "tax_id": "DE99"}
    assert post(client, "/dashboard/billing/details", "/dashboard/billing", **details).status_code == 303
    assert "data-poll" not in client.get(path).text
    assert client.get(f"{path}/state").status_code == 205  # show the page anew
    receipt = client.get(path)
    for said in ("Receipt", "$20.00 is added", session["payment_intent"], "1 Quay Street VAT XX123", "DE99"):
        assert said in receipt.text
    assert "Holt GmbH Kai 4 20457 Hamburg" in receipt.text
    tell(client, "refund.created", make_refund(session["payment_intent"], 500))
    assert "−$5.00" in client.get(path).text


def test_the_list_of_payments_says_what_became_of_each_and_looks_again_while_one_is_open(
    client: FlaskClient, app: Flask, account: MadeAccount
):
    path = "/dashboard/billing/payments?waiting=1"
    payment, declined, old = (pay(client, app, account) for _ in range(3))
    with app.app_context(), transaction() as session:
        failed = {"state": "failed", "kind": "auto", "problem": "Your card was declined."}
        session.execute(sa.update(Payment).where(Payment.id == declined.id).values(**failed))
        long_ago = now_utc() - datetime.timedelta(hours=2)
        session.execute(sa.update(Payment).where(Payment.id == old.id).values(created_at=long_ago))
    page = client.get("/dashboard/billing").text
    assert f'data-poll="{path}"' in page
    assert "Your card was declined. Nothing was paid." in page
    assert old.id not in page  # its page was opened and left
    assert client.get(path).status_code == 204
    tell(client, "checkout.session.completed", make_session(payment.id, 2000))
    assert client.get(path).status_code == 205
    assert "data-poll" not in client.get("/dashboard/billing").text


def test_nobody_sees_a_payment_of_another_account(
    client: FlaskClient, app: Flask, account: MadeAccount, make: Factories
):
    payment = pay(client, app, make.make_account(0))
    assert client.get(f"/dashboard/billing/payments/{payment.id}").status_code == 404
    assert client.get("/dashboard/billing/payments/nonsense").status_code == 404


# the statement


def test_the_statement_lists_credits_and_each_days_requests_and_adds_up(
    client: FlaskClient, app: Flask, account: MadeAccount, make: Factories
):
    payment = pay(client, app, account)
    tell(client, "checkout.session.completed", make_session(payment.id, 2000))
    with app.app_context():
        adjust(account.id, -DOLLAR, note="A mistake of ours", made_by="op@example.com")
        for _ in range(3):
            add_record(account.id, charge_nanos=7)
        db.session.execute(sa.text("UPDATE balances SET balance_nanos = balance_nanos - 21"))
        db.session.commit()
        month = now_utc().date().replace(day=1)
        now, before = read_statement(account.id, month), read_statement(account.id, month.replace(year=2020))
        after = read_statement(account.id, next_month(month))
    balance, _held = make.find_money(account.id)
    assert now.closing_nanos == after.opening_nanos == after.closing_nanos == balance
    assert (before.opening_nanos, before.lines, before.closing_nanos) == (0, [], 0)
    assert now.opening_nanos + sum(line.amount_nanos for line in now.lines) == balance
    assert [line.balance_nanos for line in now.lines][-1] == balance
    today = now_utc().date().isoformat()
    for path in ("/dashboard/billing", f"/dashboard/billing/statement/{month:%Y-%m}"):
        page = client.get(path).text
        for said in ("+$19.00", "exactly −$0.000000021", "exactly $18.999999979", "3 requests", "A mistake of ours"):
            assert said in page, path
        assert f"/dashboard/billing/payments/{payment.id}" in page
        assert f'href="/dashboard/usage?period=dates&amp;from={today}&amp;to={today}"' in page  # the day's requests
    answer = client.get(f"/dashboard/billing/statement/{month:%Y-%m}.csv")
    assert answer.mimetype == "text/csv"
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["amount_dollars"] for row in rows] == ["", "20", "-1", "-0.000000021", ""]
    assert rows[1]["reference"] == payment.id
    assert {row["balance_dollars"] for row in rows[-2:]} == {"18.999999979"}


def test_a_drill_of_an_operators_is_no_line_of_the_statement_and_it_still_adds_up(
    client: FlaskClient, app: Flask, make: Factories
):
    account = make.make_account(10 * DOLLAR)
    sign_in(client, account.email, account.password)
    key = make.make_key(account)
    with app.app_context():
        drill = issue_key(account.id, KeyTerms(name="Fault drill"), is_drill=True).key
        own = add_record(account.id, key_id=key.id, charge_nanos=DOLLAR).request_id
        drilled = add_record(account.id, key_id=drill.id, charge_nanos=5 * DOLLAR).request_id
        db.session.execute(sa.text("UPDATE balances SET balance_nanos = balance_nanos - 6000000000"))
        db.session.commit()
        unreturned = read_statement(account.id, now_utc().date().replace(day=1))
        refund_request(drilled, reason="a drill", made_by="op@example.com", account_id=account.id)
        returned = read_statement(account.id, now_utc().date().replace(day=1))
        assert [line for line in check_books() if "charged wrongly" not in line] == []  # made up are only the charges
    assert (unreturned.charged_nanos, unreturned.closing_nanos) == (6 * DOLLAR, 4 * DOLLAR)  # what is charged is told
    assert (returned.charged_nanos, returned.closing_nanos) == (DOLLAR, 9 * DOLLAR)
    assert [(day.requests, day.added_nanos) for day in returned.list_days()] == [(1, 10 * DOLLAR)]
    for path in ("/dashboard/", "/dashboard/usage", "/dashboard/keys", "/dashboard/usage.csv"):
        page = client.get(path).text
        assert drilled not in page, path
        assert "Fault drill" not in page, path
    assert own in client.get("/dashboard/usage.csv").text
    assert "$1.00" in client.get("/dashboard/").text
    assert "$6.00" not in client.get("/dashboard/").text


@pytest.mark.parametrize("month", ["", "2020-01", "9999-12", "0001-01", "2026-13", "nonsense"])
def test_any_month_can_be_asked_for(client: FlaskClient, account: MadeAccount, month: str):
    assert client.get("/dashboard/billing", query_string={"month": month}).status_code == 200
    if month:
        status = 200 if month == "2020-01" else 404
        assert client.get(f"/dashboard/billing/statement/{month}").status_code == status
        assert client.get(f"/dashboard/billing/statement/{month}.csv").status_code == status


def test_a_balance_below_zero_is_explained(client: FlaskClient, app: Flask, account: MadeAccount):
    with app.app_context():
        adjust(account.id, -DOLLAR, note="charge-back", made_by="op@example.com")
    assert "The balance is below zero." in client.get("/dashboard/billing").text


# automatic top-ups


def keep_card(client: FlaskClient, app: Flask, account: MadeAccount, stripe: responses.RequestsMock) -> None:
    """Keep a card as a customer does: by a top-up with the box ticked."""
    open_session(stripe)
    top_up(client, amount="20", keeps_card="1")
    [payment] = find_payments(app, account)
    session = make_session(payment.id, 2000, customer="cus_7")
    card = {"id": "pm_7", "object": "payment_method", "customer": "cus_7", "card": CARD}
    intent = make_intent(payment.id, 2000, id=session["payment_intent"], customer="cus_7", payment_method=card)
    stripe.get(f"{API}/payment_intents/{intent['id']}", json=intent)
    assert tell(client, "checkout.session.completed", session) == "credited"


def plain(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", page))


@pytest.mark.parametrize(
    ("printed", "told"),
    [
        ({"exp_month": 2, "exp_year": 2020}, "Visa …4242 expired in 02/20. Save another card with your next payment."),
        ({"exp_month": 13, "exp_year": 2020}, "Charged to Visa …4242."),
        ({"exp_month": "2", "exp_year": None}, "Charged to Visa …4242."),
        ({}, "Charged to Visa …4242."),
    ],
)
def test_a_saved_card_says_when_it_is_past_and_nothing_that_nobody_knows(
    client: FlaskClient,
    app: Flask,
    account: MadeAccount,
    stripe: responses.RequestsMock,
    monkeypatch: pytest.MonkeyPatch,
    printed: dict[str, Any],
    told: str,
):
    for name in ("exp_month", "exp_year"):
        monkeypatch.delitem(CARD, name)
    for name, value in printed.items():
        monkeypatch.setitem(CARD, name, value)
    keep_card(client, app, account, stripe)
    page = plain(client.get("/dashboard/billing").text)
    assert told in page
    assert ("expired" in page) == ("expired" in told)
    assert "until" not in page[page.index("Monthly cap") : page.index("Remove card")]
    set_rule(client, do="forget")
    assert find_rule(app, account).card_until is None


def set_rule(client: FlaskClient, **fields: str):
    values = {"threshold": "5", "auto_amount": "25", "cap": "100", "do": "on", **fields}
    return post(client, "/dashboard/billing/auto", "/dashboard/billing", **values)


def find_rule(app: Flask, account: MadeAccount) -> AutoTopUp:
    with app.app_context():
        return db.session.get_one(AutoTopUp, account.id)


def test_a_card_is_kept_by_a_top_up_and_the_rule_is_set_changed_and_switched_off(
    client: FlaskClient, app: Flask, account: MadeAccount, stripe: responses.RequestsMock
):
    assert "Save a card with your next payment" in client.get("/dashboard/billing").text
    keep_card(client, app, account, stripe)
    fields = asked(stripe, 0)
    assert fields["payment_intent_data[setup_future_usage]"] == "off_session"
    assert fields["customer_creation"] == "always"
    assert "Charged to Visa …4242, until 02/32." in plain(client.get("/dashboard/billing").text)
    assert not find_rule(app, account).enabled  # keeping a card is not a rule
    assert set_rule(client).status_code == 303
    rule = find_rule(app, account)
    assert (rule.enabled, rule.threshold_nanos, rule.amount_minor, rule.monthly_cap_minor) == (
        True,
        5 * DOLLAR,
        2500,
        10_000,
    )
    assert (rule.customer, rule.payment_method, rule.card) == ("cus_7", "pm_7", "Visa …4242")
    set_rule(client, do="off")
    assert not find_rule(app, account).enabled
    set_rule(client, do="forget")
    rule = find_rule(app, account)
    assert (rule.enabled, rule.card) == (False, None)
    assert "Visa" not in client.get("/dashboard/billing").text.partition("Automatic top-up</h2>")[2]
    assert set_rule(client).status_code == 400  # without a card there is none


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"threshold": ""}, "threshold-error"),
        ({"threshold": "-1"}, "threshold-error"),
        ({"auto_amount": "1"}, "auto_amount-error"),
        ({"auto_amount": "x"}, "auto_amount-error"),
        ({"cap": "24.99"}, "cap-error"),
        ({"cap": "100.005"}, "cap-error"),
        ({"cap": ""}, "cap-error"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_beside_its_field(
    client: FlaskClient,
    app: Flask,
    account: MadeAccount,
    stripe: responses.RequestsMock,
    fields: dict[str, str],
    error: str,
):
    keep_card(client, app, account, stripe)
    answer = set_rule(client, **fields)
    assert answer.status_code == 400
    assert f'id="{error}"' in answer.text
    assert not find_rule(app, account).enabled


def test_without_a_card_there_is_no_rule(client: FlaskClient, app: Flask, account: MadeAccount):
    answer = set_rule(client)
    assert answer.status_code == 400
    assert "There is no card yet" in answer.text


def test_a_card_that_could_not_be_read_is_read_when_stripe_sends_the_event_again(
    client: FlaskClient, app: Flask, account: MadeAccount, stripe: responses.RequestsMock, make: Factories
):
    open_session(stripe)
    top_up(client, amount="20", keeps_card="1")
    [payment] = find_payments(app, account)
    session = make_session(payment.id, 2000, customer="cus_7")
    path = f"{API}/payment_intents/{session['payment_intent']}"
    stripe.get(path, status=500, json={"error": {"type": "api_error"}})
    body = json.dumps(make_event("checkout.session.completed", session))
    assert client.post(PATH, data=body, headers=sign(body)).status_code == 503
    assert make.find_money(account.id) == (20 * DOLLAR, 0)  # credited all the same
    card = {"id": "pm_7", "object": "payment_method", "customer": "cus_7", "card": {"brand": "visa", "last4": "4242"}}
    intent = make_intent(payment.id, 2000, id=session["payment_intent"], customer="cus_7", payment_method=card)
    stripe.replace("GET", path, json=intent)
    assert client.post(PATH, data=body, headers=sign(body)).status_code == 200
    assert find_rule(app, account).card == "Visa …4242"
    assert make.find_money(account.id) == (20 * DOLLAR, 0)


def test_an_old_event_brings_no_forgotten_card_back(
    client: FlaskClient, app: Flask, account: MadeAccount, stripe: responses.RequestsMock
):
    keep_card(client, app, account, stripe)
    set_rule(client, do="forget")
    [payment] = find_payments(app, account)
    session = make_session(payment.id, 2000, payment_intent=payment.payment_intent, customer="cus_7")
    assert tell(client, "checkout.session.completed", session) == "known"
    assert find_rule(app, account).card is None


def test_a_declined_card_is_told_by_mail_and_on_the_page(
    client: FlaskClient, app: Flask, account: MadeAccount, stripe: responses.RequestsMock
):
    keep_card(client, app, account, stripe)
    set_rule(client, threshold="50")
    declined = {"type": "card_error", "code": "card_declined", "message": "Your card was declined."}
    stripe.post(f"{API}/payment_intents", status=402, json={"error": declined})
    with app.app_context():
        assert top_up_due(app.config["BRIDGE"]) == 1
        mails = [
            (mail.recipient, mail.subject, declined["message"] in mail.text)
            for mail in db.session.scalars(sa.select(Mail).where(Mail.subject.not_like("New sign-in%")))
        ]
    assert mails == [(account.email, "Automatic top-ups are off", True)]
    page = client.get("/dashboard/billing").text
    assert "Automatic top-ups are off." in page
    assert "Your card was declined." in page


@pytest.mark.parametrize("settings_field", ["stripe_secret_key", "stripe_webhook_secret"])
def test_without_both_secrets_nobody_can_pay(
    app: Flask, client: FlaskClient, account: MadeAccount, settings_field: str
):
    app.config["BRIDGE"] = dataclasses.replace(app.config["BRIDGE"], **{settings_field: ""})
    assert "You can't pay online here" in client.get("/dashboard/billing").text
    assert top_up(client, amount="10").location == "/dashboard/billing"
    assert find_payments(app, account) == []
