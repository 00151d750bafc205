"""Settings, profile: what a member is called, and in which zone they read times."""

import pytest
from flask import Flask
from flask.testing import FlaskClient

from bridge.accounts.emails import find_by_email
from tests.dashboard.pages import post, sign_in
from tests.factories import Factories, MadeAccount

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
SETTINGS = "/dashboard/settings"
KEYS = "/dashboard/settings/security"


@pytest.fixture
def account(make: Factories) -> MadeAccount:
    return make.make_account()


@pytest.fixture
def browser(app: Flask, account: MadeAccount) -> FlaskClient:
    client = app.test_client()
    sign_in(client, account.email, account.password)
    return client


def test_a_name_is_kept_without_odd_spaces(app: Flask, browser: FlaskClient, account: MadeAccount):
    assert post(browser, f"{SETTINGS}/name", SETTINGS, name="  Mira \t Holt ").status_code == 303
    assert 'value="Mira Holt"' in browser.get(SETTINGS).text
    answer = post(browser, f"{SETTINGS}/name", SETTINGS, name="x" * 101)
    assert answer.status_code == 400
    with app.app_context():
        member = find_by_email(account.email)
        assert member
        assert member.name == "Mira Holt"


def test_times_are_in_the_chosen_zone_and_the_script_leaves_them(browser: FlaskClient):
    page = browser.get(KEYS).text
    assert "data-time=" in page
    assert " UTC</time>" in page
    assert post(browser, f"{SETTINGS}/time-zone", SETTINGS, time_zone="Asia/Tokyo").status_code == 303
    page = browser.get(KEYS).text
    assert "data-time=" not in page
    assert " JST</time>" in page
    assert " UTC</time>" not in page
    assert post(browser, f"{SETTINGS}/time-zone", SETTINGS, time_zone="").status_code == 303
    assert "data-time=" in browser.get(KEYS).text


@pytest.mark.parametrize("zone", ["Mars/Phobos", "../../etc/passwd", "é"])
def test_a_zone_that_nobody_knows_is_refused(browser: FlaskClient, zone: str):
    assert post(browser, f"{SETTINGS}/time-zone", SETTINGS, time_zone=zone).status_code == 400
    assert "data-time=" in browser.get(KEYS).text
