"""The fault drill: one request that meets a fault, and an account whose requests all meet one for a while."""

import datetime
import html
import re

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from bridge.accounts.tables import Account, Key
from bridge.admin.fault_words import WORDS
from bridge.db import db, now_utc, transaction
from bridge.errors import InvalidRequest
from bridge.ledger.refunds import refund_request
from bridge.providers.faults import FAULTS
from tests.dashboard.pages import post
from tests.factories import DOLLAR, Factories, MadeAccount
from tests.upstream import ScriptedUpstream, says

DRILL = "/admin/drill"


@pytest.fixture(autouse=True)
def _operator(operator: MadeAccount) -> None:
    """Every test here is the operator's."""


@pytest.fixture
def model(make: Factories, upstream: ScriptedUpstream) -> str:
    """A model with one real channel, that answers for 10 and 5 tokens."""
    upstream.plays(says("Good", " answer", prompt_tokens=10, completion_tokens=5))
    model = make.make_model()
    make.make_channel(upstream.base_url, model)
    return model


def send(client: FlaskClient, customer: MadeAccount, model: str, **fields: str) -> str:
    """The page of one drill, without markup."""
    given = {"account": customer.email, "model": model, "fault": "500", "mode": "whole", "channels": "none", **fields}
    answer = post(client, DRILL, DRILL, **given)
    assert answer.status_code == 200
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", answer.text)))


def test_with_nothing_behind_it_a_402_is_the_clients_503_and_free(
    make: Factories, client: FlaskClient, customer: MadeAccount, model: str, upstream: ScriptedUpstream
):
    page = send(client, customer, model, fault="402")
    assert '"code":"upstream_error"' in page
    assert "Status 503" in page
    assert "1 drill 402" in page
    assert "No provider delivered any of an answer. You were not charged." in page
    assert "retry-after 1" in page
    assert make.find_money(customer.id) == (10 * DOLLAR, 0)
    assert upstream.requests == []


@pytest.mark.parametrize("mode", ["whole", "stream"])
def test_with_real_channels_behind_it_the_next_one_answers_and_the_charge_is_given_back(
    app: Flask, make: Factories, client: FlaskClient, customer: MadeAccount, model: str, mode: str
):
    page = send(client, customer, model, channels="real", mode=mode)
    assert "answer" in page
    assert "Status 200" in page
    assert "1 drill 500" in page
    assert re.search(r"2 channel-\d+ Answered", page)
    assert "x-bridge-attempts 2" in page
    assert make.find_money(customer.id) == (10 * DOLLAR, 0)
    [row] = make.list_usage(customer.id)
    assert row.charge_nanos == 20_000
    assert make.check_ledger() == []
    journal = client.get(f"/admin/customers/{customer.id}").text
    assert f"Fault drill: the charge of …{row.request_id[-8:]} is given back" in journal
    with app.app_context():
        with pytest.raises(InvalidRequest, match="refunded before"):
            refund_request(row.request_id, reason="Once more", made_by="operator")
        [key] = db.session.scalars(sa.select(Key).where(Key.account_id == customer.id))
        assert (key.name, key.id) == ("Fault drill", row.key_id)
        assert key.revoked_at is not None


def test_a_stream_that_is_cut_shows_each_event_its_error_and_the_words_that_were_paid(
    make: Factories, client: FlaskClient, customer: MadeAccount, model: str
):
    page = send(client, customer, model, fault="cut", mode="stream")
    assert page.index("[drill]") < page.index('"code":"upstream_error"')
    assert "[DONE]" not in page
    assert "You paid for the prompt and for what had arrived until then" in page
    [row] = make.list_usage(customer.id)
    assert (row.outcome, row.cost_nanos) == ("cut", 0)
    assert row.charge_nanos > 0
    assert make.find_money(customer.id) == (10 * DOLLAR, 0)


def test_an_account_without_money_is_told_what_it_lacks(make: Factories, client: FlaskClient, model: str):
    page = send(client, make.make_account(0), model)
    assert "insufficient_balance" in page
    assert "No upstream was asked" in page
    assert "Credit the account" in page


@pytest.mark.parametrize(("field", "value"), [("account", "nobody@example.com"), ("fault", "flood"), ("model", "")])
def test_an_error_stands_beside_its_field(
    client: FlaskClient, customer: MadeAccount, model: str, field: str, value: str
):
    given = {"account": customer.email, "model": model, "fault": "500", field: value}
    answer = post(client, DRILL, DRILL, **given)
    assert answer.status_code == 400
    assert f'id="{field}-error"' in answer.text


def test_the_form_begins_with_the_operators_own_account(client: FlaskClient, operator: MadeAccount, model: str):
    page = client.get(DRILL).text
    assert operator.email in page
    assert "their tokens are on your bill" in page
    assert f'value="{model}"' in page


def test_an_accounts_drill_is_seen_ends_by_hand_and_by_itself(app: Flask, client: FlaskClient, customer: MadeAccount):
    page = f"/admin/customers/{customer.id}"
    assert post(client, f"{page}/drill", page, fault="429", minutes="15").status_code == 303
    assert "A fault drill is on.</b>" in client.get(page).text
    assert "Fault drill</span>" in client.get("/admin/customers").text
    assert post(client, f"{page}/drill/end", page).status_code == 303
    assert "A fault drill is on" not in client.get(page).text
    post(client, f"{page}/drill", page, fault="429", minutes="1")
    with app.app_context(), transaction() as session:
        past = now_utc() - datetime.timedelta(seconds=1)
        session.execute(sa.update(Account).where(Account.id == customer.id).values(drill_until=past))
    assert "A fault drill is on" not in client.get(page).text


@pytest.mark.parametrize(
    ("fault", "minutes", "field"),
    [("flood", "15", "fault"), ("500", "0", "minutes"), ("500", "1441", "minutes"), ("500", "", "minutes")],
)
def test_a_drill_is_a_known_fault_for_a_day_at_the_most(
    client: FlaskClient, customer: MadeAccount, fault: str, minutes: str, field: str
):
    page = f"/admin/customers/{customer.id}"
    answer = post(client, f"{page}/drill", page, fault=fault, minutes=minutes)
    assert answer.status_code == 400
    assert f'id="{field}-error"' in answer.text


def test_who_leaves_the_page_hangs_up_and_nothing_stays_taken(
    app: Flask, make: Factories, client: FlaskClient, customer: MadeAccount, model: str
):
    given = {"account": customer.email, "model": model, "fault": "slow", "mode": "stream", "channels": "none"}
    answer = post(client, DRILL, DRILL, **given)
    pieces = iter(answer.response)
    while b"[drill]" not in bytes(next(pieces)):
        pass
    answer.close()
    [row] = make.list_usage(customer.id)
    assert row.outcome == "client_gone"
    assert make.find_money(customer.id) == (10 * DOLLAR, 0)
    with app.app_context():
        assert db.session.scalars(sa.select(Key.revoked_at).where(Key.account_id == customer.id)).one() is not None


def test_every_fault_is_put_in_words_for_readers_of_any_language():
    assert WORDS == FAULTS
