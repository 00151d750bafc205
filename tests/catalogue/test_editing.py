"""What an operator may do to channels, models, prices and aliases, and what is refused with the field's name."""

from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from bridge import vault, versions
from bridge.catalogue import editing
from bridge.catalogue.connect import connect_environment
from bridge.catalogue.listing import list_models, newest_prices
from bridge.catalogue.tables import Alias, Channel, Model, Price
from bridge.config import Settings
from bridge.db import db
from bridge.errors import InvalidRequest, NotFound

DOLLAR = 1_000_000_000


@pytest.fixture
def model(app: Flask) -> Model:
    return editing.add_model(
        "gpt-4o", provider="openai", input_price_nanos=2 * DOLLAR, output_price_nanos=8 * DOLLAR, context_tokens=128_000
    )


def version() -> int:
    versions.poll(db.engine)
    return versions.number("catalogue")


def refused(field: str, function: Any, *arguments: Any, **named: Any) -> str:
    """The message of the 400 that names this field; nothing may have changed."""
    before = version()
    with pytest.raises(InvalidRequest) as caught:
        function(*arguments, **named)
    assert caught.value.param == field
    assert version() == before
    return caught.value.message


def test_a_channel_keeps_its_key_sealed_and_shows_four_characters(model: Model):
    before = version()
    editing.add_channel("main", "openai", api_key="sk-provider-9876", priority=2, weight=3)
    (channel,) = editing.list_channels()
    assert (channel.name, channel.priority, channel.weight, channel.models) == ("main", 2, 3, None)
    assert channel.key_last_four == "9876"
    assert "provider" not in str(channel.sealed_key)
    assert vault.unseal(str(channel.sealed_key)) == "sk-provider-9876"
    assert version() == before + 1


def test_a_channel_s_models_are_named_by_id_or_alias_and_have_an_upstream_name(model: Model):
    editing.add_alias("best", "gpt-4o")
    channel = editing.add_channel("a", "openai", api_key="k", models={"best": "x/gpt"})
    assert channel.models == {"gpt-4o": "x/gpt"}
    assert editing.update_channel("a", models={"gpt-4o": ""}).models == {"gpt-4o": "gpt-4o"}
    assert editing.update_channel("a", models=None).models is None


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("name", {"name": "two words"}),
        ("name", {"name": ""}),
        ("name", {"name": "openai-env"}),
        ("provider", {"provider": "nobody"}),
        ("api_key", {"api_key": None}),
        ("api_key", {"api_key": "with space"}),
        ("api_key", {"api_key": "line\r\nbreak: x"}),
        ("models", {"models": {"no-such-model": "x"}}),
        ("priority", {"priority": -1}),
        ("weight", {"weight": 0}),
        ("weight", {"weight": True}),
        ("base_url", {"base_url": "ftp://x.example"}),
        ("base_url", {"base_url": "x.example/v1"}),
        ("base_url", {"base_url": "https://user:pass@x.example"}),
        ("base_url", {"base_url": "https://x.example/v1?key=1"}),
        ("base_url", {"base_url": "https://x.example:99999"}),
        ("base_url", {"base_url": "https://[half"}),
        ("base_url", {"base_url": "https://x.example/a b"}),
    ],
)
def test_a_channel_that_could_not_work_is_refused_by_field(app: Flask, field: str, fields: dict[str, Any]):
    arguments = {"name": "main", "provider": "openai", "api_key": "k", **fields}
    refused(field, editing.add_channel, arguments.pop("name"), arguments.pop("provider"), **arguments)
    assert db.session.scalars(select(Channel)).all() == []


def test_a_channel_s_name_is_used_once(app: Flask):
    editing.add_channel("main", "openai", api_key="k")
    refused("name", editing.add_channel, "main", "openai", api_key="k")


@pytest.mark.parametrize(
    "url",
    ["http://x.example", "https://127.0.0.1/v1", "https://10.0.0.7", "https://[::1]:8443/v1", "https://localhost/v1"],
)
def test_production_takes_only_https_to_public_addresses(production: Flask, url: str):
    message = refused("base_url", editing.add_channel, "main", "openai", base_url=url)
    assert "ALLOW_PRIVATE_UPSTREAMS" in message
    assert editing.add_channel("main", "openai", base_url="https://x.example/v1/").base_url == "https://x.example/v1"


def test_development_takes_http_on_loopback_without_a_key(app: Flask):
    channel = editing.add_channel("local", "openai", base_url="http://127.0.0.1:8080/v1")
    assert (channel.base_url, channel.sealed_key) == ("http://127.0.0.1:8080/v1", None)


def test_production_refuses_the_sandbox(production: Flask):
    refused("provider", editing.add_channel, "s", "sandbox")
    with production.app_context():
        db.session.add(Channel(name="sandbox", provider="sandbox", enabled=False))
        db.session.commit()
    refused("provider", editing.set_channel_enabled, "sandbox", True)


def test_what_is_not_given_stays_and_none_takes_away(app: Flask):
    editing.add_channel("main", "openai", api_key="k-1234", base_url="https://x.example", priority=4)
    channel = editing.update_channel("main", base_url="https://x.example/v2")
    assert (channel.base_url, channel.key_last_four, channel.priority) == ("https://x.example/v2", "1234", 4)
    assert editing.update_channel("main", api_key=None).sealed_key is None
    refused("colour", editing.update_channel, "main", colour="red")


