"""Signing in by an account elsewhere: only who is meant, only by the browser that asked, and never into an account that
was there before without a sign-in to it."""

import time
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from joserfc.jwk import RSAKey

from bridge.accounts.emails import find_by_email
from bridge.accounts.tables import Identity, Member
from bridge.acts import list_acts
from bridge.db import db, transaction
from tests.dashboard.elsewhere import Elsewhere
from tests.dashboard.pages import post, sign_in
from tests.dashboard.test_confirming import balance_of, set_settings
from tests.dashboard.test_passkeys import SITE, Device, add, options_of
from tests.dashboard.test_proof import age
from tests.dashboard.test_two_factor import account, enter, next_code, phone  # noqa: F401 - fixtures
from tests.factories import Factories, MadeAccount

SECURITY = "/dashboard/settings/security"
ADA = "ada@example.com"
ON_SQLITE = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


@pytest.fixture
def there(app: Flask) -> Iterator[Elsewhere]:
    """The services, configured, where anybody may sign up."""
    there = Elsewhere()
    set_settings(app, signup="open", signup_credit="2", **there.settings())
    yield there
    there.close()


def go(browser: FlaskClient, there: Elsewhere, name: str = "oidc", start: str = "/sign-in/with"):
    """Go there, agree, and come back."""
    return browser.get(there.agree(browser.get(f"{start}/{name}").location))


def is_inside(browser: FlaskClient) -> bool:
    return browser.get("/dashboard/").status_code == 200


def said(browser: FlaskClient) -> str:
    return browser.get("/sign-in").text


@pytest.mark.parametrize("name", ["oidc", "github"])
def test_a_newcomer_gets_an_account_and_the_next_time_the_same_one(app: Flask, there: Elsewhere, name: str):
    browser = app.test_client()
    assert go(browser, there, name).location == "/dashboard/"
    assert is_inside(browser)
    assert balance_of(app, ADA) == 2 * 10**9
    again = app.test_client()
    assert go(again, there, name).location == "/dashboard/"
    with app.app_context():
        (member,) = db.session.scalars(sa.select(Member))
        (identity,) = db.session.scalars(sa.select(Identity))
        assert (member.email, member.password_hash) == (ADA, "")
        assert (identity.service, identity.subject, identity.member_id) == (name, "17", member.id)
        assert list_acts(member.account_id)[0].what == "sign_in"
    assert sign_in(app.test_client(), ADA, "").status_code == 401


def test_an_account_that_was_there_is_connected_only_from_inside(app: Flask, there: Elsewhere, make: Factories):
    mine = make.make_account()
    there.person["email"] = mine.email
    stranger = app.test_client()
    assert go(stranger, there).location == "/sign-in"
    assert "has an account here" in said(stranger)
    assert not is_inside(stranger)
    browser = enter(app, mine)
    assert go(browser, there, start="/dashboard/settings/connect").location == SECURITY
    assert "Disconnect" in browser.get(SECURITY).text
    assert go(stranger, there).location == "/dashboard/"
    with app.app_context():
        assert find_by_email(mine.email)
        assert db.session.scalar(sa.select(sa.func.count()).select_from(Member)) == 1
    assert post(browser, "/dashboard/settings/connect/oidc/remove", SECURITY).status_code == 303
    assert go(app.test_client(), there).location == "/sign-in"


@pytest.mark.parametrize("name", ["oidc", "github"])
@ON_SQLITE
def test_an_address_that_the_service_has_not_verified_opens_nothing(app: Flask, there: Elsewhere, name: str):
    there.person["email_verified"] = False
    there.emails[0]["verified"] = False
    browser = app.test_client()
    assert go(browser, there, name).location == "/sign-in"
    assert "has not verified your email" in said(browser)
    with app.app_context():
        assert db.session.scalar(sa.select(Member)) is None


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "another"},
        {"aud": "somebody-else"},
        {"iss": "https://evil.test"},
        {"exp": int(time.time()) - 3600},
        {"sub": ""},
        {"sub": "x" * 300},
    ],
    ids=lambda claims: next(iter(claims)),
)
@ON_SQLITE
def test_a_token_that_is_not_for_us_and_this_question_is_refused(app: Flask, there: Elsewhere, claims: dict):
    there.claims = claims
    browser = app.test_client()
    assert go(browser, there).location == "/sign-in"
    assert "did not let you in" in said(browser)


@ON_SQLITE
def test_a_token_of_another_key_is_refused(app: Flask, there: Elsewhere):
    there.key = RSAKey.generate_key(2048, {"kid": "one"}, private=True)
    browser = app.test_client()
    assert go(browser, there).location == "/sign-in"
    assert not is_inside(browser)


@ON_SQLITE
def test_an_issuer_that_calls_itself_otherwise_is_not_believed(app: Flask, there: Elsewhere):
    there.issuer = "https://evil.test"
    browser = app.test_client()
    assert browser.get("/sign-in/with/oidc").location == "/sign-in"
    assert "be reached at the moment" in said(browser)


@ON_SQLITE
def test_an_answer_counts_once_and_in_the_browser_that_asked(app: Flask, there: Elsewhere):
    browser, victim = app.test_client(), app.test_client()
    back = there.agree(browser.get("/sign-in/with/oidc").location)
    assert victim.get(back).location == "/sign-in"  # nobody is signed in to somebody else's account
    assert not is_inside(victim)
    assert browser.get(back.replace("state=", "state=x")).location == "/sign-in"
    assert browser.get(back).location == "/sign-in"  # the question was used up
    fresh = app.test_client()
    back = there.agree(fresh.get("/sign-in/with/oidc").location)
    assert fresh.get(back.replace("/oidc/", "/github/")).location == "/sign-in"


