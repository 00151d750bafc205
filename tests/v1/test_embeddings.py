"""POST /v1/embeddings: what clients get, what is asked of upstreams, and what is held and charged."""

import base64
import json
import struct
from collections import Counter
from typing import Any

import gevent
import openai
import pytest
import requests

from tests.factories import DOLLAR, MadeKey
from tests.gateway import Gateway
from tests.sdk import open_sdk
from tests.upstream import PAUSE, Received, Scenario, ScriptedUpstream, Step, fails, vectors, whole

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
PRICE = 1_000_000_000  # a thousand nanos a token


class Asking:
    """A model of embeddings, its channels, and a key."""

    def __init__(self, gateway: Gateway, *upstreams: ScriptedUpstream, provider: str = "openai", **limits: Any):
        make = gateway.make
        self.gateway = gateway
        self.model = make.make_model(kinds=["embeddings"], input_price=PRICE, output_price=0, context_tokens=8192)
        for priority, upstream in enumerate(upstreams):
            base_url = upstream.base_url if provider == "openai" else upstream.base_url.removesuffix("/v1")
            make.make_channel(base_url, self.model, provider=provider, priority=priority, waits=False)
        self.key = make.make_key(make.make_account(limits.pop("balance_nanos", 10 * DOLLAR)), **limits)

    @property
    def sdk(self) -> openai.OpenAI:
        return open_sdk(self.gateway, self.key.secret)

    def post(self, key: MadeKey | None = None, headers: dict[str, str] | None = None, **body: Any) -> requests.Response:
        body = {"model": self.model, "input": "Hello", **body}
        sent = {**(key or self.key).headers, **(headers or {})}
        return requests.post(f"{self.gateway.base_url}/embeddings", json=body, headers=sent, timeout=60)

    def last(self) -> Any:
        return self.gateway.make.list_usage(self.key.account_id)[-1]


@pytest.fixture
def asking(gateway: Gateway, upstream: ScriptedUpstream) -> Asking:
    upstream.plays(vectors())
    return Asking(gateway, upstream)


def error_of(answer: requests.Response) -> tuple[int, str, str | None]:
    error = answer.json()["error"]
    return answer.status_code, error["code"], error["param"]


# what clients get


def test_the_sdk_gets_the_numbers_that_were_made_in_either_form(asking: Asking, upstream: ScriptedUpstream):
    """It asks for base64 unless it is told otherwise, and decodes it."""
    told = asking.sdk.embeddings.create(model=asking.model, input=["one", "three", "one"], encoding_format="float")
    default = asking.sdk.embeddings.create(model=asking.model, input=["one", "three", "one"])
    assert [each.embedding for each in told.data] == [[3.0, 0.5], [5.0, 0.5], [3.0, 0.5]]
    assert [each.embedding for each in default.data] == [each.embedding for each in told.data]
    assert [each.index for each in default.data] == [0, 1, 2]
    assert (told.object, told.model, told.data[0].object) == ("list", asking.model, "embedding")
    assert (told.usage.prompt_tokens, told.usage.total_tokens) == (3, 3)
    assert [request.json["encoding_format"] for request in upstream.requests] == ["float", "float"]
    assert {request.path for request in upstream.requests} == {"/v1/embeddings"}


def test_base64_is_little_endian_float32(asking: Asking):
    written = asking.post(encoding_format="base64").json()["data"][0]["embedding"]
    assert struct.unpack("<2f", base64.b64decode(written, validate=True)) == (5.0, 0.5)


def test_openai_s_own_base64_passes_as_it_came(gateway: Gateway, upstream: ScriptedUpstream):
    asking = Asking(gateway)
    gateway.make.make_channel(upstream.base_url, models={asking.model: "text-embedding-3-small"})
    upstream.plays(vectors())
    written = asking.post(encoding_format="base64").json()["data"][0]["embedding"]
    assert upstream.requests[0].json["encoding_format"] == "base64"
    assert written == base64.b64encode(struct.pack("<2f", 5.0, 0.5)).decode()


