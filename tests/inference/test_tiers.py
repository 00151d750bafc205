"""Tiers, markups, sound and fees over real sockets: the hold, the charge, and a receipt whose sums are the charge."""

import datetime
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
import requests
import sqlalchemy as sa
import time_machine
from flask import Flask

from bridge import versions
from bridge.accounts.tables import Account
from bridge.catalogue.listing import newest_prices
from bridge.catalogue.model_editing import add_model, enter_price, set_markup
from bridge.catalogue.rates import Rates, make_rates
from bridge.db import db, now_utc, transaction
from bridge.inference.services import Services
from bridge.versions import bump
from tests.factories import DOLLAR, Factories, MadeKey
from tests.gateway import Gateway
from tests.upstream import STREAM_HEAD, Received, Scenario, ScriptedUpstream, chunk, completion, framed, whole

HELLO = [{"role": "user", "content": "Hello!"}]
ABOVE = 100
BASE = make_rates({"input": DOLLAR, "cached": DOLLAR // 10, "output": 4 * DOLLAR})
LONGER = make_rates({"input": 2 * DOLLAR, "cached": DOLLAR // 5, "output": 6 * DOLLAR}, ABOVE)
ON_SQLITE = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


def counts(prompt: int, completion_: int = 10, **details: Any) -> dict[str, Any]:
    return {"prompt_tokens": prompt, "completion_tokens": completion_, "total_tokens": prompt + completion_, **details}


def says(usage: dict[str, Any]) -> Scenario:
    def answer(request: Received) -> list[bytes]:
        if not request.streams:
            return [whole(completion("Hi", usage))]
        ends = [framed(chunk(delta={"content": "Hi"})), framed(chunk(delta={}, finish_reason="stop"))]
        return [STREAM_HEAD, *ends, framed(chunk(choices=[], usage=usage)), framed("[DONE]"), b"0\r\n\r\n"]

    return answer


@pytest.fixture
def sell(gateway: Gateway, upstream: ScriptedUpstream) -> Callable[..., str]:
    """A model at these tiers, of the scripted upstream."""

    def make(*tiers: Rates, markup_bps: int = 0, costs: list[Rates] | None = None, **fields: Any) -> str:
        name = gateway.make.make_model(**fields)
        gateway.make.make_channel(upstream.base_url, name)
        with gateway.make.app.app_context():
            enter_price(name, tiers, costs=costs)
            set_markup(name, markup_bps)
            gateway.make.wait_for_gateway()
        return name

    return make


def ask(gateway: Gateway, key: MadeKey, model: str, **fields: Any) -> dict[str, Any]:
    """The receipt of one request."""
    body = {"model": model, "messages": HELLO, "max_tokens": 50, **fields}
    answer = requests.post(f"{gateway.base_url}/chat/completions", json=body, headers=key.headers, timeout=60)
    assert answer.status_code == 200, answer.text
    id_ = answer.headers["x-request-id"]
    found: dict[str, Any] = requests.get(f"{gateway.base_url}/requests/{id_}", headers=key.headers, timeout=60).json()
    return found


def add_up(receipt: dict[str, Any]) -> Decimal:
    """The charge, worked out from what the receipt shows alone: rounded up to the nano-dollar, once."""
    total = Decimal(0)
    for line in receipt["price"]["lines"]:
        unit = line.get("per_request") or Decimal(line["per_million"]) / 1_000_000
        amount = line["count"] * Decimal(unit)
        assert amount == Decimal(line["amount"])
        total += amount
    assert total == Decimal(receipt["price"]["sum"])
    return total.quantize(Decimal("1e-9"), rounding="ROUND_CEILING")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(("prompt", "rates"), [(ABOVE, BASE), (ABOVE + 1, LONGER)], ids=["up to", "above"])
def test_the_whole_request_pays_the_tier_that_its_prompt_reaches(
    gateway: Gateway, upstream: ScriptedUpstream, sell: Callable[..., str], prompt: int, rates: Rates, stream: bool
):
    model, key = sell(BASE, LONGER), gateway.make.make_key()
    upstream.plays(says(counts(prompt, prompt_tokens_details={"cached_tokens": 40})))
    receipt = ask(gateway, key, model, stream=stream)
    nanos = ((prompt - 40) * rates.input + 40 * rates.cached + 10 * rates.output) // 10**6
    (row,) = gateway.make.list_usage(key.account_id)
    assert (row.charge_nanos, row.cost_nanos, row.loss_nanos) == (nanos, nanos, 0)
    assert receipt["price"]["above_prompt_tokens"] == rates.above_tokens
    assert receipt["prices_per_million"]["prompt"] == str(rates.input // DOLLAR)
    assert add_up(receipt) == Decimal(receipt["charge"])


@ON_SQLITE
def test_the_hold_is_the_dearest_tier_s_that_the_bytes_can_reach(
    gateway: Gateway, upstream: ScriptedUpstream, sell: Callable[..., str]
):
    upstream.plays(says(counts(10)))
    holds = []
    for name, above in (("holds-near", ABOVE), ("holds-deep", 30_000)):  # the second is out of so small a body's reach
        longer = make_rates({"input": 2 * DOLLAR, "output": 6 * DOLLAR}, above)
        model, key = sell(BASE, longer, id_=name), gateway.make.make_key()
        ask(gateway, key, model)
        (row,) = gateway.make.list_usage(key.account_id)
        holds.append(row.hold_nanos)
    dear, cheap = holds
    prompt = (cheap - 50 * 4000) // 1000
    assert ABOVE < prompt < 1000
    assert dear == prompt * 2000 + 50 * 6000


@pytest.mark.parametrize(
    ("model_bps", "account_bps", "applied", "rule"),
    [(0, None, 0, "none"), (2_500, None, 2_500, "model"), (2_500, -333, -333, "account"), (0, 1, 1, "account")],
)
def test_the_markup_is_in_price_hold_charge_and_list_alike(
    gateway: Gateway,
    upstream: ScriptedUpstream,
    sell: Callable[..., str],
    model_bps: int,
    account_bps: int | None,
    applied: int,
    rule: str,
):
    model, key = sell(BASE, LONGER, markup_bps=model_bps), gateway.make.make_key()
    with gateway.make.app.app_context():
        with transaction() as session:
            session.execute(sa.update(Account).where(Account.id == key.account_id).values(markup_bps=account_bps))
            bump("keys")
        gateway.make.wait_for_gateway()
    upstream.plays(says(counts(77, 13)))
    receipt = ask(gateway, key, model)
    own = BASE.marked_up(applied)
    (row,) = gateway.make.list_usage(key.account_id)
    assert row.charge_nanos == -(-(77 * own.input + 13 * own.output) // 10**6)
    assert row.cost_nanos == (77 * BASE.input + 13 * BASE.output) // 10**6
    assert (receipt["price"]["markup_rule"], Decimal(receipt["price"]["markup_percent"])) == (
        rule,
        Decimal(applied) / 100,
    )
    assert add_up(receipt) == Decimal(receipt["charge"])
    listed = requests.get(f"{gateway.base_url}/models/{model}", headers=key.headers, timeout=60).json()["pricing"]
    assert Decimal(listed["prompt"]) * 10**15 == own.input
    assert [Decimal(tier["prompt"]) * 10**15 for tier in listed["tiers"]] == [LONGER.marked_up(applied).input]
    assert listed["tiers"][0]["above_prompt_tokens"] == ABOVE


def test_sound_reasoning_and_each_request_are_charged_at_their_own_prices(
    gateway: Gateway, upstream: ScriptedUpstream, sell: Callable[..., str]
):
    prices = {
        "input": DOLLAR,
        "output": 4 * DOLLAR,
        "reasoning": 5 * DOLLAR,
        "audio_input": 40 * DOLLAR,
        "request": 1234,
    }
    model, key = sell(make_rates(prices), provider="openai"), gateway.make.make_key()
    with gateway.make.app.app_context(), transaction() as session:
        session.execute(
            sa.text("UPDATE models SET input_modalities = :kinds WHERE id = :id"),
            {"kinds": '["text","audio"]', "id": model},
        )
        bump("catalogue")
    with gateway.make.app.app_context():
        gateway.make.wait_for_gateway()
    usage = counts(
        90,
        20,
        prompt_tokens_details={"audio_tokens": 60},
        completion_tokens_details={"reasoning_tokens": 15},
    )
    upstream.plays(says(usage))
    sound = {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}
    heard = ask(gateway, key, model, messages=[{"role": "user", "content": [sound]}])
    fee, said = 1234, 5 * 4000 + 15 * 5000
    assert Decimal(heard["charge"]) * DOLLAR == 30 * 1000 + 60 * 40_000 + said + fee
    assert add_up(heard) == Decimal(heard["charge"])
    assert {line["class"] for line in heard["price"]["lines"]} == {
        *("prompt", "audio_prompt", "completion", "reasoning", "request"),
    }
    silent = ask(gateway, key, model)  # what nobody sent can't be heard: the hold didn't know its price
    assert Decimal(silent["charge"]) * DOLLAR == 90 * 1000 + said + fee
    assert Decimal(silent["hold"]) < Decimal(heard["hold"])


@ON_SQLITE
def test_what_failed_has_no_lines_and_no_fee(gateway: Gateway, sell: Callable[..., str]):
    model, key = sell(make_rates({"input": DOLLAR, "output": DOLLAR, "request": 1000})), gateway.make.make_key()
    gateway.make.disable_channels(model)
    body = {"model": model, "messages": HELLO}
    answer = requests.post(f"{gateway.base_url}/chat/completions", json=body, headers=key.headers, timeout=60)
    assert answer.status_code == 503
    id_ = answer.headers["x-request-id"]
    receipt = requests.get(f"{gateway.base_url}/requests/{id_}", headers=key.headers, timeout=60).json()
    assert (receipt["price"]["lines"], receipt["price"]["sum"], receipt["charge"]) == ([], "0", "0")


def test_a_price_takes_effect_at_its_moment_in_a_worker_that_runs(app: Flask):
    services: Services = app.extensions["bridge_services"]
    with time_machine.travel(now_utc(), tick=False) as clock, app.app_context():
        add_model("m", provider="openai", input_price_nanos=5, output_price_nanos=5, context_tokens=9_000)
        enter_price("m", [make_rates({"input": 7, "output": 7})], effective_at=now_utc() + datetime.timedelta(hours=1))

        def price() -> int:
            found = services.catalogue.resolve("m").price
            assert found
            return found.base.input

        services._catalogue = None
        assert price() == 5
        clock.shift(3599)
        assert price() == 5
        clock.shift(1)
        assert price() == 7


def test_a_request_keeps_the_price_of_its_hold_and_the_next_one_has_the_new(
    app: Flask, make: Factories, upstream: ScriptedUpstream
):
    """The promotion ends while the first request is under way: the snapshot is swapped then, and no worker restarts."""
    key, client = make.make_key(), app.test_client()
    usage = counts(prompt=10, completion_=10)
    with time_machine.travel(datetime.datetime(2026, 12, 31, 23, 59, 59, tzinfo=datetime.UTC), tick=False) as clock:
        model = make.make_model(input_price=DOLLAR, output_price=2 * DOLLAR)
        make.make_channel(upstream.base_url, model)
        with app.app_context():
            doubled = make_rates({"input": 2 * DOLLAR, "output": 4 * DOLLAR})
            first = newest_prices()[model].id
            second = enter_price(model, [doubled], effective_at=datetime.datetime(2027, 1, 1, tzinfo=datetime.UTC)).id
            versions.poll(db.engine)

        def answer(request: Received) -> list[bytes]:
            if len(upstream.requests) == 1:
                clock.shift(1)
            return says(usage)(request)

        upstream.plays(answer)
        body = {"model": model, "messages": HELLO, "max_tokens": 10}
        (coming,) = client.get(f"/v1/models/{model}", headers=key.headers).json["pricing"]["coming"]
        assert (coming["starts_at"], coming["prompt"]) == ("2027-01-01T00:00:00Z", "0.000002")
        for id_, charge in ((first, "0.00003"), (second, "0.00006")):
            done = client.post("/v1/chat/completions", json=body, headers=key.headers)
            assert done.headers["x-bridge-cost"] == charge
            receipt = client.get(f"/v1/requests/{done.headers['x-request-id']}", headers=key.headers).json
            assert (receipt["price"]["version"], receipt["charge"]) == (id_, charge)
        assert client.get(f"/v1/models/{model}", headers=key.headers).json["pricing"]["prompt"] == "0.000002"
