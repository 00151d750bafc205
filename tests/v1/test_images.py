"""POST /v1/images/generations: what clients get, what is asked of upstreams, and what is held and charged."""

import json
from typing import Any

import gevent
import openai
import pytest
import requests

from bridge.catalogue.model_editing import check_rates, enter_price
from tests.factories import DOLLAR, MadeKey
from tests.gateway import Gateway
from tests.sdk import open_sdk
from tests.upstream import PAUSE, PIXEL, ScriptedUpstream, fails, picture_counts, pictures, sends

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
MOST = 1000  # tokens of the model's dearest picture
# a thousand nanos a token of text, two of pictures that are sent, four of text that comes, eight of pictures
PRICES = {"input": DOLLAR, "image": 2 * DOLLAR, "output": 4 * DOLLAR, "image_output": 8 * DOLLAR}


class Asking:
    """A model that draws, its channels, and a key."""

    def __init__(self, gateway: Gateway, *upstreams: ScriptedUpstream, provider: str = "openai", **limits: Any):
        make = gateway.make
        self.gateway = gateway
        self.model = make.make_model(kinds=["images"], context_tokens=8192, max_output_tokens=MOST)
        with make.app.app_context():
            enter_price(self.model, [check_rates(PRICES)])
        for priority, upstream in enumerate(upstreams):
            make.make_channel(upstream.base_url, self.model, provider=provider, priority=priority, waits=False)
        self.key = make.make_key(make.make_account(limits.pop("balance_nanos", 10 * DOLLAR)), **limits)

    @property
    def sdk(self) -> openai.OpenAI:
        return open_sdk(self.gateway, self.key.secret)

    def post(self, key: MadeKey | None = None, headers: dict[str, str] | None = None, **body: Any) -> requests.Response:
        body = {"model": self.model, "prompt": "A harbour", **body}
        sent = {**(key or self.key).headers, **(headers or {})}
        return requests.post(f"{self.gateway.base_url}/images/generations", json=body, headers=sent, timeout=60)

    def last(self) -> Any:
        return self.gateway.make.list_usage(self.key.account_id)[-1]

    def receipt(self, answer_id: str) -> Any:
        return requests.get(
            f"{self.gateway.base_url}/requests/{answer_id}", headers=self.key.headers, timeout=60
        ).json()


@pytest.fixture
def asking(gateway: Gateway, upstream: ScriptedUpstream) -> Asking:
    upstream.plays(pictures())
    return Asking(gateway, upstream)


def error_of(answer: requests.Response) -> tuple[int, str, str | None]:
    error = answer.json()["error"]
    return answer.status_code, error["code"], error["param"]


# what clients get


def test_the_sdk_gets_the_pictures_and_the_upstream_what_was_asked(asking: Asking, upstream: ScriptedUpstream):
    answer = asking.sdk.images.generate(
        model=asking.model,
        prompt="A harbour at night",
        n=2,
        size="1536x1024",
        quality="high",
        background="opaque",
        output_format="jpeg",
        output_compression=80,
        moderation="low",
        user="someone",
    )
    assert [each.b64_json for each in answer.data or ()] == [PIXEL, PIXEL]
    assert (answer.background, answer.output_format, answer.quality, answer.size) == (
        *("opaque", "png"),
        *("high", "1024x1024"),
    )
    usage = answer.usage
    assert usage
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (10, 400, 410)
    assert (usage.input_tokens_details.text_tokens, usage.input_tokens_details.image_tokens) == (10, 0)
    [sent] = upstream.requests
    assert sent.path == "/v1/images/generations"
    hidden = sent.json.pop("user") if isinstance(sent.json, dict) else None
    assert hidden != "someone"
    assert {name: value for name, value in sent.json.items() if name != "user"} == {
        "model": asking.model,
        "prompt": "A harbour at night",
        "n": 2,
        "size": "1536x1024",
        "quality": "high",
        "background": "opaque",
        "output_format": "jpeg",
        "output_compression": 80,
        "moderation": "low",
    }
    assert asking.last().end_user == "someone"


