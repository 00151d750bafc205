"""The first operator of a gateway: a link from its own output, good for a day and once, and for nobody else."""

import datetime

import pytest
import sqlalchemy as sa
from flask import Flask
from werkzeug.test import TestResponse

from bridge.accounts.tables import Account, Member, Ticket
from bridge.acts import list_acts
from bridge.db import db, now_utc, transaction
from bridge.ledger.first_operator import issue_link, issue_link_again, issue_link_at_start
from bridge.ops.connect import prepare
from tests.dashboard.pages import PASSWORD, post, sign_in
from tests.factories import Factories
from tests.ops.test_commands_codes import run

EMAIL = "ops@example.com"
FORM = "/first-operator"


def new_link(app: Flask) -> str:
    with app.app_context():
        link = issue_link(app.config["BRIDGE"])
    assert link
    return link.partition("/first-operator")[2]


def become(app: Flask, link: str, email: str = EMAIL, password: str = PASSWORD) -> TestResponse:
    return post(app.test_client(), FORM, "/sign-in", ticket=link.partition("=")[2], email=email, password=password)


def list_operators(app: Flask) -> list[str]:
    with app.app_context():
        return list(db.session.scalars(sa.select(Member.email).where(Member.is_operator)))


def test_a_start_prints_the_link_and_its_holder_lands_in_the_console(app: Flask, capsys: pytest.CaptureFixture[str]):
    assert prepare(app, app.config["BRIDGE"])
    link = capsys.readouterr().out.splitlines()[-1].partition("/first-operator")[2]
    browser = app.test_client()
    assert "Become the operator" in browser.get(FORM + link).text
    assert list_operators(app) == []  # looking does nothing
    entered = post(browser, FORM, FORM + link, ticket=link.partition("=")[2], email=EMAIL, password=PASSWORD)
    assert (entered.status_code, entered.location) == (303, "/admin/")
    assert browser.get("/admin/channels").status_code == 200
    with app.app_context():
        assert "operator_on" in [act.what for act in list_acts(db.session.scalars(sa.select(Account.id)).one())]
    again = sign_in(app.test_client(), EMAIL, PASSWORD)
    assert (again.status_code, again.location) == (303, "/admin/")


def test_any_link_is_dead_once_there_is_an_operator_and_no_other_is_made(app: Flask):
    used, unused = new_link(app), new_link(app)
    assert become(app, used).status_code == 303
    for link in (used, unused, "?ticket=guessed", "?ticket="):
        assert app.test_client().get(FORM + link).status_code == 400
        assert become(app, link, "thief@example.com").status_code == 400
    with app.app_context():
        assert issue_link(app.config["BRIDGE"]) is None
        assert db.session.scalar(sa.select(sa.func.count()).where(Ticket.purpose == "first_operator")) == 0
    assert run(app, "account", "first-operator")[0] == 1
    assert list_operators(app) == [EMAIL]


def test_an_operator_made_by_command_ends_the_link_and_a_day_does(app: Flask, make: Factories):
    old = new_link(app)
    with app.app_context(), transaction() as session:
        session.execute(sa.update(Ticket).values(ends_at=now_utc() - datetime.timedelta(seconds=1)))
    assert become(app, old).status_code == 400
    link = new_link(app)
    operator = make.make_account(is_operator=True)
    assert become(app, link).status_code == 400
    assert list_operators(app) == [operator.email]


def test_what_is_wrong_stands_at_its_field_and_the_link_stays_good(app: Flask):
    link = new_link(app)
    wrong = become(app, link, "no address", "short")
    assert (wrong.status_code, wrong.text.count("field-error")) == (400, 2)
    assert 'value="no address"' in wrong.text
    assert become(app, link).status_code == 303


def test_who_signed_up_before_becomes_the_operator_by_their_password_alone(app: Flask, make: Factories):
    account = make.make_account()
    inside = app.test_client()
    sign_in(inside, account.email, account.password)
    link = new_link(app)
    wrong = become(app, link, account.email, "not their password")
    assert (wrong.status_code, "This address has an account" in wrong.text) == (400, True)
    done = become(app, link, account.email, account.password)
    assert done.location.startswith("/sign-in")
    assert list_operators(app) == [account.email]
    assert inside.get("/dashboard/").status_code == 302


def test_a_fleet_prints_one_link_at_its_start_and_another_when_that_one_is_over(app: Flask):
    settings = app.config["BRIDGE"]
    with app.app_context():
        assert [bool(issue_link_at_start(settings)) for _ in range(3)] == [True, False, False]
        assert issue_link_again(settings) is None
        with transaction() as session:
            session.execute(sa.update(Ticket).values(ends_at=now_utc() - datetime.timedelta(seconds=1)))
        assert [bool(issue_link_again(settings)) for _ in range(2)] == [True, False]
