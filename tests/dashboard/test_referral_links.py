"""A customer's link brings newcomers, by whatever way they sign up, and the billing page tells what came of it."""

import re

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from bridge.accounts.tables import Member
from bridge.db import db
from bridge.payments.referral_tables import Referral
from tests.dashboard.letters import find_link
from tests.dashboard.pages import EMAIL, PASSWORD, post, sign_in, sign_up
from tests.dashboard.test_confirming import set_settings
from tests.dashboard.test_connected import go, there  # noqa: F401 - a fixture
from tests.factories import Factories, MadeAccount

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
BILLING = "/dashboard/billing"


@pytest.fixture
def referrer(app: Flask, make: Factories, client: FlaskClient) -> MadeAccount:
    set_settings(app, referral_credit="5")
    account = make.make_account(0)
    sign_in(client, account.email, account.password)
    return account


def get_link(client: FlaskClient) -> str:
    assert "Get your link" in client.get(BILLING).text
    assert post(client, "/dashboard/billing/referral", BILLING).status_code == 303
    page = client.get(BILLING).text
    assert "Nobody has joined by it yet." in page
    (link,) = re.findall(r'value="[^"]*(/sign-up\?ref=\w+)"', page)
    return str(link)


def list_joined(app: Flask) -> list[tuple[int, str]]:
    """Referrer and the newcomer's address."""
    with app.app_context():
        query = sa.select(Referral.referrer_id, Member.email).join(Member, Member.account_id == Referral.newcomer_id)
        return [tuple(row) for row in db.session.execute(query)]


def test_a_sign_up_by_the_link_is_kept_and_told(app: Flask, client: FlaskClient, referrer: MadeAccount):
    newcomer = app.test_client()
    newcomer.get(get_link(client))
    assert sign_up(newcomer).location == "/dashboard/"
    assert list_joined(app) == [(referrer.id, EMAIL)]
    assert "1 joined, 0 paid. You earned $0.00." in client.get(BILLING).text
    sign_up(app.test_client(), "other@example.com")
    assert len(list_joined(app)) == 1


def test_it_outlasts_the_mail_even_in_another_browser(app: Flask, client: FlaskClient, referrer: MadeAccount):
    set_settings(app, verify_email=True)
    newcomer, other = app.test_client(), app.test_client()
    newcomer.get(get_link(client))
    sign_up(newcomer)
    link = find_link(app, EMAIL, "/sign-up/finish")
    assert "&ref=" in link
    ticket = link.partition("ticket=")[2].partition("&")[0]
    post(other, "/sign-up/finish", link, ticket=ticket, password=PASSWORD)
    assert list_joined(app) == [(referrer.id, EMAIL)]


def test_it_outlasts_the_way_over_a_service(app: Flask, client: FlaskClient, referrer: MadeAccount, there):  # noqa: F811
    newcomer = app.test_client()
    newcomer.get(get_link(client))
    go(newcomer, there)
    ((account_id, _),) = list_joined(app)
    assert account_id == referrer.id


def test_without_the_setting_there_is_no_link(app: Flask, client: FlaskClient, referrer: MadeAccount):
    link = get_link(client)
    set_settings(app, referral_credit="")
    assert "Invite others" not in client.get(BILLING).text
    newcomer = app.test_client()
    newcomer.get(link)
    sign_up(newcomer)
    assert list_joined(app) == []
