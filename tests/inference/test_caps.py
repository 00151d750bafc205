"""The cap that goes upstream: the client's within the model's own, otherwise the model's own within a quarter of what
is available and within what the prompt leaves of the window; named whenever it is less."""

from typing import Any

import pytest
import requests

from bridge.inference.estimate import load_vocabulary
from bridge.inference.meter import LEAST_OUTPUT_TOKENS, measure
from bridge.inference.plan import Offer
from bridge.providers import PROVIDERS
from tests.conversations import converse, make_order
from tests.inference.test_meter import MODEL
from tests.prices import make_version
from tests.served import DOLLAR, HELLO
from tests.upstream import ScriptedUpstream, fails, says

NANOS_A_TOKEN = 2_000  # of the models made here: two dollars per million
BOTH = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


class Asked:
    """A model over one upstream, and what reached it."""

    def __init__(self, gateway, upstream, balance: int = 10 * DOLLAR, **model: Any):
        self.gateway, self.upstream = gateway, upstream
        self.model = gateway.make.make_model(input_price=0, output_price=2 * DOLLAR, **model)
        gateway.make.make_channel(upstream.base_url, self.model)
        upstream.plays(says("Hello", prompt_tokens=5, completion_tokens=2))
        self.key = gateway.make.make_key(gateway.make.make_account(balance_nanos=balance))

    def post(self, path: str = "chat/completions", headers: dict[str, str] | None = None, **body: Any):
        return requests.post(
            f"{self.gateway.base_url}/{path}",
            json={"model": self.model, "messages": HELLO, **body},
            headers={**self.key.headers, **(headers or {})},
            timeout=60,
        )

    def sent(self) -> dict[str, Any]:
        found: dict[str, Any] = self.upstream.requests[-1].json
        return found


@BOTH
def test_without_a_cap_the_model_s_own_maximum_goes_upstream_and_nothing_is_named(gateway, upstream, stream):
    asked = Asked(gateway, upstream, max_output_tokens=16_384)
    answer = asked.post(stream=stream)
    assert answer.status_code == 200
    assert asked.sent()["max_tokens"] == 16_384
    assert "x-bridge-clamped" not in answer.headers


@BOTH
def test_without_a_cap_a_quarter_of_the_balance_sets_a_smaller_one_and_it_is_named(gateway, upstream, stream):
    asked = Asked(gateway, upstream, balance=4 * 3_000 * NANOS_A_TOKEN, max_output_tokens=16_384)
    answer = asked.post(stream=stream)
    assert asked.sent()["max_tokens"] == 3_000
    assert answer.headers["x-bridge-clamped"] == "max_tokens=3000"
    quote = asked.post("quote").json()
    assert quote["clamped"] == [f"max_tokens={quote['tokens']['output_at_most']}"]


def test_without_a_cap_it_is_256_tokens_at_least_or_402(gateway, upstream):
    asked = Asked(gateway, upstream, balance=LEAST_OUTPUT_TOKENS * NANOS_A_TOKEN)
    assert asked.post().headers["x-bridge-clamped"] == "max_tokens=256"
    poorer = Asked(gateway, upstream, balance=LEAST_OUTPUT_TOKENS * NANOS_A_TOKEN - 1)
    refused = poorer.post()
    assert (refused.status_code, refused.json()["error"]["code"]) == (402, "insufficient_balance")
    assert "max_tokens of at most 255" in refused.json()["error"]["message"]
    assert poorer.post(max_tokens=255).status_code == 200


@BOTH
@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_a_cap_above_the_model_s_own_is_lowered_and_named_and_refused_only_where_the_client_is_strict(
    gateway, upstream, field, stream
):
    asked = Asked(gateway, upstream, max_output_tokens=4_096)
    answer = asked.post(stream=stream, **{field: 32_000})
    assert (answer.status_code, answer.headers["x-bridge-clamped"]) == (200, f"{field}=4096")
    assert asked.sent()["max_tokens"] == 4_096
    assert "max_completion_tokens" not in asked.sent()
    calls = len(upstream.requests)
    strict = asked.post(stream=stream, headers={"x-bridge-strict": "true"}, **{field: 32_000})
    error = strict.json()["error"]
    assert (strict.status_code, error["code"], error["param"]) == (400, "unsupported_parameter", field)
    assert "4096" in error["message"]
    assert len(upstream.requests) == calls
    assert asked.post(stream=stream, **{field: 4_096}).headers.get("x-bridge-clamped") is None
    assert asked.gateway.make.check_ledger() == []


def test_of_two_caps_the_one_that_is_sent_is_never_raised(gateway, upstream):
    asked = Asked(gateway, upstream, max_output_tokens=4_096)
    answer = asked.post(max_tokens=100_000, max_completion_tokens=10)
    assert (asked.sent()["max_tokens"], "x-bridge-clamped" in answer.headers) == (10, False)


def test_a_quote_names_the_lowered_cap_as_the_answer_does(gateway, upstream):
    asked = Asked(gateway, upstream, max_output_tokens=4_096)
    quote = asked.post("quote", max_tokens=32_000).json()
    assert (quote["clamped"], quote["tokens"]["output_at_most"]) == (["max_tokens=4096"], 4_096)
    receipt_of = asked.post(max_tokens=32_000).headers["x-request-id"]
    url = f"{gateway.base_url}/requests/{receipt_of}"
    receipt = requests.get(url, headers=asked.key.headers, timeout=60).json()
    assert receipt["hold"] == quote["hold"]


def test_the_cap_of_several_choices_is_each_one_s_and_all_are_held_for(gateway, upstream):
    asked = Asked(gateway, upstream, balance=4 * 2 * 1_000 * NANOS_A_TOKEN, max_output_tokens=4_096)
    answer = asked.post(n=2)
    assert answer.headers["x-bridge-clamped"] == "max_tokens=1000"
    assert asked.sent()["max_tokens"] == 1_000


