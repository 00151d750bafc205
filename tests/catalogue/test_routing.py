"""What a name means, and in which order its channels are tried."""

import collections
import random
from collections.abc import Callable

import msgspec
import pytest
from flask import Flask

from bridge.catalogue.health import Health
from bridge.catalogue.prices import PriceVersion
from bridge.catalogue.routing import Catalogue, Route, load_catalogue, order_routes
from bridge.catalogue.tables import Alias, Channel, Model, Price
from bridge.db import db, transaction
from bridge.errors import ModelNotFound
from bridge.providers.base import AttemptFailed, Blame
from tests.prices import make_version

NOW = 5000.0


def route(id_: int, priority: int = 1, weight: int = 1) -> Route:
    return Route(id_, f"channel-{id_}", "openai", None, "sealed-secret", priority, weight, "gpt-4o")


@pytest.fixture
def health(monkeypatch: pytest.MonkeyPatch) -> Health:
    monkeypatch.setattr("bridge.catalogue.health.time.monotonic", lambda: NOW)
    return Health(30.0)


def order(routes: list[Route], health: Health, seed: int = 1) -> list[int]:
    return [one.channel_id for one in order_routes(routes, health, point=drawn(seed), now=NOW)]


def drawn(seed: int) -> Callable[[Route], float]:
    draw = random.Random(seed).random
    return lambda _route: 1.0 - draw()


def take_out(health: Health, one: Route, seconds: float) -> None:
    health.failed(one, AttemptFailed(Blame.RATE, "429", retry_after_seconds=seconds))


def test_the_lowest_priority_number_comes_first(health: Health):
    routes = [route(1, priority=3), route(2, priority=0), route(3, priority=2)]
    assert all(order(routes, health, seed) == [2, 3, 1] for seed in range(20))


def test_equals_share_by_their_weights(health: Health):
    routes = [route(1, weight=6), route(2, weight=3), route(3, weight=1)]
    draw = drawn(11)
    first = collections.Counter(order_routes(routes, health, point=draw, now=NOW)[0].channel_id for _ in range(10_000))
    assert 5700 < first[1] < 6300
    assert 2700 < first[2] < 3300
    assert 800 < first[3] < 1200


def test_every_channel_is_tried_once(health: Health):
    routes = [route(number, priority=number % 3, weight=number) for number in range(1, 8)]
    assert all(sorted(order(routes, health, seed)) == [1, 2, 3, 4, 5, 6, 7] for seed in range(50))


def test_a_cooling_channel_comes_last_whatever_its_priority(health: Health):
    routes = [route(1, priority=0, weight=100), route(2, priority=5), route(3, priority=9)]
    take_out(health, routes[0], 60)
    assert order(routes, health) == [2, 3, 1]


def test_when_all_are_out_the_one_that_comes_back_soonest_is_tried(health: Health):
    routes = [route(1, priority=0), route(2), route(3)]
    for one, seconds in zip(routes, (90, 20, 60), strict=True):
        take_out(health, one, seconds)
    assert order(routes, health) == [2, 3, 1]


def test_one_channel_alone_is_always_tried(health: Health):
    take_out(health, route(1), 60)
    assert order([route(1)], health) == [1]
    assert order([], health) == []


def test_the_extremes_of_a_draw_are_no_error(health: Health):
    for value in (2**-64, 1.0):
        assert len(order_routes([route(1), route(2)], health, point=lambda _, value=value: value, now=NOW)) == 2


def test_a_route_does_not_print_its_key():
    assert "sealed" not in repr(route(1))


# the snapshot


@pytest.fixture
def catalogue(app: Flask) -> Catalogue:
    def model(id_: str, **fields: object) -> Model:
        plain = {"name": id_, "provider": "openai", "upstream_id": f"{id_}-up", "context_tokens": 8000}
        return Model(**{"id": id_, "max_output_tokens": 1000, **plain, **fields})

    with transaction() as session:
        session.add_all(
            [model("gpt-4o"), model("gpt-4o-mini"), model("old", status="retired"), model("local", provider="x")]
        )
        session.flush()
        session.add_all([Alias(name="four", model_id="gpt-4o"), Alias(name="gone", model_id="old")])
        for input_price in (1, 2, 3):
            session.add(
                Price(
                    model_id="gpt-4o",
                    input_nanos_per_mtok=input_price,
                    cached_nanos_per_mtok=5,
                    cache_write_nanos_per_mtok=7,
                    cache_write_hour_nanos_per_mtok=8,
                    output_nanos_per_mtok=6,
                    source="a test",
                )
            )
            session.flush()
        session.add(Channel(name="main", provider="openai", sealed_key="sealed", priority=2))
        session.add(Channel(name="first", provider="openai", models={"gpt-4o": "their-4o"}, priority=1, weight=3))
        session.add(Channel(name="off", provider="openai", enabled=False))
    return load_catalogue()


