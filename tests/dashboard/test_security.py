"""Settings, security: the password is changed by who knows it, sessions are ended one by one, and all is on record."""

from collections import Counter

import pytest
from flask import Flask
from flask.testing import FlaskClient

from bridge.acts import KEPT, Act, Actor, forget_old_acts, list_acts, record_act
from bridge.db import db, now_utc, transaction
from tests.dashboard.pages import post, sign_in
from tests.factories import Factories, MadeAccount

SECURITY = "/dashboard/settings/security"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
SAFARI = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605 Version/18 Safari/605"
NEW = "another horse battery"


def enter(app: Flask, account: MadeAccount, agent: str = FIREFOX) -> FlaskClient:
    browser = app.test_client()
    browser.environ_base["HTTP_USER_AGENT"] = agent
    assert sign_in(browser, account.email, account.password).status_code == 303
    return browser


def is_inside(browser: FlaskClient) -> bool:
    return browser.get(SECURITY).status_code == 200


def session_name(page: str) -> str:
    return page.partition('name="session" value="')[2].partition('"')[0]


def test_a_new_password_ends_every_other_session_and_keeps_this_one(app: Flask, make: Factories):
    account = make.make_account()
    here, there = enter(app, account), enter(app, account)
    answer = post(here, "/dashboard/settings/password", SECURITY, current=account.password, password=NEW)
    assert answer.status_code == 303
    assert is_inside(here)
    assert not is_inside(there)
    assert sign_in(app.test_client(), account.email, account.password).status_code == 401
    assert sign_in(app.test_client(), account.email, NEW).status_code == 303


@pytest.mark.parametrize(
    ("current", "password", "said"),
    [
        ("wrong password", NEW, "That is not the current password"),
        (None, "short", "at least 10 characters"),
        (None, "x" * 129, "at most 128"),
    ],
)
@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_what_is_wrong_is_said_at_its_field_and_nothing_changes(
    app: Flask, make: Factories, current: str | None, password: str, said: str
):
    account = make.make_account()
    here, there = enter(app, account), enter(app, account)
    fields = {"current": current or account.password, "password": password}
    answer = post(here, "/dashboard/settings/password", SECURITY, **fields)
    assert answer.status_code == 400
    assert said in answer.text
    assert is_inside(there)


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
@pytest.mark.usefixtures("within_an_hour")
def test_guesses_at_the_current_password_are_counted_first(app: Flask, make: Factories):
    browser = enter(app, make.make_account())
    fields = {"current": "wrong password", "password": NEW}
    codes = Counter(post(browser, "/dashboard/settings/password", SECURITY, **fields).status_code for _ in range(12))
    assert codes == {400: 10, 429: 2}


def test_one_session_is_ended_and_no_other(app: Flask, make: Factories):
    account = make.make_account()
    here, there, other = enter(app, account), enter(app, account, SAFARI), enter(app, make.make_account())
    page = here.get(SECURITY).text
    assert "Safari on macOS" in page
    assert "Firefox on Linux, this one" in page
    assert post(here, "/dashboard/settings/sessions/end", SECURITY, session=session_name(page)).status_code == 303
    assert not is_inside(there)
    assert is_inside(here)
    assert is_inside(other)


def test_nobody_ends_a_session_of_somebody_else(app: Flask, make: Factories):
    account = make.make_account()
    here, there = enter(app, account), enter(app, account, SAFARI)
    stranger = enter(app, make.make_account())
    answer = post(stranger, "/dashboard/settings/sessions/end", SECURITY, session=session_name(here.get(SECURITY).text))
    assert answer.status_code == 303
    assert is_inside(there)


def test_all_others_are_ended_at_once(app: Flask, make: Factories):
    account = make.make_account()
    browsers, other = [enter(app, account) for _ in range(3)], enter(app, make.make_account())
    assert post(browsers[0], "/dashboard/settings/sessions/end-others", SECURITY).status_code == 303
    assert [is_inside(browser) for browser in browsers] == [True, False, False]
    assert is_inside(other)


def test_each_sign_in_and_change_is_on_record_with_who_and_from_where(app: Flask, make: Factories):
    account = make.make_account()
    browser = enter(app, account)
    browser.environ_base["REMOTE_ADDR"] = "198.51.100.7"
    post(browser, "/dashboard/settings/name", "/dashboard/settings", name="  Mira   Holt ")
    with app.app_context():
        newest = list_acts(account.id)[0]
    assert (newest.what, newest.detail) == ("name", "none → Mira Holt")
    assert (newest.made_by, newest.network) == (account.email, "198.51.100.7")
    page = browser.get(SECURITY).text
    for part in ("Signed in", "Name changed", "Mira Holt", "198.51.100.7"):
        assert part in page
    assert "Mira Holt" not in enter(app, make.make_account()).get(SECURITY).text


def test_the_record_is_kept_for_a_year(app: Flask, make: Factories):
    account = make.make_account()
    with app.app_context():
        with transaction() as session:
            record_act(session, account.id, "name", Actor("somebody"), "recent")
            old = now_utc() - KEPT - KEPT / 365
            session.add(Act(account_id=account.id, what="name", detail="old", made_by="x", created_at=old))
        forget_old_acts()
        assert [act.detail for act in list_acts(account.id) if act.what == "name"] == ["recent"]
        db.session.rollback()
