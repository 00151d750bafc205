"""What people do and see, in a real browser against a running gateway."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests

from bridge.db import transaction
from bridge.payments.booking import settle
from bridge.payments.rows import new_payment_id
from bridge.payments.tables import Payment
from tests.browser.drive import CHROMIUM
from tests.gateway import Gateway
from tests.warm import ROOT

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not Path(CHROMIUM).exists() and not os.environ.get("CI"), reason="Chromium is missing: apt-get install chromium"
    ),
]
_numbers = itertools.count(1)


def drive(*arguments: str) -> dict[str, Any]:
    """Run the browser; what it found."""
    result = subprocess.run(
        [sys.executable, "-m", "tests.browser.drive", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=240
    )
    assert result.returncode == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return found


def test_a_newcomer_signs_up_calls_sees_the_receipt_and_revokes_the_key_on_every_worker(gateway: Gateway):
    found = drive("journey", gateway.site_url, f"newcomer-{os.getpid()}-{next(_numbers)}@example.com")
    assert found["after_sign_up"] == "/dashboard/"
    assert found["shown_once"]
    assert found["secret_gone"]
    assert found["call"] == 200
    assert "sandbox-echo" in found["receipt"]
    assert "Complete" in found["receipt"]
    assert found["calls_after_revoking"] == [401] * 8
    assert found["complaints"] == []


def open_review(gateway: Gateway, account_id: int) -> str:
    """A payment for which less came than was asked for."""
    payment_id = new_payment_id()
    values = {"kind": "checkout", "amount_minor": 2000, "currency": "usd", "credit_nanos": 20_000_000_000}
    with gateway.make.app.app_context():
        with transaction() as session:
            session.add(Payment(id=payment_id, account_id=account_id, **values))
        settle(payment_id, payment_intent=f"pi_{payment_id[4:]}", amount_minor=1500, currency="usd")
    return payment_id


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_every_page_is_styled_fits_its_width_and_gives_the_browser_nothing_to_complain_about(gateway: Gateway):
    operator = gateway.make.make_account(is_operator=True)
    key = gateway.make.make_key(operator, name="a name that is rather long for the narrow column of a phone")
    for model in ("sandbox-echo", "claude-3-5-sonnet", "sandbox-503"):
        body = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "user": model[0] * 256}
        headers = {**key.headers, "x-bridge-tags": f"env=prod, project={model[0] * 56}", "x-bridge-stop-at": "0.05"}
        answer = requests.post(f"{gateway.base_url}/chat/completions", json=body, headers=headers, timeout=60)
    request_id = answer.headers["x-request-id"]
    paths = [
        "/",
        "/models",
        "/docs",
        "/docs/claude-code",
        "/docs/codex",
        "/dashboard/",
        "/dashboard/keys",
        "/dashboard/keys/new",
    ]
    paths += [f"/dashboard/keys/{key.id}", "/dashboard/usage", f"/dashboard/usage/{request_id}", "/dashboard/billing"]
    paths += [
        f"/dashboard/settings{end}" for end in ("", "/security", "/notices", "/data", "/two-factor", "/passkeys/new")
    ]
    paths += ["/forgot", "/dashboard/usage?by=end_user", "/dashboard/usage?by=tag&tag=env%3Dprod"]
    paths += ["/admin/channels", "/admin/channels/new", "/admin/customers", f"/admin/customers/{operator.id}"]
    paths += [
        "/admin/payments",
        "/admin/payments?show=all",
        f"/admin/payments/{open_review(gateway, operator.id)}",
        "/admin/codes",
        "/admin/usage",
        "/admin/usage?period=today",
        "/admin/drill",
        "/admin/system",
        "/admin/models",
        "/admin/models/one?id=gpt-4o",
    ]
    models = [gateway.make.make_model(), gateway.make.make_model()]
    paths.append(f"/admin/channels/{gateway.make.make_channel('http://127.0.0.1:9', *models)}")
    found = drive("look", gateway.site_url, operator.email, operator.password, *paths)
    assert found == {"complaints": [], "sideways": [], "unstyled": []}