def test_openai_s_own_models_get_no_field_that_they_refuse(gateway: Gateway, upstream: ScriptedUpstream):
    asking = Asking(gateway)
    gateway.make.make_channel(upstream.base_url, models={asking.model: "gpt-image-2"})
    upstream.plays(pictures())
    answer = asking.post(response_format="url", style="vivid", seed=7)
    assert answer.headers["x-bridge-dropped"] == "seed, response_format, style"
    assert upstream.requests[0].json == {"model": "gpt-image-2", "prompt": "A harbour"}
    assert "x-bridge-dropped" not in asking.post(response_format="b64_json").headers
    assert error_of(asking.post(style="vivid", headers={"x-bridge-strict": "true"}))[2] == "style"


def test_an_address_and_a_revised_prompt_pass(asking: Asking, upstream: ScriptedUpstream):
    item = {"url": "https://pictures.example/1.png", "revised_prompt": "A harbour, at dusk"}
    upstream.plays(sends(json.dumps({"created": 1, "data": [item], "usage": picture_counts(3, 100)}).encode()))
    assert asking.post(response_format="url").json()["data"] == [item]


# what is refused, for nothing


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({"prompt": ""}, "invalid_value", "prompt"),
        ({"prompt": "a" * 32_001}, "invalid_value", "prompt"),
        ({"prompt": ["a"]}, "invalid_type", "prompt"),
        ({"n": 0}, "invalid_value", "n"),
        ({"n": 11}, "invalid_value", "n"),
        ({"n": "2"}, "invalid_type", "n"),
        ({"size": "big"}, "invalid_value", "size"),
        ({"size": "0x10"}, "invalid_value", "size"),
        ({"quality": "best"}, "invalid_value", "quality"),
        ({"background": "red"}, "invalid_value", "background"),
        ({"output_format": "gif"}, "invalid_value", "output_format"),
        ({"output_compression": 101}, "invalid_value", "output_compression"),
        ({"moderation": "none"}, "invalid_value", "moderation"),
        ({"partial_images": 4}, "invalid_value", "partial_images"),
        ({"frame_count": 3}, "unsupported_parameter", "frame_count"),
        ({"svg": {"model": "gpt-5"}}, "unsupported_parameter", "svg"),
        ({"models": ["another"]}, "unsupported_parameter", "models"),
        ({"user": 7}, "invalid_type", "user"),
    ],
    ids=str,
)
def test_a_body_that_is_wrong_is_a_400_that_names_the_field(
    asking: Asking, upstream: ScriptedUpstream, body: dict[str, Any], code: str, param: str
):
    answer = asking.post(**body)
    assert error_of(answer) == (400, code, param)
    assert param in answer.json()["error"]["message"]
    assert "regex" not in answer.json()["error"]["message"]
    assert upstream.requests == []
    assert asking.gateway.make.list_usage(asking.key.account_id) == []


def test_the_wrong_endpoint_is_a_404_that_names_the_right_one(asking: Asking, gateway: Gateway):
    answer = asking.post(model=gateway.make.make_model())
    assert error_of(answer) == (404, "model_not_found", "model")
    assert "/v1/chat/completions" in answer.json()["error"]["message"]
    hello = {"model": asking.model, "max_tokens": 16, "messages": [{"role": "user", "content": "Hello"}]}
    answer = requests.post(f"{gateway.base_url}/chat/completions", json=hello, headers=asking.key.headers, timeout=60)
    assert answer.status_code == 404
    assert "/v1/images/generations" in answer.json()["error"]["message"]


@pytest.mark.parametrize("path", ["speech", "transcriptions", "translations"])
def test_sound_is_not_offered_and_says_so(asking: Asking, path: str):
    for base in (asking.gateway.base_url, asking.gateway.site_url):
        answer = requests.post(f"{base}/audio/{path}", json={}, headers=asking.key.headers, timeout=60)
        assert error_of(answer) == (404, "not_found", None)
        assert "not offered" in answer.json()["error"]["message"]


def test_what_the_upstream_will_not_draw_is_the_client_s_400(asking: Asking, upstream: ScriptedUpstream):
    upstream.plays(fails(400, "Your request was rejected by the safety system.", code="moderation_blocked"))
    assert error_of(asking.post())[:2] == (400, "content_policy_violation")
    assert (asking.last().state, asking.last().charge_nanos) == ("released", 0)