def test_tokens_go_out_as_they_came_and_count_as_they_are(asking: Asking, upstream: ScriptedUpstream):
    upstream.plays(vectors(usage=None))
    for given, count in (([5, 6, 7], 3), ([[5, 6], [7, 8, 9]], 5)):
        answer = asking.sdk.embeddings.create(model=asking.model, input=given)
        assert upstream.requests[-1].json["input"] == given
        assert (answer.usage.prompt_tokens, asking.last().charge_nanos) == (count, count * 1000)
        assert asking.last().tokens_source == "estimate"


def test_a_request_of_2048_inputs_keeps_its_order(asking: Asking):
    texts = ["a" * (1 + number % 97) for number in range(2048)]
    answer = asking.sdk.embeddings.create(model=asking.model, input=texts)
    assert [each.embedding[0] for each in answer.data] == [float(len(text)) for text in texts]


# what is refused, for nothing


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({"input": ""}, "invalid_value", "input"),
        ({"input": []}, "invalid_value", "input"),
        ({"input": ["a", ""]}, "invalid_value", "input[1]"),
        ({"input": [[1], []]}, "invalid_value", "input[1]"),
        ({"input": [[1], [-1]]}, "invalid_value", "input[1]"),
        ({"input": [1, -1]}, "invalid_value", "input"),
        ({"input": ["a"] * 2049}, "invalid_value", "input"),
        ({"input": None}, "invalid_type", "input"),
        ({"input": 7}, "invalid_type", "input"),
        ({"input": {"text": "a"}}, "invalid_type", "input"),
        ({"input": ["a", 1]}, "invalid_type", "input"),
        ({"input": [True]}, "invalid_type", "input"),
        ({"input": [1.5]}, "invalid_type", "input"),
        ({"input": [[1], ["a"]]}, "invalid_type", "input[1]"),
        ({"model": 7}, "invalid_type", "model"),
        ({"dimensions": 0}, "invalid_value", "dimensions"),
        ({"dimensions": True}, "invalid_type", "dimensions"),
        ({"encoding_format": "hex"}, "invalid_value", "encoding_format"),
        ({"user": 7}, "invalid_type", "user"),
        ({"models": ["another"]}, "unsupported_parameter", "models"),
    ],
    ids=str,
)
def test_a_body_that_is_wrong_is_a_400_that_names_the_field(
    asking: Asking, upstream: ScriptedUpstream, body: dict[str, Any], code: str, param: str
):
    answer = asking.post(**body)
    assert error_of(answer) == (400, code, param)
    assert param.partition("[")[0] in answer.json()["error"]["message"]
    assert upstream.requests == []
    assert asking.gateway.make.list_usage(asking.key.account_id) == []


def test_a_missing_field_is_named(asking: Asking):
    for field in ("model", "input"):
        body = {"model": asking.model, "input": "Hello"}
        del body[field]
        url = f"{asking.gateway.base_url}/embeddings"
        answer = requests.post(url, json=body, headers=asking.key.headers, timeout=60)
        assert error_of(answer) == (400, "missing_required_parameter", field)


def test_the_wrong_endpoint_is_a_404_that_names_the_right_one(asking: Asking, gateway: Gateway):
    chat = gateway.make.make_model()
    answer = asking.post(model=chat)
    assert error_of(answer) == (404, "model_not_found", "model")
    assert "/v1/chat/completions" in answer.json()["error"]["message"]
    hello = {"model": asking.model, "max_tokens": 16, "messages": [{"role": "user", "content": "Hello"}]}
    for path, body in (
        ("chat/completions", hello),
        ("messages", hello),
        ("responses", {"model": asking.model, "input": "Hello"}),
        ("quote", hello),
    ):
        answer = requests.post(f"{gateway.base_url}/{path}", json=body, headers=asking.key.headers, timeout=60)
        assert answer.status_code == 404
        assert "/v1/embeddings" in answer.json()["error"]["message"]
    answer = requests.post(
        f"{gateway.base_url}/chat/completions",
        json={**hello, "model": chat, "models": [asking.model]},
        headers=asking.key.headers,
        timeout=60,
    )
    assert error_of(answer) == (404, "model_not_found", "models[0]")


def test_an_input_that_the_upstream_finds_too_long_is_the_client_s_400(asking: Asking, upstream: ScriptedUpstream):
    words = (
        "This model's maximum context length is 8192 tokens, however you requested 9000 tokens (9000 in your prompt)."
    )
    upstream.plays(fails(400, words))
    answer = asking.post()
    assert error_of(answer) == (400, "context_length_exceeded", "input")
    assert asking.last().charge_nanos == 0


