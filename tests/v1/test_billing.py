"""The balance badge of chat clients is exact against the ledger: the limit less the usage is what the key may spend."""

import datetime
import json
from decimal import Decimal

import msgspec
import pytest
from flask.testing import FlaskClient

from bridge.db import now_utc
from bridge.money import NANOS_PER_DOLLAR
from bridge.v1.schemas.account import BillingSubscription, BillingUsage
from tests.factories import DOLLAR, Factories, MadeKey
from tests.served import HELLO
from tests.upstream import ScriptedUpstream

ROUTES = ("subscription", "usage")


def read(client: FlaskClient, key: MadeKey, base: str = "/v1") -> tuple[Decimal, Decimal, int]:
    """The limit in dollars, the usage in cents, and until when; each answer is of its type."""
    found = []
    for route, kind in zip(ROUTES, (BillingSubscription, BillingUsage), strict=True):
        answer = client.get(f"{base}/dashboard/billing/{route}", headers=key.headers)
        assert answer.status_code == 200, answer.text
        msgspec.json.decode(answer.data, type=kind)
        found.append(json.loads(answer.data, parse_float=Decimal))
    limits = {found[0][name] for name in ("soft_limit_usd", "hard_limit_usd", "system_hard_limit_usd")}
    [limit] = limits
    return Decimal(limit), Decimal(found[1]["total_usage"]), found[0]["access_until"]


@pytest.fixture
def model(make: Factories, upstream: ScriptedUpstream) -> str:
    """A model that answers."""
    name = make.make_model()
    make.make_channel(upstream.base_url, name)
    return name


def spend(client: FlaskClient, model: str, key: MadeKey) -> Decimal:
    """Make one request. Returns its charge in dollars."""
    done = client.post("/v1/chat/completions", json={"model": model, "messages": HELLO}, headers=key.headers)
    assert done.status_code == 200, done.text
    charge = Decimal(done.headers["x-bridge-cost"])
    assert charge > 0
    return charge


@pytest.mark.parametrize("base", ["/v1", ""])
def test_limit_and_usage_are_the_accounts_to_the_nano_dollar(
    client: FlaskClient, make: Factories, model: str, base: str
):
    account = make.make_account(balance_nanos=2 * DOLLAR + 1)
    key = make.make_key(account)
    charged = spend(client, model, key) + spend(client, model, make.make_key(account))
    limit, cents, until = read(client, key, base)
    assert (limit, cents) == (Decimal(2) + Decimal(1) / NANOS_PER_DOLLAR, charged * 100)
    assert until > now_utc().timestamp()


def test_a_key_with_budgets_shows_the_one_of_which_the_least_is_left(client: FlaskClient, make: Factories, model: str):
    key = make.make_key(
        make.make_account(balance_nanos=50 * DOLLAR), budget_day_nanos=3 * DOLLAR, budget_month_nanos=9 * DOLLAR
    )
    charged = spend(client, model, key)
    assert read(client, key)[:2] == (Decimal(3), charged * 100)


def test_a_budget_that_the_account_cannot_pay_shows_what_it_can(client: FlaskClient, make: Factories):
    key = make.make_key(make.make_account(balance_nanos=2 * DOLLAR), budget_day_nanos=3 * DOLLAR)
    assert read(client, key)[:2] == (Decimal(2), Decimal(0))


def test_it_says_when_the_key_expires(client: FlaskClient, make: Factories):
    until = (now_utc() + datetime.timedelta(days=3)).replace(microsecond=0)
    assert read(client, make.make_key(expires_at=until))[2] == int(until.timestamp())


@pytest.mark.parametrize("route", ROUTES)
def test_dates_do_not_narrow_it_and_errors_are_errors(client: FlaskClient, make: Factories, route: str):
    path, key = f"/v1/dashboard/billing/{route}", make.make_key()
    dated = client.get(f"{path}?start_date=2026-11-01&end_date=2026-12-01", headers=key.headers)
    assert dated.json == client.get(path, headers=key.headers).json
    refused = client.get(path, headers={"Authorization": "Bearer sk-wrong"})
    assert (refused.status_code, refused.json["error"]["code"]) == (401, "invalid_api_key")
