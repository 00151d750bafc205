"""A model's page says what is known of it and nothing else; the list sorts, pages, and has what is retired last."""

import datetime
import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from bridge.accounts.tables import Account
from bridge.catalogue.model_editing import enter_price, retire_model
from bridge.catalogue.rates import make_rates
from bridge.catalogue.tables import Alias, Channel, Model, Price
from bridge.dashboard.models import PAGE_SIZE
from bridge.dashboard.status_snapshot import forget_status
from bridge.db import now_utc, transaction
from bridge.ledger.rollup_tables import ModelDay, ModelSpeed
from tests.dashboard.pages import make_pages, sign_up
from tests.factories import DOLLAR

MODELS: dict[str, dict[str, Any]] = {
    "gpt-4o": {"aliases": ("gpt-4o-latest",), "takes": ["text", "image"]},
    "gpt-4o-mini": {"price": DOLLAR // 10},
    "gpt-4.1-nano": {"upstream_id": "gpt-4o-mini", "note": "Retired by its maker; served by gpt-4o-mini"},
    "claude-sonnet-4-5": {"provider": "anthropic", "thinks": True, "aliases": ("sonnet-latest",)},
    "text-embedding-3-small": {"kinds": ["embeddings"]},
    "gpt-image-1-mini": {"kinds": ["images"]},
    "gpt-3.5-turbo-instruct": {"kinds": ["completions"]},
    "vendor/odd-name": {"provider": "anthropic"},
}


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    with make_pages(tmp_path, public_base_url="https://gateway.example/") as app:
        forget_status()
        with app.app_context(), transaction() as session:
            for id_, fields in MODELS.items():
                _add(session, id_, **fields)
            session.add(Channel(name="secret-route", provider="openai", recent="a" * 20))
        yield app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def _add(session: Any, id_: str, price: int = DOLLAR, **fields: Any) -> None:
    kinds = fields.get("kinds", ["chat"])
    model = Model(
        id=id_,
        name=id_,
        provider=fields.get("provider", "openai"),
        upstream_id=fields.get("upstream_id", id_),
        context_tokens=128_000,
        max_output_tokens=0 if kinds == ["embeddings"] else 16_000,
        input_modalities=fields.get("takes", ["text"]),
        kinds=kinds,
        thinks=fields.get("thinks", False),
        note=fields.get("note"),
    )
    session.add(model)
    session.flush()
    others = {f"{name}_nanos_per_mtok": price for name in ("input", "cache_write", "cache_write_hour")}
    dearer = {"cached_nanos_per_mtok": price // 10, "output_nanos_per_mtok": 4 * price}
    session.add(Price(model_id=id_, **others, **dearer, source="t", checked_on=datetime.date(2026, 11, 21)))
    session.add_all(Alias(name=name, model_id=id_) for name in fields.get("aliases", ()))


def words_of(client: FlaskClient, path: str) -> str:
    """What a page says, without markup and what stands around it."""
    main = client.get(path).text.split("<main")[1]
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", main)))


def listed(page: str) -> list[str]:
    return re.findall(r'<th scope="row"><a class="id" href="[^"]+">([^<]+)<', page)


def test_a_page_has_prices_by_class_and_tier_and_a_call_at_the_price_it_would_be_charged(
    app: Flask, client: FlaskClient
):
    base = {"input": 2 * DOLLAR, "cached": DOLLAR // 5, "cache_write": 5 * DOLLAR // 2, "output": 10 * DOLLAR}
    longer = make_rates({name: 2 * nanos for name, nanos in base.items()}, 272_000)
    with app.app_context():
        enter_price("gpt-4o", [make_rates({**base, "audio_input": 40 * DOLLAR}), longer])
    said = words_of(client, "/models/gpt-4o")
    for words in (
        "Up to 272K of prompt Above 272K",
        "Prompt $2.00 $4.00",
        "Prompt, from cache $0.20 $0.40 10% of the prompt’s price",
        "Prompt, to cache $2.50 $5.00 125% of the prompt’s price",
        "Answer $10.00 $20.00",
        "Prompt, sound $40.00 $4.00",
        "A call of 2,000 tokens in and 500 out: $0.009",
        "Made by OpenAI Channels 1",
        "Images yes Files no",
    ):
        assert words in said, words
    assert "for an hour" not in said, "it costs what a write for minutes does"
    assert "secret-route" not in client.get("/models/gpt-4o").text


def test_what_a_model_will_cost_is_told_with_the_day(app: Flask, client: FlaskClient):
    starts = now_utc() + datetime.timedelta(days=40)
    with app.app_context(), transaction() as session:
        terms = {f"{name}_nanos_per_mtok": 7 * DOLLAR for name in ("input", "cached", "cache_write", "output")}
        hour = {"cache_write_hour_nanos_per_mtok": 7 * DOLLAR}
        session.add(Price(model_id="gpt-4o", **terms, **hour, source="t", effective_at=starts))
    said = words_of(client, "/models/gpt-4o")
    assert f"Prices from {starts.date().isoformat()}" in said
    assert "Prompt $7.00" in said


def test_an_account_reads_its_own_prices(app: Flask, client: FlaskClient):
    sign_up(client)
    with app.app_context(), transaction() as session:
        session.execute(sa.update(Account).values(markup_bps=10_000))
    said = words_of(client, "/models/gpt-4o")
    assert "Prompt $2.00" in said
    assert "A call of 2,000 tokens in and 500 out: $0.008" in said
    assert "Prompt $1.00" in words_of(app.test_client(), "/models/gpt-4o")


@pytest.mark.parametrize(
    ("model", "path", "call"),
    [
        ("gpt-4o", "/chat/completions", "client.chat.completions.create"),
        ("text-embedding-3-small", "/embeddings", "client.embeddings.create"),
        ("gpt-image-1-mini", "/images/generations", "client.images.generate"),
        ("gpt-3.5-turbo-instruct", "/completions", "client.completions.create"),
    ],
)
def test_the_code_asks_the_endpoint_that_the_model_has_at_this_address(
    client: FlaskClient, model: str, path: str, call: str
):
    said = words_of(client, f"/models/{model}").replace(" ", "")
    assert f"curlhttps://gateway.example/v1{path}\\" in said
    assert call in said
    assert said.count(f'model="{model}"') == 1
    assert ("Answer$4.00" in said) == (model != "text-embedding-3-small")


@pytest.mark.parametrize(
    ("name", "model"),
    {
        "gpt-4o-latest": "gpt-4o",
        "openai/gpt-4o": "gpt-4o",
        "anthropic/claude-sonnet-4-5": "claude-sonnet-4-5",
        "sonnet": "claude-sonnet-4-5",
    }.items(),
)
def test_other_names_lead_to_the_page(client: FlaskClient, name: str, model: str):
    answer = client.get(f"/models/{name}")
    assert (answer.status_code, answer.headers["Location"]) == (302, f"/models/{model}")


@pytest.mark.parametrize("name", ["gpt-4oo", "google/gpt-4o", "openai/claude-sonnet-4-5"])
def test_a_name_that_no_model_has_is_answered_with_those_like_it(client: FlaskClient, name: str):
    answer = client.get(f"/models/{name}")
    assert answer.status_code == 404
    meant = "claude-sonnet-4-5" if "claude" in name else "gpt-4o"
    assert f'href="/models/{meant}"' in answer.text.split("Did you mean")[1]
    assert "Did you mean" not in client.get("/models/zzzzzzzz").text


def test_a_model_with_a_slash_in_its_name_has_a_page(client: FlaskClient):
    assert listed(client.get("/models?q=odd").text) == ["vendor/odd-name"]
    assert "vendor/odd-name" in words_of(client, "/models/vendor/odd-name")


def test_who_comes_after_whom_is_told_on_both_pages(app: Flask, client: FlaskClient):
    said = words_of(client, "/models/gpt-4.1-nano")
    assert re.search(
        r"served by gpt-4o-mini\. Requests for gpt-4\.1-nano go to gpt-4o-mini ?, at the prices below", said
    )
    assert "gpt-4.1-nano answered by this" in words_of(client, "/models/gpt-4o-mini")
    with app.app_context():
        retire_model("gpt-4.1-nano")
    said = words_of(client, "/models/gpt-4.1-nano")
    assert re.search(r"Retired. Requests for it are refused and cost nothing; ask for gpt-4o-mini ?\.", said)
    assert "curl" not in said
    assert "Requests are refused; ask for gpt-4o-mini" in words_of(client, "/models")
    assert "answered by this" not in words_of(client, "/models/gpt-4o-mini")


def test_similar_models_take_the_same_and_are_served(client: FlaskClient):
    said = words_of(client, "/models/gpt-4o").partition("Similar models")[2].partition("Capabilities")[0]
    assert "gpt-4o-mini" in said
    for other in ("gpt-4.1-nano", "claude-sonnet-4-5", "text-embedding-3-small"):  # past, not served, of another kind
        assert other not in said


def test_only_what_was_measured_is_told(app: Flask, client: FlaskClient):
    said = words_of(client, "/models/gpt-4o")
    assert "no answer since yesterday" in said
    assert "no calls yet" in said
    assert "Nothing was answered in 30 days" in said
    today = now_utc().date()
    with app.app_context(), transaction() as session:
        for ago, bucket in ((0, 10), (3, 20), (29, 12), (30, 40)):
            day = today - datetime.timedelta(days=ago)
            session.add(ModelSpeed(day=day, model_id="gpt-4o", bucket=bucket, answers=10))
            session.add(ModelDay(day=day, model_id="gpt-4o", answered=199, failed=1))
    forget_status()
    page, said = client.get("/models/gpt-4o").text, words_of(client, "/models/gpt-4o")
    assert "99.50% of calls that count" in said
    assert f"Quickest 168 ms on {today.isoformat()}, slowest 1.56 s" in said
    assert " 2 s " in said, "the chart's scale is in seconds"
    assert page.count('<rect class="c1"') == 2 * 3, "a bar for each day with answers, in both widths"
    assert "gpt-4o, 90 days: 4 good, 86 without calls" in page
    assert "First token, 30 days" not in words_of(client, "/models/claude-sonnet-4-5"), "no channel serves it"


def test_a_gateway_without_a_status_page_tells_no_measurements(tmp_path: Path):
    with make_pages(tmp_path, status_page=False) as app:
        with app.app_context(), transaction() as session:
            _add(session, "gpt-4o")
            session.add(Channel(name="one", provider="openai"))
        said = words_of(app.test_client(), "/models/gpt-4o")
    assert "Uptime" not in said
    assert "First token" not in said
    assert "Prompt, from cache" in said


def test_parameters_are_those_that_the_translation_takes(client: FlaskClient):
    assert "<code>seed</code>" in client.get("/models/gpt-4o").text
    page = client.get("/models/claude-sonnet-4-5").text
    assert "<code>seed</code>" not in page
    assert "<code>tools</code>" in page


def test_the_list_sorts_by_its_columns_and_has_past_models_last(app: Flask, client: FlaskClient):
    page = client.get("/models?sort=input").text
    assert listed(page)[0] == "gpt-4o-mini"
    assert listed(page)[-1] == "gpt-4.1-nano"
    assert listed(page.split("<h2>Retired</h2>")[1]) == ["gpt-4.1-nano"]
    assert 'href="/models?q=&provider=&input=&sort=-input"' in html.unescape(page)
    down = listed(client.get("/models?sort=-input").text)
    assert down[-2:] == ["gpt-4o-mini", "gpt-4.1-nano"]
    assert listed(client.get("/models?sort=password").text) == listed(client.get("/models").text)
    with app.app_context():
        retire_model("gpt-4o")
    assert listed(client.get("/models").text)[-2:] == ["gpt-4.1-nano", "gpt-4o"]


def test_a_long_list_comes_in_pages(app: Flask, client: FlaskClient):
    with app.app_context(), transaction() as session:
        for number in range(PAGE_SIZE + 5):
            _add(session, f"many-{number:03}")
    first, second = client.get("/models?q=many&sort=model").text, client.get("/models?q=many&sort=model&page=2").text
    assert listed(first) == [f"many-{number:03}" for number in range(PAGE_SIZE)]
    assert listed(second) == [f"many-{number:03}" for number in range(PAGE_SIZE, PAGE_SIZE + 5)]
    assert re.search(r'href="[^"]*q=many[^"]*sort=model[^"]*page=2"', first)
    assert not listed(client.get("/models?page=9").text)
    assert listed(client.get("/models?page=-1").text)


def test_what_an_operator_changes_is_on_the_next_page(app: Flask, client: FlaskClient):
    """Lists are kept in memory, by the catalogue's number."""
    assert "$1.00" in client.get("/models?q=gpt-4o-latest").text
    with app.app_context():
        enter_price("gpt-4o", [make_rates({"input": 9 * DOLLAR, "output": 9 * DOLLAR})])
    assert "$9.00" in client.get("/models?q=gpt-4o-latest").text
    assert "Live" in words_of(client, "/models?q=gpt-4o-latest")
    with app.app_context(), transaction() as session:  # a channel's state has no such number
        session.execute(sa.update(Channel).values(health="out"))
    said = words_of(client, "/models?q=gpt-4o-latest")
    assert "Unavailable" in said
    assert "Live" not in said
