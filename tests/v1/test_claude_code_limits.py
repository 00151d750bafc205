"""What Claude Code reads of a key's limits, and what it is told when they are reached."""

import datetime
from typing import Any

import pytest
from flask import Flask

from tests.factories import Factories
from tests.upstream import PAUSE, ScriptedUpstream, says, starts
from tests.v1.test_messages import BOTH, HELLO, Client

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
PREFIX = "anthropic-ratelimit-"
OF_TOKENS = ("tokens", "input-tokens", "output-tokens")


@pytest.fixture
def client(app: Flask, make: Factories, upstream: ScriptedUpstream) -> Client:
    found = Client(app, make, upstream)
    found.serve("openai")
    upstream.plays(says("Hi."))
    return found


def limits_of(headers: Any) -> dict[str, str]:
    return {name.lower().removeprefix(PREFIX): value for name, value in headers if name.lower().startswith(PREFIX)}


@BOTH
def test_a_keys_limits_are_said_by_anthropics_names_as_chat_says_them_by_openais(client: Client, stream: bool):
    client.key = client._make.make_key(rpm=7, tpm=50_000)
    client.ask(stream=stream)
    found, headers = limits_of(client.headers), client.headers
    assert set(found) == {f"{of}-{what}" for of in ("requests", *OF_TOKENS) for what in ("limit", "remaining", "reset")}
    assert (found["requests-limit"], found["requests-remaining"]) == ("7", headers["x-ratelimit-remaining-requests"])
    for of in OF_TOKENS:
        assert found[f"{of}-limit"] == "50000"
        assert found[f"{of}-remaining"] == headers["x-ratelimit-remaining-tokens"]
    for name, value in found.items():
        if name.endswith("-reset"):
            moment = datetime.datetime.fromisoformat(value)
            assert value.endswith("Z")
            assert abs(moment - datetime.datetime.now(datetime.UTC)) < datetime.timedelta(minutes=10)


def test_a_refusal_for_a_limit_has_them_too_and_never_the_unified_ones(client: Client):
    client.key = client._make.make_key(rpm=1)
    client.ask()
    error = client.refused({})
    assert (client.status, error["type"]) == (429, "rate_limit_error")
    found = limits_of(client.headers)
    assert (found["requests-limit"], found["requests-remaining"]) == ("1", "0")
    assert not [name for name in found if "unified" in name or "tokens" in name]
    assert 1 <= int(client.headers["retry-after"]) <= 120, "the newest SDK waits as long as it is told"


def test_a_key_without_limits_and_other_doors_have_none(client: Client):
    client.ask()
    assert not limits_of(client.headers)
    client.key = client._make.make_key(rpm=7)
    body = {"model": client.model, "messages": HELLO}
    answer = client._app.test_client().post("/v1/chat/completions", json=body, headers=client.key.headers)
    assert answer.headers["x-ratelimit-limit-requests"] == "7"
    assert not limits_of(answer.headers)


def test_a_browser_may_read_them(client: Client):
    client.key = client._make.make_key(rpm=7, tpm=50_000)
    client.ask()
    exposed = ", ".join(client.headers.getlist("access-control-expose-headers")).split(", ")
    assert f"{PREFIX}input-tokens-remaining" in exposed
    assert "x-request-id" in exposed


@pytest.mark.parametrize(
    ("path", "body"),
    [("/v1/messages", {"messages": HELLO, "max_tokens": 99}), ("/v1/responses", {"input": "Hello!"})],
)
def test_turns_in_parallel_beyond_the_limit_of_concurrency_are_told_so_in_words(
    client: Client, path: str, body: dict[str, Any]
):
    """Agents ask for titles and send out others beside the turn that people see."""
    client.key = client._make.make_key(concurrency=1)
    client.upstream.plays(starts("Hello", then=PAUSE))
    ask = {"model": client.model, **body}
    running = client.post({**ask, "stream": True}, path)
    first = next(iter(running.response))
    assert first
    refused = client.post(ask, path)
    assert refused.status_code == 429
    assert refused.json["error"]["message"].startswith("Rate limit exceeded: 1 concurrent request")
    assert refused.json["error"]["type"] == "rate_limit_error"
    assert refused.headers["retry-after"]
    client.upstream.resume()
    running.close()
