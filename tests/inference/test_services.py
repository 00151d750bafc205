"""What the requests of a process share, and what is written from it."""

import datetime
from collections.abc import Callable

import pytest
from flask import Flask

from bridge.accounts.key_search import list_all_keys
from bridge.db import db, now_utc
from bridge.inference import services as room
from tests.factories import MadeKey


def test_a_key_s_last_use_is_written_soon_then_once_a_minute_and_at_the_end(
    app: Flask, make_key: Callable[..., MadeKey], monkeypatch: pytest.MonkeyPatch
):
    services, key, began = app.extensions["bridge_services"], make_key(), now_utc()

    def use(second: int) -> datetime.datetime:
        """A request's time, which the clock shows from then on."""
        at = began + datetime.timedelta(seconds=second)
        monkeypatch.setattr(room, "now_utc", lambda: at)
        services.keys_used[key.id] = at
        return at

    def read_written() -> datetime.datetime | None:
        db.session.rollback()
        return list_all_keys(key.account_id)[0].last_used_at

    with app.app_context():
        first = use(0)
        services.write_keys_used()
        assert read_written() == first
        use(2)
        services.write_keys_used()
        use(30)
        services.write_keys_used()
        assert read_written() == first
        monkeypatch.setattr(room, "now_utc", lambda: began + datetime.timedelta(seconds=61))
        services.write_keys_used()
        assert read_written() == began + datetime.timedelta(seconds=30)
        last = use(65)
        services.write_keys_used()
        assert read_written() != last
        services.write_keys_used(all_of_them=True)
        assert read_written() == last
        assert not services.keys_used


def test_a_last_use_that_could_not_be_written_is_written_with_the_next(
    app: Flask, make_key: Callable[..., MadeKey], monkeypatch: pytest.MonkeyPatch
):
    services, key, other = app.extensions["bridge_services"], make_key(), make_key()

    def fail(_used: object) -> None:
        raise ConnectionError

    with app.app_context():
        services.keys_used[other.id] = now_utc()
        services.write_keys_used()
        waits = services.keys_used[other.id] = now_utc()
        services.keys_used[key.id] = now_utc()
        with monkeypatch.context() as broken:
            broken.setattr(room, "record_use", fail)
            with pytest.raises(ConnectionError):
                services.write_keys_used()
        assert services.keys_used == {other.id: waits}  # not yet due, and kept
        again = services.keys_used[key.id] = now_utc()
        services.write_keys_used()
        db.session.rollback()
        assert list_all_keys(key.account_id)[0].last_used_at == again
