"""A forgotten password: a link by mail that works once and for an hour, and pages that say nothing of who is here."""

import datetime
import re

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from bridge.accounts.tables import MemberSession, ResetRequest, Ticket
from bridge.acts import list_acts
from bridge.db import db, now_utc, transaction
from bridge.mail.tables import Mail
from tests.dashboard.letters import answer_resets, find_link, read_mails
from tests.dashboard.pages import post, sign_in
from tests.factories import Factories, MadeAccount

NEW = "another horse battery"


def ask(app: Flask, email: str) -> str:
    """Ask for a link as a stranger does; what the page says."""
    browser = app.test_client()
    answer = post(browser, "/forgot", "/forgot", email=email)
    assert (answer.status_code, answer.location) == (303, "/forgot?sent=1")
    return browser.get(answer.location).text


def link_for(app: Flask, account: MadeAccount) -> str:
    ask(app, account.email)
    answer_resets(app)
    return find_link(app, account.email, "/reset")


def use(browser: FlaskClient, link: str, password: str = NEW):
    return post(browser, "/reset", link, ticket=link.partition("ticket=")[2], password=password)


def test_a_link_sets_a_new_password_once_and_ends_every_session(app: Flask, make: Factories):
    account = make.make_account()
    inside = app.test_client()
    sign_in(inside, account.email, account.password)
    link = link_for(app, account)
    browser = app.test_client()
    assert account.email in browser.get(link).text
    assert use(browser, link).location == "/sign-in"
    assert inside.get("/dashboard/").status_code == 302
    assert sign_in(app.test_client(), account.email, account.password).status_code == 401
    assert sign_in(browser, account.email, NEW).status_code == 303
    again = app.test_client().get(link)
    assert again.status_code == 400
    assert "no longer works" in again.text
    with app.app_context():
        assert [act.what for act in list_acts(account.id)][:2] == ["sign_in", "password_reset"]


def test_no_page_says_whether_an_address_has_an_account(app: Flask, make: Factories):
    account = make.make_account()
    known, unknown = ask(app, account.email), ask(app, "nobody@example.com")
    token = re.compile(r'name="csrf_token" value="[^"]+"')
    assert token.sub("", known) == token.sub("", unknown)
    with app.app_context():  # what the page does is the same too: it only notes the address
        noted = db.session.scalars(sa.select(ResetRequest.email)).all()
        assert sorted(noted) == sorted([account.email, "nobody@example.com"])
        assert db.session.scalar(sa.select(sa.func.count()).select_from(Ticket)) == 0
    assert answer_resets(app) == 1
    assert read_mails(app, "nobody@example.com") == []
    assert answer_resets(app) == 0


def test_a_link_is_over_after_an_hour(app: Flask, make: Factories):
    link = link_for(app, make.make_account())
    with app.app_context(), transaction() as session:
        session.execute(sa.update(Ticket).values(ends_at=now_utc() - datetime.timedelta(seconds=1)))
    assert app.test_client().get(link).status_code == 400
    browser = app.test_client()
    answer = post(browser, "/reset", "/forgot", ticket=link.partition("ticket=")[2], password=NEW)
    assert answer.status_code == 400


def test_a_newer_link_replaces_the_older_one(app: Flask, make: Factories):
    account = make.make_account()
    older, newer = link_for(app, account), link_for(app, account)
    assert older != newer
    assert app.test_client().get(older).status_code == 400
    assert use(app.test_client(), newer).status_code == 303


def test_a_password_change_makes_the_link_worthless(app: Flask, make: Factories):
    account = make.make_account()
    link, browser = link_for(app, account), app.test_client()
    sign_in(browser, account.email, account.password)
    fields = {"current": account.password, "password": NEW}
    assert post(browser, "/dashboard/settings/password", "/dashboard/settings/security", **fields).status_code == 303
    assert app.test_client().get(link).status_code == 400


def test_a_bad_password_is_explained_and_the_link_stays_good(app: Flask, make: Factories):
    account = make.make_account()
    link, browser = link_for(app, account), app.test_client()
    answer = use(browser, link, "short")
    assert answer.status_code == 400
    assert "at least 10 characters" in answer.text
    assert use(browser, link).status_code == 303


def test_neither_link_nor_text_is_kept_as_it_is(app: Flask, make: Factories):
    link = link_for(app, make.make_account())
    secret = link.partition("ticket=")[2].encode()
    with app.app_context():
        (mail,) = db.session.scalars(sa.select(Mail))
        assert mail.text == ""
        assert secret.decode() not in mail.sealed
        assert all(secret not in ticket.digest for ticket in db.session.scalars(sa.select(Ticket)))


@pytest.mark.usefixtures("within_an_hour")
def test_requests_for_one_address_are_counted_before_they_are_looked_at(app: Flask):
    browsers = [app.test_client() for _ in range(5)]
    for number, browser in enumerate(browsers):
        browser.environ_base["REMOTE_ADDR"] = f"198.51.100.{number}"
    codes = [post(one, "/forgot", "/forgot", email="Nobody@example.com").status_code for one in browsers]
    assert codes == [303, 303, 303, 303, 429]
    with app.app_context():
        assert db.session.scalar(sa.select(sa.func.count()).select_from(ResetRequest)) == 4


@pytest.mark.parametrize("ticket", ["", "x" * 43, "é", "a b", "x" * 5000])
@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_what_is_no_ticket_opens_nothing(app: Flask, make: Factories, ticket: str):
    account = make.make_account()
    answer = post(app.test_client(), "/reset", "/forgot", ticket=ticket, password=NEW)
    assert answer.status_code == 400
    with app.app_context():
        assert db.session.scalar(sa.select(sa.func.count()).select_from(MemberSession)) == 0
    assert sign_in(app.test_client(), account.email, account.password).status_code == 303
