"""An address is changed by a link in a mail to the new one."""

import dataclasses

import pytest
from flask import Flask
from flask.testing import FlaskClient

from bridge.accounts.emails import find_by_email
from bridge.acts import list_acts
from bridge.ledger.ledger import find_balance
from tests.dashboard.letters import find_link, read_mails
from tests.dashboard.pages import EMAIL, post, sign_in
from tests.factories import Factories

SETTINGS = "/dashboard/settings"
DOLLAR = 10**9


def set_settings(app: Flask, **changes: object) -> None:
    app.config["BRIDGE"] = dataclasses.replace(app.config["BRIDGE"], **changes)


def balance_of(app: Flask, email: str = EMAIL) -> int:
    with app.app_context():
        member = find_by_email(email)
        assert member
        return find_balance(member.account_id).balance_nanos


def confirm(browser: FlaskClient, link: str):
    return post(browser, "/confirm", link, ticket=link.partition("ticket=")[2])


def test_an_address_changes_when_its_link_is_used_and_the_old_one_is_told(app: Flask, make: Factories):
    account, browser = make.make_account(), app.test_client()
    sign_in(browser, account.email, account.password)
    assert post(browser, f"{SETTINGS}/email", SETTINGS, email="New@Example.com").status_code == 303
    assert "Waiting for new@example.com" in browser.get(SETTINGS).text
    note = read_mails(app, account.email)[0]
    assert "change its email to new@example.com" in note
    assert "/confirm" not in note
    assert sign_in(app.test_client(), account.email, account.password).status_code == 303  # not changed yet
    link = find_link(app, "new@example.com", "/confirm")
    assert confirm(browser, link).status_code == 303
    assert sign_in(app.test_client(), account.email, account.password).status_code == 401
    assert sign_in(app.test_client(), "new@example.com", account.password).status_code == 303
    assert "You sign in to AI Bridge as new@example.com" in read_mails(app, account.email)[0]
    with app.app_context():
        lines = {act.what: act.detail for act in list_acts(account.id)}
    assert lines["email"] == f"{account.email} → new@example.com"
    assert browser.get(link).status_code == 400


def test_a_change_can_be_cancelled(app: Flask, make: Factories):
    account, browser = make.make_account(), app.test_client()
    sign_in(browser, account.email, account.password)
    post(browser, f"{SETTINGS}/email", SETTINGS, email="new@example.com")
    assert post(browser, f"{SETTINGS}/email/cancel", SETTINGS).status_code == 303
    assert "Waiting for" not in browser.get(SETTINGS).text
    assert browser.get(find_link(app, "new@example.com", "/confirm")).status_code == 400


def test_who_asks_for_a_taken_address_learns_nothing_and_gets_nothing(app: Flask, make: Factories):
    account, other, browser = make.make_account(), make.make_account(), app.test_client()
    sign_in(browser, account.email, account.password)
    answer = post(browser, f"{SETTINGS}/email", SETTINGS, email=other.email)
    assert answer.status_code == 303
    assert f"Waiting for {other.email}" in browser.get(SETTINGS).text
    (told,) = read_mails(app, other.email)
    assert "already has one" in told
    assert "/confirm" not in told


def test_of_two_who_want_one_address_the_first_to_confirm_has_it(app: Flask, make: Factories):
    links, browsers = [], []
    for _ in range(2):
        account, browser = make.make_account(), app.test_client()
        sign_in(browser, account.email, account.password)
        post(browser, f"{SETTINGS}/email", SETTINGS, email="new@example.com")
        links.append(find_link(app, "new@example.com", "/confirm"))
        browsers.append(browser)
    assert confirm(browsers[1], links[1]).status_code == 303
    late = confirm(browsers[0], links[0])
    assert late.status_code == 400
    assert "Another account has this address" in late.text


def test_a_link_to_one_members_mail_changes_nobody_elses(app: Flask, make: Factories):
    account, other, browser = make.make_account(), make.make_account(), app.test_client()
    sign_in(browser, account.email, account.password)
    post(browser, f"{SETTINGS}/email", SETTINGS, email="new@example.com")
    stranger = app.test_client()
    sign_in(stranger, other.email, other.password)
    assert confirm(stranger, find_link(app, "new@example.com", "/confirm")).location == "/sign-in"
    with app.app_context():
        changed, kept = find_by_email("new@example.com"), find_by_email(other.email)
        assert changed
        assert kept
        assert (changed.account_id, kept.account_id) == (account.id, other.id)


@pytest.mark.parametrize("email", ["", "no address", "x" * 300 + "@example.com"])
@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_what_is_no_address_is_explained_in_place(app: Flask, make: Factories, email: str):
    account, browser = make.make_account(), app.test_client()
    sign_in(browser, account.email, account.password)
    answer = post(browser, f"{SETTINGS}/email", SETTINGS, email=email)
    assert answer.status_code == 400
    assert 'id="email-error"' in answer.text
