"""While the upstream is silent, a stream of Responses has events, for comments don't reset its clients' clocks."""

from pathlib import Path

import pytest

from app import create_app
from bridge.config import Settings
from tests.factories import Factories
from tests.responses_contract import check_stream, read_events
from tests.rooms import close_rooms, make_settings
from tests.upstream import ScriptedUpstream, pauses, says, starts

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return make_settings(tmp_path, database_url=database_url, open_stream_after_seconds=0.1, keepalive_seconds=0.1)


@pytest.mark.parametrize("idempotent", [False, True])
def test_silence_before_the_first_word_and_behind_it_is_bridged_by_events(
    settings: Settings, upstream: ScriptedUpstream, idempotent: bool
):
    app = create_app(settings)
    make = Factories(app)
    model, key = make.make_model(), make.make_key()
    make.make_channel(upstream.base_url, model)
    upstream.plays(pauses(says("Hello", " you")))
    headers = {**key.headers, **({"Idempotency-Key": "once"} if idempotent else {})}
    body = {"model": model, "input": "Hi", "stream": True}
    answer = app.test_client().post("/v1/responses", json=body, headers=headers)
    pieces = iter(answer.response)
    first, second = next(pieces), next(pieces)
    assert [event["type"] for event in read_events(first)] == ["response.created", "response.in_progress"]
    assert [event["type"] for event in read_events(second)] == ["response.in_progress"]
    upstream.resume()
    data = b"".join([first, second, *pieces])
    assert check_stream(data)["output"][0]["content"][0]["text"] == "Hello you"
    assert len(read_events(data)) > 8
    if idempotent:
        again = app.test_client().post("/v1/responses", json=body, headers=headers).data
        assert check_stream(again) == read_events(data)[-1]["response"]
    close_rooms(app)


def test_silence_within_the_answer_is_bridged_too(settings: Settings, upstream: ScriptedUpstream):
    app = create_app(settings)
    make = Factories(app)
    model, key = make.make_model(), make.make_key()
    make.make_channel(upstream.base_url, model)
    upstream.plays(starts("Hello", then="pause"))
    body = {"model": model, "input": "Hi", "stream": True}
    answer = app.test_client().post("/v1/responses", json=body, headers=key.headers)
    pieces, said = iter(answer.response), b""
    while not said.endswith(b"}\n\n") or b"Hello" not in said or said.count(b"event: response.in_progress") < 2:
        said += next(pieces)
    upstream.resume()
    assert check_stream(b"".join([said, *pieces]))["output"][0]["content"][0]["text"] == "Hello"
    close_rooms(app)