def test_a_channel_is_disabled_enabled_with_a_clean_slate_and_removed(app: Flask):
    channel = editing.add_channel("main", "openai", api_key="k")
    assert not editing.set_channel_enabled("main", False).enabled
    channel.health = "out"
    db.session.commit()
    before = version()
    assert editing.set_channel_enabled("main", True).health == "unknown"
    editing.remove_channel("main")
    assert version() == before + 2
    for change in (editing.remove_channel, editing.find_channel, editing.update_channel):
        with pytest.raises(NotFound):
            change("main")


def test_the_environment_s_channel_is_only_the_environment_s_to_change(settings: Settings):
    connect_environment(settings, {"OPENAI_API_KEY": "k-1234"})
    refused("api_key", editing.update_channel, "openai-env", api_key="x")
    refused("base_url", editing.update_channel, "openai-env", base_url="https://x.example")
    assert "OPENAI_API_KEY" in refused("name", editing.remove_channel, "openai-env")
    assert editing.update_channel("openai-env", priority=3).priority == 3
    connect_environment(settings, {})
    assert "OPENAI_API_KEY" in refused("enabled", editing.set_channel_enabled, "openai-env", True)
    editing.remove_channel("openai-env")


def test_a_model_is_added_with_a_price_and_sensible_sizes(model: Model):
    (listed,) = list_models()
    assert (listed.max_output_tokens, listed.name) == (listed.context_tokens, "gpt-4o")
    assert (listed.input_nanos_per_mtok, listed.cached_nanos_per_mtok) == (2 * DOLLAR, 2 * DOLLAR)
    assert (listed.output_nanos_per_mtok, listed.source) == (8 * DOLLAR, "operator")
    small = editing.add_model(
        "tiny", provider="local", input_price_nanos=0, output_price_nanos=0, context_tokens=2_000, name="Tiny"
    )
    assert (small.max_output_tokens, small.name) == (2_000, "Tiny")


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("id", {"id_": "two words"}),
        ("id", {"id_": ""}),
        ("id", {"id_": "gpt-4o"}),
        ("provider", {"provider": "nobody"}),
        ("input_price", {"input_price_nanos": -1}),
        ("output_price", {"output_price_nanos": 10**15 + 1}),
        ("cached_price", {"cached_price_nanos": 0.5}),
        ("cache_write_price", {"cache_write_price_nanos": -1}),
        ("cache_write_hour_price", {"cache_write_hour_price_nanos": 10**15 + 1}),
        ("context_tokens", {"context_tokens": 0}),
        ("max_output_tokens", {"max_output_tokens": 1_001}),
    ],
)
def test_a_model_that_makes_no_sense_is_refused_by_field(model: Model, field: str, fields: dict[str, Any]):
    sound = {"id_": "new", "provider": "openai", "input_price_nanos": 1, "output_price_nanos": 1}
    refused(field, editing.add_model, **{**sound, "context_tokens": 1_000, **fields})


@pytest.mark.parametrize(("given", "stands"), [((), (3, 3)), ((4,), (4, 4)), ((4, 6), (4, 6)), ((None, 6), (3, 6))])
def test_what_writes_cost_follows_the_input_unless_it_is_said(model: Model, given: tuple[int], stands: tuple[int, int]):
    written = dict(zip(("cache_write_nanos", "cache_write_hour_nanos"), given, strict=False))
    price = editing.set_price("gpt-4o", input_nanos=3, cached_nanos=1, output_nanos=9, **written)
    assert (price.cache_write_nanos_per_mtok, price.cache_write_hour_nanos_per_mtok) == stands
    fields = {name.replace("_nanos", "_price_nanos"): nanos for name, nanos in written.items()}
    sound = {"provider": "openai", "input_price_nanos": 3, "output_price_nanos": 9, "context_tokens": 1_000}
    editing.add_model("new", **sound, **fields)
    new = newest_prices()["new"]
    assert (new.cache_write_nanos_per_mtok, new.cache_write_hour_nanos_per_mtok) == stands


def test_a_new_price_counts_and_the_old_one_stays_on_record(model: Model):
    editing.set_price("gpt-4o", input_nanos=3, cached_nanos=1, output_nanos=9)
    assert newest_prices()["gpt-4o"].output_nanos_per_mtok == 9
    assert len(db.session.scalars(select(Price)).all()) == 2
    refused("output_price", editing.set_price, "gpt-4o", input_nanos=1, cached_nanos=1, output_nanos=-1)
    with pytest.raises(NotFound):
        editing.set_price("nothing", input_nanos=1, cached_nanos=1, output_nanos=1)


def test_an_alias_names_one_model_and_hides_none(model: Model):
    editing.add_alias("best", "gpt-4o")
    refused("name", editing.add_alias, "best", "gpt-4o")
    refused("name", editing.add_alias, "gpt-4o", "gpt-4o")
    refused("name", editing.add_alias, "two words", "gpt-4o")
    with pytest.raises(NotFound):
        editing.add_alias("other", "best")
    editing.remove_alias("best")
    assert db.session.get(Alias, "best") is None
    with pytest.raises(NotFound):
        editing.remove_alias("best")


def test_a_model_is_retired_and_restored(model: Model):
    before = version()
    editing.retire_model("gpt-4o")
    assert [listed.status for listed in list_models()] == ["retired"]
    editing.restore_model("gpt-4o")
    assert [listed.status for listed in list_models()] == ["unavailable"]
    assert version() == before + 2
    with pytest.raises(NotFound):
        editing.retire_model("nothing")
