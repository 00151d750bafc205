"""A change reaches every worker before the call that made it returns."""

import dataclasses
import math
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from flask import Flask

from bridge import versions
from bridge.config import Settings
from bridge.db import db, transaction
from tests.rooms import close_rooms, open_rooms


@pytest.fixture
def app(settings: Settings) -> Iterator[Flask]:
    app = open_rooms(settings)
    with app.app_context():
        versions.poll(db.engine)
        yield app
    close_rooms(app)


def raise_number(topic: str) -> None:
    with transaction():
        versions.bump(topic)


def test_a_change_is_seen_with_the_next_look(app: Flask):
    raise_number("keys")
    raise_number("keys")
    assert versions.number("keys") == 0
    versions.poll(db.engine)
    assert versions.number("keys") == 2
    assert versions.number("never raised") == 0


def test_a_change_that_fails_is_not_announced(app: Flask):
    def fail() -> None:
        with transaction():
            versions.bump("keys")
            raise ZeroDivisionError

    pytest.raises(ZeroDivisionError, fail)
    versions.poll(db.engine)
    assert versions.number("keys") == 0


def test_callbacks_come_for_their_topic_once_a_change(app: Flask, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(versions, "_callbacks", {})
    seen: list[int] = []
    versions.on_change("keys", lambda: seen.append(versions.number("keys")))
    raise_number("catalogue")
    versions.poll(db.engine)
    raise_number("keys")
    versions.poll(db.engine)
    versions.poll(db.engine)
    assert seen == [1]


def test_a_look_counts_as_long_as_others_wait_for_it(app: Flask, monkeypatch: pytest.MonkeyPatch):
    now = versions._Process.seen.looked_at + 100
    monkeypatch.setattr(versions, "time", SimpleNamespace(monotonic=lambda: now))
    versions.poll(db.engine)
    assert versions.is_fresh()
    now += versions._Process.seen.max_age_seconds - 0.01
    assert versions.is_fresh()
    now += 0.02
    assert not versions.is_fresh()


def test_a_slow_look_does_not_undo_a_later_one(app: Flask, monkeypatch: pytest.MonkeyPatch):
    raise_number("keys")
    versions.poll(db.engine)
    looked_at = versions._Process.seen.looked_at
    monkeypatch.setattr(versions, "time", SimpleNamespace(monotonic=lambda: looked_at - 1))
    raise_number("keys")
    versions.poll(db.engine)
    assert versions.number("keys") == 1
    assert versions._Process.seen.looked_at == looked_at


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_the_only_worker_looks_at_once(app: Flask, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(versions, "is_fresh", lambda: True)
    monkeypatch.setattr(versions, "gevent", None)  # it has no reason to wait
    raise_number("keys")
    versions.wait_until_seen(app.config["BRIDGE"])
    assert versions.number("keys") == 1


@pytest.mark.parametrize("url", ["", "postgresql://127.0.0.1/bridge"])
def test_a_command_waits_until_the_oldest_look_has_gone_stale(app: Flask, monkeypatch: pytest.MonkeyPatch, url: str):
    settings = dataclasses.replace(app.config["BRIDGE"], database_url=url)
    versions.watch_versions(settings)
    assert versions._Process.seen.looked_at == -math.inf
    waited: list[float] = []
    monkeypatch.setattr(versions, "gevent", SimpleNamespace(sleep=waited.append))
    versions.wait_until_seen(settings)
    assert waited == [versions._Process.seen.max_age_seconds]
