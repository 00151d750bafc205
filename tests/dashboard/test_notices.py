"""Settings, notifications: low balance as its owner wants it, and mails about security that always come."""

import pytest
from flask import Flask
from flask.testing import FlaskClient

from bridge.ledger.alerts import find_alert
from tests.dashboard.letters import read_mails
from tests.dashboard.pages import post, sign_in
from tests.factories import DOLLAR, Factories, MadeAccount

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
NOTICES = "/dashboard/settings/notices"


@pytest.fixture
def account(make: Factories) -> MadeAccount:
    return make.make_account()


@pytest.fixture
def browser(app: Flask, account: MadeAccount) -> FlaskClient:
    client = app.test_client()
    sign_in(client, account.email, account.password)
    return client


def test_the_low_balance_mail_is_turned_on_with_its_amount_and_off(app: Flask, browser: FlaskClient, account):
    assert post(browser, NOTICES, NOTICES, low_balance="1", threshold="7.50").status_code == 303
    with app.app_context():
        alert = find_alert(account.id)
        assert alert
        assert (alert.enabled, alert.threshold_nanos) == (True, 7 * DOLLAR + DOLLAR // 2)
    assert 'value="7.50"' in browser.get(NOTICES).text
    assert post(browser, NOTICES, NOTICES, threshold="7.50").status_code == 303
    with app.app_context():
        alert = find_alert(account.id)
        assert alert
        assert not alert.enabled


@pytest.mark.parametrize("threshold", ["", "0", "-5", "much"])
def test_what_is_no_amount_is_explained_in_place(app: Flask, browser: FlaskClient, account, threshold: str):
    answer = post(browser, NOTICES, NOTICES, low_balance="1", threshold=threshold)
    assert answer.status_code == 400
    assert 'id="threshold-error"' in answer.text
    with app.app_context():
        assert find_alert(account.id) is None


def test_a_sign_in_from_a_browser_that_is_not_known_is_mailed(app: Flask, browser: FlaskClient, account: MadeAccount):
    (first,) = read_mails(app, account.email)
    assert first.startswith("New sign-in to your AI Bridge account")
    assert "127.0.0.1" in first
    post(browser, "/sign-out", "/models")
    sign_in(browser, account.email, account.password)
    assert len(read_mails(app, account.email)) == 1
    sign_in(app.test_client(), account.email, account.password)
    assert len(read_mails(app, account.email)) == 2


def test_a_changed_password_is_mailed(app: Flask, browser: FlaskClient, account: MadeAccount):
    fields = {"current": account.password, "password": "another horse battery"}
    post(browser, "/dashboard/settings/password", "/dashboard/settings/security", **fields)
    assert read_mails(app, account.email)[0].startswith("Password changed")
