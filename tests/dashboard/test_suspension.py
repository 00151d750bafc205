"""Every page tells a suspended account so, and it creates nothing through any door; its sessions end at once."""

import re

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from bridge.accounts.customers import reactivate_account, suspend_account
from bridge.accounts.key_terms import KeyTerms
from bridge.accounts.keys import enable_key, issue_key, update_key
from bridge.accounts.operators import set_operator
from bridge.accounts.sessions import sign_out_everywhere
from bridge.accounts.sign_in import set_password
from bridge.accounts.tables import Member
from bridge.db import db
from bridge.errors import AccountSuspended
from bridge.payments.auto import set_rule
from bridge.payments.code_tables import Code
from bridge.payments.codes import create_batch, redeem
from bridge.payments.tables import Payment
from bridge.payments.top_up import open_top_up
from tests.dashboard.pages import post, sign_in
from tests.factories import DOLLAR, Factories, MadeAccount

ON_SQLITE = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
SUSPENDED = "This account is suspended."


@pytest.fixture
def account(make: Factories) -> MadeAccount:
    return make.make_account()


@pytest.fixture
def suspended(app: Flask, client: FlaskClient, account: MadeAccount) -> MadeAccount:
    """The account, suspended and signed in again."""
    with app.app_context():
        suspend_account(account.id)
    assert sign_in(client, account.email, account.password).status_code == 303
    return account


def is_inside(client: FlaskClient, path: str = "/dashboard/") -> bool:
    return client.get(path).status_code == 200


def list_routes(app: Flask, method: str) -> list[tuple[str, str]]:
    """Endpoint and address of every page or form, with 1 for its variables."""
    rules = [rule for rule in app.url_map.iter_rules() if method in (rule.methods or ()) and rule.endpoint != "static"]
    return [(rule.endpoint, re.sub(r"<(\w+:)?\w+>", "1", rule.rule)) for rule in rules]


def list_closed(app: Flask, method: str) -> list[str]:
    """The routes of the dashboard and the console."""
    return [path for endpoint, path in list_routes(app, method) if endpoint.startswith(("dashboard.", "admin."))]


@ON_SQLITE  # each page twice takes its time
def test_every_page_says_that_the_account_is_suspended(
    app: Flask, client: FlaskClient, make: Factories, account: MadeAccount
):
    make.make_key(account)  # whose pages there are, as there are those that are missing
    with app.app_context():
        suspend_account(account.id)
    sign_in(client, account.email, account.password)
    said = set()
    for endpoint, path in [*list_routes(app, "GET"), ("", "/nowhere"), ("", "/dashboard/keys/99")]:
        answer = client.get(path)
        if answer.mimetype != "text/html" or answer.status_code in (204, 205, 302, 303):
            continue  # no page
        page = answer.text
        assert page.count(SUSPENDED) == 1, path
        assert page.index(SUSPENDED) < page.index("<h1"), path
        assert "$10.00 stays" in page, path
        said |= {endpoint, answer.status_code}
    assert {200, 404, "public.show_landing", "public.show_docs", "dashboard.show_settings"} <= said


def test_the_banner_goes_when_the_account_is_active_again(app: Flask, client: FlaskClient, suspended: MadeAccount):
    with app.app_context():
        reactivate_account(suspended.id)
    assert SUSPENDED not in client.get("/dashboard/").text
    assert post(client, "/dashboard/keys", "/dashboard/keys/new", name="again").status_code == 200


def test_a_suspended_account_can_still_revoke_its_keys(
    app: Flask, client: FlaskClient, make: Factories, account: MadeAccount
):
    key = make.make_key(account, name="old")
    with app.app_context():
        suspend_account(account.id)
    sign_in(client, account.email, account.password)
    answer = post(client, f"/dashboard/keys/{key.id}/revoke", f"/dashboard/keys/{key.id}", confirm="old")
    assert answer.status_code == 303


def test_the_rooms_ask_too_for_a_suspension_may_come_after_the_door(app: Flask, make: Factories, account: MadeAccount):
    key = make.make_key(account)
    with app.app_context():
        made = create_batch(DOLLAR, 1, made_by="a test")
        assert made
        suspend_account(account.id)
        settings = app.config["BRIDGE"]
        rule = {"threshold_nanos": DOLLAR, "amount_minor": 1000, "monthly_cap_minor": 9000}
        top_up = {"amount_minor": 1000, "email": account.email, "keeps_card": False, "site_url": "http://localhost"}
        for create in (
            lambda: issue_key(account.id, KeyTerms(name="more")),
            lambda: update_key(account.id, key.id, KeyTerms(name="more", rpm=0)),
            lambda: enable_key(account.id, key.id),
            lambda: redeem(account.id, made.codes[0], made_by=account.email),
            lambda: open_top_up(settings, account.id, **top_up),
            lambda: set_rule(settings, account.id, **rule),
        ):
            with pytest.raises(AccountSuspended):
                create()
        assert db.session.scalar(sa.select(Code.redeemed_at)) is None
        assert db.session.scalar(sa.select(sa.func.count()).select_from(Payment)) == 0
    assert make.find_money(account.id) == (10 * DOLLAR, 0)
    refused = app.test_client().get("/v1/key", headers=key.headers)
    assert (refused.status_code, refused.json["error"]["code"]) == (403, "account_suspended")


@pytest.mark.parametrize("act", ["suspend", "password", "sign-out", "demote"])
def test_sessions_end_at_once_of_operators_too(app: Flask, make: Factories, act: str):
    operator, _another = make.make_account(0, is_operator=True), make.make_account(0, is_operator=True)
    browsers = [app.test_client(), app.test_client()]
    for browser in browsers:
        sign_in(browser, operator.email, operator.password)
        assert is_inside(browser, "/admin/customers")
    with app.app_context():
        member = db.session.scalars(sa.select(Member).where(Member.email == operator.email)).one()
        {
            "suspend": lambda: suspend_account(operator.id),
            "password": lambda: set_password(member.id, "another horse battery"),
            "sign-out": lambda: sign_out_everywhere(member),
            "demote": lambda: set_operator(member.id, None),
        }[act]()
    for browser in browsers:
        answers = [browser.get(path) for path in list_closed(app, "GET")]
        answers += [post(browser, path, "/sign-in") for path in list_closed(app, "POST")]
        for answer in answers:
            assert answer.status_code == 302, answer.request.path
            assert answer.location.startswith("/sign-in"), answer.request.path
    password = "another horse battery" if act == "password" else operator.password
    assert sign_in(browsers[0], operator.email, password).status_code == 303
    assert is_inside(browsers[0])
    assert is_inside(browsers[0], "/admin/customers") == (act in ("password", "sign-out"))


def test_an_operator_does_not_suspend_themselves(app: Flask, make: Factories):
    operator, browser = make.make_account(0, is_operator=True), app.test_client()
    sign_in(browser, operator.email, operator.password)
    page = f"/admin/customers/{operator.id}"
    post(browser, f"{page}/suspend", page)
    assert "your own account" in browser.get(page).text
