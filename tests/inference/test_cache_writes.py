"""Cache writes at a provider: held, counted, charged and shown at their own price."""

from typing import Any

import msgspec
import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from bridge.catalogue.prices import PriceVersion
from bridge.conversation.usage import Usage
from bridge.inference.counts import fit_counts
from bridge.inference.meter import CACHE_FOR_AN_HOUR, Measure
from bridge.v1.body import read_object
from tests.factories import DOLLAR
from tests.gateway import Gateway
from tests.prices import make_version
from tests.sdk import open_sdk
from tests.upstream import STREAM_HEAD, Received, ScriptedUpstream, chunk, completion, framed, whole

HELLO = [{"role": "user", "content": "Hello!"}]
COUNTS = {
    "prompt_tokens": 100,
    "completion_tokens": 10,
    "total_tokens": 110,
    "prompt_tokens_details": {"cached_tokens": 30, "cache_write_tokens": 50},
}
CHARGED_NANOS = 20 * 1000 + 30 * 100 + 50 * 1250 + 10 * 2000
ON_SQLITE = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


def counts_a_write(request: Received) -> list[bytes]:
    """An upstream that read some of the prompt from its cache and wrote some to it."""
    if not request.streams:
        return [whole(completion("Hi", COUNTS))]  # type: ignore[arg-type]
    ends = [framed(chunk(delta={"content": "Hi"})), framed(chunk(delta={}, finish_reason="stop"))]
    return [STREAM_HEAD, *ends, framed(chunk(choices=[], usage=COUNTS)), framed("[DONE]"), b"0\r\n\r\n"]


@pytest.fixture
def model(gateway: Gateway, upstream: ScriptedUpstream) -> str:
    """A dollar a million; a tenth for what is cached, 1.25 for what is written, 2 for an hour."""
    name = gateway.make.make_model(
        input_price=DOLLAR,
        output_price=2 * DOLLAR,
        cached_price_nanos=DOLLAR // 10,
        cache_write_price_nanos=5 * DOLLAR // 4,
        cache_write_hour_price_nanos=2 * DOLLAR,
    )
    gateway.make.make_channel(upstream.base_url, name)
    upstream.plays(counts_a_write)
    return name


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_write_is_charged_at_its_price_and_shown_in_usage_and_receipt(gateway: Gateway, model: str, stream: bool):
    key = gateway.make.make_key()
    sdk = open_sdk(gateway, key.secret)
    if stream:
        options = {"include_usage": True}
        usage = list(
            sdk.chat.completions.create(model=model, messages=HELLO, stream=True, stream_options=options)  # type: ignore[call-overload]
        )[-1].usage
    else:
        usage = sdk.chat.completions.create(model=model, messages=HELLO).usage  # type: ignore[arg-type]
    details = usage.prompt_tokens_details
    assert (usage.prompt_tokens, details.cached_tokens, details.cache_write_tokens) == (100, 30, 50)
    assert usage.cost == 0.0001055
    (row,) = gateway.make.list_usage(key.account_id)
    assert row.charge_nanos == CHARGED_NANOS
    receipt = requests.get(f"{gateway.base_url}/requests/{row.request_id}", headers=key.headers, timeout=60).json()
    tokens, prices = receipt["tokens"], receipt["prices_per_million"]
    assert (tokens["prompt"], tokens["cached"], tokens["cache_write"], tokens["cache_write_hour"]) == (100, 30, 50, 0)
    assert [prices[name] for name in ("prompt", "cached", "cache_write", "cache_write_hour", "completion")] == [
        *("1", "0.1", "1.25", "2", "2"),
    ]


@ON_SQLITE
def test_the_hold_knows_the_hour_s_price_only_where_the_body_can_ask_for_one(gateway: Gateway, model: str):
    key = gateway.make.make_key()
    for ttl in ("5m", "1h"):
        control = {"type": "ephemeral", "ttl": ttl}
        body = {"model": model, "messages": HELLO, "max_tokens": 10, "cache_control": control}
        requests.post(f"{gateway.base_url}/chat/completions", json=body, headers=key.headers, timeout=60)
    for_minutes, for_an_hour = gateway.make.list_usage(key.account_id)
    prompt_nanos = (for_minutes.hold_nanos - 10 * 2000) / 1250
    assert for_an_hour.hold_nanos - 10 * 2000 == prompt_nanos * 2000
    assert for_minutes.charge_nanos == for_an_hour.charge_nanos == CHARGED_NANOS


@ON_SQLITE
def test_models_show_what_writes_cost(gateway: Gateway, model: str):
    key = gateway.make.make_key()
    pricing = requests.get(f"{gateway.base_url}/models/{model}", headers=key.headers, timeout=60).json()["pricing"]
    assert pricing == {
        "prompt": "0.000001",
        "completion": "0.000002",
        "cached_prompt": "0.0000001",
        "cache_write": "0.00000125",
        "cache_write_hour": "0.000002",
        "source": "operator",
    }


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b'{"cache_control":{"type":"ephemeral","ttl":"1h"}}', True),
        (b'{"ttl": "\\u0031h"}', True),
        (b'{"ttl": "1\\u0068"}', True),
        (b'{"ttl": "5m", "content": "for 1h"}', False),
        (b'{"messages": []}', False),
    ],
)
def test_an_hour_is_found_however_json_spells_it(data: bytes, found: bool):
    assert read_object(data, CACHE_FOR_AN_HOUR)[1] == found


TOKENS = st.integers(0, 2**31)
PRICES = st.builds(make_version, st.just(1), *[st.integers(0, 10**12)] * 5)
MEASURES = st.builds(
    Measure, st.integers(1, 2**20), st.just(0), st.integers(1, 2**17), st.integers(0, 1000), hour_writes=st.booleans()
)


def fit(measure: Measure, usage: Usage) -> Usage:
    """As a relay does it whose prompt's bound is the window."""
    most_output = (measure.cap_tokens or 0) + measure.predicted_tokens
    return fit_counts(
        usage, msgspec.structs.replace(measure, most_prompt_tokens=measure.prompt_bound_tokens), most_output, 1
    )


@given(PRICES, MEASURES, st.tuples(*[TOKENS] * 6))
def test_no_counts_of_an_upstream_cost_more_than_the_hold(price: PriceVersion, measure: Measure, counts: Any):
    usage = fit(measure, Usage(*counts))
    assert usage.cached_tokens + usage.cache_write_tokens <= usage.prompt_tokens
    assert usage.cache_write_hour_tokens <= usage.cache_write_tokens
    most_output = (measure.cap_tokens or 0) + measure.predicted_tokens
    hold = price.worst_charge(measure.prompt_bound_tokens, most_output, hour_writes=measure.hour_writes)
    assert 0 <= price.charge(usage) <= hold


def test_possible_counts_are_left_as_they_are():
    measure = Measure(100, 0, 10, hour_writes=True)
    usage = Usage(100, 10, 30, 5, 70, 60)
    assert fit(measure, usage) == usage
