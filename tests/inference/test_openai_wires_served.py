"""OpenAI's models asked by Responses for clients of chat completions: whole, streamed, in tool loops, failed over,
broken off; and what a refusal teaches."""

import json
from typing import Any

import pytest
from flask import Flask

from bridge.catalogue.model_editing import set_openai_wire
from tests.factories import Factories
from tests.responses_answers import USAGE, answers, begins, call, message, refuses, thought
from tests.upstream import CUT, ScriptedUpstream, fails, says

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
BOTH_WAYS = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
HELLO = [{"role": "user", "content": "What is it like in Oslo?"}]
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {"type": "function", "function": {"name": "weather", "description": "Tells it.", "parameters": PARAMETERS}}
OSLO = call("call_AbCdEfGhIjKlMnOpQr01", "weather", '{"city": "Oslo"}')
ROME = call("call_AbCdEfGhIjKlMnOpQr02", "weather", '{"city": "Rome"}')
THOUGHTFUL_TOOLS = (
    "Function tools with reasoning_effort are not supported for gpt-9 in /v1/chat/completions. Use /v1/responses."
)


class Client:
    """A client of chat completions, with a model of its own."""

    def __init__(self, app: Flask, make: Factories):
        self.app, self.make, self.key, self.model = app, make, make.make_key(), make.make_model()

    def serve(self, upstream: ScriptedUpstream, upstream_id: str, priority: int = 0, wire: str = "") -> None:
        """The model by a channel of OpenAI's, where it has this name."""
        self.make.make_channel(upstream.base_url, models={self.model: upstream_id}, priority=priority)
        if wire:
            with self.app.app_context():
                set_openai_wire(self.model, wire)

    def ask(self, messages: list[Any] = HELLO, *, status: int = 200, **more: Any) -> dict[str, Any]:
        """The answer's message; of a stream, its deltas put together. `end` is its finish reason."""
        body = {"model": self.model, "messages": messages, "max_tokens": 900, **more}
        answer = self.app.test_client().post("/v1/chat/completions", json=body, headers=self.key.headers)
        data = answer.data
        self.headers = answer.headers
        answer.close()
        assert answer.status_code == status, data
        if status != 200:
            return json.loads(data)["error"]
        if not more.get("stream"):
            [choice] = json.loads(data)["choices"]
            return {**choice["message"], "end": choice["finish_reason"]}
        return gather(data.decode())

    def booked(self) -> Any:
        return self.make.list_usage(self.key.account_id)[-1]

    def outcomes(self) -> list[str]:
        return [attempt["outcome"] for attempt in json.loads(self.booked().attempts)]


def gather(text: str) -> dict[str, Any]:
    said: dict[str, Any] = {"content": "", "reasoning_content": "", "tool_calls": [], "end": None}
    for line in text.split("\n\n"):
        if not line.startswith("data: {"):
            continue
        chunk = json.loads(line[6:])
        if "error" in chunk:
            said["error"] = chunk["error"]
        for choice in chunk.get("choices", ()):
            delta = choice["delta"]
            said["end"] = choice["finish_reason"] or said["end"]
            for field in ("content", "reasoning_content"):
                said[field] += delta.get(field) or ""
            for piece in delta.get("tool_calls") or ():
                if piece["index"] == len(said["tool_calls"]):
                    said["tool_calls"].append(
                        {"id": piece["id"], "type": "function", "function": {**piece["function"]}}
                    )
                else:
                    said["tool_calls"][piece["index"]]["function"]["arguments"] += piece["function"]["arguments"]
    return said


@pytest.fixture
def client(app: Flask, make: Factories) -> Client:
    return Client(app, make)


@BOTH_WAYS
def test_t29_tools_and_thinking_go_together_by_responses(client: Client, upstream: ScriptedUpstream, stream: bool):
    client.serve(upstream, "gpt-5.4")
    upstream.plays(answers(thought(1, "Oslo,", "surely."), OSLO, ROME))
    said = client.ask(tools=[TOOL], reasoning_effort="high", stream=stream)
    assert [one["function"] for one in said["tool_calls"]] == [
        {"name": "weather", "arguments": '{"city": "Oslo"}'},
        {"name": "weather", "arguments": '{"city": "Rome"}'},
    ]
    assert (said["reasoning_content"], said["end"]) == ("Oslo,\n\nsurely.", "tool_calls")
    [asked] = upstream.requests
    assert asked.path == "/v1/responses"
    sent = asked.json
    assert sent["input"] == [{"role": "user", "content": HELLO[0]["content"]}]
    assert sent["tools"] == [
        {"type": "function", "name": "weather", "description": "Tells it.", "parameters": PARAMETERS, "strict": False}
    ]
    assert (sent["reasoning"], sent["max_output_tokens"]) == ({"effort": "high", "summary": "auto"}, 900)
    assert (sent["store"], sent["include"]) == (False, ["reasoning.encrypted_content"])
    booked = client.booked()
    assert (booked.outcome, booked.tokens_source, booked.finish_reason) == ("complete", "provider", "tool_calls")
    assert (booked.prompt_tokens, booked.cached_tokens) == (USAGE["input_tokens"], 8)
    assert (booked.completion_tokens, booked.reasoning_tokens) == (USAGE["output_tokens"], 9)


