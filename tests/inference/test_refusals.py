"""402 tells the truth: what is needed, what is there, which max_tokens would pass, and whether waiting helps."""

import datetime
import re
from typing import Any

import gevent
import pytest
import requests

from bridge.accounts.key_terms import KeyTerms
from bridge.accounts.keys import update_key
from bridge.db import db
from bridge.ledger.budgets import period_start
from bridge.ledger.refunds import refund_request
from bridge.ledger.tables import Budget
from tests.served import DOLLAR, HELLO, await_request
from tests.upstream import pauses, says

NANOS_A_TOKEN = 2_000
BOTH = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


class Payer:
    """A client of one model at two dollars per million tokens of output, prompts for nothing."""

    def __init__(self, gateway, upstream, balance: int = 10 * DOLLAR, **key: Any):
        self.gateway = gateway
        self.model = gateway.make.make_model(input_price=0, output_price=2 * DOLLAR)
        gateway.make.make_channel(upstream.base_url, self.model)
        self.key = gateway.make.make_key(gateway.make.make_account(balance_nanos=balance), **key)

    def post(self, headers: dict[str, str] | None = None, **body: Any) -> requests.Response:
        return requests.post(
            f"{self.gateway.base_url}/chat/completions",
            json={"model": self.model, "messages": HELLO, **body},
            headers={**self.key.headers, **(headers or {})},
            timeout=60,
        )

    def set_budget(self, period: str) -> None:
        update_key(
            self.key.account_id,
            self.key.id,
            KeyTerms(**{"name": "k", f"budget_{period}_nanos": 1_000 * NANOS_A_TOKEN}),
        )

    def budget_left(self) -> str:
        shown = requests.get(f"{self.gateway.base_url}/key", headers=self.key.headers, timeout=60).json()
        left: str = shown["budget"]["remaining"]
        return left


def passing_cap(answer: requests.Response) -> int | None:
    found = re.search(r"max_tokens of at most (\d+)", answer.json()["error"]["message"])
    return int(found[1]) if found else None


def check_final(answer: requests.Response, code: str, words: str) -> None:
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["type"]) == (402, code, "billing_error")
    assert error["message"].startswith(words)
    assert answer.headers["x-should-retry"] == "false"
    assert "retry-after" not in answer.headers


def check_waits(answer: requests.Response, code: str) -> None:
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (402, code)
    assert error["message"].startswith("Running requests hold what is missing")
    assert "Insufficient credits" not in error["message"]
    assert answer.headers["x-should-retry"] == "true"
    assert int(answer.headers["retry-after"]) >= 1
    assert int(answer.headers["retry-after-ms"]) >= 1


@BOTH
def test_a_balance_that_is_too_low_is_final_and_names_what_would_pass(gateway, upstream, stream):
    payer = Payer(gateway, upstream, balance=1_000 * NANOS_A_TOKEN + 1)
    upstream.plays(says("Hello"))
    refused = payer.post(max_tokens=1_500, stream=stream)
    check_final(refused, "insufficient_balance", "Insufficient credits")
    message = refused.json()["error"]["message"]
    assert "$0.003" in message
    assert "$0.002000001" in message
    assert passing_cap(refused) == 1_000
    assert payer.post(max_tokens=1_001, stream=stream).status_code == 402
    assert payer.post(max_tokens=1_000, stream=stream).status_code == 200


def test_where_not_even_one_token_would_pass_none_is_named(gateway, upstream):
    refused = Payer(gateway, upstream, balance=NANOS_A_TOKEN - 1).post(max_tokens=5)
    check_final(refused, "insufficient_balance", "Insufficient credits")
    assert passing_cap(refused) is None


@BOTH
def test_what_running_requests_hold_is_told_with_the_time_to_ask_again(gateway, upstream, stream):
    payer = Payer(gateway, upstream, balance=1_000 * NANOS_A_TOKEN)
    upstream.plays(pauses(says("Hello")))
    running = gevent.spawn(payer.post, max_tokens=900)
    await_request(upstream)
    refused = payer.post(max_tokens=200, stream=stream)
    check_waits(refused, "insufficient_balance")
    assert passing_cap(refused) == 100
    check_final(payer.post(max_tokens=1_001, stream=stream), "insufficient_balance", "Insufficient credits")
    upstream.resume()
    assert running.get(timeout=60).status_code == 200
    assert payer.post(max_tokens=200, stream=stream).status_code == 200
    assert gateway.make.check_ledger() == []