# money and limits


def test_the_hold_is_the_dearest_pictures_and_the_charge_what_they_were(gateway: Gateway, upstream: ScriptedUpstream):
    asking = Asking(gateway, upstream)
    play = pictures(usage=picture_counts(9, 700, written=50))
    upstream.plays(lambda request: [PAUSE, *play(request)])
    call = gevent.spawn(asking.post, n=3)
    with gevent.Timeout(60):
        while not upstream.requests:
            gevent.sleep(0.02)
    prompt = len("A harbour") + 64  # a token a byte, and a template
    assert gateway.make.find_money(asking.key.account_id) == (10 * DOLLAR, prompt * 2_000 + 3 * MOST * 8_000)
    upstream.resume()
    answer = call.get()
    charge = 9 * 1_000 + 50 * 4_000 + 700 * 8_000
    assert (answer.headers["x-bridge-cost"], charge) == ("0.005809", 5_809_000)
    assert json.loads(answer.text, parse_float=str)["usage"]["cost"] == "0.005809"
    assert gateway.make.find_money(asking.key.account_id) == (10 * DOLLAR - charge, 0)
    usage = asking.last()
    assert (usage.endpoint, usage.outcome, usage.state, usage.tokens_source, usage.charge_nanos) == (
        *("images", "complete", "captured", "provider"),
        charge,
    )
    receipt = asking.receipt(answer.json()["id"])
    assert (receipt["endpoint"], receipt["charge"]) == ("images", "0.005809")
    assert gateway.make.check_ledger() == []


def test_a_plainer_picture_is_held_for_less(gateway: Gateway, upstream: ScriptedUpstream):
    upstream.plays(pictures())
    asking = Asking(gateway, upstream, balance_nanos=(73 * 2_000 + 334 * 8_000))
    assert error_of(asking.post())[:2] == (402, "insufficient_balance")
    assert "max_tokens" not in asking.post().json()["error"]["message"]
    answer = asking.post(quality="medium")
    assert answer.status_code == 200
    assert "x-bridge-clamped" not in answer.headers


def test_pictures_that_nobody_counted_are_charged_as_the_dearest_that_were_asked_for(
    asking: Asking, upstream: ScriptedUpstream
):
    upstream.plays(pictures(usage=None))
    answer = asking.post(quality="low", n=2)
    usage = asking.last()
    assert (usage.completion_tokens, usage.tokens_source) == (2 * 84, "mixed")
    assert 0 < usage.prompt_tokens <= 9
    assert answer.json()["usage"]["output_tokens"] == 168
    assert usage.charge_nanos == usage.prompt_tokens * 1_000 + 168 * 8_000


def test_more_than_the_hold_knows_is_never_charged(asking: Asking, upstream: ScriptedUpstream):
    upstream.plays(pictures(usage=picture_counts(5, 5_000)))
    answer = asking.post()
    assert answer.json()["usage"]["output_tokens"] == MOST
    assert asking.last().charge_nanos == 5 * 1_000 + MOST * 8_000


def test_fewer_pictures_than_asked_for_are_paid_for_as_counted_and_none_at_all_is_a_fault(
    asking: Asking, upstream: ScriptedUpstream
):
    upstream.plays(pictures(pictures=1))
    assert len(asking.post(n=3).json()["data"]) == 1
    for found in (0, 2):
        upstream.plays(pictures(pictures=found))
        assert error_of(asking.post())[:2] == (503, "upstream_error")
        assert (asking.last().state, asking.last().charge_nanos) == ("released", 0)


def test_what_the_client_allows_and_its_key_s_budget_hold(asking: Asking, gateway: Gateway):
    assert error_of(asking.post(headers={"x-bridge-max-cost": "0.008"}))[:2] == (402, "max_cost_exceeded")
    assert asking.post(headers={"x-bridge-max-cost": "0.00815"}).status_code == 200
    budget = gateway.make.make_key(gateway.make.make_account(), budget_day_nanos=9_000_000)
    assert asking.post(budget).status_code == 200
    assert error_of(asking.post(budget))[:2] == (402, "key_budget_exceeded")


