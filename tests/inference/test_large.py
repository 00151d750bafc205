"""Work on a large request or answer is done beside the event loop, which runs meanwhile."""

from typing import Any

import gevent
import pytest
from flask import Flask

from bridge.dialects.chat.writer import ChatWriter
from bridge.providers.openai.provider import OpenAI
from bridge.providers.openai.stream import OpenAIReader
from bridge.turns import LARGE_BYTES
from bridge.v1 import body as reading
from tests.factories import Factories
from tests.upstream import ScriptedUpstream, completion, says, sends

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
USAGE = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> dict[str, bool]:
    """What was done, and whether it was done beside the loop."""
    found: dict[str, bool] = {}
    here = gevent.get_hub()

    def note(place: Any, name: str) -> None:
        function = getattr(place, name)

        def noting(*arguments: Any) -> Any:
            found[name] = found.get(name, False) or gevent.get_hub() is not here
            return function(*arguments)

        monkeypatch.setattr(place, name, noting)

    note(reading, "_look_through")
    note(OpenAI, "write_request")
    note(OpenAI, "read_answer")
    note(OpenAIReader, "feed")
    note(ChatWriter, "whole")
    return found


def beside(noted: dict[str, bool]) -> set[str]:
    """What was done beside the loop, at least once."""
    return {name for name, was_beside in noted.items() if was_beside}


@pytest.mark.parametrize("large_request", [False, True])
@pytest.mark.parametrize("large_answer", [False, True])
@pytest.mark.parametrize("stream", [False, True])
def test_a_large_request_or_answer_is_worked_on_in_a_thread(
    large_request: bool,
    large_answer: bool,
    stream: bool,
    app: Flask,
    make: Factories,
    upstream: ScriptedUpstream,
    noted: dict[str, bool],
):
    model, key = make.make_model(context_tokens=2**20, max_output_tokens=2**19), make.make_key()
    make.make_channel(upstream.base_url, model)
    # for a stream, too, a whole answer comes: one that is read at once
    upstream.plays(sends(completion("a" * (LARGE_BYTES if large_answer else 9), USAGE)))
    content = "b" * (LARGE_BYTES if large_request else 9)
    body = {"model": model, "messages": [{"role": "user", "content": content}], "stream": stream}
    answer = app.test_client().post("/v1/chat/completions", json=body, headers=key.headers)
    assert answer.status_code == 200, answer.data[:300]
    assert len(answer.data) > (LARGE_BYTES if large_answer else 0)
    answer.close()
    expected = {"_look_through": large_request, "write_request": large_request, "read_answer": large_answer}
    assert noted == (expected if stream else {**expected, "whole": large_answer})


@pytest.mark.parametrize("large", [False, True])
def test_an_event_that_comes_in_many_reads_is_read_in_a_thread_if_it_is_large(
    large: bool, app: Flask, make: Factories, upstream: ScriptedUpstream, noted: dict[str, bool]
):
    model, key = make.make_model(context_tokens=2**20, max_output_tokens=2**19), make.make_key()
    make.make_channel(upstream.base_url, model)
    upstream.plays(says("a" * (4 * LARGE_BYTES if large else 9)))
    body = {"model": model, "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    answer = app.test_client().post("/v1/chat/completions", json=body, headers=key.headers)
    assert len(answer.data) > (4 * LARGE_BYTES if large else 0)
    answer.close()
    assert beside(noted) == ({"feed"} if large else set())
