"""`flask catalogue sync` adds what is missing and never changes a row; `diff` shows the rest."""

import datetime
from typing import Any

import pytest
import time_machine
from flask import Flask
from sqlalchemy import delete, func, select

from bridge import versions
from bridge.catalogue import sync
from bridge.catalogue.connect import connect_environment
from bridge.catalogue.editing import add_alias, enter_price, remove_alias, set_price
from bridge.catalogue.listing import newest_prices
from bridge.catalogue.price_rows import list_prices_to_come, tiers_of
from bridge.catalogue.seed import SourcedPrice, load_seed
from bridge.catalogue.sync import list_differences, sync_catalogue
from bridge.catalogue.tables import Alias, Channel, Model, Price
from bridge.config import Settings
from bridge.db import db, transaction


@pytest.fixture(autouse=True)
def _no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.catalogue.connect.provider_credentials", lambda _providers, _environ: {})


def count(table: type) -> int:
    return db.session.scalar(select(func.count()).select_from(table)) or 0


def version() -> int:
    versions.poll(db.engine)
    return versions.number("catalogue")


def test_a_new_catalogue_is_filled_with_models_prices_and_aliases(settings: Settings):
    connect_environment(settings)  # so that only the models change from here
    before = version()
    sync_catalogue(settings)
    seeds = [model for provider in load_seed().values() for model in provider.models]
    assert count(Model) == len(seeds)
    assert count(Price) == len(seeds) + sum(map(len, list_prices_to_come().values()))
    assert version() == before + 1
    assert db.session.get_one(Alias, "claude-3-5-sonnet").model_id == "claude-3-5-sonnet-20241022"
    price = newest_prices()["gemini-1.5-flash"]
    assert (price.input_nanos_per_mtok, price.output_nanos_per_mtok) == (300_000_000, 2_500_000_000)
    assert price.source == "genai-prices 0.2.3"
    assert price.checked_on
    assert newest_prices()["sandbox-echo"].output_nanos_per_mtok == 0


def test_the_end_of_a_promotion_is_entered_as_a_price_to_come(settings: Settings):
    with time_machine.travel(datetime.datetime(2026, 11, 30, 12, tzinfo=datetime.UTC)):
        sync_catalogue(settings)
        coming = list_prices_to_come()
        starts = {id_: [f"{price.effective_at:%Y-%m-%d %H:%M}" for price in prices] for id_, prices in coming.items()}
        assert starts["gemini-3.6-flash"] == starts["gemini-3.8-flash"] == ["2027-01-01 00:00"]
        assert starts["gemini-4-argon"] == starts["gemini-4-carbon"] == ["2026-12-01 00:00"]
        assert list_differences() == []
    moment = datetime.datetime(2027, 1, 1, tzinfo=datetime.UTC)
    for at, output in ((moment - datetime.timedelta(microseconds=1), 3_750_000_000), (moment, 7_500_000_000)):
        with time_machine.travel(at, tick=False):
            price = newest_prices()["gemini-3.6-flash"]
            assert (price.output_nanos_per_mtok, price.source) == (output, "genai-prices 0.2.3")


def test_a_price_that_the_list_has_announced_is_adopted_by_an_older_catalogue(settings: Settings):
    with time_machine.travel(datetime.datetime(2026, 11, 30, 12, tzinfo=datetime.UTC)):
        sync_catalogue(settings)
        with transaction() as session:  # as an installation has it that was filled before prices to come were entered
            session.execute(delete(Price).where(Price.effective_at.is_not(None)))
        assert ("gemini-3.6-flash", datetime.date(2027, 1, 1)) in {
            (one.model_id, one.starts_on) for one in list_differences()
        }
        done = sync_catalogue(settings, adopt=True)
        assert any(line.startswith("Model gemini-3.6-flash: ") and "from 2027-01-01" in line for line in done)
        assert list_differences() == []
        assert sync_catalogue(settings, adopt=True) == []


