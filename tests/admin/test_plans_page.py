"""Plans as operators see them: made once, sold or not, and their subscriptions, which can be ended; by command too."""

import re

import pytest
from flask import Flask
from flask.testing import FlaskClient

from bridge.db import db, transaction
from bridge.payments.plan_tables import Subscription
from bridge.payments.plans import list_plans
from tests.dashboard.pages import post
from tests.factories import DOLLAR, MadeAccount

PAGE = "/admin/plans"


@pytest.fixture(autouse=True)
def _operator(operator: MadeAccount) -> None:
    """Every test here is the operator's."""


def make_plan(client: FlaskClient, **fields: str):
    return post(client, PAGE, PAGE, **{"name": "Pro", "fee": "20", "credit": "25", "rpm": "1,000", **fields})


def subscribe(app: Flask, account: MadeAccount, plan_id: int) -> None:
    with app.app_context(), transaction() as session:
        fields = {"id": f"sbs_{account.id}", "state": "active", "stripe_subscription": f"sub_{account.id}"}
        session.add(Subscription(account_id=account.id, plan_id=plan_id, made_by=account.email, **fields))


def test_a_plan_is_made_shown_and_taken_out_of_sale(app: Flask, client: FlaskClient):
    answer = make_plan(client, group="gold", description="For a team")
    assert answer.status_code == 303
    with app.app_context():
        [listed] = list_plans()
    plan = listed.plan
    assert (plan.fee_minor, plan.worth_nanos, plan.credit_nanos) == (2000, 20 * DOLLAR, 25 * DOLLAR)
    assert (plan.rpm, plan.tpm, plan.group_name, plan.is_listed) == (1000, None, "gold", True)
    page = client.get(answer.location).text
    assert f"plan={plan.code}#plan" in page
    assert "Channels and prices of group gold" in page
    sale = post(client, f"{PAGE}/{plan.id}/sale", answer.location, hidden="1", sold_until="2020-01-01T00:00")
    assert sale.status_code == 303
    assert "Not sold" in client.get(PAGE).text


@pytest.mark.parametrize(
    ("field", "value"),
    [("fee", "0"), ("fee", "9.999"), ("credit", "-1"), ("rpm", "many"), ("group", "no group"), ("name", "")],
)
def test_an_error_stands_beside_its_field_and_nothing_is_made(app: Flask, client: FlaskClient, field: str, value: str):
    answer = make_plan(client, **{"group": "", field: value})
    assert answer.status_code == 400
    assert f'id="{field}-error"' in answer.text
    with app.app_context():
        assert list_plans() == []


def test_a_form_sent_twice_makes_one_plan(app: Flask, client: FlaskClient):
    assert [make_plan(client).status_code for _ in range(2)] == [303, 400]
    with app.app_context():
        assert len(list_plans()) == 1


def test_a_subscription_is_seen_and_ended(app: Flask, client: FlaskClient, customer: MadeAccount):
    make_plan(client)
    with app.app_context():
        plan_id = list_plans()[0].plan.id
    subscribe(app, customer, plan_id)
    path = f"{PAGE}/{plan_id}"
    assert customer.email in client.get(path).text
    assert ">Pro</a>" in re.sub(r"\s+", "", client.get(f"/admin/customers/{customer.id}").text)
    assert post(client, f"{path}/subscriptions/sbs_{customer.id}/end", path).status_code == 303
    with app.app_context():
        row = db.session.get_one(Subscription, f"sbs_{customer.id}")
        assert (row.state, row.must_end) == ("ended", True)  # a worker ends it at Stripe
    assert "Ending at Stripe" in client.get(path).text
    assert post(client, f"{path}/subscriptions/sbs_nobody/end", path).status_code == 400


def test_commands_do_the_same(app: Flask, customer: MadeAccount):
    def run(*arguments: str) -> str:
        return app.test_cli_runner().invoke(args=["plan", *arguments]).output

    assert "Plan 1: Pro, $20.00 a month." in run("create", "Pro", "20", "--credit", "25", "--tpm", "0", "--hidden")
    assert "fee of $1.00 to" in run("create", "Free", "0", "--credit", "1")
    line = run("list").splitlines()[1]
    assert "$25.00 of credit each month, No limit of tokens a minute" in line
    assert "hidden" in line
    assert run("sale", "1", "--listed", "--until", "none") == "Pro is on sale.\n"
    assert run("sale", "1", "--until", "2020-01-01") == "Pro is not sold any more.\n"
    subscribe(app, customer, 1)
    assert customer.email in run("subscriptions", "1")
    assert "has ended" in run("end", f"sbs_{customer.id}")
    assert "no such subscription" in run("end", "sbs_nobody")
