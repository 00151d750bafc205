"""POST /v1/responses in this process: every provider is heard and asked, whole and streamed, and what is wrong is
refused in words that help."""

import json
from typing import Any

import pytest
from flask import Flask

from tests.each_provider import PROVIDERS, UPSTREAM_IDS
from tests.factories import Factories
from tests.replay import BASES, replies
from tests.replies import Call, Reply
from tests.responses_contract import check_answer, check_stream, read_events
from tests.upstream import ScriptedUpstream, fails, says, starts

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
TOOL = {"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {}}}
COLD = Reply("It is cold.", prompt_tokens=10, cached_tokens=0)
CALLS = Reply(
    calls=(Call("call_aaaaaaaaaaaaaaaa1", "weather", {"city": "Oslo"}), Call("call_bbbbbbbbbbbbbbbb2", "weather", {})),
    prompt_tokens=10,
    cached_tokens=0,
)
STREAM = pytest.mark.parametrize("stream", [False, True])
EVERY = pytest.mark.parametrize("provider", PROVIDERS)


class Client:
    """Asks as a client of Responses. What it gets is checked event by event."""

    def __init__(self, app: Flask, make: Factories, upstream: ScriptedUpstream):
        self.app, self.make, self.upstream, self.key = app, make, upstream, make.make_key()
        self.model = make.make_model()

    def serve(self, provider: str = "openai", **fields: Any) -> None:
        base_url = self.upstream.base_url.removesuffix("/v1") + BASES.get(provider, "")
        served = {self.model: UPSTREAM_IDS.get(provider, "theirs")}
        self.make.make_channel(base_url, provider=provider, models=served, **fields)

    def post(self, path: str = "/v1/responses", **body: Any) -> Any:
        return self.app.test_client().post(path, json={"model": self.model, **body}, headers=self.key.headers)

    def ask(self, input_: Any = "Hello!", *, end: str = "response.completed", **more: Any) -> Any:
        """The answer, whole or as the stream's last event has it."""
        answer = self.post(input=input_, **more)
        assert answer.status_code == 200, answer.data
        data = answer.data
        answer.close()
        self.data = data
        if more.get("stream"):
            return check_stream(data, end=end)
        check_answer(answer.json)
        return answer.json

    def refused(self, status: int = 400, /, **body: Any) -> Any:
        answer = self.post(**{"input": "Hello!", **body})
        assert answer.status_code == status, answer.data
        return answer.json["error"]

    def sent(self) -> Any:
        return self.upstream.requests[-1].json

    def booked(self) -> Any:
        return self.make.list_usage(self.key.account_id)[-1]


@pytest.fixture
def client(app: Flask, make: Factories, upstream: ScriptedUpstream) -> Client:
    return Client(app, make, upstream)


def text_of(answer: Any) -> str:
    parts = [part for item in answer["output"] if item["type"] == "message" for part in item["content"]]
    return "".join(part["text"] for part in parts)


@EVERY
@STREAM
def test_every_provider_is_heard(client: Client, provider: str, stream: bool):
    client.serve(provider)
    client.upstream.plays(replies(provider, COLD))
    answer = client.ask(stream=stream, instructions="Be short.")
    assert text_of(answer) == "It is cold."
    assert (answer["status"], answer["model"]) == ("completed", client.model)
    assert answer["usage"]["input_tokens"] == 10
    assert "Be short." in client.upstream.requests[-1].body.decode()
    booked = client.booked()
    assert answer["id"] == f"resp_{booked.request_id[4:]}"
    assert (booked.outcome, booked.endpoint) == ("complete", "responses")


@EVERY
@STREAM
def test_parallel_calls_are_items_of_their_own(client: Client, provider: str, stream: bool):
    client.serve(provider)
    client.upstream.plays(replies(provider, CALLS))
    answer = client.ask(stream=stream, tools=[TOOL])
    calls = [(item["name"], json.loads(item["arguments"]), item["status"]) for item in answer["output"]]
    assert calls == [("weather", {"city": "Oslo"}, "completed"), ("weather", {}, "completed")]
    assert len({item["call_id"] for item in answer["output"]}) == 2
