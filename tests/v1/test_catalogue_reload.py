"""The catalogue is read once for all that wait for it, in slices between which others run, and swapped whole."""

import gevent
import gevent.event
import pytest
import sqlalchemy as sa
from flask import Flask

from bridge.catalogue import routing
from bridge.catalogue.tables import Alias, Model
from bridge.db import SLICE_ROWS, db, read_in_slices, transaction
from bridge.errors import ServiceUnavailable
from bridge.v1 import services as shared
from tests.factories import Factories

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


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
    found = [one.get(timeout=20) for one in waiting]
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
    monkeypatch.setattr(shared, "DATABASE_WAIT_SECONDS", 0.3)
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
    assert {one.get(timeout=20) for one in waiting} == {"away"}
    assert ask() != "away"
    assert len(readings) == 2


def test_others_run_between_the_slices_of_a_long_table(app: Flask, make: Factories):
    make.make_model()
    with app.app_context():
        model_id = db.session.scalar(sa.select(Model.id).limit(1))
        with transaction() as session:
            session.add_all([Alias(name=f"alias-{n}", model_id=model_id) for n in range(3 * SLICE_ROWS)])
        turns = 0

        def look() -> None:
            nonlocal turns
            while True:
                gevent.sleep(0)
                turns += 1

        looking = gevent.spawn(look)
        assert len(list(read_in_slices(sa.select(Alias)))) >= 3 * SLICE_ROWS
        looking.kill()
        assert turns >= 2