def test_a_second_sync_finds_nothing_to_do(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    sync_catalogue(settings)
    before = version(), count(Price)
    monkeypatch.setattr(sync, "find_listed_price", lambda *_, **__: pytest.fail("the price list was opened"))
    assert sync_catalogue(settings) == []
    assert (version(), count(Price)) == before


def test_sync_changes_no_row_that_is_there(settings: Settings):
    sync_catalogue(settings)
    with transaction() as session:
        session.get_one(Model, "gpt-4o").context_tokens = 9_000
        session.delete(session.get_one(Model, "o3"))
    set_price("gpt-4o", input_nanos=7, cached_nanos=7, output_nanos=7)
    assert sync_catalogue(settings) == ["Model o3 is added."]
    assert db.session.get_one(Model, "gpt-4o").context_tokens == 9_000
    assert newest_prices()["gpt-4o"].output_nanos_per_mtok == 7


def test_an_alias_that_the_operator_removed_stays_removed(settings: Settings):
    sync_catalogue(settings)
    remove_alias("claude-3-5-haiku")
    sync_catalogue(settings)
    assert db.session.get(Alias, "claude-3-5-haiku") is None


def test_a_name_that_the_operator_gave_away_is_left_alone(settings: Settings):
    sync_catalogue(settings)
    with transaction() as session:
        session.delete(session.get_one(Model, "o3"))
    add_alias("o3", "o4-mini")
    assert sync_catalogue(settings) == []
    assert db.session.get(Model, "o3") is None


def test_a_model_without_a_price_is_left_out_and_named(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    known = sync.find_listed_price

    def find(provider: str, upstream_id: str, *terms: Any, **more: Any) -> SourcedPrice | None:
        return None if upstream_id == "o3" else known(provider, upstream_id, *terms, **more)

    monkeypatch.setattr(sync, "find_listed_price", find)
    assert "Model o3 is left out: no price is known for it." in sync_catalogue(settings)
    assert db.session.get(Model, "o3") is None


def test_production_gets_neither_the_sandbox_nor_its_models(production: Flask):
    sync_catalogue(production.config["BRIDGE"])
    assert db.session.get(Model, "sandbox-echo") is None
    assert db.session.get(Model, "gpt-4o")
    assert count(Channel) == 0


def test_diff_shows_where_a_list_price_is_not_ours(settings: Settings):
    sync_catalogue(settings)
    today = newest_prices()["gpt-4o"].checked_on
    assert list_differences(today) == []
    set_price("gpt-4o", input_nanos=1, cached_nanos=2, output_nanos=3)
    (difference,) = list_differences(today)
    assert (difference.model_id, difference.ours, difference.our_source) == ("gpt-4o", (1, 2, 1, 1, 3), "operator")
    assert difference.listed == (2_500_000_000, 1_250_000_000, 2_500_000_000, 2_500_000_000, 10_000_000_000)


def test_diff_shows_a_write_price_that_alone_is_not_the_list_s(settings: Settings):
    sync_catalogue(settings)
    price = newest_prices()["claude-sonnet-4-6"]
    same = {"input_nanos": price.input_nanos_per_mtok, "cached_nanos": price.cached_nanos_per_mtok}
    set_price("claude-sonnet-4-6", **same, output_nanos=price.output_nanos_per_mtok)
    (difference,) = list_differences(price.checked_on)
    assert difference.ours == (3 * 10**9, 3 * 10**8, 3 * 10**9, 3 * 10**9, 15 * 10**9)
    assert difference.listed == (3 * 10**9, 3 * 10**8, 3_750_000_000, 6 * 10**9, 15 * 10**9)


def test_diff_announces_a_price_that_the_list_changes_later(settings: Settings):
    sync_catalogue(settings)
    for one in list_prices_to_come()["gemini-3.6-flash"]:  # the operator's own price, also from then on
        enter_price("gemini-3.6-flash", tiers_of(newest_prices()["gemini-3.6-flash"]), effective_at=one.effective_at)
    changed = {difference.model_id: difference.starts_on for difference in list_differences()}
    assert changed["gemini-3.6-flash"] == datetime.date(2027, 1, 1)
