"""A client of Responses whose model is asked by Responses: what the upstream says goes on, with our names."""

import json
from typing import Any

import pytest
from flask import Flask

from tests.factories import Factories
from tests.responses_answers import USAGE, answers, begins, call, custom_call, encode, list_events, message, thought
from tests.upstream import CUT, PAUSE, STREAM_HEAD, ScriptedUpstream, fails, says

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
BOTH_WAYS = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
TOOLS = [
    {"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {}}, "strict": False},
    {"type": "custom", "name": "patch", "description": "Edits."},
]


class Client:
    def __init__(self, app: Flask, make: Factories):
        self.app, self.make, self.key, self.model = app, make, make.make_key(), make.make_model()

    def serve(self, upstream: ScriptedUpstream, upstream_id: str = "gpt-5.5", priority: int = 0) -> None:
        self.make.make_channel(upstream.base_url, models={self.model: upstream_id}, priority=priority)

    def ask(self, given: Any = "Hi", **more: Any) -> dict[str, Any]:
        """The whole response; of a stream that of its last event."""
        body = {"model": self.model, "input": given, "max_output_tokens": 900, **more}
        answer = self.app.test_client().post("/v1/responses", json=body, headers=self.key.headers)
        data = answer.data.decode()
        answer.close()
        assert answer.status_code == 200, data
        if not more.get("stream"):
            return json.loads(data)
        lines = [line[6:] for line in data.split("\n") if line.startswith("data: ")]
        self.events = [json.loads(line) for line in lines]
        assert [one["sequence_number"] for one in self.events] == list(range(len(self.events)))
        return self.events[-1]["response"]

    def booked(self) -> Any:
        return self.make.list_usage(self.key.account_id)[-1]


@pytest.fixture
def client(app: Flask, make: Factories) -> Client:
    return Client(app, make)


@BOTH_WAYS
def test_items_of_every_kind_go_on_with_our_names_and_counts(client: Client, upstream: ScriptedUpstream, stream: bool):
    client.serve(upstream)
    items = [
        thought(1, "So."),
        message("Hello there."),
        call("call_1", "weather", "{}"),
        custom_call("call_2", "patch", "x"),
    ]
    upstream.plays(answers(*items))
    said = client.ask(tools=TOOLS, stream=stream, include=["reasoning.encrypted_content"])
    booked = client.booked()
    assert (said["id"], said["model"]) == (f"resp_{booked.request_id[4:]}", client.model)
    assert said["output"][1:] == items[1:]
    assert said["output"][0]["encrypted_content"].startswith("ab1.")
    assert said["usage"]["output_tokens"] == USAGE["output_tokens"]
    assert booked.outcome == "complete"
    assert upstream.requests[0].json["tools"] == TOOLS


@BOTH_WAYS
def test_encrypted_reasoning_goes_back_as_openai_gave_it(client: Client, upstream: ScriptedUpstream, stream: bool):
    client.serve(upstream)
    upstream.plays(answers(thought(1, "So."), call("call_1", "weather", "{}")), answers(message("Rain.")))
    asked = {"type": "message", "role": "user", "content": "Hi"}
    more = {"tools": TOOLS, "stream": stream, "include": ["reasoning.encrypted_content"]}
    said = client.ask([asked], **more)
    output = {"type": "function_call_output", "call_id": "call_1", "output": "It rains."}
    assert client.ask([asked, *said["output"], output], **more)["output"] == [message("Rain.")]
    _, second = upstream.requests
    assert second.json["input"][1] == thought(1, "So.")


def test_a_stream_that_is_cut_ends_as_failed_with_what_came(client: Client, upstream: ScriptedUpstream):
    client.serve(upstream)
    upstream.plays(begins(14, message("Hello there."), message("And more of it.", number=2), then=CUT))
    said = client.ask(stream=True)
    kinds = [one["type"] for one in client.events]
    assert (kinds.count("response.created"), kinds[-1], said["status"]) == (1, "response.failed", "failed")
    assert said["output"][0] == message("Hello there.")
    booked = client.booked()
    assert booked.outcome == "cut"
    check_counts(said["usage"], booked)


def check_counts(usage: Any, booked: Any) -> None:
    """What a failed answer says of its tokens is what was charged."""
    counts = usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]
    assert counts == (booked.prompt_tokens, booked.completion_tokens, booked.prompt_tokens + booked.completion_tokens)
    assert usage["output_tokens"] > 0
    assert usage["output_tokens_details"] == {"reasoning_tokens": booked.reasoning_tokens}
    assert usage["cost"] * 1e9 == pytest.approx(booked.charge_nanos)


def test_a_failed_answer_has_the_counts_that_its_provider_gave(client: Client, upstream: ScriptedUpstream):
    """The provider fails it at its end, and says what it took until then."""
    client.serve(upstream)
    failed = list_events(message("Hello there."), status="failed", error={"code": "server_error", "message": "No."})
    *before, last = pieces_of(failed)
    upstream.plays(lambda _request: [STREAM_HEAD, *before, PAUSE, last, b"0\r\n\r\n"])
    body = {"model": client.model, "input": "Hi", "max_output_tokens": 900, "stream": True}
    answer = client.app.test_client().post("/v1/responses", json=body, headers=client.key.headers)
    frames = iter(answer.response)
    first = next(frames)
    upstream.resume()
    data = b"".join([first, *frames]).decode()
    answer.close()
    said = json.loads(data.rstrip().rpartition("data: ")[2])["response"]
    assert said["status"] == "failed"
    assert said["usage"]["input_tokens"] == USAGE["input_tokens"]
    assert said["usage"]["output_tokens"] == USAGE["output_tokens"]
    check_counts(said["usage"], client.booked())


def test_t20_items_that_the_last_event_leaves_out_are_those_that_were_streamed(
    client: Client, upstream: ScriptedUpstream
):
    client.serve(upstream)
    events = list_events(message("Hello there."))
    events[-1]["response"] = {**events[-1]["response"], "output": []}
    upstream.plays(lambda _request: [STREAM_HEAD, *pieces_of(events), b"0\r\n\r\n"])
    assert client.ask(stream=True)["output"] == [message("Hello there.")]


def pieces_of(events: list[dict[str, Any]]) -> list[bytes]:
    return [b"%x\r\n%b\r\n" % (len(data), data) for event in events if (data := encode([event]))]


@BOTH_WAYS
def test_a_channel_of_chat_completions_follows_one_of_responses(
    client: Client, upstream: ScriptedUpstream, stream: bool
):
    client.serve(upstream)
    client.serve(upstream, "their-model", 1)
    upstream.plays(fails(500), says("Hello"))
    assert client.ask(stream=stream)["output"][0]["content"][0]["text"] == "Hello"