def test_a_key_s_budget_tells_the_same_truth(gateway, upstream):
    payer = Payer(gateway, upstream, budget_day_nanos=1_000 * NANOS_A_TOKEN)
    upstream.plays(pauses(says("Hello")))
    running = gevent.spawn(payer.post, max_tokens=900)
    await_request(upstream)
    refused = payer.post(max_tokens=200)
    check_waits(refused, "key_budget_exceeded")
    assert passing_cap(refused) == 100
    refused = payer.post(max_tokens=1_001)
    check_final(refused, "key_budget_exceeded", "Insufficient credits")
    assert passing_cap(refused) == 100
    upstream.resume()
    assert running.get(timeout=60).status_code == 200


def test_the_budget_that_is_too_low_is_named_with_its_next_start(gateway, upstream):
    payer = Payer(gateway, upstream, budget_month_nanos=2_000 * NANOS_A_TOKEN, budget_user_nanos=100 * NANOS_A_TOKEN)
    upstream.plays(says("Hello", prompt_tokens=1, completion_tokens=100))
    assert payer.post(max_tokens=100, user="ada").status_code == 200
    refused = payer.post(max_tokens=1, user="ada")
    check_final(refused, "key_budget_exceeded", "Insufficient credits")
    whose = (
        "$0.00 is left of the budget of $0.0002 a day that this key has for each end user, which starts again at 00:00"
    )
    assert whose in refused.json()["error"]["message"]
    assert payer.post(max_tokens=100, user="kim").status_code == 200
    key = gateway.make.make_key(budget_month_nanos=NANOS_A_TOKEN, budget_total_nanos=50 * NANOS_A_TOKEN)
    payer.key = key
    message = payer.post(max_tokens=5).json()["error"]["message"]
    assert re.search(
        r"of this key's budget of \$0.000002 a month, which starts again at 00:00 UTC on \d{4}-\d\d-01\.", message
    )


def test_the_cap_that_is_named_passes_balance_and_budget(gateway, upstream):
    payer = Payer(gateway, upstream, balance=50 * NANOS_A_TOKEN, budget_total_nanos=100 * NANOS_A_TOKEN)
    refused = payer.post(max_tokens=200)
    check_final(refused, "key_budget_exceeded", "Insufficient credits")
    assert passing_cap(refused) == 50
    upstream.plays(says("Hello"))
    assert payer.post(max_tokens=50).status_code == 200


@BOTH
def test_a_cost_limit_has_its_own_code(gateway, upstream, stream):
    payer = Payer(gateway, upstream)
    refused = payer.post(headers={"x-bridge-max-cost": "0.0001"}, max_tokens=1_000, stream=stream)
    check_final(refused, "max_cost_exceeded", "Cost limit exceeded")
    assert passing_cap(refused) == 50
    assert not upstream.requests


def test_a_refund_gives_the_key_s_budget_back_in_the_period_where_it_was_spent(gateway, upstream):
    payer = Payer(gateway, upstream, budget_day_nanos=1_000 * NANOS_A_TOKEN)
    upstream.plays(says("Hello", prompt_tokens=1, completion_tokens=100))
    first = payer.post(max_tokens=100).headers["x-request-id"]
    payer.post(max_tokens=100)
    assert payer.budget_left() == "0.0016"
    with gateway.make.app.app_context():
        payer.set_budget("month")
        gateway.make.wait_for_gateway()
    third = payer.post(max_tokens=100).headers["x-request-id"]
    with gateway.make.app.app_context():
        for request_id in (first, third):
            refund_request(request_id, reason="It was empty.", made_by="a test")
        now = datetime.datetime.now(datetime.UTC)
        spent = {
            period: db.session.get(Budget, (payer.key.id, period, period_start(period, now), "")).spent_nanos
            for period in ("day", "month")
        }
    if now.day != 1:  # on the first, day and month begin together
        assert spent == {"day": 100 * NANOS_A_TOKEN, "month": 0}
    assert gateway.make.check_ledger() == []


def test_a_refund_of_what_no_budget_paid_gives_none_back(gateway, upstream):
    payer = Payer(gateway, upstream)
    upstream.plays(says("Hello", prompt_tokens=1, completion_tokens=100))
    before = payer.post(max_tokens=100).headers["x-request-id"]
    with gateway.make.app.app_context():
        payer.set_budget("total")
        gateway.make.wait_for_gateway()
    payer.post(max_tokens=100)
    with gateway.make.app.app_context():
        refund_request(before, reason="It was empty.", made_by="a test")
    assert payer.budget_left() == "0.0018"
