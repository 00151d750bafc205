"""The life of an account, in a real browser against a running gateway."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.browser.test_pages import pytestmark  # noqa: F401 - a browser is needed here too
from tests.factories import DOLLAR
from tests.gateway import Gateway
from tests.payments.conftest import KEY
from tests.payments.stripe_server import StripeServer
from tests.payments.stripe_side import SECRET
from tests.upstream import ScriptedUpstream, says
from tests.warm import ROOT


@pytest.fixture
def site(start_gateway: Callable[..., Gateway]) -> Gateway:
    """A gateway of its own, which logs the mails of one test."""
    return start_gateway(mail_seconds=0.5, verify_email=True, signup_credit="2", signup_work_bits=12)


def drive(what: str, gateway: Gateway, email: str = "", password: str = "") -> dict[str, Any]:
    """Run the browser at this gateway; what it found."""
    return run_browser(what, gateway.site_url, gateway._log_path, email, password)


def run_browser(what: str, address: str, log: Path, email: str, password: str) -> dict[str, Any]:
    """Run the browser; what it found."""
    site = address.replace("127.0.0.1", "localhost")  # browsers make no passkey for an address of numbers
    command = [sys.executable, "-m", "tests.browser.people", what, site, str(log)]
    environ = {**os.environ, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [*command, email, password], cwd=ROOT, capture_output=True, text=True, timeout=580, env=environ
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert found.pop("complaints") == []
    return found


def test_a_forgotten_password_is_set_anew_by_mail(site: Gateway):
    account = site.make.make_account()
    found = drive("reset", site, account.email, account.password)
    assert found.pop("said").count("Your password is set") == 1
    assert found == {"sent": True, "shown": "text", "inside": "/dashboard/", "again": "This link no longer works"}


def test_a_newcomer_opens_the_account_by_the_mailed_link_and_gets_the_credit(site: Gateway):
    found = drive("join", site, "newcomer@example.com")
    assert "If the address is new here" in found["said"]
    assert found["inside"] == "/dashboard/"
    assert "$2.00 of starting credit" in found["welcomed"]


def test_the_second_factor_is_asked_for_and_a_recovery_code_stands_in(site: Gateway):
    account = site.make.make_account()
    found = drive("two_factor", site, account.email, account.password)
    assert found == {
        "picture": True,
        "codes": 10,
        "downloaded": True,
        "gone": True,
        "asked": "/sign-in/code",
        "by_code": "/dashboard/",
        "by_recovery": "/dashboard/",
        "left": True,
    }


def test_the_data_is_downloaded_and_the_account_deleted(site: Gateway):
    account = site.make.make_account()
    found = drive("data", site, account.email, account.password)
    assert "is deleted" in found.pop("said")
    assert found.pop("refused").startswith("Email or password is wrong")
    assert found == {"files": 11, "email": True, "still_open": True}


def test_a_passkey_is_made_used_and_removed(site: Gateway):
    account = site.make.make_account()
    found = drive("passkey", site, account.email, account.password)
    assert found.pop("refused").startswith("The passkey was not accepted")
    assert found == {"listed": True, "used": True, "removed": True}


def test_a_customer_goes_from_nothing_to_a_paid_call_and_is_told_each_step(
    start_gateway: Callable[..., Gateway], upstream: ScriptedUpstream
):
    upstream.plays(says("Hi", completion_tokens=14))
    stripe = StripeServer()
    secrets = {"stripe_secret_key": KEY, "stripe_webhook_secret": SECRET, "stripe_api_base": stripe.base}
    site = start_gateway(mail_seconds=0.5, verify_email=True, signup_credit="0", signup_work_bits=12, **secrets)
    model = site.make.make_model(output_price=1000 * DOLLAR, max_output_tokens=16)  # at most $0.016, and here $0.014
    site.make.make_channel(upstream.base_url, model)
    found = drive("customer", site, "newcomer@example.com", model)
    stripe.close()
    assert "You have no credit yet." in found["newcomer"]
    assert "sandbox-echo, which costs nothing" in found["code"]
    assert (found["unpaid"], found["paid"], found["over_budget"]) == (402, 200, 402)
    assert "Your last call was refused: 402." in found["refused"]
    assert f"{model} costs money, and your balance is $0.00. Nothing was charged." in found["refused"]
    assert "Try a free model first" in found["refused"]
    assert found["pays"] == ["Pay $25.00", "Pay $1,234.50", "Pay $50.00", ""]
    assert "Not paid yet" in found["open"]
    assert "no credit yet" not in found["receipt"]  # nothing on the page is out of date
    assert "$50.00 is added. $50.00 is available now." in found["receipt"]
    assert "1 refused" in found["overview"]
    assert "insufficient_balance" in found["overview"]
    assert "worker has used 82% of its budget: $0.01 of $0.02" in found["budget"]
    assert found["rotated"] == [401, 200]
    assert found["revoked"] == 401
    assert site.make.check_ledger() == []


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_everyone_reads_the_status_through_an_incident(gateway: Gateway):
    operator = gateway.make.make_account(0, is_operator=True)
    found = drive("incident", gateway, operator.email, operator.password)
    assert "Answers are slow. Failed calls cost nothing." in found["during"]
    assert "Investigating. We look into it." in found["during"]
    assert "Now: Answers are slow" not in found["after"]


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_models_are_found_while_one_types(gateway: Gateway):
    found = drive("models", gateway)
    assert found["typed"] == found["back"]
    assert "claude-sonnet-4-5" in found["typed"]
    assert all("sonnet-4" in name for name in found["typed"])
    assert f"{len(found['typed'])} of " in found["said"]
    assert found["title"] == "claude-sonnet-4-5"
    assert '"model":"claude-sonnet-4-5"' in found["code"]


def test_a_member_joins_by_mail_calls_within_their_budget_and_is_removed(site: Gateway, upstream: ScriptedUpstream):
    upstream.plays(says("Hi", completion_tokens=14))
    model = site.make.make_model(output_price=1000 * DOLLAR, max_output_tokens=16)  # at most $0.016, and here $0.014
    site.make.make_channel(upstream.base_url, model)
    account = site.make.make_account()
    found = drive("team", site, account.email, model)
    assert found == {
        "sent": True,
        "inside": "/dashboard/",
        "calls": [200, 402],
        "removed": 401,
        "left": "/no-account",
        "opened": "Lab",
        "switched": account.email,
    }