@BOTH_WAYS
def test_a_tool_loop_gives_the_encrypted_reasoning_back(client: Client, upstream: ScriptedUpstream, stream: bool):
    client.serve(upstream, "gpt-5.5")
    upstream.plays(
        answers(thought(1), OSLO),
        answers(thought(2), message("Rome next."), thought(3), ROME),
        answers(message("Cold.")),
    )
    messages: list[Any] = list(HELLO)
    for _ in range(2):
        said = client.ask(messages, tools=[TOOL], stream=stream)
        calls = said["tool_calls"]
        messages.append({"role": "assistant", "content": said["content"], "tool_calls": calls})
        messages += [{"role": "tool", "tool_call_id": one["id"], "content": "It rains."} for one in calls]
    assert client.ask(messages, tools=[TOOL], stream=stream)["content"] == "Cold."
    first, second, third = [request.json["input"] for request in upstream.requests]
    question, output = {"role": "user", "content": HELLO[0]["content"]}, {"type": "function_call_output"}
    oslo = {field: OSLO[field] for field in ("id", "type", "call_id", "name", "arguments")}
    rome = {field: ROME[field] for field in ("id", "type", "call_id", "name", "arguments")}
    assert first == [question]
    assert second == [question, thought(1), oslo, {**output, "call_id": OSLO["call_id"], "output": "It rains."}]
    assert third[len(second) :] == [
        thought(2),
        {"role": "assistant", "content": "Rome next."},
        thought(3),
        rome,
        {**output, "call_id": ROME["call_id"], "output": "It rains."},
    ]


@BOTH_WAYS
def test_the_refusal_of_tools_with_thinking_is_answered_by_responses(
    client: Client, upstream: ScriptedUpstream, stream: bool
):
    client.serve(upstream, "their-deployment")
    refused = refuses(400, THOUGHTFUL_TOOLS, None, "reasoning_effort")
    upstream.plays(refused, answers(OSLO), answers(ROME), says("By chat"))
    for number in (1, 2):  # the first is taught, the second knows
        said = client.ask(tools=[TOOL], reasoning_effort="low", stream=stream)
        assert said["end"] == "tool_calls"
        assert (client.outcomes(), client.headers["x-bridge-attempts"]) == (["200"], "1")
        assert len(client.make.list_usage(client.key.account_id)) == number
    assert client.ask(stream=stream)["content"] == "By chat"
    chat, responses = "/v1/chat/completions", "/v1/responses"
    assert [request.path for request in upstream.requests] == [chat, responses, responses, chat]


def test_an_operators_word_stands_against_what_an_upstream_says(client: Client, upstream: ScriptedUpstream):
    client.serve(upstream, "their-deployment", wire="chat")
    upstream.plays(refuses(400, THOUGHTFUL_TOOLS, None, "reasoning_effort"))
    refused = client.ask(tools=[TOOL], reasoning_effort="low", status=400)
    assert refused["param"] == "reasoning_effort"
    assert len(upstream.requests) == 1


def test_a_server_that_knows_chat_completions_alone_is_asked_there(client: Client, upstream: ScriptedUpstream):
    client.serve(upstream, "gpt-5.4")
    upstream.plays(refuses(404, "Invalid URL (POST /v1/responses)"), says("Hello"), says("again"))
    assert [client.ask()["content"] for _ in range(2)] == ["Hello", "again"]
    chat = "/v1/chat/completions"
    assert [request.path for request in upstream.requests] == ["/v1/responses", chat, chat]


@BOTH_WAYS
def test_t24_reasoning_that_another_organisation_made_is_left_out_once_more_asked(
    client: Client, upstream: ScriptedUpstream, stream: bool
):
    client.serve(upstream, "gpt-5.4")
    refused = refuses(400, "The encrypted content could not be verified.", "invalid_encrypted_content")
    upstream.plays(answers(thought(1), OSLO), refused, answers(message("Cold.")))
    calls = client.ask(tools=[TOOL], stream=stream)["tool_calls"]
    result = {"role": "tool", "tool_call_id": OSLO["call_id"], "content": "It rains."}
    turns = [*HELLO, {"role": "assistant", "content": None, "tool_calls": calls}, result]
    assert client.ask(turns, tools=[TOOL], stream=stream)["content"] == "Cold."
    _, with_it, without = [[item.get("type") for item in request.json["input"]] for request in upstream.requests]
    assert with_it == [None, "reasoning", "function_call", "function_call_output"]
    assert without == [None, "function_call", "function_call_output"]
    assert client.outcomes() == ["200"]