def test_a_model_is_found_by_its_id_and_by_its_alias(catalogue: Catalogue):
    assert catalogue.resolve("gpt-4o") is catalogue.resolve("four")
    assert catalogue.resolve("gpt-4o").id == "gpt-4o"


def test_the_newest_price_counts(catalogue: Catalogue):
    price = catalogue.resolve("gpt-4o").price
    assert price is not None
    assert price == make_version(price.id, 3, 5, 7, 8, 6)
    assert isinstance(price, PriceVersion)
    assert catalogue.resolve("gpt-4o-mini").price is None


def test_a_model_knows_its_enabled_channels_in_order(catalogue: Catalogue):
    routes = catalogue.resolve("gpt-4o").routes
    assert [(one.channel_name, one.upstream_id, one.weight) for one in routes] == [
        ("first", "their-4o", 3),
        ("main", "gpt-4o-up", 1),
    ]
    assert [one.channel_name for one in catalogue.resolve("gpt-4o-mini").routes] == ["main"]
    assert catalogue.resolve("local").routes == ()


@pytest.mark.parametrize("name", ["gpt-5000", "", "GPT-4O", "old", "gone", "x" * 100_000, "\U0001f600"])
def test_an_unknown_or_retired_name_is_404(catalogue: Catalogue, name: str):
    with pytest.raises(ModelNotFound) as refused:
        catalogue.resolve(name)
    assert (refused.value.status, refused.value.code, refused.value.param) == (404, "model_not_found", "model")
    assert len(refused.value.message) < 400
    refused.value.body()


@pytest.mark.parametrize(("name", "near"), [("gpt4o", "gpt-4o"), ("gpt-4o-mni", "gpt-4o-mini"), ("fuor", "four")])
def test_the_nearest_known_model_is_named(catalogue: Catalogue, name: str, near: str):
    with pytest.raises(ModelNotFound, match=f"Did you mean '{near}'"):
        catalogue.resolve(name)


def test_a_retired_model_is_never_proposed(catalogue: Catalogue):
    with pytest.raises(ModelNotFound) as refused:
        catalogue.resolve("olds")
    assert "'old'" not in refused.value.message


def test_a_snapshot_does_not_change_under_a_request(catalogue: Catalogue):
    with transaction() as session:
        session.execute(db.update(Model).values(max_output_tokens=1))
        session.execute(db.delete(Channel))
    assert catalogue.resolve("gpt-4o").max_output_tokens == 1000
    assert len(catalogue.resolve("gpt-4o").routes) == 2
    assert load_catalogue().resolve("gpt-4o").routes == ()


# cost and latency


def test_within_a_priority_the_cheapest_comes_first_and_equals_share(health: Health):
    dear, cheap, twin = route(1, weight=100), route(2), route(3)
    cheap, twin = (msgspec.structs.replace(one, cost_bps=9_000) for one in (cheap, twin))
    firsts = [
        order_routes([dear, cheap, twin], health, by="cost", point=drawn(seed), now=NOW)[0].channel_id
        for seed in range(40)
    ]
    assert set(firsts) == {2, 3}


def test_within_a_priority_the_quickest_comes_first_after_those_that_nobody_has_measured(
    health: Health, monkeypatch: pytest.MonkeyPatch
):
    slow, quick, fresh = route(1), route(2), route(3)
    seconds = {1: 0.9, 2: 0.2}
    monkeypatch.setattr(health, "latency_seconds", lambda one: seconds.get(one.channel_id))
    monkeypatch.setattr("bridge.catalogue.routing.random.random", lambda: 0.5)
    assert [one.channel_id for one in order_routes([slow, quick, fresh], health, by="latency", now=NOW)] == [3, 2, 1]
    monkeypatch.setattr("bridge.catalogue.routing.random.random", random.Random(3).random)
    firsts = collections.Counter(
        order_routes([slow, quick], health, by="latency", now=NOW)[0].channel_id for _ in range(5000)
    )
    assert 20 < firsts[1] < 90  # measured anew


# groups


def test_accounts_of_a_group_see_its_channels_and_everyones(app: Flask):
    with transaction() as session:
        fields = {"provider": "openai", "upstream_id": "m", "context_tokens": 8000, "max_output_tokens": 10}
        session.add(Model(id="m", name="m", **fields))
        session.add(Channel(name="all", provider="openai"))
        session.add(Channel(name="vip", provider="openai", groups=["vip", "staff"]))
    loaded = load_catalogue()

    def seen(group: str) -> list[str]:
        return [one.channel_name for one in loaded.for_group(group).resolve("m").routes]

    assert (seen("default"), seen("vip"), seen("staff")) == (["all"], ["all", "vip"], ["all", "vip"])
    assert loaded.for_group("vip") is loaded.for_group("vip")