# money and limits


def test_the_hold_covers_the_inputs_before_anybody_is_asked_and_the_charge_is_what_they_were(
    gateway: Gateway, upstream: ScriptedUpstream
):
    asking = Asking(gateway, upstream)
    play = vectors(usage=9)
    upstream.plays(lambda request: [PAUSE, *play(request)])
    call = gevent.spawn(asking.post, input=["Hello, world", "abc"])
    with gevent.Timeout(60):
        while not upstream.requests:
            gevent.sleep(0.02)
    balance, held = gateway.make.find_money(asking.key.account_id)
    assert (balance, held) == (10 * DOLLAR, (12 + 3 + 2 * 8) * 1000)  # a token a byte, and marks around each
    upstream.resume()
    answer = call.get()
    assert answer.headers["x-bridge-cost"] == "0.000009"
    assert json.loads(answer.text, parse_float=str)["usage"] == {
        "prompt_tokens": 9,
        "total_tokens": 9,
        "cost": "0.000009",
    }
    assert gateway.make.find_money(asking.key.account_id) == (10 * DOLLAR - 9_000, 0)
    usage = asking.last()
    assert (usage.endpoint, usage.outcome, usage.state, usage.tokens_source) == (
        *("embeddings", "complete", "captured"),
        "provider",
    )
    assert (usage.prompt_tokens, usage.completion_tokens, usage.output_cap_tokens) == (9, 0, 0)
    receipt = requests.get(f"{gateway.base_url}/requests/{answer.json()['id']}", headers=asking.key.headers, timeout=60)
    assert (receipt.json()["endpoint"], receipt.json()["charge"]) == ("embeddings", "0.000009")


def test_without_counts_we_count_and_never_more_than_the_hold(asking: Asking, upstream: ScriptedUpstream):
    upstream.plays(vectors(usage=None))
    asking.post(input=["Hello there, friend", "Good night"])
    usage = asking.last()
    assert (usage.tokens_source, usage.completion_tokens) == ("estimate", 0)
    assert 6 <= usage.prompt_tokens <= 9
    upstream.plays(vectors(usage=50))
    answer = asking.post(input="Hello")
    assert asking.last().prompt_tokens == 13
    assert answer.json()["usage"]["provider_counts"]["prompt_tokens"] == 50


