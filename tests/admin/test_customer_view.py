"""Viewing as a customer: their pages and figures, read-only, on record, for half an hour and in one browser."""

import time

import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from bridge.accounts.emails import find_by_email
from bridge.accounts.sessions import list_sessions
from bridge.accounts.tables import Member
from bridge.acts import list_acts
from bridge.db import transaction
from tests.dashboard.pages import post, sign_in
from tests.factories import Factories, MadeAccount


def view(client: FlaskClient, customer: MadeAccount) -> None:
    page = f"/admin/customers/{customer.id}"
    answer = post(client, f"{page}/view", page)
    assert (answer.status_code, answer.location) == (303, "/dashboard/")


def test_the_customers_own_pages_are_shown_and_left_again(
    app: Flask, client: FlaskClient, operator: MadeAccount, customer: MadeAccount, make: Factories
):
    make.make_key(customer, name="the customer's key")
    view(client, customer)
    page = client.get("/dashboard/keys").text
    assert f"You are viewing as {customer.email}." in page
    assert "the customer&#39;s key" in page
    assert "Console" not in page  # as the customer sees it
    assert f"You are viewing as {customer.email}." in client.get("/admin/").text
    assert "not shown to operators" in client.get("/dashboard/settings/security").text
    answer = post(client, "/admin/view/leave", "/dashboard/keys")
    assert answer.location == f"/admin/customers/{customer.id}"
    assert "the customer&#39;s key" not in client.get("/dashboard/keys").text
    assert client.get("/dashboard/settings/security").status_code == 200


def test_each_view_is_one_line_that_the_customer_reads_and_no_session_of_theirs(
    app: Flask, client: FlaskClient, operator: MadeAccount, customer: MadeAccount
):
    view(client, customer)
    for path in ("/dashboard/", "/dashboard/usage", "/dashboard/billing"):
        assert client.get(path).status_code == 200
    with app.app_context():
        member = find_by_email(customer.email)
        assert member
        assert list_sessions(member.id) == []
        assert [(act.what, act.made_by) for act in list_acts(customer.id) if act.what == "viewed"] == [
            ("viewed", operator.email)
        ]
    theirs = app.test_client()
    sign_in(theirs, customer.email, customer.password)
    assert "Pages viewed by an operator" in theirs.get("/dashboard/settings/security").text


def test_a_view_ends_by_itself_and_its_forms_reach_no_other_account(
    client: FlaskClient, operator: MadeAccount, customer: MadeAccount
):
    view(client, customer)
    open_page = client.get("/dashboard/billing").text
    with client.session_transaction() as session:
        account_id, name, _ = session["viewing"]
        session["viewing"] = [account_id, name, int(time.time()) - 1]
    token = open_page.partition('name="csrf_token" value="')[2].partition('"')[0]
    sent = {"name": "Meant for the customer", "csrf_token": token}
    answer = client.post("/dashboard/keys", data=sent)
    assert (answer.status_code, answer.location) == (303, f"/admin/customers/{customer.id}")
    assert "You no longer view the pages of" in client.get(answer.location).text
    assert client.post("/dashboard/keys", data=sent).status_code == 400  # its token went with the view
    assert "Meant for the customer" not in client.get("/dashboard/keys").text


def test_a_view_ends_with_the_operators_right(app: Flask, customer: MadeAccount, make: Factories):
    supporter, browser = make.make_operator("support"), app.test_client()
    sign_in(browser, supporter.email, supporter.password)
    view(browser, customer)
    with app.app_context(), transaction() as session:  # as an update that leaves the session alone
        session.execute(sa.update(Member).where(Member.email == supporter.email).values(operator_role="viewer"))
    assert browser.get("/dashboard/keys").status_code == 303
    page = browser.get("/dashboard/keys").text
    assert supporter.email in page
    assert "You are viewing as" not in page