@ON_SQLITE
def test_an_answer_that_comes_late_is_refused(app: Flask, there: Elsewhere, monkeypatch: pytest.MonkeyPatch):
    browser, now = app.test_client(), time.time()
    back = there.agree(browser.get("/sign-in/with/oidc").location)
    monkeypatch.setattr("bridge.dashboard.connected.time.time", lambda: now + 601)
    assert browser.get(back).location == "/sign-in"


@ON_SQLITE
def test_a_closed_gateway_takes_no_newcomer_by_this_door(app: Flask, there: Elsewhere):
    set_settings(app, signup="closed")
    browser = app.test_client()
    assert go(browser, there).location == "/sign-in"
    assert "Sign-up is closed" in said(browser)


def test_the_second_factor_is_asked_for_here_too(app: Flask, there: Elsewhere, account: MadeAccount, phone):  # noqa: F811
    browser = enter(app, account)
    post(browser, "/sign-in/code", "/sign-in/code", code=next_code(app, phone[0]))
    assert go(browser, there, start="/dashboard/settings/connect").location == SECURITY
    other = app.test_client()
    assert go(other, there).location == "/sign-in/code"
    assert not is_inside(other)
    assert post(other, "/sign-in/code", "/sign-in/code", code=next_code(app, phone[0])).status_code == 303


@ON_SQLITE
def test_nobody_takes_away_their_only_way_in(app: Flask, there: Elsewhere):
    browser = app.test_client()
    go(browser, there)
    assert post(browser, "/dashboard/settings/connect/oidc/remove", SECURITY).status_code == 303
    assert "no way to sign in" in browser.get(SECURITY).text
    assert go(app.test_client(), there).location == "/dashboard/"


@ON_SQLITE
def test_without_a_password_the_services_word_is_the_fresh_sign_in(app: Flask, there: Elsewhere, make: Factories):
    browser = app.test_client()
    go(browser, there)
    age(app)
    wanted = browser.get("/dashboard/keys/new").location
    assert "/dashboard/prove/with/oidc" in browser.get(wanted).get_data(as_text=True)
    back = there.agree(browser.get("/dashboard/prove/with/oidc?next=/dashboard/keys/new").location)
    assert browser.get(back).location == "/dashboard/keys/new"
    assert browser.get("/dashboard/keys/new").status_code == 200
    age(app)
    there.person["sub"] = "18"  # somebody else there
    back = there.agree(browser.get("/dashboard/prove/with/oidc?next=/dashboard/keys/new").location)
    assert browser.get(back).location.startswith("/dashboard/prove")
    with_password = enter(app, make.make_account())
    assert "/dashboard/prove/with" not in with_password.get("/dashboard/prove").get_data(as_text=True)


@ON_SQLITE
def test_a_connected_account_belongs_to_one_member(app: Flask, there: Elsewhere, make: Factories):
    first, second = enter(app, make.make_account()), enter(app, make.make_account())
    go(first, there, start="/dashboard/settings/connect")
    go(second, there, start="/dashboard/settings/connect")
    assert "connected to another account" in second.get(SECURITY).text
    with app.app_context():
        assert db.session.scalar(sa.select(sa.func.count()).select_from(Identity)) == 1


@ON_SQLITE
def test_only_what_is_configured_is_offered(app: Flask, there: Elsewhere):
    page = app.test_client().get("/sign-in").text
    assert "Continue with Corp" in page
    assert "Continue with GitHub" in page
    assert "Google" not in page
    for name in ("google", "nobody"):
        assert app.test_client().get(f"/sign-in/with/{name}").status_code == 404


@ON_SQLITE
def test_a_service_at_a_private_address_is_not_asked_in_production(app: Flask, there: Elsewhere):
    set_settings(app, bridge_env="production")
    browser = app.test_client()
    assert browser.get("/sign-in/with/oidc").location == "/sign-in"
    assert there.asked == {}


@ON_SQLITE
def test_a_service_does_not_stand_in_for_an_operators_second_factor(app: Flask, there: Elsewhere, make: Factories):
    mine = make.make_account(is_operator=True)
    browser, device = enter(app, mine), Device()
    set_settings(app, public_base_url=SITE, **there.settings())
    assert go(browser, there, start="/dashboard/settings/connect").location == SECURITY
    assert add(browser, device).status_code == 303
    with app.app_context(), transaction() as session:
        session.execute(sa.update(Member).values(password_hash=""))  # the service is all that they sign in by
    set_settings(app, public_base_url=SITE, require_second_factor=True, **there.settings())
    later, prove = app.test_client(), "/dashboard/prove?next=/admin/channels"
    assert go(later, there).location == "/admin/"
    assert later.get("/admin/channels").location == prove
    page = later.get(prove).text
    assert "Continue with" not in page
    go(later, there, start="/dashboard/prove/with")
    assert later.get("/admin/channels").location == prove
    credential = device.sign(options_of(page))
    answer = post(later, "/dashboard/prove", prove, credential=credential, next="/admin/channels")
    assert answer.location == "/admin/channels"
    assert later.get("/admin/channels").status_code == 200
