"""A stream that was opened before its upstream had said a word is given again under its Idempotency-Key as it was
given, by whatever door it came and whoever answered."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app import create_app
from bridge.catalogue.model_editing import set_openai_wire
from tests.audit.clients import UPSTREAMS, leave_out_signs_of_life
from tests.audit.said import write_prompt
from tests.audit.upstream import Plays
from tests.doors import DOORS, read_json
from tests.factories import Factories
from tests.replay import BASES
from tests.rooms import close_rooms, make_settings
from tests.upstream import PAUSE, Received, ScriptedUpstream, Step

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
ALONE = [name for name in UPSTREAMS if name != "any"]


@pytest.mark.parametrize(("door_name", "upstream_name"), list(itertools.product(DOORS, ALONE)))
def test_a_stream_that_was_opened_early_is_given_again_as_it_was(
    database_url: str, tmp_path: Path, upstream: ScriptedUpstream, door_name: str, upstream_name: str
):
    app = create_app(make_settings(tmp_path, database_url=database_url, open_stream_after_seconds=0.1))
    make, door, plays = Factories(app), DOORS[door_name], Plays(0, faults=False)
    model, key = make.make_model(), make.make_key()
    provider, called = UPSTREAMS[upstream_name][0]
    base_url = upstream.base_url.removesuffix("/v1") + BASES.get(provider, "")
    make.make_channel(base_url, provider=provider, models={model: called})
    if upstream_name == "responses":
        with app.app_context():
            set_openai_wire(model, "responses")

    def play(request: Received) -> Iterator[Step]:
        yield PAUSE
        yield from plays(request)

    upstream.plays(play)

    def ask() -> Any:
        body = door.ask(model, write_prompt(7, 3), stream=True, cap=60)
        return app.test_client().post(door.path, json=body, headers={**key.headers, "Idempotency-Key": "once"})

    answer = ask()
    pieces = iter(answer.response)
    opened = next(pieces)  # while the upstream hasn't begun
    upstream.resume()
    first, again = _list_events(b"".join([opened, *pieces])), ask()
    assert len(first) > 3
    assert again.headers["Idempotent-Replayed"] == "true"
    assert _list_events(again.data) == first
    close_rooms(app)


def _list_events(data: bytes) -> list[Any]:
    lines = [line.removeprefix(b"data: ") for line in data.split(b"\n") if line.startswith(b"data: ")]
    events = [line.decode() if line == b"[DONE]" else read_json(line) for line in lines]
    return [event for each in events if (event := leave_out_signs_of_life(each)) is not None]
