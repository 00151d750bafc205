"""On the billing page: a code is redeemed, an alert is set and turned off, and mail programs can turn it off too."""

import re
from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from bridge.config import Settings
from bridge.extensions import limiter
from bridge.ledger.alerts import find_alert, make_off_token
from bridge.payments.codes import create_batch
from tests.dashboard.pages import post, sign_in
from tests.factories import DOLLAR, Factories, MadeAccount

PAGE = "/dashboard/billing"


@pytest.fixture
def engine() -> str:
    return "sqlite"


@pytest.fixture(autouse=True)
def _no_limits_left_over(app: Flask) -> Iterator[None]:
    limiter.reset()
    yield
    limiter.reset()


@pytest.fixture
def account(make: Factories, client: FlaskClient) -> MadeAccount:
    """A customer with $10, signed in at `client`."""
    account = make.make_account()
    sign_in(client, account.email, account.password)
    return account


def make_code(app: Flask) -> str:
    with app.app_context():
        made = create_batch(25 * DOLLAR, 1, made_by="x", note="Conference")
    assert made
    return made.codes[0]


def alert_of(app: Flask, account: MadeAccount) -> tuple[bool, int] | None:
    with app.app_context():
        alert = find_alert(account.id)
    return (alert.enabled, alert.threshold_nanos) if alert else None


def said(client: FlaskClient) -> str:
    return " ".join(re.findall(r'class="note[^"]*" role="status"><p>(.*?)</p>', client.get(PAGE).text))


def test_a_code_is_added_to_the_balance_once_and_named_in_the_statement(
    app: Flask, client: FlaskClient, make: Factories, account: MadeAccount
):
    code = make_code(app)
    answer = post(client, f"{PAGE}/redeem", PAGE, code=code)
    assert (answer.status_code, answer.location) == (303, PAGE)
    page = client.get(PAGE).text
    assert "$25.00 is added to your balance" in page
    assert "Conference" in page
    assert "You redeemed this code on" in post(client, f"{PAGE}/redeem", PAGE, code=code).text
    assert make.find_money(account.id) == (35 * DOLLAR, 0)


@pytest.mark.parametrize(("code", "says"), [("", "Type the code"), ("AAAAA-AAAAA-AAAAA-AAAAA", "be redeemed")])
def test_what_is_no_code_is_said(client: FlaskClient, account: MadeAccount, code: str, says: str):
    answer = post(client, f"{PAGE}/redeem", PAGE, code=code)
    assert answer.status_code == 400
    assert says in answer.text.partition('id="code-error">')[2].partition("</p>")[0]


@pytest.mark.usefixtures("within_an_hour")
def test_nobody_can_try_codes_one_after_the_other(app: Flask, client: FlaskClient, account: MadeAccount):
    code = make_code(app)
    answers = [post(client, f"{PAGE}/redeem", PAGE, code="x").status_code for _ in range(21)]
    assert answers == [400] * 20 + [429]
    assert post(client, f"{PAGE}/redeem", PAGE, code=code).status_code == 429


@pytest.mark.usefixtures("within_an_hour")
def test_an_address_can_try_only_so_many_for_all_accounts_together(app: Flask, client: FlaskClient, make: Factories):
    answers = []
    for _ in range(4):
        account, visitor = make.make_account(), app.test_client()
        sign_in(visitor, account.email, account.password)
        answers += [post(visitor, f"{PAGE}/redeem", PAGE, code="x").status_code for _ in range(20)]
    assert answers == [400] * 60 + [429] * 20


def test_an_alert_is_set_changed_and_turned_off(app: Flask, client: FlaskClient, account: MadeAccount):
    assert alert_of(app, account) is None
    post(client, f"{PAGE}/alert", PAGE, do="on", alert_threshold="5")
    assert alert_of(app, account) == (True, 5 * DOLLAR)
    assert "each time the balance falls below $5.00" in said(client)
    post(client, f"{PAGE}/alert", PAGE, do="on", alert_threshold="20.50")
    assert alert_of(app, account) == (True, 20_500_000_000)
    page = client.get(PAGE).text
    assert "The balance is below $20.50" in page
    assert 'name="alert_threshold" type="text" value="20.50"' in page
    post(client, f"{PAGE}/alert", PAGE, do="off", alert_threshold="")
    assert alert_of(app, account) == (False, 20_500_000_000)
    assert "The balance is below" not in client.get(PAGE).text


@pytest.mark.parametrize("threshold", ["", "0", "-5", "five", "0.0000000001"])
def test_a_threshold_that_makes_no_sense_changes_nothing(
    app: Flask, client: FlaskClient, account: MadeAccount, threshold: str
):
    post(client, f"{PAGE}/alert", PAGE, do="on", alert_threshold=threshold)
    assert alert_of(app, account) is None
    assert "Give" in said(client)


def test_the_mails_address_asks_first_and_turns_off_when_posted_to(
    app: Flask, client: FlaskClient, settings: Settings, account: MadeAccount
):
    post(client, f"{PAGE}/alert", PAGE, do="on", alert_threshold="5")
    path = f"/alerts/off/{make_off_token(settings, account.id)}"
    stranger = app.test_client()  # neither session nor form token, as a mail program
    assert "Turn off the low-balance alert?" in stranger.get(path).text
    assert alert_of(app, account) == (True, 5 * DOLLAR)
    answer = stranger.post(path, data={"List-Unsubscribe": "One-Click"})
    assert answer.status_code == 200
    assert "The alert is off" in answer.text
    assert alert_of(app, account) == (False, 5 * DOLLAR)


def test_an_address_that_we_did_not_write_is_not_there(app: Flask, client: FlaskClient, settings: Settings):
    for token in ("x", make_off_token(settings, 1)[:-2], "1"):
        assert client.get(f"/alerts/off/{token}").status_code == 404
        assert client.post(f"/alerts/off/{token}").status_code == 404
