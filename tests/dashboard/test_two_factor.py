"""The second factor: turned on by a code, asked for after the password, each code taken once, and ways back without
the phone."""

import time
from collections import Counter

import pyotp
import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from bridge import vault
from bridge.accounts.second_factor import STEP_SECONDS
from bridge.accounts.tables import RecoveryCode, SecondFactor
from bridge.acts import list_acts
from bridge.db import db, transaction
from tests.dashboard.pages import post, sign_in
from tests.dashboard.test_confirming import set_settings
from tests.dashboard.test_proof import age
from tests.factories import Factories, MadeAccount

SECURITY, TWO_FACTOR = "/dashboard/settings/security", "/dashboard/settings/two-factor"
CODE = "/sign-in/code"


@pytest.fixture
def account(make: Factories) -> MadeAccount:
    return make.make_account()


@pytest.fixture
def phone(app: Flask, account: MadeAccount) -> tuple[pyotp.TOTP, list[str]]:
    """An app with the member's secret, and their recovery codes."""
    browser = enter(app, account)
    secret = text_of(browser.get(TWO_FACTOR).text, "secret").replace(" ", "")
    app_of_phone = pyotp.TOTP(secret)
    page = post(browser, TWO_FACTOR, TWO_FACTOR, code=app_of_phone.now()).text
    codes = [part.partition("<")[0] for part in page.partition('id="codes"')[2].split("<li>")[1:]]
    assert len(codes) == 10
    assert post(browser, "/sign-out", "/models").status_code == 303
    return app_of_phone, codes


def text_of(page: str, name: str) -> str:
    return page.partition(f'id="{name}">')[2].partition("<")[0].strip()


def enter(app: Flask, account: MadeAccount) -> FlaskClient:
    browser = app.test_client()
    assert sign_in(browser, account.email, account.password).status_code == 303
    return browser


def next_code(app: Flask, phone: pyotp.TOTP) -> str:
    """A code that counts: those of this half minute are given back."""
    with app.app_context(), transaction() as session:
        session.execute(sa.update(SecondFactor).values(last_step=0))
    return phone.now()


def is_inside(browser: FlaskClient) -> bool:
    return browser.get("/dashboard/").status_code == 200


def test_a_password_alone_opens_nothing_and_a_code_leads_where_one_wanted(app: Flask, account: MadeAccount, phone):
    browser = app.test_client()
    fields = {"email": account.email, "password": account.password, "next": "/dashboard/usage"}
    assert post(browser, "/sign-in", "/sign-in", **fields).location == CODE
    assert not is_inside(browser)
    assert account.email in browser.get(CODE).text
    answer = post(browser, CODE, CODE, code=next_code(app, phone[0]))
    assert answer.location == "/dashboard/usage"
    assert is_inside(browser)
    with app.app_context():
        assert list_acts(account.id)[0].detail == "password and code"


def test_a_code_is_taken_once(app: Flask, account: MadeAccount, phone):
    code = next_code(app, phone[0])
    first, second = enter(app, account), enter(app, account)
    assert post(first, CODE, CODE, code=code).status_code == 303
    assert post(second, CODE, CODE, code=code).status_code == 401
    assert not is_inside(second)


@pytest.mark.parametrize(("steps", "status"), [(-1, 303), (1, 303), (-4, 401), (4, 401)])
@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_a_clock_may_be_half_a_minute_off_and_no_more(
    app: Flask, account: MadeAccount, phone, steps: int, status: int, monkeypatch: pytest.MonkeyPatch
):
    now = time.time()
    monkeypatch.setattr("bridge.accounts.second_factor.time.time", lambda: now)
    next_code(app, phone[0])
    code = phone[0].at(int(now) + steps * STEP_SECONDS)
    assert post(enter(app, account), CODE, CODE, code=code).status_code == status


@pytest.mark.parametrize("code", ["", "12345", "abcdef", "١٢٣٤٥٦", "0" * 500])
@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_what_is_no_code_is_refused(app: Flask, account: MadeAccount, phone, code: str):
    answer = post(enter(app, account), CODE, CODE, code=code)
    assert answer.status_code == 401
    assert 'id="code-error"' in answer.text


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
@pytest.mark.usefixtures("within_an_hour")
def test_guesses_of_codes_are_counted_before_they_are_looked_at(app: Flask, account: MadeAccount, phone):
    browsers = [enter(app, account) for _ in range(3)]
    for number, browser in enumerate(browsers):
        browser.environ_base["REMOTE_ADDR"] = f"198.51.100.{number}"
    wrong = "000000" if phone[0].now() != "000000" else "000001"
    codes = Counter(post(browsers[number % 3], CODE, CODE, code=wrong).status_code for number in range(12))
    assert codes == {401: 10, 429: 2}
    assert post(browsers[0], CODE, CODE, code=next_code(app, phone[0])).status_code == 429