def test_each_model_of_a_list_has_its_own_maximum(gateway, upstream):
    asked = Asked(gateway, upstream, max_output_tokens=4_096)
    larger = gateway.make.make_model(input_price=0, output_price=2 * DOLLAR, max_output_tokens=8_192)
    gateway.make.make_channel(upstream.base_url, larger)
    broken, smaller = ScriptedUpstream(), gateway.make.make_model(max_output_tokens=1_000)
    broken.plays(fails(401))
    gateway.make.make_channel(broken.base_url, smaller)
    for body, cap in (({"model": smaller, "models": [larger]}, 8_192), ({"model": asked.model}, 4_096)):
        answer = asked.post(**body)
        assert (answer.status_code, asked.sent()["max_tokens"]) == (200, cap)
        assert "x-bridge-clamped" not in answer.headers
        answer = asked.post(max_tokens=32_000, **body)
        assert answer.headers["x-bridge-clamped"] == f"max_tokens={cap}"
    assert broken.requests[0].json["max_tokens"] == 1_000
    broken.close()


def test_a_model_without_a_known_maximum_gets_what_the_prompt_leaves_of_its_window(gateway, upstream):
    """A server refuses a prompt and a cap that are longer together than the window; agents ask for 32,000 of any."""
    asked = Asked(gateway, upstream, context_tokens=32_768, max_output_tokens=None)
    for body in ({}, {"max_tokens": 32_768}, {"max_tokens": 32_700}):
        answer = asked.post(**body)
        cap = asked.sent()["max_tokens"]
        assert 32_000 < cap < 32_768 - 50
        assert answer.headers["x-bridge-clamped"] == f"max_tokens={cap}"
    assert asked.post(max_tokens=30_000).headers.get("x-bridge-clamped") is None


def test_a_cost_limit_sets_the_cap_where_the_client_gave_none(gateway, upstream):
    asked = Asked(gateway, upstream, max_output_tokens=4_096)
    answer = asked.post(headers={"x-bridge-max-cost": "0.001"})
    assert (answer.status_code, answer.headers["x-bridge-clamped"]) == (200, "max_tokens=500")
    refused = asked.post(headers={"x-bridge-max-cost": "0.0001"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (402, "max_cost_exceeded")


# what of the window a prompt leaves, without the door


def offer_of(text: str, window: int, most: int, **fields: Any) -> Offer:
    body = {"model": "m", "messages": [{"role": "user", "content": text}], **fields}
    model = type(MODEL)(
        **{name: getattr(MODEL, name) for name in MODEL.__slots__}
        | {"context_tokens": window, "max_output_tokens": most, "routes": ROUTES}
    )
    request = converse(body)
    return Offer("m", model, make_version(1, 1, 1, 1, 1, 1), measure(request, model, len(text.encode()) + 100), request)


ROUTES = (type("R", (), {"provider": "openai", "upstream_id": "gpt-4o"})(),)
PROSE = "The quick brown fox jumps over the lazy dog, and then it sleeps. "
DENSE = "7f3a9c01e5b2d84660aa13f7c9e2"


@pytest.mark.parametrize("text", [PROSE, DENSE, "的是不了人我在有他这"], ids=["prose", "dense", "chinese"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("most_share", [1.0, 0.3])
def test_prompt_and_cap_are_never_longer_than_the_window_and_the_cap_is_no_tiny_one(text, share, most_share):
    encoding = load_vocabulary()
    window = 32_768
    most = int(window * most_share)
    times = int(window * share / len(encoding.encode(text)))
    prompt = text * times
    offer = offer_of(prompt, window, most)
    offer.fit_cap(10**18)
    tokens = len(encoding.encode(prompt))
    assert offer.cap_tokens is not None
    assert tokens + offer.cap_tokens <= window
    assert offer.cap_tokens >= min(most, (window - tokens) // 2)
    assert bool(offer.clamped) == (offer.cap_tokens < most)


def test_a_prompt_that_fills_the_window_still_asks_for_something():
    offer = offer_of(PROSE * 4_000, 32_768, 4_096)
    offer.fit_cap(10**18)
    assert offer.cap_tokens == LEAST_OUTPUT_TOKENS


def test_an_ordinary_prompt_is_not_counted(monkeypatch):
    """Counting takes milliseconds: 128 KiB for a window of 128,000 tokens go by their bytes."""
    monkeypatch.setattr("bridge.inference.plan.count_prompt", lambda *_: pytest.fail("counted"))
    for text, window, most in ((PROSE * 2_000, 128_000, 16_384), (PROSE * 200, 32_768, 32_768)):
        offer_of(text, window, most).fit_cap(10**18)


@pytest.mark.parametrize("budget", [1_024, 5_000, 100_000])
@pytest.mark.parametrize("cap", [1_025, 3_000, 64_000])
def test_a_thinking_budget_stays_below_the_cap_that_goes_out(budget: int, cap: int):
    thinking = {"type": "enabled", "budget_tokens": budget}
    for provider, upstream_id in (("anthropic", "claude-sonnet-4-5"), ("gemini", "gemini-2.5-pro")):
        order = make_order(
            {"model": "m", "messages": HELLO, "thinking": thinking, "max_tokens": 200_000}, upstream_id, cap
        )
        out = PROVIDERS[provider].write_request(order).body
        sent = requests.models.complexjson.loads(out)
        if provider == "anthropic":
            assert sent["max_tokens"] == cap
            assert sent["thinking"]["budget_tokens"] < cap
        else:
            assert sent["generationConfig"]["maxOutputTokens"] == cap
            assert sent["generationConfig"]["thinkingConfig"]["thinkingBudget"] < cap