def test_many_at_once_on_the_last_cents_overspend_nothing(gateway: Gateway, upstream: ScriptedUpstream):
    held = (5 + 8) * 1000
    asking = Asking(gateway, upstream, balance_nanos=4 * held + held // 2)
    play = vectors(usage=13)
    upstream.plays(lambda request: [PAUSE, *play(request)])
    calls = [gevent.spawn(asking.post) for _ in range(40)]
    with gevent.Timeout(60):
        while sum(call.ready() for call in calls) < 36:
            gevent.sleep(0.02)
    upstream.resume()
    gevent.joinall(calls, timeout=60)
    assert Counter(call.get().status_code for call in calls) == {200: 4, 402: 36}
    assert gateway.make.find_money(asking.key.account_id) == (held // 2, 0)
    refused = next(call.get() for call in calls if call.get().status_code == 402)
    assert "max_tokens" not in refused.json()["error"]["message"]
    assert gateway.make.check_ledger() == []


def test_what_the_client_allows_and_its_key_s_budget_hold(asking: Asking, gateway: Gateway):
    assert error_of(asking.post(headers={"x-bridge-max-cost": "0.00001"}))[:2] == (402, "max_cost_exceeded")
    assert asking.post(headers={"x-bridge-max-cost": "0.000013"}).status_code == 200
    budget = gateway.make.make_key(gateway.make.make_account(), budget_day_nanos=13_500)
    assert asking.post(budget).status_code == 200
    assert error_of(asking.post(budget, input="Hello there, friend"))[:2] == (402, "key_budget_exceeded")


def test_a_key_s_limits_count_tokens_as_they_were_and_its_models_are_all_that_it_may_use(
    asking: Asking, gateway: Gateway
):
    limited = gateway.make.make_key(gateway.make.make_account(), tpm=10)
    first = asking.post(limited, input=[1, 2, 3, 4, 5, 6, 7])
    assert (first.status_code, first.headers["x-ratelimit-limit-tokens"]) == (200, "10")
    assert error_of(asking.post(limited, input=list(range(11))))[:2] == (429, "rate_limit_exceeded")
    other = gateway.make.make_key(gateway.make.make_account(), models=[gateway.make.make_model()])
    assert error_of(asking.post(other)) == (403, "model_not_allowed", "model")


def test_an_end_user_and_tags_stay_here(asking: Asking, upstream: ScriptedUpstream):
    asking.post(user="someone@example.com", headers={"x-bridge-tags": "project=search"})
    usage = asking.last()
    assert (usage.end_user, json.loads(usage.tags)) == ("someone@example.com", ["project=search"])
    sent = upstream.requests[-1]
    assert "someone" not in sent.body.decode()
    assert len(sent.json["user"]) > 16


def test_the_same_idempotency_key_is_paid_for_once(asking: Asking, upstream: ScriptedUpstream):
    first, again = (asking.post(headers={"Idempotency-Key": "once"}) for _ in range(2))
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (again.content, len(upstream.requests)) == (first.content, 1)
    assert error_of(asking.post(input="other", headers={"Idempotency-Key": "once"}))[:2] == (
        422,
        "idempotency_mismatch",
    )


# channels


def test_another_channel_of_the_same_model_answers_and_what_failed_is_free(gateway: Gateway):
    bad, good = ScriptedUpstream(), ScriptedUpstream()
    bad.plays(fails(500))
    good.plays(vectors(usage=4))
    asking = Asking(gateway, bad, good)
    answer = asking.post()
    assert (answer.status_code, answer.headers["x-bridge-attempts"]) == (200, "2")
    assert asking.last().charge_nanos == 4_000
    bad.close()
    good.close()


def test_gemini_s_batches_are_asked_at_once_joined_in_order_and_all_or_none(
    gateway: Gateway, upstream: ScriptedUpstream
):
    asking = Asking(gateway, upstream, provider="gemini")
    texts = ["a" * (1 + number % 91) for number in range(230)]
    upstream.plays(gemini_vectors())
    answer = asking.sdk.embeddings.create(model=asking.model, input=texts, dimensions=2)
    assert [round(each.embedding[0] / each.embedding[1]) for each in answer.data] == list(map(len, texts))
    assert sorted(len(request.json["requests"]) for request in upstream.requests) == [30, 100, 100]
    assert {request.path for request in upstream.requests} == {f"/v1beta/models/{asking.model}:batchEmbedContents"}
    assert (answer.usage.prompt_tokens, asking.last().charge_nanos) == (230, 230_000)
    upstream.plays(gemini_vectors(fails_at=30))
    answer = asking.post(input=texts)
    assert error_of(answer)[:2] == (503, "upstream_error")
    assert (asking.last().state, asking.last().charge_nanos) == ("released", 0)


def gemini_vectors(fails_at: int = 0) -> Scenario:
    """A vector for each request, as Gemini writes them; a call of so many fails."""

    def play(request: Received) -> list[Step]:
        asked = request.json["requests"]
        if len(asked) == fails_at:
            return [whole(b'{"error": {"code": 500, "message": "Internal", "status": "INTERNAL"}}', 500)]
        texts = [each["content"]["parts"][0]["text"] for each in asked]
        found = {"embeddings": [{"values": [float(len(text)), 1.0]} for text in texts]}
        return [whole(json.dumps({**found, "usageMetadata": {"promptTokenCount": len(texts)}}).encode())]

    return play


def test_a_channel_whose_provider_makes_no_embeddings_is_never_asked(gateway: Gateway, upstream: ScriptedUpstream):
    asking = Asking(gateway, upstream, provider="anthropic")
    assert error_of(asking.post())[:2] == (503, "upstream_error")
    assert upstream.requests == []


def test_a_client_that_leaves_is_charged_as_if_it_had_stayed(asking: Asking, upstream: ScriptedUpstream):
    play = vectors(usage=5)
    upstream.plays(lambda request: [PAUSE, *play(request)])
    with pytest.raises(requests.Timeout):
        requests.post(
            f"{asking.gateway.base_url}/embeddings",
            json={"model": asking.model, "input": "Hello"},
            headers=asking.key.headers,
            timeout=1,
        )
    upstream.resume()
    with gevent.Timeout(60):
        while not asking.gateway.make.list_usage(asking.key.account_id):
            gevent.sleep(0.02)
    assert (asking.last().outcome, asking.last().charge_nanos) == ("complete", 5_000)


# without a provider


def test_the_sandbox_answers_the_same_to_the_same_and_near_to_what_is_near(gateway: Gateway):
    key = gateway.make.make_key()
    sdk = open_sdk(gateway, key.secret)
    texts = ["The cat sat on the mat", "the cat sat on a mat", "Stock prices fell today"]
    for model, dimensions in (("text-embedding-3-small", 1536), ("gemini-embedding-001", 1536)):
        first, again = (sdk.embeddings.create(model=model, input=texts) for _ in range(2))
        assert first.data == again.data
        one, near, far = (each.embedding for each in first.data)
        assert len(one) == dimensions
        assert sum(a * a for a in one) == pytest.approx(1, abs=1e-5)
        assert product(one, near) > 0.5 > product(one, far)
    assert (
        len(sdk.embeddings.create(model="text-embedding-3-large", input=[5, 6], dimensions=64).data[0].embedding) == 64
    )


def product(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("path", ["/embeddings", "/v1/v1/embeddings", "//v1/embeddings"])
def test_the_usual_slips_of_a_base_url_work_here_too(asking: Asking, path: str):
    url = f"{asking.gateway.site_url}{path}"
    body = {"model": asking.model, "input": "Hello"}
    assert requests.post(url, json=body, headers=asking.key.headers, timeout=60).status_code == 200


def test_models_say_where_they_may_be_asked(asking: Asking):
    listed = requests.get(f"{asking.gateway.base_url}/models", headers=asking.key.headers, timeout=60).json()["data"]
    by_id = {model["id"]: model for model in listed}
    ours, chat = by_id[asking.model], by_id["gpt-4o"]
    assert ours["endpoints"] == ["/v1/embeddings"]
    assert chat["endpoints"] == ["/v1/chat/completions", "/v1/messages", "/v1/responses"]
    assert (ours["max_output_tokens"], ours["pricing"]["completion"]) == (0, "0")
    assert set(ours["supported_parameters"]) == {"dimensions", "encoding_format", "user"}
    assert by_id["text-embedding-3-small"]["pricing"]["prompt"] == "0.00000002"
    headers = {**asking.key.headers, "anthropic-version": "2023-06-01"}
    for_anthropic = requests.get(f"{asking.gateway.base_url}/models?limit=1000", headers=headers, timeout=60).json()
    assert asking.model not in {model["id"] for model in for_anthropic["data"]}


def test_a_drill_s_faults_come_before_real_channels_here_too(gateway: Gateway, upstream: ScriptedUpstream):
    from bridge.accounts.customers import start_drill
    from bridge.acts import COMMAND

    asking = Asking(gateway, upstream)
    upstream.plays(vectors(usage=4))
    for fault, attempts in (("500", "2"), ("malformed", "2"), ("cut", "2"), ("error-in-200", "2")):
        with gateway.make.app.app_context():
            start_drill(asking.key.account_id, fault, 5, COMMAND)
        gateway.make.wait_for_gateway()
        answer = asking.post()
        assert (answer.status_code, answer.headers["x-bridge-attempts"]) == (200, attempts), fault


def test_fields_of_other_endpoints_mean_nothing_here_whatever_they_are(gateway: Gateway, upstream: ScriptedUpstream):
    upstream.plays(vectors())
    asking = Asking(gateway, upstream)
    gateway.make.make_channel(upstream.base_url, asking.model, priority=0)  # one of equals is chosen by the request
    odd = {"prompt_cache_key": 7, "prediction": 7, "stream": True, "messages": "none", "max_tokens": "many"}
    answer = asking.post(**odd)
    assert answer.status_code == 200
    assert answer.headers["x-bridge-dropped"] == ", ".join(odd)
    assert set(upstream.requests[-1].json) == {"model", "input"}
    assert error_of(asking.post(**odd, headers={"x-bridge-strict": "true"}))[:2] == (400, "unsupported_parameter")
