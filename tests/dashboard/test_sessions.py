"""A session is a row, found by a secret that only its cookie has. It ends in time, by signing out, and everywhere at
once."""

import datetime

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from bridge.accounts.sessions import MAX_AGE, MAX_UNUSED, MAX_UNUSED_OPERATOR, list_sessions
from bridge.accounts.tables import Member, MemberSession
from bridge.dashboard.security import name_browser
from bridge.db import db, now_utc, transaction
from tests.dashboard.pages import post, sign_in
from tests.factories import Factories, MadeAccount

SETTINGS = "/dashboard/settings/security"
A_MOMENT = datetime.timedelta(minutes=1)
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


def enter(app: Flask, account: MadeAccount, **environ: str) -> FlaskClient:
    browser = app.test_client()
    browser.environ_base.update(environ)
    assert sign_in(browser, account.email, account.password).status_code == 303
    return browser


def is_inside(browser: FlaskClient) -> bool:
    return browser.get(SETTINGS).status_code == 200


def secret_of(browser: FlaskClient) -> str:
    with browser.session_transaction() as session:
        return str(session["_user_id"])


def rows(app: Flask) -> list[MemberSession]:
    with app.app_context():
        return list(db.session.scalars(sa.select(MemberSession).order_by(MemberSession.made_at)))


def shift(app: Flask, **moments: datetime.timedelta) -> None:
    """Move the times at which every session was made or used into the past."""
    with app.app_context(), transaction() as session:
        values = {name: now_utc() - period for name, period in moments.items()}
        session.execute(sa.update(MemberSession).values(values))


def test_a_session_is_kept_as_a_hash_with_whose_and_from_where(app: Flask, make: Factories):
    account = make.make_account()
    browser = enter(app, account, REMOTE_ADDR="2001:db8:1:2:3:4:5:6", HTTP_USER_AGENT=FIREFOX)
    (row,) = rows(app)
    secret = secret_of(browser)
    assert len(secret) >= 40
    assert secret.encode() not in row.digest
    assert (row.user_agent, row.network) == (FIREFOX, "2001:db8:1:2::/64")
    assert row.ends_at - row.made_at == MAX_AGE
    page = browser.get(SETTINGS).text
    for part in ("Firefox on Linux", "2001:db8:1:2::/64", "this one"):
        assert part in page
    assert secret not in page


@pytest.mark.parametrize(
    ("operator", "moments", "lasts"),
    [
        (False, {"used_at": MAX_UNUSED - A_MOMENT}, True),
        (False, {"used_at": MAX_UNUSED + A_MOMENT}, False),
        (False, {"ends_at": -A_MOMENT}, True),
        (False, {"ends_at": A_MOMENT}, False),
        (True, {"used_at": MAX_UNUSED_OPERATOR - A_MOMENT}, True),
        (True, {"used_at": MAX_UNUSED_OPERATOR + A_MOMENT}, False),
        (True, {"ends_at": A_MOMENT}, False),
    ],
)
def test_a_session_is_over_when_unused_and_after_thirty_days(
    app: Flask, make: Factories, operator: bool, moments: dict[str, datetime.timedelta], lasts: bool
):
    browser = enter(app, make.make_account(0, is_operator=operator))
    shift(app, **moments)
    assert is_inside(browser) == lasts
    if not lasts:
        assert browser.get(SETTINGS).location.startswith("/sign-in")


def test_use_is_noted_and_keeps_a_session(app: Flask, make: Factories):
    browser = enter(app, make.make_account())
    shift(app, used_at=MAX_UNUSED - A_MOMENT)
    assert is_inside(browser)
    assert now_utc() - rows(app)[0].used_at < A_MOMENT
    noted = rows(app)[0].used_at
    assert is_inside(browser)
    assert rows(app)[0].used_at == noted  # not with each page


def test_a_session_is_new_at_each_sign_in_and_the_old_one_is_over(app: Flask, make: Factories):
    account = make.make_account()
    browser = enter(app, account)
    old = secret_of(browser)
    post(browser, "/sign-in", "/models", email=account.email, password=account.password)
    assert secret_of(browser) != old
    assert len(rows(app)) == 1
    stolen = app.test_client()
    with stolen.session_transaction() as session:
        session["_user_id"] = old
    assert not is_inside(stolen)


def test_signing_out_ends_the_session_and_no_other(app: Flask, make: Factories):
    account = make.make_account()
    here, there = enter(app, account), enter(app, account)
    with here.session_transaction() as session:
        kept = dict(session)
    assert post(here, "/sign-out", "/models").status_code == 303
    with here.session_transaction() as session:
        session.update(kept)
    assert not is_inside(here)  # the old cookie is worth nothing
    assert is_inside(there)


def test_signing_out_everywhere_ends_all_of_a_member_and_nobody_elses(app: Flask, make: Factories):
    account = make.make_account()
    browsers = [enter(app, account) for _ in range(3)]
    other = enter(app, make.make_account())
    answer = post(browsers[0], "/dashboard/settings/sign-out-everywhere", SETTINGS)
    assert (answer.status_code, answer.location) == (303, "/sign-in")
    assert "signed out everywhere" in browsers[0].get("/sign-in").text
    assert not any(is_inside(browser) for browser in browsers)
    assert is_inside(other)


def test_sessions_that_are_over_are_forgotten_and_not_listed(app: Flask, make: Factories):
    account = make.make_account()
    enter(app, account)
    shift(app, ends_at=A_MOMENT)
    with app.app_context():
        member = db.session.scalars(sa.select(Member).where(Member.email == account.email)).one()
        assert list_sessions(member.id) == []
    enter(app, account)
    assert len(rows(app)) == 1


@pytest.mark.parametrize("agent", ["", "x" * 5000, "café \t bär <b>", FIREFOX])
@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_whatever_a_browser_calls_itself_is_kept(app: Flask, make: Factories, agent: str):
    browser = enter(app, make.make_account(), HTTP_USER_AGENT=agent)
    assert is_inside(browser)
    assert "<b>" not in browser.get(SETTINGS).text.partition("<h1")[2].partition("bär")[2][:10]


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        (FIREFOX, "Firefox on Linux"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605 Version/18 Safari/605", "Safari on macOS"),
        ("Mozilla/5.0 (Linux; Android 15) AppleWebKit/537 Chrome/140.0 Mobile Safari/537", "Chrome on Android"),
        ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537 Chrome/140.0 Safari/537 Edg/140.0", "Edge on Windows"),
        ("curl/8.9", "curl/8.9"),
        ("", "An unknown program"),
    ],
)
def test_a_browser_is_named_shortly(agent: str, name: str):
    assert name_browser(agent) == name
