"""A client that speaks lines is served by the same engine: whole and streamed, failed over, broken off, in parallel.

First its answers alone are lines, then its requests too."""

import json
from typing import Any

import pytest
from flask import Flask

from bridge.inference.plan import Plan
from bridge.v1 import chat
from bridge.v1.planning import plan_request
from bridge.v1.visit import Visit
from tests.dialects.lines import Lines, read_lines, read_request
from tests.each_provider import PROVIDERS, TOOL, UPSTREAM_IDS
from tests.factories import Factories
from tests.replay import BASES, replies
from tests.replies import Call, Reply
from tests.upstream import ScriptedUpstream, fails, says, starts

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
HELLO = [{"role": "user", "content": "Hello!"}]


class Client:
    """Asks as a client of chat, and is answered in lines."""

    def __init__(self, app: Flask, make: Factories):
        self._app, self._make, self._key = app, make, make.make_key()
        self.model = make.make_model()

    def ask(self, **more: Any) -> list[str]:
        """The lines of an answer, and that nothing of chat is in them."""
        body = {"model": self.model, "messages": HELLO, **more}
        answer = self._app.test_client().post("/v1/chat/completions", json=body, headers=self._key.headers)
        assert answer.status_code == 200, answer.data
        assert b"data:" not in answer.data
        assert b"chatcmpl" not in answer.data
        self.cost = answer.headers.get("x-bridge-cost", "")
        said = answer.text.splitlines()
        answer.close()
        return said

    def booked(self) -> Any:
        return self._make.list_usage(self._key.account_id)[-1]


@pytest.fixture
def client(app: Flask, make: Factories, monkeypatch: pytest.MonkeyPatch) -> Client:
    monkeypatch.setattr(chat, "Chat", lambda _with_usage: Lines())
    return Client(app, make)


def test_a_whole_answer_is_lines_and_says_what_it_cost(client: Client, make: Factories, upstream: ScriptedUpstream):
    make.make_channel(upstream.base_url, client.model)
    upstream.plays(says("Hello", " you", prompt_tokens=7))
    head, *said, usage = client.ask()
    booked = client.booked()
    assert head == f"lines-{booked.request_id[4:]} {client.model}"
    assert said == ["0 text: Hello you", "0 end stop"]
    assert usage == f"usage 7 2 {client.cost}"
    assert (booked.outcome, booked.finish_reason) == ("complete", "stop")


def test_so_is_a_stream(client: Client, make: Factories, upstream: ScriptedUpstream):
    make.make_channel(upstream.base_url, client.model)
    upstream.plays(says("Hello", " you", " two", prompt_tokens=7))
    *said, usage = client.ask(stream=True)
    assert said == ["0 text: Hello", "0 text:  you", "0 text:  two", "0 end stop"]
    assert usage.startswith("usage 7 3 0.")
    assert client.booked().outcome == "complete"


@pytest.mark.parametrize("stream", [False, True])
def test_a_failed_channel_leaves_nothing_in_what_the_next_one_says(
    client: Client, make: Factories, upstream: ScriptedUpstream, stream: bool
):
    for priority in (0, 1):
        make.make_channel(upstream.base_url, client.model, priority=priority)
    upstream.plays(starts() if stream else fails(500), says("Hello", prompt_tokens=7))
    said = client.ask(stream=stream)
    assert [line for line in said if line.startswith("0 ")] == ["0 text: Hello", "0 end stop"]
    assert len(upstream.requests) == 2


def test_an_answer_that_breaks_off_ends_in_the_dialects_own_error(
    client: Client, make: Factories, upstream: ScriptedUpstream
):
    make.make_channel(upstream.base_url, client.model)
    upstream.plays(starts("Hello", " you"))
    *said, last = client.ask(stream=True)
    assert said == ["0 text: Hello", "0 text:  you"]
    assert last == "error upstream_error"
    assert client.booked().outcome == "cut"


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("stream", [False, True])
def test_every_provider_is_heard(
    client: Client, make: Factories, upstream: ScriptedUpstream, provider: str, stream: bool
):
    make_channel(make, upstream, client, provider)
    reply = Reply("It is cold.", calls=(Call("call_1", "weather", {"city": "Oslo"}),), prompt_tokens=10)
    upstream.plays(replies(provider, reply))
    [said] = read_lines("\n".join(client.ask(stream=stream, tools=[TOOL])).encode())
    assert (said["text"], said["finish"]) == ("It is cold.", "tool_calls")
    [call] = said["calls"]
    assert (call["name"], json.loads(call["arguments"])) == ("weather", {"city": "Oslo"})


