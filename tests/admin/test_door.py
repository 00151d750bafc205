"""The operator's door: for a customer it is not there, on every route."""

import re

import pytest
from flask import Flask
from flask.testing import FlaskClient

from bridge.accounts.customers import find_customer
from bridge.ledger.ledger import find_balance
from tests.dashboard.pages import post
from tests.factories import DOLLAR, Factories, MadeAccount

PLACES = {"payment_id": "pay_1", "account_id": "1", "batch_id": "1", "name": "sandbox"}


def routes(app: Flask) -> list[tuple[str, str]]:
    """Method and path of every route behind the door."""
    return [
        (method, re.sub(r"<(?:\w+:)?(\w+)>", lambda match: PLACES[match[1]], rule.rule))
        for rule in app.url_map.iter_rules()
        if rule.endpoint.startswith("admin.")
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})
    ]


def test_a_customer_finds_nothing_there(
    app: Flask, customers_client: FlaskClient, make: Factories, customer: MadeAccount
):
    found = routes(app)
    assert len(found) > 20
    for method, path in found:
        answer = (
            customers_client.get(path) if method == "GET" else post(customers_client, path, "/", amount="5", note="me")
        )
        assert answer.status_code == 404, (method, path)
    assert make.find_money(customer.id) == (10 * DOLLAR, 0)
    assert "/admin" not in customers_client.get("/dashboard/").text


def test_a_stranger_is_sent_to_sign_in(app: Flask):
    stranger = app.test_client()
    for method, path in routes(app):
        answer = stranger.get(path) if method == "GET" else post(stranger, path, "/")
        assert answer.status_code == 302, (method, path)
        assert answer.location.startswith("/sign-in")


def test_the_operator_enters(client: FlaskClient, operator: MadeAccount):
    for path in ("/admin/channels", "/admin/models", "/admin/customers", "/admin/channels/new", "/admin/models/new"):
        assert client.get(path).status_code == 200
    assert client.get("/admin/").location == "/admin/channels"
    assert 'href="/admin/channels"' in client.get("/dashboard/").text


@pytest.mark.parametrize(
    "path", ["/admin/customers/1/balance", "/admin/customers/1/suspend", "/admin/channels/sandbox/remove"]
)
def test_nothing_changes_without_the_forms_token(app: Flask, client: FlaskClient, operator: MadeAccount, path: str):
    answer = client.post(path, data={"amount": "5", "note": "x", "confirm": "sandbox"})
    assert answer.status_code == 400
    with app.app_context():
        assert find_balance(1).balance_nanos == 0
        assert find_customer(1).status == "active"