def test_nothing_stops_a_picture_so_what_may_cost_more_is_refused(asking: Asking, upstream: ScriptedUpstream):
    answer = asking.post(headers={"x-bridge-stop-at": "0.008"})
    assert error_of(answer) == (402, "max_cost_exceeded", "x-bridge-stop-at")
    assert upstream.requests == []
    assert asking.post(headers={"x-bridge-stop-at": "0.00815"}).status_code == 200


def test_a_key_s_models_and_limits_hold(asking: Asking, gateway: Gateway):
    limited = gateway.make.make_key(gateway.make.make_account(), tpm=500)
    assert error_of(asking.post(limited))[:2] == (429, "rate_limit_exceeded")
    other = gateway.make.make_key(gateway.make.make_account(), models=[gateway.make.make_model()])
    assert error_of(asking.post(other)) == (403, "model_not_allowed", "model")


def test_the_same_idempotency_key_is_paid_for_once(asking: Asking, upstream: ScriptedUpstream):
    first, again = (asking.post(headers={"Idempotency-Key": "once"}) for _ in range(2))
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (again.content, len(upstream.requests)) == (first.content, 1)


def test_another_channel_answers_and_what_failed_is_free(gateway: Gateway):
    bad, good = ScriptedUpstream(), ScriptedUpstream()
    bad.plays(fails(500))
    good.plays(pictures())
    asking = Asking(gateway, bad, good)
    answer = asking.post()
    assert (answer.status_code, answer.headers["x-bridge-attempts"]) == (200, "2")
    bad.close()
    good.close()


def test_a_channel_whose_provider_draws_nothing_is_never_asked(gateway: Gateway, upstream: ScriptedUpstream):
    asking = Asking(gateway, upstream, provider="anthropic")
    assert error_of(asking.post())[:2] == (503, "upstream_error")
    assert upstream.requests == []


def test_the_sandbox_draws_the_same_for_the_same_words(gateway: Gateway):
    sdk = open_sdk(gateway, gateway.make.make_key().secret)
    first, again, other = (
        sdk.images.generate(model="gpt-image-2", prompt=prompt, n=2) for prompt in ("A cat", "A cat", "A dog")
    )
    assert first.data == again.data != other.data
    assert first.data
    assert first.data[0].b64_json != first.data[1].b64_json
    assert (first.data[0].b64_json or "").startswith("iVBORw0KGgo")


def test_models_say_where_they_may_be_asked_and_for_what(asking: Asking):
    listed = requests.get(f"{asking.gateway.base_url}/models", headers=asking.key.headers, timeout=60).json()["data"]
    by_id = {model["id"]: model for model in listed}
    ours = by_id[asking.model]
    assert ours["endpoints"] == ["/v1/images/generations", "/v1/images/edits"]
    assert (ours["pricing"]["image_completion"], ours["pricing"]["image_prompt"]) == ("0.000008", "0.000002")
    assert "quality" in ours["supported_parameters"]
    assert by_id["gpt-image-1.5"]["pricing"]["image_completion"] == "0.000032"


def test_a_quote_says_what_pictures_can_cost_and_what_they_would_be_refused_for(
    gateway: Gateway, upstream: ScriptedUpstream
):
    upstream.plays(pictures())
    asking = Asking(gateway, upstream)
    body = {"model": asking.model, "prompt": "A harbour", "n": 2, "quality": "low"}

    def quote() -> Any:
        answer = requests.post(f"{gateway.base_url}/quote", json=body, headers=asking.key.headers, timeout=60)
        assert answer.status_code == 200
        return answer.json()

    quoted = quote()
    assert (quoted["refusal"], quoted["clamped"], quoted["tokens"]["choices"]) == (None, [], 2)
    assert asking.post(**body).status_code == 200
    hold = asking.last().hold_nanos
    assert round(float(quoted["hold"]) * DOLLAR) == round(float(quoted["max_cost"]) * DOLLAR) == hold
    assert hold == 73 * 2_000 + 2 * 84 * 8_000
    body |= {"n": 10, "quality": "high", "prompt": "a" * 32_000}
    asking.key = gateway.make.make_key(gateway.make.make_account(1_000_000))
    assert quote()["refusal"] == "insufficient_balance"