@pytest.mark.parametrize("stream", [False, True])
def test_choices_of_parallel_calls_keep_apart(
    client: Client, make: Factories, upstream: ScriptedUpstream, stream: bool
):
    make_channel(make, upstream, client, "anthropic")
    upstream.plays(*(replies("anthropic", Reply(text, cached_tokens=0)) for text in ("Hi.", "Ho.")))
    said = read_lines("\n".join(client.ask(stream=stream, n=2)).encode())
    assert sorted(choice["text"] for choice in said) == ["Hi.", "Ho."]
    assert [choice["finish"] for choice in said] == ["stop", "stop"]


def make_channel(make: Factories, upstream: ScriptedUpstream, client: Client, provider: str, **fields: Any) -> None:
    """The upstream serves the client's model as this provider."""
    base_url = upstream.base_url.removesuffix("/v1") + BASES.get(provider, "")
    served = {client.model: UPSTREAM_IDS.get(provider, "theirs")}
    make.make_channel(base_url, provider=provider, models=served, **fields)


class Speaker(Client):
    """Asks in lines too."""

    def say(self, *lines: str) -> list[str]:
        """The lines of an answer."""
        data = "\n".join((f"model {self.model}", *lines)).encode()
        headers = {**self._key.headers, "Content-Type": "application/json"}
        answer = self._app.test_client().post("/v1/chat/completions", data=data, headers=headers)
        assert answer.status_code == 200, answer.data
        said = answer.text.splitlines()
        answer.close()
        return said


@pytest.fixture
def speaker(app: Flask, make: Factories, monkeypatch: pytest.MonkeyPatch) -> Speaker:
    def plan_lines(visit: Visit, data: bytes) -> Plan:
        return plan_request(visit, read_request(data), (), len(data), hour_writes=False)

    monkeypatch.setattr(chat, "Chat", lambda _with_usage: Lines())
    monkeypatch.setattr(chat, "plan_chat", plan_lines)
    return Speaker(app, make)


TALK = (
    *("system: Be short.", "user: Is it cold in Oslo?", "tool weather"),
    *('called call_1 weather {"city":"Oslo"}', "result call_1 minus 4"),
)


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("stream", [False, True])
def test_every_provider_is_asked_in_its_own_words(
    speaker: Speaker, make: Factories, upstream: ScriptedUpstream, provider: str, stream: bool
):
    make_channel(make, upstream, speaker, provider)
    upstream.plays(replies(provider, Reply("It is cold.", prompt_tokens=10)))
    said = speaker.say(*TALK, *(["stream"] if stream else []))
    assert [choice["text"] for choice in read_lines("\n".join(said).encode())] == ["It is cold."]
    sent = upstream.requests[-1].body.decode()
    for word in ("Be short.", "Is it cold in Oslo?", "weather", "Oslo", "minus 4"):
        assert word in sent
    assert speaker.booked().outcome == "complete"


@pytest.mark.parametrize("stream", [False, True])
def test_it_fails_over_from_one_provider_to_another(
    speaker: Speaker, make: Factories, upstream: ScriptedUpstream, stream: bool
):
    for priority, provider in enumerate(("anthropic", "gemini", "openai")):
        make_channel(make, upstream, speaker, provider, priority=priority)
    upstream.plays(fails(503), fails(503), replies("openai", Reply("Hi.", prompt_tokens=10)))
    said = speaker.say("user: Hello!", *(["stream"] if stream else []))
    assert [choice["text"] for choice in read_lines("\n".join(said).encode())] == ["Hi."]
    assert len(json.loads(speaker.booked().attempts)) == 3


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_stream_beyond_its_cap_ends_at_it_in_whatever_dialect(
    speaker: Speaker, make: Factories, upstream: ScriptedUpstream, provider: str
):
    make_channel(make, upstream, speaker, provider)
    upstream.plays(replies(provider, Reply("one two " * 2000, prompt_tokens=10)))
    *said, last = speaker.say("user: Count!", "most 100", "stream")
    (choice,) = read_lines("\n".join(said).encode())
    assert choice["text"].startswith("one two one")
    assert 50 <= choice["text"].count(" ") <= 100
    assert last == "error upstream_error"
    assert speaker.booked().outcome == "cut"