@BOTH_WAYS
def test_a_summary_that_may_not_be_seen_is_asked_for_no_more(client: Client, upstream: ScriptedUpstream, stream: bool):
    client.serve(upstream, "gpt-5.4")
    text = "Your organization must be verified to generate reasoning summaries."
    upstream.plays(refuses(400, text, "unsupported_value", "reasoning.summary"), answers(message("Hi")))
    assert [client.ask(stream=stream, reasoning_effort="low")["content"] for _ in range(2)] == ["Hi", "Hi"]
    asked = [request.json["reasoning"] for request in upstream.requests]
    assert asked == [{"effort": "low", "summary": "auto"}, {"effort": "low"}, {"effort": "low"}]


@BOTH_WAYS
@pytest.mark.parametrize("ids", [("gpt-5.4", "other"), ("other", "gpt-5.4")], ids=["to chat", "to responses"])
def test_a_channel_of_one_dialect_follows_one_of_the_other(
    client: Client, upstream: ScriptedUpstream, stream: bool, ids: tuple[str, str]
):
    for priority, upstream_id in enumerate(ids):
        client.serve(upstream, upstream_id, priority)
    good = says("Hello") if ids[1] == "other" else answers(message("Hello"))
    upstream.plays(fails(500), good)
    said = client.ask(stream=stream)
    assert (said["content"], said["end"]) == ("Hello", "stop")
    assert client.outcomes() == ["500 error", "200"]
    assert len(upstream.requests) == 2


def test_what_fails_within_the_stream_before_its_first_word_goes_to_the_next_channel(
    client: Client, upstream: ScriptedUpstream
):
    client.serve(upstream, "gpt-5.4")
    client.serve(upstream, "gpt-5.5", 1)
    failed = answers(status="failed", error={"code": "server_error", "message": "It broke."})
    upstream.plays(failed, answers(message("Hello")))
    assert client.ask(stream=True)["content"] == "Hello"
    assert client.outcomes() == ["an error inside a 200: server_error", "200"]


def test_a_stream_that_is_cut_is_charged_for_what_was_delivered(client: Client, upstream: ScriptedUpstream):
    client.serve(upstream, "gpt-5.4")
    upstream.plays(begins(7, message("Hello there, and good day to you."), then=CUT))
    said = client.ask(stream=True)
    assert said["content"] == "Hello there, and good"
    assert said["error"]["code"]
    booked = client.booked()
    assert (booked.outcome, booked.tokens_source) == ("cut", "estimate")
    assert 0 < booked.completion_tokens <= 6
    balance, held = client.make.find_money(client.key.account_id)
    assert (10_000_000_000 - balance, held) == (booked.charge_nanos, 0)


@BOTH_WAYS
def test_several_choices_are_as_many_calls(client: Client, upstream: ScriptedUpstream, stream: bool):
    client.serve(upstream, "gpt-5.4")
    upstream.plays(answers(message("Hello")))
    body = {"model": client.model, "messages": HELLO, "n": 3, "stream": stream, "max_tokens": 50}
    answer = client.app.test_client().post("/v1/chat/completions", json=body, headers=client.key.headers)
    assert answer.status_code == 200
    assert answer.text.count('"finish_reason":"stop"') == 3
    answer.close()
    assert [request.path for request in upstream.requests] == ["/v1/responses"] * 3
    assert client.booked().completion_tokens == 3 * USAGE["output_tokens"]


@pytest.mark.parametrize(
    ("wire", "tools", "path"),
    [
        ("chat", True, "/v1/chat/completions"),
        ("responses", False, "/v1/responses"),
        ("responses_with_tools", True, "/v1/responses"),
        ("responses_with_tools", False, "/v1/chat/completions"),
    ],
)
def test_an_operator_says_how_a_model_is_asked(
    client: Client, upstream: ScriptedUpstream, wire: str, tools: bool, path: str
):
    client.serve(upstream, "gpt-4o", wire=wire)
    upstream.plays(answers(message("Hi")) if path.endswith("responses") else says("Hi"))
    assert client.ask(**({"tools": [TOOL]} if tools else {}))["content"] == "Hi"
    assert upstream.requests[0].path == path


def test_a_drill_has_its_fault_and_then_the_model_by_responses(client: Client, upstream: ScriptedUpstream):
    client.serve(upstream, "gpt-5.4")
    upstream.plays(answers(message("Hello")))
    headers = {**client.key.headers, "x-bridge-drill": "500"}
    body = {"model": client.model, "messages": HELLO}
    answer = client.app.test_client().post("/v1/chat/completions", json=body, headers=headers)
    assert answer.json["choices"][0]["message"]["content"] == "Hello"
