"""What pages and GET /v1/models say about a model: its price, its names, and whether it is available."""

import datetime

import pytest
import time_machine
from flask import Flask

from bridge import versions
from bridge.catalogue import editing, listing
from bridge.catalogue.listing import list_models, list_priced_ids, sandbox_serves
from bridge.catalogue.model_editing import enter_price
from bridge.catalogue.rates import make_rates
from bridge.catalogue.tables import Channel
from bridge.db import db, now_utc

HOUR = datetime.timedelta(hours=1)


@pytest.fixture(autouse=True)
def _two_models(app: Flask) -> None:
    for id_, provider in (("gpt-4o", "openai"), ("claude-x", "anthropic")):
        editing.add_model(
            id_, provider=provider, input_price_nanos=2, output_price_nanos=4, cached_price_nanos=1, context_tokens=9
        )


def connect(name: str, provider: str, **fields: object) -> None:
    db.session.add(Channel(name=name, provider=provider, **fields))
    db.session.commit()


def statuses() -> dict[str, str]:
    return {model.id: model.status for model in list_models()}


def test_a_model_is_listed_with_everything_a_reader_needs():
    editing.add_alias("b", "gpt-4o")
    editing.add_alias("a", "gpt-4o")
    editing.set_price("gpt-4o", input_nanos=3, cached_nanos=2, output_nanos=5)
    model = list_models()[1]
    assert (model.id, model.provider, model.provider_label) == ("gpt-4o", "openai", "OpenAI")
    assert (model.input_nanos_per_mtok, model.cached_nanos_per_mtok, model.output_nanos_per_mtok) == (3, 2, 5)
    assert (model.aliases, model.input_modalities, model.source) == (("a", "b"), ("text",), "operator")


def test_a_model_without_a_channel_is_unavailable():
    connect("main", "openai")
    connect("off", "anthropic", enabled=False)
    assert statuses() == {"gpt-4o": "live", "claude-x": "unavailable"}


def test_a_model_is_degraded_while_all_its_channels_are_out():
    connect("a", "openai", health="cooling", cooling_until=now_utc() + HOUR)
    connect("b", "openai", health="out")
    assert statuses()["gpt-4o"] == "degraded"
    connect("c", "openai", health="healthy")
    assert statuses()["gpt-4o"] == "live"


def test_a_model_is_unavailable_while_no_upstream_of_its_channels_has_it():
    connect("a", "openai", refused_models=["gpt-4o"])
    assert statuses()["gpt-4o"] == "unavailable"
    connect("b", "openai", refused_models=["gpt-9"])
    assert statuses()["gpt-4o"] == "live"


def test_a_cooldown_that_has_passed_counts_no_more():
    connect("a", "openai", health="cooling", cooling_until=now_utc() - HOUR)
    assert statuses()["gpt-4o"] == "live"


def test_the_sandbox_s_own_models_are_listed_only_beside_an_enabled_sandbox():
    editing.add_model("sandbox-echo", provider="sandbox", input_price_nanos=0, output_price_nanos=0, context_tokens=9)
    assert "sandbox-echo" not in statuses()
    connect("sandbox", "sandbox")
    assert statuses()["sandbox-echo"] == "live"


def test_it_is_said_when_a_real_model_is_answered_by_the_sandbox_alone():
    assert not sandbox_serves()
    connect("sandbox", "sandbox")
    connect("main", "openai")
    assert sandbox_serves()
    connect("other", "anthropic")
    assert not sandbox_serves()


def test_what_memory_has_of_the_catalogue_is_never_outdated(monkeypatch: pytest.MonkeyPatch):
    def read() -> tuple[int, tuple[str, ...]]:
        model = list_models(number=db.session.scalar(versions.select_number("catalogue")))[1]
        return model.output_nanos_per_mtok, model.aliases

    assert read() == (4, ())
    with monkeypatch.context() as patched:
        patched.setattr(listing, "list_prices_in_effect", None)  # what is in memory needs no price
        assert read() == (4, ())
    editing.add_alias("a", "gpt-4o")
    editing.set_price("gpt-4o", input_nanos=3, cached_nanos=2, output_nanos=5)
    assert read() == (5, ("a",))
    versions.poll(db.engine)  # the worker sees now what the page saw
    with monkeypatch.context() as patched:
        patched.setattr(listing, "list_prices_in_effect", None)
        assert read() == (5, ("a",))
    enter_price("gpt-4o", [make_rates({"input": 7, "output": 7})], effective_at=now_utc() + HOUR)
    assert read() == (5, ("a",))
    with time_machine.travel(now_utc() + HOUR + HOUR):
        assert read() == (7, ("a",))
    assert list_priced_ids(0) == ["claude-x", "gpt-4o"]
