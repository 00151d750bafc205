"""A quote says what the request would cost at the most, its route, and why it would be refused. It costs nothing."""

import pytest
import requests

from tests.gateway import Gateway
from tests.upstream import ScriptedUpstream, says

DOLLAR = 1_000_000_000
HELLO = [{"role": "user", "content": "Hello!"}]


class Served:
    def __init__(self, gateway: Gateway, upstream: ScriptedUpstream, provider: str = "openai", **key):
        self.gateway = gateway
        # ten dollars a million tokens
        self.model = gateway.make.make_model(input_price=10 * DOLLAR, output_price=10 * DOLLAR)
        gateway.make.make_channel(upstream.base_url, self.model, provider=provider)
        self.key = gateway.make.make_key(**key)

    def post(self, path: str, headers: dict[str, str] | None = None, **more) -> requests.Response:
        body = {"model": self.model, "messages": HELLO, **more}
        headers = {**self.key.headers, **(headers or {})}
        return requests.post(f"{self.gateway.base_url}/{path}", json=body, headers=headers, timeout=60)

    def quote(self, **more) -> dict:
        answer = self.post("quote", **more)
        assert answer.status_code == 200
        return answer.json()

    def receipt(self, answer: requests.Response) -> dict:
        url = f"{self.gateway.base_url}/requests/{answer.headers['x-request-id']}"
        return requests.get(url, headers=self.key.headers, timeout=60).json()


@pytest.mark.parametrize("more", [{"max_tokens": 100}, {}, {"n": 2, "max_tokens": 50}])
def test_the_quote_is_what_the_request_holds_to_the_nano_dollar(gateway, upstream, more):
    served = Served(gateway, upstream)
    quote = served.quote(**more)
    assert upstream.requests == []
    assert gateway.make.list_usage(served.key.account_id) == []
    receipt = served.receipt(served.post("chat/completions", **more))
    assert quote["hold"] == receipt["hold"]
    assert quote["tokens"]["output_at_most"] == receipt["output_cap_tokens"]
    assert float(receipt["charge"]) <= float(quote["max_cost"])
    assert quote["refusal"] is None


def test_without_a_cap_it_names_the_one_that_the_balance_sets(gateway, upstream):
    served = Served(gateway, upstream, account=gateway.make.make_account(DOLLAR // 20))
    quote = served.quote()
    assert quote["clamped"] == [f"max_tokens={quote['tokens']['output_at_most']}"]
    assert quote["hold"] == served.receipt(served.post("chat/completions"))["hold"]


def test_it_says_why_the_request_would_be_refused_and_is_not_refused_itself(gateway, upstream):
    poor = Served(gateway, upstream, account=gateway.make.make_account(1000))
    assert poor.quote(max_tokens=1000)["refusal"] == "insufficient_balance"
    assert poor.post("chat/completions", max_tokens=1000).json()["error"]["code"] == "insufficient_balance"
    short = Served(gateway, upstream, budget_day_nanos=1000)
    assert short.quote(max_tokens=1000)["refusal"] == "key_budget_exceeded"
    assert short.quote()["budget_remaining"] == "0.000001"
    careful = Served(gateway, upstream)
    assert careful.quote(max_tokens=1000, headers={"x-bridge-max-cost": "0.000001"})["refusal"] == "max_cost_exceeded"


def test_it_names_what_the_provider_would_not_get_as_it_was_sent(gateway, upstream):
    quote = Served(gateway, upstream, provider="deepseek").quote(seed=1, n=3, max_tokens=10)
    assert quote["dropped"] == ["seed"]
    assert quote["tokens"]["calls"] == 3


def test_what_the_provider_cannot_take_is_refused_as_the_request_would_be(gateway, upstream):
    served = Served(gateway, upstream, provider="deepseek")
    choice = {"tool_choice": {"type": "nonsense"}, "tools": [{"type": "function", "function": {"name": "f"}}]}
    quoted, sent = served.post("quote", **choice), served.post("chat/completions", **choice)
    assert quoted.status_code == sent.status_code == 400
    assert quoted.json() == sent.json()


def test_it_counts_as_a_request_of_the_minute_and_takes_no_tokens(gateway, upstream):
    served = Served(gateway, upstream, rpm=3, tpm=10_000)
    first = served.post("quote")
    assert first.json()["limits"]["requests"]["remaining"] == 2
    assert first.json()["limits"]["tokens"]["remaining"] == 10_000
    assert first.headers["x-ratelimit-remaining-requests"] == "2"
    assert first.headers["x-ratelimit-remaining-tokens"] == "10000"
    upstream.plays(says("Hi"))
    assert served.post("chat/completions").headers["x-ratelimit-remaining-requests"] == "1"
    assert served.post("quote", messages=[]).status_code == 400  # one that is wrong counts too
    refused = served.post("quote")
    assert (refused.status_code, refused.json()["error"]["message"]) == (429, "Rate limit exceeded: 3 RPM")
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"
    assert int(refused.headers["retry-after"]) >= 1


def test_a_key_that_is_none_gets_no_quote(gateway, upstream):
    served = Served(gateway, upstream)
    assert served.post("quote", headers={"Authorization": "Bearer sk-no"}).status_code == 401
