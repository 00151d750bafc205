"""Billing: the statement adds up, Stripe's page is opened for the requested amount, and a receipt says what was
paid."""

import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs

import pytest
import responses
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from bridge.config import Settings
from bridge.db import db, now_utc, transaction
from bridge.ledger.ledger import adjust
from bridge.ledger.statement import next_month, read_statement
from bridge.mail.tables import Mail
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


def test_a_preset_counts_before_the_field(client: FlaskClient, account: MadeAccount, stripe: responses.RequestsMock):
    open_session(stripe)
    assert top_up(client, amount="", preset="50").status_code == 303
    assert asked(stripe)["line_items[0][price_data][unit_amount]"] == "5000"


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
    assert "Nothing was paid" in answer.text
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
    waiting = client.get(path)
    assert "Waiting for Stripe" in waiting.text
    assert waiting.headers["Refresh"] == "3"
    left = client.get(f"{path}?left=1")
    assert "You left Stripe" in left.text
    assert "Refresh" not in left.headers
    session = make_session(payment.id, 2000)
    tell(client, "checkout.session.completed", {**session, "payment_status": "unpaid"})
    assert "takes its time" in client.get(path).text
    tell(client, "checkout.session.async_payment_succeeded", session)
    receipt = client.get(path)
    assert "Refresh" not in receipt.headers
    for said in ("Receipt", "$20.00", session["payment_intent"], account.email, "1 Quay Street", "VAT XX123"):
        assert said in receipt.text
    tell(client, "refund.created", make_refund(session["payment_intent"], 500))
    assert "−$5.00" in client.get(path).text


def test_nobody_sees_a_payment_of_another_account(
    client: FlaskClient, app: Flask, account: MadeAccount, make: Factories
):
    payment = pay(client, app, make.make_account(0))
    assert client.get(f"/dashboard/billing/payments/{payment.id}").status_code == 404
    assert client.get("/dashboard/billing/payments/nonsense").status_code == 404


# the statement


def amounts(page: str) -> list[str]:
    body = page.partition('aria-label="Statement"')[2].partition("</table>")[0]
    return [re.sub("<[^>]*>", "", cell) for cell in re.findall(r'<td class="num">(.*?)</td>', body)]


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
    page = client.get("/dashboard/billing").text
    assert sorted(amounts(page)) == sorted(["−$0.000000021", "−$1.000000000", "+$20.000000000"])
    assert f"/dashboard/billing/payments/{payment.id}" in page
    assert "A mistake of ours" in page


@pytest.mark.parametrize("month", ["", "2020-01", "9999-12", "0001-01", "2026-13", "nonsense"])
def test_any_month_can_be_asked_for(client: FlaskClient, account: MadeAccount, month: str):
    assert client.get("/dashboard/billing", query_string={"month": month}).status_code == 200


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
    card = {"id": "pm_7", "object": "payment_method", "customer": "cus_7", "card": {"brand": "visa", "last4": "4242"}}
    intent = make_intent(payment.id, 2000, id=session["payment_intent"], customer="cus_7", payment_method=card)
    stripe.get(f"{API}/payment_intents/{intent['id']}", json=intent)
    assert tell(client, "checkout.session.completed", session) == "credited"


def set_rule(client: FlaskClient, **fields: str):
    values = {"threshold": "5", "auto_amount": "25", "cap": "100", "do": "on", **fields}
    return post(client, "/dashboard/billing/auto", "/dashboard/billing", **values)


def find_rule(app: Flask, account: MadeAccount) -> AutoTopUp:
    with app.app_context():
        return db.session.get_one(AutoTopUp, account.id)


def test_a_card_is_kept_by_a_top_up_and_the_rule_is_set_changed_and_switched_off(
    client: FlaskClient, app: Flask, account: MadeAccount, stripe: responses.RequestsMock
):
    assert "Keep a card at your next top-up" in client.get("/dashboard/billing").text
    keep_card(client, app, account, stripe)
    fields = asked(stripe, 0)
    assert fields["payment_intent_data[setup_future_usage]"] == "off_session"
    assert fields["customer_creation"] == "always"
    assert "Visa …4242" in client.get("/dashboard/billing").text
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
    assert "Visa" not in client.get("/dashboard/billing").text.partition("Automatic top-ups")[2]
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
    assert "Top-ups are not set up here" in client.get("/dashboard/billing").text
    assert top_up(client, amount="10").location == "/dashboard/billing"
    assert find_payments(app, account) == []
