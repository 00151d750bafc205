"""A customer's plan on the billing page: chosen, paid at Stripe, changed, ended and kept; nobody else's is touched."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from bridge.accounts.customers import suspend_account
from bridge.config import Settings
from bridge.payments.plans import Offer, create_plan
from bridge.payments.tables import Payment
from bridge.payments.top_up import list_payments
from tests.dashboard.pages import post, sign_in
from tests.factories import DOLLAR, Factories, MadeAccount
from tests.payments.stripe_billing import Found, StripeBilling
from tests.payments.stripe_side import PATH, SECRET, sign
from tests.rooms import make_settings

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
PAGE = "/dashboard/billing"


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    secrets = {"stripe_secret_key": "sk_test_" + "k" * 24, "stripe_webhook_secret": SECRET}
    site = "https://gateway.example"
    return make_settings(tmp_path, database_url=database_url, public_base_url=site, **secrets)


@pytest.fixture
def account(make: Factories, client: FlaskClient) -> MadeAccount:
    account = make.make_account(0)
    sign_in(client, account.email, account.password)
    return account


@pytest.fixture
def stripe() -> Iterator[StripeBilling]:
    stripe = StripeBilling()
    with stripe.answering():
        yield stripe


@pytest.fixture
def codes(app: Flask, settings: Settings) -> dict[str, str]:
    """Plans on sale by their names."""
    offers = (
        Offer("Small", 1000, 12 * DOLLAR),
        Offer("Large", 9000, 0, rpm=9000, group_name="inner-circle"),
        Offer("Secret", 50_000, 600 * DOLLAR, is_listed=False),
    )
    with app.app_context():
        return {offer.name: create_plan(settings, offer).code for offer in offers}


def tell(client: FlaskClient, event: Found) -> str:
    body = json.dumps(event)
    return client.post(PATH, data=body, headers=sign(body)).text


def send(client: FlaskClient, what: str = "", **fields: str):
    return post(client, f"{PAGE}/plan{what}", PAGE, **fields)


def read(client: FlaskClient, query: str = "") -> str:
    """The page's text, in single spaces."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", client.get(PAGE + query).text))


def newest(app: Flask, account: MadeAccount) -> Payment:
    with app.app_context():
        return list_payments(account.id)[0]


def test_a_plan_is_chosen_paid_at_stripe_and_shown_with_its_credit_and_receipt(
    app: Flask, client: FlaskClient, account: MadeAccount, stripe: StripeBilling, codes: dict[str, str], make: Factories
):
    page = read(client)
    assert "Small $10.00 a month $12.00 of credit each month" in page
    assert "9,000 requests a minute Prices of its own" in page
    assert "Secret" not in page
    assert "inner-circle" not in page  # how groups are called is the operator's
    answer = send(client, plan=codes["Small"])
    assert (answer.status_code, answer.location) == (303, "https://checkout.stripe.com/c/pay/1")
    form = stripe.pages[0]
    assert (form["mode"], form["customer_email"]) == ("subscription", account.email)
    started = form["client_reference_id"]
    assert form["success_url"] == f"https://gateway.example{PAGE}?started={started}#plan"
    assert "Waiting for Stripe" in read(client, f"?started={started}")
    assert client.get(f"{PAGE}/plan/state?started={started}").status_code == 204
    assert make.find_money(account.id) == (0, 0)  # asking is not paying
    subscription = stripe.subscribe()
    assert tell(client, stripe.paid()) == "credited"
    assert client.get(f"{PAGE}/plan/state?started={started}").status_code == 205
    assert make.find_money(account.id) == (12 * DOLLAR, 0)
    page = read(client, f"?started={started}")
    assert "Plan Small, $10.00 a month" in page
    assert "Renews" in page
    assert "Plan Small" in client.get(f"{PAGE}/statement/{newest(app, account).created_at:%Y-%m}").text
    receipt = re.sub(r"\s+", " ", client.get(f"{PAGE}/payments/{newest(app, account).id}").text)
    assert "Plan Small, from" in receipt
    assert "+$2.00" in receipt
    tell(client, stripe.paid(stripe.renew(subscription, paid=False)))
    tell(client, stripe.changed(subscription))
    assert "This month's fee is not paid." in read(client).replace("&#39;", "'")


def test_a_plan_is_changed_ended_and_kept(
    client: FlaskClient, account: MadeAccount, stripe: StripeBilling, codes: dict[str, str]
):
    send(client, plan=codes["Small"])
    subscription = stripe.subscribe()
    tell(client, stripe.paid())
    assert send(client, "/change", plan=codes["Large"]).status_code == 303
    assert "as Large for $90.00 a month" in read(client)
    assert send(client, "/end").status_code == 303
    assert subscription["cancel_at_period_end"]
    page = read(client)
    assert "Ending" in page
    assert "Keep plan" in page
    assert send(client, "/keep").status_code == 303
    assert "Cancel plan" in read(client)
    assert send(client, "/portal").location == f"https://billing.stripe.com/p/session/{subscription['customer']}"
    assert "https://billing.stripe.com" in client.get(PAGE).headers["Content-Security-Policy"]


def test_a_hidden_plan_is_sold_by_its_link(
    client: FlaskClient, account: MadeAccount, stripe: StripeBilling, codes: dict[str, str]
):
    assert "Secret $500.00 a month" in read(client, f"?plan={codes['Secret']}")
    assert send(client, plan=codes["Secret"]).status_code == 303


def test_what_can_not_be_is_said_and_asks_nothing_of_stripe(
    client: FlaskClient, account: MadeAccount, stripe: StripeBilling, codes: dict[str, str]
):
    for what, fields, said in (
        ("", {"plan": "nothing"}, "sold any more"),
        ("/change", {"plan": codes["Small"]}, "This account has no plan."),
        ("/end", {}, "This account has no plan."),
        ("/portal", {}, "This account has no plan."),
    ):
        answer = send(client, what, **fields)
        assert (answer.status_code, said in answer.text) == (400, True)
    assert stripe.asked == []


def test_while_stripe_is_away_nothing_is_changed(
    client: FlaskClient, account: MadeAccount, stripe: StripeBilling, codes: dict[str, str]
):
    stripe.is_away = True
    answer = send(client, plan=codes["Small"])
    assert answer.status_code == 503
    assert "You were not charged." in answer.text


def test_nobody_sees_or_ends_anothers_plan(
    app: Flask,
    client: FlaskClient,
    account: MadeAccount,
    stripe: StripeBilling,
    codes: dict[str, str],
    make: Factories,
):
    send(client, plan=codes["Small"])
    stripe.subscribe()
    tell(client, stripe.paid())
    other, another = make.make_account(0), app.test_client()
    sign_in(another, other.email, other.password)
    assert "Renews" not in read(another)
    assert send(another, "/end").status_code == 400
    assert another.get(f"{PAGE}/plan/state?started={stripe.pages[0]['client_reference_id']}").status_code == 205


def test_a_suspended_account_ends_its_plan_and_begins_none(
    app: Flask, client: FlaskClient, account: MadeAccount, stripe: StripeBilling, codes: dict[str, str]
):
    send(client, plan=codes["Small"])
    subscription = stripe.subscribe()
    tell(client, stripe.paid())
    with app.app_context():
        suspend_account(account.id)
    sign_in(client, account.email, account.password)
    assert send(client, "/change", plan=codes["Large"]).status_code == 403
    assert send(client, "/end").status_code == 303
    assert subscription["cancel_at_period_end"]
