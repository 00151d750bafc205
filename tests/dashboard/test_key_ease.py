"""Where a key's own rule refused its calls, the key's page eases it in one press, and no further than the account."""

import re

import pytest
from flask import Flask
from flask.testing import FlaskClient

from bridge.accounts.customers import set_account_limits
from bridge.accounts.key_search import find_any_key
from bridge.errors import BridgeError, InsufficientBalance, ModelNotAllowed, RateLimitExceeded
from tests.dashboard.pages import post, sign_in
from tests.dashboard.test_key_page import refuse
from tests.factories import Factories, MadeAccount, MadeKey

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
BUTTON = re.compile(r'name="field" value="([^"]+)"><button[^>]*?value="([^"]+)"[^>]*>\s*([^<]*?)\s*</button>')


@pytest.fixture
def account(make: Factories, client: FlaskClient) -> MadeAccount:
    account = make.make_account()
    sign_in(client, account.email, account.password)
    return account


def over(limit: str) -> BridgeError:
    return RateLimitExceeded(f"Rate limit exceeded: {limit}", retry_after_seconds=1)


def find_buttons(client: FlaskClient, key: MadeKey) -> list[tuple[str, ...]]:
    """The presses that the key's page offers: field, value, text."""
    return BUTTON.findall(client.get(f"/dashboard/keys/{key.id}").text)


def press(client: FlaskClient, key: MadeKey, field: str, value: str) -> None:
    page = f"/dashboard/keys/{key.id}"
    assert post(client, f"{page}/ease", page, field=field, value=value).status_code == 303


def read_term(app: Flask, key: MadeKey, field: str) -> object:
    with app.app_context():
        return getattr(find_any_key(str(key.id)), field)


@pytest.mark.parametrize(
    ("limit", "field", "own", "of_account", "value", "text"),
    [
        ("60 RPM", "rpm", 60, 0, "120", "Raise to 120 a minute"),
        ("60 RPM", "rpm", 60, 100, "100", "Raise to 100 a minute"),
        ("20000 TPM", "tpm", 20_000, 0, "40000", "Raise to 40,000 tokens a minute"),
        ("5 concurrent requests", "concurrency", 5, 0, "10", "Raise to 10 at once"),
    ],
)
def test_the_keys_own_limit_is_doubled_as_far_as_the_account_goes(  # noqa: PLR0913 - a row of the table
    app: Flask, client: FlaskClient, make: Factories, account: MadeAccount, limit, field, own, of_account, value, text
):
    if of_account:
        with app.app_context():
            set_account_limits(account.id, {field: of_account})
    key = make.make_key(account, **{field: own}, budget_day_nanos=7)
    refuse(app, key, over(limit))
    assert find_buttons(client, key) == [(field, value, text)]
    press(client, key, field, value)
    assert (read_term(app, key, field), read_term(app, key, "budget_day_nanos")) == (int(value), 7)


@pytest.mark.parametrize(
    ("own", "of_account"),
    [({"rpm": 60}, 60), ({"rpm": 90}, 60), ({}, 60), ({"rpm": 80}, 0)],
    ids=["the account's too", "the account's", "none of its own", "changed meanwhile"],
)
def test_a_limit_that_is_not_the_keys_own_has_no_button_and_stays(
    app: Flask, client: FlaskClient, make: Factories, account: MadeAccount, own, of_account
):
    with app.app_context():
        set_account_limits(account.id, {"rpm": of_account})
    key = make.make_key(account, **own)
    refuse(app, key, over("60 RPM"), InsufficientBalance("Insufficient credits: no"))
    assert find_buttons(client, key) == []
    press(client, key, "rpm", "1000000")
    assert read_term(app, key, "rpm") == own.get("rpm")


def test_a_model_that_is_offered_is_allowed_and_no_other(
    app: Flask, client: FlaskClient, make: Factories, account: MadeAccount
):
    first, second = make.make_model(), make.make_model()
    key = make.make_key(account, models=[first])
    refuse(app, key, ModelNotAllowed("This API key may not use it."), model=second)
    assert find_buttons(client, key) == [("models", second, f"Allow {second}")]
    press(client, key, "models", "nobody-offers-this")
    assert read_term(app, key, "models") == [first]
    press(client, key, "models", second)
    assert sorted(read_term(app, key, "models")) == sorted([first, second])
    assert find_buttons(client, key) == []