def test_a_recovery_code_stands_in_for_the_phone_once(app: Flask, account: MadeAccount, phone):
    code = phone[1][3]
    browser = enter(app, account)
    assert post(browser, CODE, CODE, recovery=f" {code.upper().replace('-', ' ')} ").status_code == 303
    assert "9 of 10 recovery codes left" in browser.get(SECURITY).text
    again = enter(app, account)
    assert post(again, CODE, CODE, recovery=code).status_code == 401
    assert not is_inside(again)
    with app.app_context():
        assert "recovery_code" in [act.what for act in list_acts(account.id)]


def test_nobody_gets_in_by_somebody_elses_recovery_code(app: Flask, make: Factories, account: MadeAccount, phone):
    other = make.make_account()
    browser = enter(app, other)
    secret = text_of(browser.get(TWO_FACTOR).text, "secret").replace(" ", "")
    post(browser, TWO_FACTOR, TWO_FACTOR, code=pyotp.TOTP(secret).now())
    half = enter(app, other)
    assert post(half, CODE, CODE, recovery=phone[1][0]).status_code == 401


def test_new_recovery_codes_replace_the_old_ones(app: Flask, account: MadeAccount, phone):
    browser = enter(app, account)
    post(browser, CODE, CODE, code=next_code(app, phone[0]))
    page = post(browser, f"{TWO_FACTOR}/codes", SECURITY).text
    assert phone[1][0] not in page
    assert "10 of 10" in browser.get(SECURITY).text
    assert post(enter(app, account), CODE, CODE, recovery=phone[1][0]).status_code == 401


def test_turned_off_the_password_is_enough_again(app: Flask, account: MadeAccount, phone):
    browser = enter(app, account)
    post(browser, CODE, CODE, code=next_code(app, phone[0]))
    assert post(browser, f"{TWO_FACTOR}/off", SECURITY).status_code == 303
    assert is_inside(enter(app, account))
    with app.app_context():
        assert db.session.scalar(sa.select(sa.func.count()).select_from(RecoveryCode)) == 0


def test_a_fresh_sign_in_is_proved_by_a_code_and_not_by_the_password(app: Flask, account: MadeAccount, phone):
    browser = enter(app, account)
    post(browser, CODE, CODE, code=next_code(app, phone[0]))
    age(app)
    fields = {"next": "/dashboard/keys/new"}
    wrong = post(browser, "/dashboard/prove", "/dashboard/prove", password=account.password, **fields)
    assert wrong.status_code == 401
    right = post(browser, "/dashboard/prove", "/dashboard/prove", code=next_code(app, phone[0]), **fields)
    assert right.location == "/dashboard/keys/new"


def test_a_password_change_ends_what_was_half_way(app: Flask, account: MadeAccount, phone):
    half, browser = enter(app, account), enter(app, account)
    post(browser, CODE, CODE, code=next_code(app, phone[0]))
    fields = {"current": account.password, "password": "another horse battery"}
    assert post(browser, "/dashboard/settings/password", SECURITY, **fields).status_code == 303
    assert half.get(CODE).location == "/sign-in"


def test_half_way_lasts_ten_minutes(app: Flask, account: MadeAccount, phone, monkeypatch: pytest.MonkeyPatch):
    half, now = enter(app, account), time.time()
    monkeypatch.setattr("bridge.dashboard.half_way.time.time", lambda: now + 601)
    assert half.get(CODE).location == "/sign-in"


def test_neither_secret_nor_codes_are_kept_as_they_are(app: Flask, account: MadeAccount, phone):
    with app.app_context():
        (factor,) = db.session.scalars(sa.select(SecondFactor))
        assert phone[0].secret not in factor.sealed
        assert vault.unseal(factor.sealed) == phone[0].secret
        kept = [row.digest for row in db.session.scalars(sa.select(RecoveryCode))]
        assert len(kept) == 10
        assert not any(code.encode() in digest for code in phone[1] for digest in kept)


def test_without_a_right_code_nothing_is_turned_on(app: Flask, account: MadeAccount):
    browser = enter(app, account)
    page = browser.get(TWO_FACTOR).text
    assert 'class="qr"' in page
    assert "<style" not in page
    answer = post(browser, TWO_FACTOR, TWO_FACTOR, code="12345")
    assert answer.status_code == 400
    assert text_of(answer.text, "secret") == text_of(page, "secret")  # the phone that scanned it stays right
    assert is_inside(enter(app, account))


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_operators_can_be_required_to_have_one(app: Flask, make: Factories):
    set_settings(app, require_second_factor=True)
    browser = enter(app, make.make_account(is_operator=True))
    assert browser.get("/admin/channels").location == SECURITY
    assert "Operators need two-factor sign-in" in browser.get(SECURITY).text
    secret = text_of(browser.get(TWO_FACTOR).text, "secret").replace(" ", "")
    post(browser, TWO_FACTOR, TWO_FACTOR, code=pyotp.TOTP(secret).now())
    assert browser.get("/admin/channels").status_code == 200
    customer = enter(app, make.make_account())
    assert customer.get("/admin/channels").status_code == 404
