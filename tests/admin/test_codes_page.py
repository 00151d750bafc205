"""Codes: a form makes them once, they are shown once, listed with their state, and voided."""

import base64
import re

import pytest
from flask import Flask
from flask.testing import FlaskClient

from bridge.payments.codes import list_batches, redeem
from tests.dashboard.pages import post
from tests.factories import DOLLAR, Factories, MadeAccount

PAGE = "/admin/codes"


@pytest.fixture(autouse=True)
def _operator(operator: MadeAccount) -> None:
    """Every test here is the operator's."""


def make_codes(client: FlaskClient, **fields: str):
    return post(client, PAGE, PAGE, **{"amount": "10", "count": "3", **fields})


def codes_of(page: str) -> list[str]:
    """The codes in the page's text, not those of the copy button."""
    shown = page.partition('aria-label="Codes"')[2].partition("</pre>")[0]
    return re.findall(r"\b(?:[0-9A-Z]{5}-){3}[0-9A-Z]{5}\b", shown)


def count_batches(app: Flask) -> int:
    with app.app_context():
        return len(list_batches())


def test_codes_are_shown_once_to_read_to_copy_and_as_csv(
    app: Flask, client: FlaskClient, make: Factories, customer: MadeAccount, operator: MadeAccount
):
    answer = make_codes(client, note="Conference", expires_at="2100-01-01T12:00")
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    codes = codes_of(answer.text)
    assert len(set(codes)) == 3
    assert "They are for: Conference." in answer.text
    csv = re.search(r'href="data:text/csv;base64,([^"]+)" download="codes-1.csv"', answer.text)
    assert csv
    lines = base64.b64decode(csv[1]).decode().splitlines()
    assert [line.partition(",")[0] for line in lines[1:]] == codes
    with app.app_context():
        assert redeem(customer.id, codes[0], made_by="x") == 10 * DOLLAR
    page = client.get(PAGE).text
    assert not codes_of(page)
    assert "Conference" in page
    assert "1&nbsp;of&nbsp;3" in page
    assert operator.email in page


def test_a_form_sent_twice_makes_one_batch(app: Flask, client: FlaskClient):
    once = re.search(r'name="once" value="(\w+)"', client.get(PAGE).text)
    assert once
    assert make_codes(client, once=once[1]).status_code == 200
    again = make_codes(client, once=once[1])
    assert again.status_code == 303
    assert "This form was sent before" in client.get(again.location).text
    assert count_batches(app) == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [("amount", ""), ("amount", "x"), ("amount", "-1"), ("count", ""), ("count", "1001"), ("expires_at", "2020-01-01")],
)
def test_an_error_stands_beside_its_field_and_nothing_is_made(app: Flask, client: FlaskClient, field: str, value: str):
    answer = make_codes(client, **{field: value})
    assert answer.status_code == 400
    assert f'id="{field}-error"' in answer.text
    assert count_batches(app) == 0


def test_what_is_left_of_a_batch_is_voided(app: Flask, client: FlaskClient, customer: MadeAccount):
    codes = codes_of(make_codes(client).text)
    with app.app_context():
        redeem(customer.id, codes[0], made_by="x")
    answer = post(client, f"{PAGE}/1/void", PAGE)
    page = client.get(answer.location).text
    assert "2 codes can't be redeemed any more" in page.replace("&#39;", "'")
    assert "Void</span>" in page
    assert post(client, f"{PAGE}/9/void", PAGE).status_code == 404
