"""The API's answers keep their fields in order, and answers written by hand match their types."""

import json

import msgspec
import pytest

from bridge.conversation.usage import PARTS, Altered, Counts, Usage
from bridge.dialects.chat.writer import write_usage
from bridge.ledger.refunds import refund_request
from bridge.v1.list_models import NAMES
from bridge.v1.schemas import chat, models
from tests.factories import DOLLAR
from tests.upstream import whole

sqlite = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
RATES = ("prompt", "cached_prompt", "cache_write", "cache_write_hour", "completion")
ANSWER = {"id": "x", "object": "chat.completion", "created": 1, "choices": [{"message": {"content": "Hello"}}]}
USAGE = {"prompt_tokens": 7, "completion_tokens": 10**9}  # more than there can be: counts that differ are told


def order(value: object) -> object:
    """The names of a body in their order, without what they hold."""
    if isinstance(value, dict):
        return [(name, order(inner)) if isinstance(inner, dict | list) else name for name, inner in value.items()]
    return [order(inner) for inner in value if isinstance(inner, dict)] if isinstance(value, list) else []


@pytest.fixture
def answers(app, client, make, upstream):
    """What each reading endpoint answers, and a quote, after one request that was refunded."""
    account = make.make_account()
    key = make.make_key(account, rpm=60, budget_day_nanos=5 * DOLLAR, models=None)
    model = make.make_model()
    make.make_channel(upstream.base_url, model)
    upstream.plays(lambda _request: [whole(msgspec.json.encode({**ANSWER, "usage": USAGE}))])
    body = {"model": model, "messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 9}
    done = client.post("/v1/chat/completions", json=body, headers=key.headers)
    with app.app_context():
        refund_request(done.headers["x-request-id"], reason="A test.", made_by="a test", account_id=account.id)

    def get(path: str) -> object:
        return json.loads(client.get(f"/v1/{path}", headers=key.headers).text)

    return {
        "key": get("key"),
        "credits": get("credits"),
        "models": get("models"),
        "model": get(f"models/{model}"),
        "receipt": get(f"requests/{done.headers['x-request-id']}"),
        "quote": json.loads(client.post("/v1/quote", json=body, headers=key.headers).text),
        "error": get("models/nope"),
    }


@sqlite
def test_every_answers_fields_keep_their_order(answers):
    assert order(answers["key"]) == [
        *("object", "label"),
        ("limits", ["requests_per_minute", "tokens_per_minute", "concurrent_requests"]),
        ("budget", ["amount", "period", "remaining", "starts_again_at"]),
        ("budgets", [["amount", "period", "remaining", "starts_again_at"]]),
        *("member_budget", "account_budget", "budget_raise", "end_user_budget"),
        "models",
        ("usage", ["today", "week", "month"]),
        "expires_at",
    ]
    assert order(answers["credits"]) == ["object", "balance", "held", "available", "total_credited", "total_used"]
    model = [
        *("id", "object", "created", "owned_by", "name", "context_length", "max_output_tokens"),
        ("pricing", [*RATES, "source"]),
        *(("aliases", []), ("endpoints", []), ("input_modalities", []), ("supported_parameters", [])),
        "status",
    ]
    assert order(answers["model"]) == model
    assert list(answers["models"]) == ["object", "data"]
    assert model in order(answers["models"]["data"])
    assert order(answers["error"]) == [("error", ["code", "message", "type", "param"])]
    assert order(answers["quote"]) == [
        "object",
        ("model", ["asked", "served"]),
        ("route", [["model", "channel", "upstream"]]),
        "max_cost",
        ("tokens", ["prompt_at_most", "output_at_most", "choices", "calls"]),
        *("hold", "available", "budget_remaining", "refusal"),
        ("limits", [("requests", ["limit", "remaining", "reset"]), "tokens"]),
        *(("dropped", []), ("clamped", [])),
    ]


@sqlite
def test_a_receipts_fields_keep_their_order(answers):
    line = ["class", "count", "per_million", "amount"]
    assert order(answers["receipt"]) == [
        *("object", "id", "answer_id", "created_at", "settled_at", "endpoint", "stream"),
        ("model", ["asked", "served", "upstream"]),
        *("outcome", "state", "status", "error_code", "finish_reason"),
        ("attempts", [["channel", "upstream_id", "started_ms", "took_ms", "outcome"]]),
        (
            "tokens",
            ["prompt", "cached", "cache_write", "cache_write_hour", "completion", "reasoning", "source"],
        ),
        ("provider_counts", ["prompt_tokens", "completion_tokens", "not_charged_tokens", "not_charged"]),
        ("prices_per_million", ["prompt", "cached", "cache_write", "cache_write_hour", "completion", "version"]),
        (
            "price",
            ["version", "above_prompt_tokens", "markup_percent", "markup_rule", ("lines", [line, line]), "sum"],
        ),
        *("hold", "charge", "not_charged", "released"),
        ("rule", ["name", "text"]),
        "balance_after",
        ("refund", ["amount", "reason", "created_at"]),
        "output_cap_tokens",
        *(("dropped", []), ("clamped", [])),
        *("first_content_ms", "total_ms"),
        *("end_user", ("tags", []), "stop_at"),
    ]


def is_described(value: object, kind: type[msgspec.Struct]) -> None:
    """Fails where a value is not of this type, or has a field that the type doesn't name."""
    written = msgspec.json.encode(value)
    assert json.loads(msgspec.json.encode(msgspec.json.decode(written, type=kind))) == json.loads(written)


@pytest.mark.parametrize("heard", [0, 3])
@pytest.mark.parametrize("altered", [False, True])
def test_the_usage_that_is_written_is_the_one_that_is_described(heard: int, altered: bool):
    usage = Usage(10, 5, audio_tokens=heard)
    if altered:
        said = Counts(None, 5, **dict.fromkeys(PARTS, 4))
        usage = Usage(10, 5, audio_tokens=heard, altered=Altered(said, usage))
    is_described(write_usage(usage, "0.000001"), chat.Usage)


def test_every_class_of_counts_and_prices_is_described():
    counts = ("prompt_tokens", "completion_tokens", *PARTS, "not_charged_tokens", "not_charged")
    assert chat.ProviderCounts.__struct_fields__ == counts
    assert models.Pricing.__struct_fields__ == (*NAMES.values(), "tiers", "source", "checked_on", "coming")
    assert models.ComingPrice.__struct_fields__ == ("starts_at", *NAMES.values(), "tiers", "source", "checked_on")
    assert models.PriceTier.__struct_fields__ == ("above_prompt_tokens", *NAMES.values())
