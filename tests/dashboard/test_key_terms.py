"""A key's terms are those of KeyTerms wherever they are stored, read or shown: no place can miss one."""

import dataclasses
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from bridge.accounts.key_search import find_key
from bridge.accounts.key_terms import PLAIN_LIMITS, TERMS, KeyTerms, terms_of
from bridge.accounts.keys import Caller
from bridge.accounts.tables import Key
from bridge.v1.openapi import build
from tests.dashboard.pages import sign_in
from tests.factories import Factories

sqlite = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


def test_every_term_is_a_column_and_reaches_the_hot_path():
    assert {term.field for term in TERMS} <= set(Key.__table__.columns.keys())
    assert {term.field for term in TERMS} <= {field.name for field in dataclasses.fields(Caller)}


@sqlite
def test_every_term_is_asked_for_by_the_form_and_by_the_command(app: Flask, client: FlaskClient, make: Factories):
    account = make.make_account()
    sign_in(client, account.email, account.password)
    form = client.get("/dashboard/keys/new").text
    command = app.test_cli_runner().invoke(args=["key", "issue", "--help"]).output
    for term in TERMS:
        assert (form.count(f'name="{term.form_name}"') == 1) != (term.kind == "models"), term  # a box for each model
        assert f"{term.option} " in command, term


@sqlite
def test_every_limit_is_told_by_the_api_and_described(client: FlaskClient, make: Factories):
    names = [term.api_name for term in PLAIN_LIMITS]
    key = make.make_key(**{term.field: 7 for term in PLAIN_LIMITS})
    assert list(client.get("/v1/key", headers=key.headers).json["limits"]) == names
    described = build("http://127.0.0.1:8000/v1")["components"]["schemas"]["KeyLimits"]
    assert (list(described["properties"]), described["required"]) == (names, names)


@sqlite
def test_what_was_kept_is_what_was_asked_for(app: Flask, make: Factories):
    budgets: dict[str, Any] = {"budget_day_nanos": 4, "budget_month_nanos": 5, "budget_user_period": "week"}
    asked = KeyTerms(name="all of it", rpm=1, tpm=2, concurrency=3, **budgets)
    key = make.make_key(**dataclasses.asdict(asked))
    with app.app_context():
        assert terms_of(find_key(key.account_id, key.id)) == asked
