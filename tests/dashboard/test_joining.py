"""Signing up where mails go out: no answer says whether an address has an account, and its owner learns it by mail."""

import re
import sys

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from bridge.accounts.emails import find_by_email
from bridge.accounts.tables import Account
from bridge.dashboard import joining
from bridge.db import db
from bridge.ledger import opening
from bridge.ledger.journal import list_entries
from bridge.ledger.ledger import find_balance
from bridge.ledger.opening import create_account
from tests.dashboard.letters import find_link, read_mails
from tests.dashboard.pages import EMAIL, PASSWORD, post, sign_in, sign_up
from tests.dashboard.test_confirming import DOLLAR, set_settings
from tests.factories import Factories

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


@pytest.fixture
def app(app: Flask) -> Flask:
    set_settings(app, verify_email=True, signup_credit="2")
    return app


def finish(browser: FlaskClient, link: str, password: str = PASSWORD) -> TestResponse:
    return post(browser, "/sign-up/finish", link, ticket=link.partition("ticket=")[2], password=password)


def test_a_taken_address_and_a_new_one_get_the_same_answer_after_the_same_work(app: Flask, make: Factories):
    account, said, worked = make.make_account(), [], []
    with app.app_context():
        engine = db.engine
    for email in (account.email, "nobody-yet@example.com"):
        statements: list[str] = []

        def note(_connection: object, _cursor: object, sql: str, *_: object, into: list[str] = statements) -> None:
            into.append(sql)

        browser = app.test_client()
        browser.get("/sign-up")
        sa.event.listen(engine, "before_cursor_execute", note)
        answer = sign_up(browser, email)
        sa.event.remove(engine, "before_cursor_execute", note)
        page = browser.get(answer.location)
        unlike = re.compile(r'value="[^"]+"|req_\w+')  # the form's token, the request's id
        said.append((answer.status_code, answer.location, sorted(answer.headers.keys()), unlike.sub("", page.text)))
        worked.append(statements)
    assert said[0] == said[1]
    assert worked[0] == worked[1]
    assert "Check your email" in said[0][3]
    (told,) = read_mails(app, account.email)
    assert "You already have an AI Bridge account" in told
    assert "/sign-in" in told
    assert "/forgot" in told
    assert "ticket" not in told
    with app.app_context():
        assert find_by_email("nobody-yet@example.com") is None


def test_the_mailed_link_opens_the_account_once_with_the_password_chosen_there(app: Flask):
    browser = app.test_client()
    sign_up(browser, password="what somebody else may have typed")
    link = find_link(app, EMAIL, "/sign-up/finish")
    with app.app_context():
        assert db.session.scalar(sa.select(Account)) is None  # there is none before, nor by looking at the link
    weak = finish(browser, link, "short")
    assert (weak.status_code, "at least 10" in weak.text) == (400, True)
    assert finish(browser, link).location == "/dashboard/"
    assert "$2.00 of starting credit" in browser.get("/dashboard/").text
    with app.app_context():
        member = find_by_email(EMAIL)
        assert member
        assert find_balance(member.account_id).balance_nanos == 2 * DOLLAR
    assert browser.get(link).status_code == 400
    assert sign_in(app.test_client(), EMAIL, PASSWORD).status_code == 303


@pytest.mark.parametrize("killed_at", ["the credit", "the link"])
def test_a_worker_killed_while_it_opens_an_account_leaves_its_credit_whole_and_single(
    app: Flask, monkeypatch: pytest.MonkeyPatch, killed_at: str
):
    browser = app.test_client()
    sign_up(browser)
    link = find_link(app, EMAIL, "/sign-up/finish")
    room, name = {"the credit": (opening, "book"), "the link": (joining, "end_sign_up")}[killed_at]
    with monkeypatch.context() as killed:
        killed.setattr(room, name, lambda *_, **__: sys.exit("killed"))
        with pytest.raises(SystemExit):
            finish(browser, link)
    with app.app_context():
        assert (find_by_email(EMAIL) is None) == (killed_at == "the credit")  # then there is nothing yet, not even half
    again = finish(app.test_client(), link)
    assert again.status_code == (303 if killed_at == "the credit" else 400)
    assert sign_in(app.test_client(), EMAIL, PASSWORD).status_code == 303
    with app.app_context():
        member = find_by_email(EMAIL)
        assert member
        assert find_balance(member.account_id).balance_nanos == 2 * DOLLAR
        assert [entry.external_id for entry in list_entries(member.account_id)] == [f"signup:{member.account_id}"]


def test_of_two_links_to_one_address_the_first_opens_its_account_and_the_other_is_worth_nothing(app: Flask):
    links = []
    for _ in range(2):
        sign_up(app.test_client())
        links.append(find_link(app, EMAIL, "/sign-up/finish"))
    with app.app_context():
        create_account(EMAIL, PASSWORD)  # by the operator, or by the first of the links
    late = finish(app.test_client(), links[1], "another horse battery")
    assert late.status_code == 400
    assert "This link no longer works" in late.text
    assert sign_in(app.test_client(), EMAIL, "another horse battery").status_code == 401
    assert app.test_client().get(links[1]).status_code == 400


@pytest.mark.usefixtures("within_an_hour")
def test_nobody_is_mailed_without_end(app: Flask):
    assert [sign_up(app.test_client()).status_code for _ in range(5)] == [303] * 4 + [429]


def test_where_a_mail_server_is_set_sign_up_is_by_mail_and_where_there_is_none_it_is_not(app: Flask):
    set_settings(app, verify_email=False, smtp_url="smtp://127.0.0.1:9", smtp_from="bridge@example.com")
    assert sign_up(app.test_client()).location == "/sign-up?sent=1"
    set_settings(app, smtp_url="")
    assert sign_up(app.test_client()).location == "/dashboard/"
    assert len(read_mails(app, EMAIL)) == 1
