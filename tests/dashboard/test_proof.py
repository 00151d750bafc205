"""Money, keys, security and operators' acts ask for a fresh sign-in; everything else does not."""

import datetime
from collections import Counter

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from bridge.accounts.tables import Key, MemberSession
from bridge.db import db, now_utc, transaction
from tests.dashboard.pages import post, sign_in
from tests.factories import Factories, MadeAccount

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


@pytest.fixture
def account(make: Factories) -> MadeAccount:
    return make.make_account(is_operator=True)


@pytest.fixture
def browser(app: Flask, account: MadeAccount) -> FlaskClient:
    """A member who signed in long ago."""
    client = app.test_client()
    sign_in(client, account.email, account.password)
    age(app)
    return client


def age(app: Flask) -> None:
    with app.app_context(), transaction() as session:
        session.execute(sa.update(MemberSession).values(proven_at=now_utc() - datetime.timedelta(hours=2)))


def prove(browser: FlaskClient, password: str, target: str = "/dashboard/keys/new"):
    return post(browser, "/dashboard/prove", "/dashboard/prove", password=password, next=target)


@pytest.mark.parametrize(
    ("path", "page"),
    [
        ("/dashboard/keys", "/dashboard/usage"),
        ("/dashboard/billing/top-up", "/dashboard/billing"),
        ("/dashboard/billing/auto", "/dashboard/billing"),
        ("/dashboard/settings/email", "/dashboard/settings"),
        ("/admin/codes", "/admin/codes"),
    ],
)
def test_an_old_sign_in_changes_nothing_and_is_asked_for_a_proof(browser: FlaskClient, path: str, page: str):
    browser.environ_base["HTTP_REFERER"] = f"http://localhost{page}"
    answer = post(browser, path, page, name="worker", email="new@example.com")
    assert (answer.status_code, answer.location) == (303, f"/dashboard/prove?next={page}")
    assert "Nothing was changed yet" in browser.get(answer.location).text


def test_looking_and_ending_needs_no_proof(app: Flask, browser: FlaskClient, make: Factories, account: MadeAccount):
    key = make.make_key(account, name="worker")
    for page in ("/dashboard/", "/dashboard/keys", "/dashboard/billing", "/admin/channels", "/dashboard/settings"):
        assert browser.get(page).status_code == 200
    path = f"/dashboard/keys/{key.id}"
    assert post(browser, f"{path}/revoke", path, confirm="worker").location == "/dashboard/keys"


def test_the_password_opens_for_a_while_and_leads_back(app: Flask, browser: FlaskClient, account: MadeAccount):
    assert browser.get("/dashboard/keys/new").location == "/dashboard/prove?next=/dashboard/keys/new"
    assert prove(browser, "wrong password").status_code == 401
    assert browser.get("/dashboard/keys/new").status_code == 303
    assert prove(browser, account.password).location == "/dashboard/keys/new"
    assert browser.get("/dashboard/keys/new").status_code == 200
    fields = {"name": "worker", "budget_user_period": "month"}
    assert post(browser, "/dashboard/keys", "/dashboard/keys/new", **fields).status_code == 200
    with app.app_context():
        assert db.session.scalar(sa.select(sa.func.count()).select_from(Key)) == 1
    age(app)
    assert browser.get("/dashboard/keys/new").status_code == 303


@pytest.mark.usefixtures("within_an_hour")
def test_guesses_at_the_proof_are_counted_before_they_are_looked_at(browser: FlaskClient, account: MadeAccount):
    codes = Counter(prove(browser, "wrong password").status_code for _ in range(12))
    assert codes == {401: 10, 429: 2}
    assert prove(browser, account.password).status_code == 429


def test_a_proof_counts_for_its_session_alone(app: Flask, browser: FlaskClient, account: MadeAccount):
    other = app.test_client()
    sign_in(other, account.email, account.password)
    assert other.get("/dashboard/keys/new").status_code == 200
    assert browser.get("/dashboard/keys/new").status_code == 303


def test_it_leads_to_no_other_site(browser: FlaskClient, account: MadeAccount):
    assert prove(browser, account.password, "//evil.example/").location == "/dashboard/"
