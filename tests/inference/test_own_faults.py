"""A mistake of ours in the middle of a stream: whoever got nothing of it pays nothing, as the answer says."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from bridge.config import Settings
from bridge.inference.intake import Intake
from tests.doors import DOORS
from tests.factories import DOLLAR, Factories
from tests.rooms import make_settings
from tests.upstream import ScriptedUpstream

ON_SQLITE = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
BY_EVERY_DOOR = pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)


@pytest.fixture
def settings(request: pytest.FixtureRequest, database_url: str, tmp_path: Path) -> Settings:
    return make_settings(tmp_path, database_url=database_url, **getattr(request, "param", {}))


@pytest.fixture
def ask(app: Flask, make: Factories, upstream: ScriptedUpstream):
    """Ask for a stream by a door."""
    model, key = make.make_model(), make.make_key()
    make.make_channel(upstream.base_url, model)

    def ask(door: Any) -> Any:
        return app.test_client().post(door.path, json=door.ask(model, "Hi", stream=True), headers=key.headers)

    ask.key = key
    return ask


@ON_SQLITE
@BY_EVERY_DOOR
def test_before_the_answer_begins_it_is_a_503_and_free(ask, make: Factories, monkeypatch: Any, door: Any):
    monkeypatch.setattr(Intake, "frames", lambda *_: 1 / 0)
    answer = ask(door)
    assert (answer.status_code, "You were not charged." in answer.text) == (503, True)
    [row] = make.list_usage(ask.key.account_id)
    assert (row.outcome, row.state, row.charge_nanos) == ("failed", "released", 0)
    assert make.find_money(ask.key.account_id) == (10 * DOLLAR, 0)


@ON_SQLITE
@BY_EVERY_DOOR
@pytest.mark.parametrize("settings", [{"open_stream_after_seconds": 0}], indirect=True)
def test_in_a_stream_of_which_nothing_was_delivered_it_is_free(ask, make: Factories, monkeypatch: Any, door: Any):
    def frames(*_: Any) -> Iterator[bytes]:
        yield b""
        raise ZeroDivisionError

    monkeypatch.setattr(Intake, "frames", frames)
    answer = ask(door)
    assert answer.status_code == 200
    with pytest.raises(ZeroDivisionError):
        answer.get_data()
    answer.close()
    [row] = make.list_usage(ask.key.account_id)
    assert (row.outcome, row.state) == ("failed", "released")
    assert make.find_money(ask.key.account_id) == (10 * DOLLAR, 0)
