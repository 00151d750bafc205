"""The catalogue is read once for all waiting requests, and swapped whole."""

import dataclasses
import math

import gevent
import gevent.event
import pytest
from flask import Flask

from bridge import versions
from bridge.catalogue import routing
from bridge.db import db
from bridge.errors import ServiceUnavailable
from bridge.inference import services as shared
from tests.factories import Factories

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


def look(app: Flask) -> None:
    with app.app_context():
        versions.poll(db.engine)


def test_all_that_wait_share_one_reading(app: Flask, make: Factories, monkeypatch: pytest.MonkeyPatch):
    services, readings = app.extensions["bridge_services"], []
    make.make_model()
    read = routing.load_catalogue

    def load() -> routing.Catalogue:
        readings.append(1)
        gevent.sleep(0.01)
        return read()

    monkeypatch.setattr(shared, "load_catalogue", load)
    waiting = [gevent.spawn(lambda: services.catalogue) for _ in range(20)]
    found = [one.get(timeout=60) for one in waiting]
    assert len(readings) == 1
    assert all(one is found[0] for one in found)


def test_a_catalogue_that_takes_long_is_read_although_those_that_waited_gave_up(
    app: Flask, monkeypatch: pytest.MonkeyPatch
):
    services, may_end, readings = app.extensions["bridge_services"], gevent.event.Event(), []
    read = routing.load_catalogue

    def load() -> routing.Catalogue:
        readings.append(1)
        may_end.wait()
        return read()

    monkeypatch.setattr(shared, "load_catalogue", load)
    services.settings = dataclasses.replace(services.settings, database_wait_seconds=0.3)
    with pytest.raises(ServiceUnavailable):
        _ = services.catalogue
    may_end.set()
    assert services.catalogue.models is not None
    assert len(readings) == 1


def test_a_reading_that_fails_is_told_to_all_and_tried_again(app: Flask, monkeypatch: pytest.MonkeyPatch):
    services, readings = app.extensions["bridge_services"], []
    read = routing.load_catalogue

    def load() -> routing.Catalogue:
        readings.append(1)
        gevent.sleep(0.01)
        if len(readings) == 1:
            raise ServiceUnavailable("away")
        return read()

    monkeypatch.setattr(shared, "load_catalogue", load)

    def ask() -> str:
        try:
            return str(len(services.catalogue.models))
        except ServiceUnavailable as error:
            return error.message

    waiting = [gevent.spawn(ask) for _ in range(5)]
    assert {one.get(timeout=60) for one in waiting} == {"away"}
    assert ask() != "away"
    assert len(readings) == 2


def test_while_a_large_catalogue_is_read_anew_the_one_before_it_counts_for_a_while(
    app: Flask, make: Factories, monkeypatch: pytest.MonkeyPatch
):
    services, may_end = app.extensions["bridge_services"], gevent.event.Event()
    read, before = routing.load_catalogue, services.catalogue

    def load() -> routing.Catalogue:
        may_end.wait()
        return read()

    monkeypatch.setattr(shared, "load_catalogue", load)
    monkeypatch.setattr(shared, "LARGE_CATALOGUE", before.size)
    model = make.make_model()
    look(app)
    assert services.catalogue is before
    for change in ("a price takes effect", "it takes too long"):
        if change == "it takes too long":
            services._outdated_since = -math.inf
        else:
            services._catalogue = dataclasses.replace(before, changes_at=0.0)
        waiting = gevent.spawn(lambda: services.catalogue)
        gevent.sleep(0)
        assert waiting.dead is False
        services._catalogue = before
        waiting.kill()
    may_end.set()
    services._await_catalogue()
    assert model in services.catalogue.models


def test_a_small_one_counts_too_while_a_large_one_is_read(app: Flask, make: Factories, monkeypatch: pytest.MonkeyPatch):
    services, may_end = app.extensions["bridge_services"], gevent.event.Event()
    read, before = routing.load_catalogue, services.catalogue

    def load() -> routing.Catalogue:
        may_end.wait()
        return read()

    monkeypatch.setattr(shared, "load_catalogue", load)
    monkeypatch.setattr(shared, "LARGE_CATALOGUE", before.size + 1)
    monkeypatch.setattr(shared, "count_rows", lambda: before.size + 1)
    model = make.make_model()
    look(app)
    assert services.catalogue is before
    assert services._patience_seconds() == 0.0  # whoever comes later waits no longer than the first one did
    assert services.catalogue is before
    may_end.set()
    services._await_catalogue()
    assert model in services.catalogue.models


def test_a_small_one_is_waited_for_so_that_a_change_counts_once_it_was_seen(
    app: Flask, make: Factories, monkeypatch: pytest.MonkeyPatch
):
    services, may_end = app.extensions["bridge_services"], gevent.event.Event()
    read, before = routing.load_catalogue, services.catalogue

    def load() -> routing.Catalogue:
        may_end.wait()
        return read()

    monkeypatch.setattr(shared, "load_catalogue", load)
    model = make.make_model()
    look(app)
    waiting = gevent.spawn(lambda: services.catalogue)
    waiting.join(2 * shared.RELOAD_PATIENCE_SECONDS)
    assert not waiting.ready()
    may_end.set()
    assert model in waiting.get(timeout=60).models
    assert services.catalogue is not before


def test_a_change_is_read_before_a_request_asks_for_it(app: Flask, make: Factories):
    services = app.extensions["bridge_services"]
    before = services.catalogue
    services.read_catalogue_ahead()
    assert services._reading is None
    make.make_model()
    look(app)
    services.read_catalogue_ahead()
    services._reading.join(20)
    assert services._catalogue is not before
