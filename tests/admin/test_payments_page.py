"""Payments: the operator finds those to review, and finishes each with a reason."""

import pytest
from flask import Flask
from flask.testing import FlaskClient

from bridge.db import db, transaction
from bridge.ledger.ledger import find_balance
from bridge.payments.booking import settle
from bridge.payments.check import check_payments
from bridge.payments.rows import new_payment_id
from bridge.payments.tables import Payment
from tests.dashboard.pages import post
from tests.factories import DOLLAR, MadeAccount

PAGE = "/admin/payments"


@pytest.fixture(autouse=True)
def _operator(operator: MadeAccount) -> None:
    """Every test here is the operator's."""


@pytest.fixture
def payment(app: Flask, customer: MadeAccount) -> str:
    """A top-up of $20 for which $15 came."""
    return open_review(app, customer, 1500, "usd")


def open_review(app: Flask, customer: MadeAccount, amount: int, currency: str) -> str:
    payment_id = new_payment_id()
    with app.app_context():
        with transaction() as session:
            values = {"kind": "checkout", "amount_minor": 2000, "currency": "usd", "credit_nanos": 20 * DOLLAR}
            session.add(Payment(id=payment_id, account_id=customer.id, **values))
        settle(payment_id, payment_intent=f"pi_{payment_id[-8:]}", amount_minor=amount, currency=currency)
    return payment_id


def balance(app: Flask, account: MadeAccount) -> int:
    with app.app_context():
        return find_balance(account.id).balance_nanos


def act(client: FlaskClient, payment: str, action: str, **fields: str):
    return post(client, f"{PAGE}/{payment}/{action}", f"{PAGE}/{payment}", **fields)


def test_what_is_to_be_looked_at_is_listed_until_it_is_ended(
    app: Flask, client: FlaskClient, payment: str, customer: MadeAccount
):
    page = client.get(PAGE).text
    assert f'href="{PAGE}/{payment}"' in page
    assert customer.email in page
    assert "$15.00 was paid, not $20.00." in page
    act(client, payment, "close", close_reason="Refunded by hand")
    assert payment not in client.get(PAGE).text
    assert payment in client.get(f"{PAGE}?show=all").text
    assert payment in client.get(f"{PAGE}?q={payment}").text
    assert "Nothing found" in client.get(f"{PAGE}?q=pi_none").text


def test_settling_credits_what_came_once_and_says_who_and_why(
    app: Flask, client: FlaskClient, payment: str, customer: MadeAccount, operator: MadeAccount
):
    before = balance(app, customer)
    answer = act(client, payment, "settle", settle_reason="The customer paid less <on purpose>")
    assert answer.status_code == 303
    page = client.get(answer.location).text
    assert "The payment is credited." in page
    assert "The customer paid less &lt;on purpose&gt;" in page
    assert operator.email in page
    assert balance(app, customer) == before + 15 * DOLLAR
    with app.app_context():
        assert check_payments() == []


def test_a_form_sent_twice_does_it_once(app: Flask, client: FlaskClient, payment: str, customer: MadeAccount):
    before = balance(app, customer)
    form = client.get(f"{PAGE}/{payment}").text
    token = form.split('name="csrf_token"')[1].split('value="')[1].split('"')[0]
    fields = {"settle_reason": "Once", "csrf_token": token}
    answers = [client.post(f"{PAGE}/{payment}/settle", data=fields) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [303, 303]
    assert "This was already done" in client.get(answers[1].location).text
    assert balance(app, customer) == before + 15 * DOLLAR


@pytest.mark.parametrize("action", ["settle", "link", "close"])
def test_without_a_reason_nothing_happens(
    app: Flask, client: FlaskClient, payment: str, customer: MadeAccount, action: str
):
    before = balance(app, customer)
    answer = act(client, payment, action, payment_intent="pi_1", **{f"{action}_reason": " "})
    assert answer.status_code == 400
    assert f'id="{action}_reason-error"' in answer.text
    assert balance(app, customer) == before


def test_money_of_another_currency_asks_for_dollars(app: Flask, client: FlaskClient, customer: MadeAccount):
    payment, before = open_review(app, customer, 2000, "eur"), balance(app, customer)
    answer = act(client, payment, "settle", settle_reason="x", dollars="")
    assert answer.status_code == 400
    assert 'id="dollars-error"' in answer.text
    assert act(client, payment, "settle", settle_reason="x", dollars="21.50").status_code == 303
    assert balance(app, customer) == before + 21_500_000_000


def test_without_stripes_key_nothing_can_be_linked(client: FlaskClient, payment: str):
    answer = act(client, payment, "link", payment_intent="pi_other", link_reason="x")
    assert answer.status_code == 400
    assert "STRIPE_SECRET_KEY is missing" in answer.text


def test_what_is_closed_offers_nothing_more(app: Flask, client: FlaskClient, payment: str):
    act(client, payment, "close", close_reason="Refunded by hand")
    page = client.get(f"{PAGE}/{payment}").text
    assert "It was closed. Nothing was credited." in page
    assert "<form" not in page.split("<main")[1].split("</main>")[0].replace("sign-out", "")


def test_an_unknown_payment_is_not_found(client: FlaskClient):
    assert client.get(f"{PAGE}/pay_of_nobody").status_code == 404


@pytest.mark.parametrize("action", ["settle", "link", "close"])
def test_a_form_without_its_token_does_nothing(app: Flask, client: FlaskClient, payment: str, action: str):
    answer = client.post(f"{PAGE}/{payment}/{action}", data={f"{action}_reason": "x", "payment_intent": "pi_1"})
    assert answer.status_code == 400
    with app.app_context():
        assert db.session.get_one(Payment, payment).state == "review"


def test_customers_find_no_such_page(customers_client: FlaskClient, payment: str):
    for path in (PAGE, f"{PAGE}/{payment}"):
        assert customers_client.get(path).status_code == 404
