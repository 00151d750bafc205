"""Budgets on the key's form and page, models picked from a list, and the page of many keys."""

import re

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from bridge.accounts.key_search import list_all_keys
from bridge.accounts.tables import Account, Key
from bridge.db import db, now_utc, transaction
from bridge.ledger.budgets import NEVER
from bridge.ledger.tables import Budget
from tests.dashboard.pages import post, sign_in
from tests.factories import DOLLAR, Factories, MadeAccount

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
NEW, KEYS, NOTICES = "/dashboard/keys/new", "/dashboard/keys", "/dashboard/settings/notices"


@pytest.fixture
def account(make: Factories, client: FlaskClient) -> MadeAccount:
    account = make.make_account()
    assert sign_in(client, account.email, account.password).status_code == 303
    return account


def test_all_that_is_wrong_is_said_in_one_round_and_everything_is_kept(app: Flask, client: FlaskClient, account):
    sent = {"name": "", "budget_day": "five", "budget_month": "50", "rpm": "sixty", "budget_raise": "20"}
    answer = post(client, KEYS, NEW, **sent, addresses="nowhere", expires_at="2020-01-01T00:00")
    assert answer.status_code == 400
    note = re.search(r'<div class="note note-bad".*?</div>', answer.text, re.DOTALL)
    assert note
    assert "6 fields need a change" in note[0]
    wrong = ["name", "budget_day", "rpm", "budget_raise_until", "addresses", "expires_at"]
    assert re.findall(r'href="#(\w+)"', note[0]) == wrong
    for field in wrong:
        assert f'id="{field}-error"' in answer.text
    for value in ("five", "50", "sixty", "20", "2020-01-01T00:00"):
        assert f'value="{value}"' in answer.text
    folds = re.findall(r'<details class="fold"\s*(open)?\s*>\s*<summary>(\w+)', answer.text)
    assert [name for is_open, name in folds if is_open] == ["Limits", "Raise", "Addresses"]
    with app.app_context():
        assert list_all_keys(account.id) == []


def test_models_are_picked_from_a_list_and_none_is_all(app: Flask, client: FlaskClient, account: MadeAccount):
    post(client, KEYS, NEW, name="some", models=["gpt-4o-mini", "gpt-4o"])
    with app.app_context():
        key = list_all_keys(account.id)[0]
    assert set(key.models or ()) == {"gpt-4o", "gpt-4o-mini"}
    page = client.get(f"{KEYS}/{key.id}").text
    assert set(re.findall(r'name="models"\s+value="([^"]+)"\s+checked', page)) == {"gpt-4o", "gpt-4o-mini"}
    assert re.search(r">2 of \d+ chosen<", page)
    assert "$2.50 / $10.00" in page
    post(client, f"{KEYS}/{key.id}", f"{KEYS}/{key.id}", name="all")
    with app.app_context():
        assert list_all_keys(account.id)[0].models is None


def test_the_key_s_page_shows_each_budget_its_raise_and_who_spent_most(
    app: Flask, client: FlaskClient, make: Factories, account: MadeAccount
):
    key = make.make_key(account, budget_day_nanos=5 * DOLLAR, budget_total_nanos=50 * DOLLAR, budget_user_nanos=DOLLAR)
    with app.app_context(), transaction() as session:
        today = now_utc().date()
        for period, start, scope, spent in (
            ("day", today, "", 4 * DOLLAR),
            ("total", NEVER, "", 9 * DOLLAR),
            ("day", today, "user:<b>ada", DOLLAR // 2),
            ("day", today, "user:", DOLLAR // 4),
        ):
            session.add(Budget(key_id=key.id, period=period, period_start=start, scope=scope, spent_nanos=spent))
    page = client.get(f"{KEYS}/{key.id}").text
    assert "80% of budget" in page
    for shown in (
        "of $5.00 a day",
        "of $50.00 in all",
        "&lt;b&gt;ada",
        "requests that name none",
        "Never starts again",
    ):
        assert shown in page
    terms = {"budget_day": "5", "budget_total": "50", "budget_raise": "20", "budget_raise_until": "2999-01-01T00:00"}
    post(client, f"{KEYS}/{key.id}", f"{KEYS}/{key.id}", name="raised", **terms)
    page = client.get(f"{KEYS}/{key.id}").text
    assert "of $25.00 a day" in page
    assert "Raised by $20.00 each until" in page
    with app.app_context(), transaction() as session:
        session.execute(sa.update(Key).values(budget_raise_until=now_utc()))
    page = client.get(f"{KEYS}/{key.id}").text
    assert "of $5.00 a day" in page
    assert "Raised by" not in page


def test_five_thousand_keys_are_searched_and_sorted(app: Flask, client: FlaskClient, account: MadeAccount):
    with app.app_context(), transaction() as session:
        rows = [
            {"account_id": account.id, "name": f"worker-{n:04}", "digest": b"%032d" % n, "last_four": f"{n:04}"}
            for n in range(5000)
        ]
        session.execute(sa.insert(Key), [{**row, "budget_user_period": "day", "created_at": now_utc()} for row in rows])
        session.execute(sa.update(Key).where(Key.name == "worker-0007").values(last_used_at=now_utc(), rpm=1))

    def names(query: str) -> list[str]:
        return re.findall(r">(worker-\d{4})<", client.get(f"{KEYS}?{query}").text)

    assert (len(names("")), names("")[0]) == (100, "worker-4999")
    assert "1–100 of 5,000 keys, 5,000 in use" in client.get(KEYS).text
    assert names("sort=name&page=2")[0] == "worker-0100"
    assert names("sort=used")[0] == "worker-0007"
    assert names("q=ER-004&sort=name") == [f"worker-004{n}" for n in range(10)]
    assert names("q=sk-abcdefgh0815") == ["worker-0815"]
    assert names("q=%25") == []
    assert names("sort=odd&page=99999") == [f"worker-{n:04}" for n in range(99, -1, -1)]


def test_mails_about_budgets_are_switched_off_and_on(app: Flask, client: FlaskClient, account: MadeAccount):
    for wanted in (False, True):
        post(client, NOTICES, NOTICES, about="budgets", **({"budget_mails": "1"} if wanted else {}))
        with app.app_context():
            assert db.session.get_one(Account, account.id).budget_mails == wanted
