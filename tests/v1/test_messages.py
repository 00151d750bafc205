"""POST /v1/messages: any model for clients of Anthropic's, whole and streamed, whoever makes it."""

import json
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from bridge.db import db
from tests.each_provider import PROVIDERS
from tests.factories import Factories
from tests.messages import calls_of, check_message, list_events, read_message, say, thoughts_of
from tests.replay import BASES, replies, stream_steps
from tests.replies import Call, Reply, write_stream
from tests.upstream import CUT, ScriptedUpstream, fails, says, starts

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
EVERY = pytest.mark.parametrize("provider", PROVIDERS)
BOTH = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
UPSTREAM_IDS = {
    "openai": "gpt-4o",
    "gemini": "gemini-3.5-flash",
    "anthropic": "claude-sonnet-4-5",
    "deepseek": "deepseek-v4-pro",
    "moonshot": "kimi-k2.6",
}
HELLO: list[Any] = [{"role": "user", "content": "Hello!"}]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS: list[Any] = [
    {"name": name, "description": f"Gives the {name}.", "input_schema": SCHEMA} for name in ("weather", "time")
]
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
SPOKEN = Reply("Hello — wie geht's? 你好 🙂", prompt_tokens=40, cached_tokens=8, completion_tokens=21)


class Client:
    """Speaks Messages to the API."""

    def __init__(self, app: Flask, make: Factories, upstream: ScriptedUpstream):
        self._app, self._make, self.upstream, self.key = app, make, upstream, make.make_key()
        self.model = make.make_model()
        self._let_see()

    def _let_see(self) -> None:
        """The model takes pictures and documents too."""
        kinds = json.dumps(["text", "image", "file"])
        with self._make.app.app_context(), db.engine.begin() as connection:
            connection.execute(
                sa.text("UPDATE models SET input_modalities = :kinds WHERE id = :id"),
                {"kinds": kinds, "id": self.model},
            )
        self._make.note_change()

    def serve(self, provider: str, **fields: Any) -> None:
        """The upstream serves the model as this provider."""
        base_url = self.upstream.base_url.removesuffix("/v1") + BASES.get(provider, "")
        fields.setdefault("models", {self.model: UPSTREAM_IDS[provider]})
        self._make.make_channel(base_url, provider=provider, **fields)

    def post(self, body: dict[str, Any], path: str = "/v1/messages", **headers: str) -> Any:
        given = {"x-api-key": self.key.secret, "anthropic-version": "2023-06-01", **headers}
        return self._app.test_client().post(path, json=body, headers=given)

    def get(self, path: str, **headers: str) -> Any:
        given = {"x-api-key": self.key.secret, "anthropic-version": "2023-06-01", **headers}
        return self._app.test_client().get(path, headers=given)

    def ask(self, messages: list[Any] = HELLO, *, stream: bool = False, **more: Any) -> dict[str, Any]:
        """The message, whole or as the stream says it."""
        headers = more.pop("headers", {})
        body = {"model": self.model, "max_tokens": 1000, "messages": messages, **more}
        answer = self.post({**body, "stream": True} if stream else body, **headers)
        assert answer.status_code == 200, answer.data
        message = read_message(answer.data) if stream else answer.json
        answer.close()
        check_message(message)
        assert message["model"] == self.model
        self.headers = answer.headers
        return message

    def refused(self, body: dict[str, Any], **headers: str) -> Any:
        """The refusal of a request, which is in Anthropic's shape."""
        answer = self.post({"model": self.model, "max_tokens": 100, "messages": HELLO, **body}, **headers)
        assert answer.json["type"] == "error"
        assert answer.json["request_id"] == answer.headers["request-id"] == answer.headers["x-request-id"]
        self.status, error = answer.status_code, answer.json["error"]
        self.headers = answer.headers
        return error

    def booked(self) -> Any:
        return self._make.list_usage(self.key.account_id)[-1]

    @property
    def sent(self) -> list[Any]:
        return [request.json for request in self.upstream.requests]


@pytest.fixture
def client(app: Flask, make: Factories, upstream: ScriptedUpstream) -> Client:
    return Client(app, make, upstream)


@EVERY
@BOTH
def test_every_provider_answers_in_anthropics_shape(client: Client, provider: str, stream: bool):
    client.serve(provider)
    client.upstream.plays(replies(provider, SPOKEN))
    message = client.ask(stream=stream)
    booked = client.booked()
    assert (say(message), message["stop_reason"], message["stop_sequence"]) == (SPOKEN.text, "end_turn", None)
    assert message["id"] == "msg_" + booked.request_id[4:]
    usage = message["usage"]
    assert (usage["input_tokens"], usage["cache_read_input_tokens"], usage["output_tokens"]) == (32, 8, 21)
    assert usage["cost"] * 1e9 == pytest.approx(booked.charge_nanos)
    assert (booked.prompt_tokens, booked.cached_tokens, booked.completion_tokens) == (40, 8, 21)
    assert (booked.outcome, booked.tokens_source, booked.endpoint) == ("complete", "provider", "messages")
    assert client.headers["request-id"] == booked.request_id


def calls_from(provider: str) -> tuple[Call, ...]:
    first, second = {
        "gemini": ("", ""),
        "moonshot": ("functions.weather:0", "functions.time:1"),
        "anthropic": ("toolu_01A1", "toolu_01B2"),
    }.get(provider, ("call_a1", "call_b2"))
    return Call(first, "weather", {"city": "Zürich"}), Call(second, "time", {"city": "Oslo", "zone": [1, None, "x"]})


@EVERY
@BOTH
@pytest.mark.parametrize("many", [1, 2])
def test_calls_are_blocks_of_their_own(client: Client, provider: str, stream: bool, many: int):
    client.serve(provider)
    calls = calls_from(provider)[:many]
    client.upstream.plays(replies(provider, Reply("Let me look.", calls=calls)))
    message = client.ask(stream=stream, tools=TOOLS)
    assert (say(message), message["stop_reason"]) == ("Let me look.", "tool_use")
    found = calls_of(message)
    assert [(call["name"], call["input"]) for call in found] == [(call.name, call.arguments) for call in calls]
    assert len({call["id"] for call in found}) == many
    assert client.booked().finish_reason == "tool_calls"


LOOP_IDS = {
    "anthropic": ("toolu_01AbCdEfGhIjKlMnOpQr", "toolu_01BbCdEfGhIjKlMnOpQr", "toolu_01CbCdEfGhIjKlMnOpQr"),
    "gemini": ("fc_a1", "fc_b2", "fc_c3"),
    "moonshot": ("functions.weather:0", "functions.weather:1", "functions.time:2"),
}
THINKING = {"thinking": {"type": "enabled", "budget_tokens": 2000}, "max_tokens": 4000}


def loop_replies(provider: str) -> tuple[Reply, Reply, Reply]:
    """Two calls at once, then one, then the answer."""
    first, second, third = LOOP_IDS.get(provider, ("call_00_xa1", "call_01_xb2", "call_00_xc3"))
    both = (Call(first, "weather", {"city": "Oslo"}), Call(second, "weather", {"city": "Rome"}))
    return (
        Reply(thought="Both places, then. 🤔", signature="c2lnbmF0dXJlIG9uZQ==", calls=both, reasoning_tokens=9),
        Reply(
            "Rome next.", "Hm.", "c2lnbmF0dXJlIHR3bw==", (Call(third, "time", {"city": "Rome"}),), reasoning_tokens=9
        ),
        Reply("Cold, and warm.", "That is all.", "c2lnbmF0dXJlIHRocmVl", reasoning_tokens=9),
    )


def run_loop(client: Client, provider: str, stream: bool, ask_as: list[str] | None = None) -> list[Any]:
    """Three turns; the client gives back what it got, word for word. What it said at last."""
    client.upstream.plays(*(replies(provider, reply) for reply in loop_replies(provider)))
    messages: list[Any] = [{"role": "user", "content": "What is it like in Oslo and Rome?"}]
    for _ in range(2):
        message = client.ask(messages, stream=stream, tools=TOOLS, **THINKING)
        said = [
            {"type": "tool_result", "tool_use_id": call["id"], "content": f"Result of {call['input']['city']}"}
            for call in reversed(calls_of(message))  # in the order in which they were done
        ]
        messages += [{"role": "assistant", "content": message["content"]}, {"role": "user", "content": said}]
    last = client.ask(messages, stream=stream, tools=TOOLS, **THINKING)
    assert say(last) == "Cold, and warm."
    return messages


def turns_of(provider: str, sent: dict[str, Any]) -> list[Any]:
    """The model's own turns in a request, in the provider's words."""
    if provider == "gemini":
        return [content["parts"] for content in sent["contents"] if content["role"] == "model"]
    turns = [message for message in sent["messages"] if message["role"] == "assistant"]
    return [turn["content"] for turn in turns] if provider == "anthropic" else turns


@EVERY
@BOTH
def test_a_tool_loop_with_thinking_gives_each_provider_its_reasoning_back(client: Client, provider: str, stream: bool):
    client.serve(provider)
    messages = run_loop(client, provider, stream)
    first, second, _ = loop_replies(provider)
    last = client.sent[-1]
    if provider == "anthropic":
        assert turns_of(provider, last) == [messages[1]["content"], messages[3]["content"]]
        assert messages[1]["content"][0] == {
            "type": "thinking",
            "thinking": first.thought,
            "signature": first.signature,
        }
    elif provider == "gemini":
        for turn, reply in zip(turns_of(provider, last), (first, second), strict=True):
            calls = [part for part in turn if "functionCall" in part]
            assert [call.get("thoughtSignature") for call in calls] == [reply.signature] + [None] * (len(calls) - 1)
    elif provider in ("deepseek", "moonshot"):
        for turn, reply in zip(turns_of(provider, last), (first, second), strict=True):
            assert turn["reasoning_content"] == reply.thought
            assert [call["id"] for call in turn["tool_calls"]] == [call.id for call in reply.calls]
    if provider != "anthropic":
        assert all(block["signature"].startswith("ab1.") for block in thoughts_of(messages[1]))
    if provider not in ("anthropic", "gemini"):
        results = [message for message in last["messages"] if message["role"] == "tool"]
        assert {one["content"] for one in results} == {"Result of Oslo", "Result of Rome"}


@BOTH
def test_t7_a_conversation_that_moves_to_claude_goes_without_the_others_thoughts(client: Client, stream: bool):
    """A foreign signature would be refused in every later turn."""
    client.serve("gemini")
    messages = run_loop(client, "gemini", stream)
    assert thoughts_of(messages[1])
    client._make.disable_channels(client.model)
    client.serve("anthropic")
    client.upstream.plays(replies("anthropic", Reply("Well.")))
    assert say(client.ask(messages, stream=stream, tools=TOOLS, **THINKING)) == "Well."
    sent = client.sent[-1]
    assert "ab1." not in json.dumps(sent)
    assert not [block for turn in turns_of("anthropic", sent) for block in turn if block["type"] == "thinking"]
    assert "thinking" not in sent  # with a budget the turn would have to begin with thoughts
    assert client.headers["x-bridge-clamped"] == "thinking=disabled"


@BOTH
def test_and_one_that_moves_away_from_claude_keeps_its_text_alone(client: Client, stream: bool):
    client.serve("anthropic")
    messages = run_loop(client, "anthropic", stream)
    client._make.disable_channels(client.model)
    client.serve("deepseek")
    client.upstream.plays(replies("deepseek", Reply("Well.")))
    assert say(client.ask(messages, stream=stream, tools=TOOLS, **THINKING)) == "Well."
    sent = json.dumps(client.sent[-1])
    assert "c2lnbmF0dXJl" not in sent
    assert "Result of Oslo" in sent


@pytest.mark.parametrize("provider", ["openai", "anthropic", "gemini", "moonshot"])
@BOTH
def test_pictures_reach_every_provider_that_sees(client: Client, provider: str, stream: bool):
    client.serve(provider)
    client.upstream.plays(replies(provider, Reply("A dot.")))
    asked = [{"role": "user", "content": [PICTURE, {"type": "text", "text": "What is it?"}]}]
    assert say(client.ask(asked, stream=stream)) == "A dot."
    assert PIXEL in json.dumps(client.sent[-1])


@pytest.mark.parametrize("provider", ["openai", "anthropic", "gemini", "moonshot"])
def test_t13_a_tools_picture_is_a_picture_and_never_text(client: Client, provider: str):
    client.serve(provider)
    client.upstream.plays(replies(provider, Reply("A dot.")))
    calls = [{"type": "tool_use", "id": f"toolu_{n}", "name": "weather", "input": {"city": "Oslo"}} for n in (1, 2)]
    results = [
        {"type": "tool_result", "tool_use_id": "toolu_2", "content": [{"type": "text", "text": "seen"}, PICTURE]},
        {"type": "tool_result", "tool_use_id": "toolu_1", "content": "nothing"},
    ]
    turns = [*HELLO, {"role": "assistant", "content": calls}, {"role": "user", "content": results}]
    client.ask(turns, tools=TOOLS)
    sent = client.sent[-1]
    if provider in ("openai", "moonshot"):
        roles = [message["role"] for message in sent["messages"]]
        assert roles == ["user", "assistant", "tool", "tool", "user"]
        [shown] = sent["messages"][-1]["content"]
        assert shown == {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
        assert PIXEL not in json.dumps(sent["messages"][:-1])
    elif provider == "gemini":
        assert {"inlineData": {"mimeType": "image/png", "data": PIXEL}} in sent["contents"][-1]["parts"]
    else:
        assert sent["messages"][-1]["content"] == results


@EVERY
def test_a_failed_tool_is_told_as_one(client: Client, provider: str):
    client.serve(provider)
    client.upstream.plays(replies(provider, Reply("Oh.")))
    call = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "no such city", "is_error": True}
    client.ask([*HELLO, {"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}], tools=TOOLS)
    sent = client.sent[-1]
    if provider == "anthropic":
        assert sent["messages"][-1]["content"] == [result]
    elif provider == "gemini":
        [part] = sent["contents"][-1]["parts"]
        assert part["functionResponse"]["response"] == {"error": "no such city"}
    else:
        assert sent["messages"][-1]["content"] == "Error: no such city"


@EVERY
@BOTH
def test_a_schema_shapes_the_answer(client: Client, provider: str, stream: bool):
    client.serve(provider)
    schema = {**SCHEMA, "additionalProperties": False}
    client.upstream.plays(replies(provider, Reply('{"city":"Oslo"}')))
    message = client.ask(stream=stream, output_config={"format": {"type": "json_schema", "schema": schema}})
    assert json.loads(say(message)) == {"city": "Oslo"}
    sent = client.sent[-1]
    if provider == "anthropic":
        assert sent["output_config"] == {"format": {"type": "json_schema", "schema": schema}}
    elif provider == "openai":
        assert sent["response_format"]["json_schema"] == {"name": "answer", "strict": True, "schema": schema}
    else:
        assert "city" in json.dumps(sent)


@EVERY
def test_t4_a_system_message_in_the_middle_is_taken_by_every_provider(client: Client, provider: str):
    client.serve(provider)
    client.upstream.plays(replies(provider, Reply("Yes.")))
    turns = [*HELLO, {"role": "system", "content": "Mode: plan."}, {"role": "assistant", "content": "Hi."}, *HELLO]
    client.ask(turns, system="Be short.")
    sent = json.dumps(client.sent[-1])
    assert "Mode: plan." in sent
    assert "Be short." in sent


@EVERY
@BOTH
def test_t2_an_answer_that_breaks_off_ends_its_block_and_then_says_so(client: Client, provider: str, stream: bool):
    """A stream that nobody ended would keep agents waiting for minutes."""
    client.serve(provider)
    if stream:
        steps = stream_steps(write_stream(provider, SPOKEN), (40,))
        client.upstream.plays(lambda _request: [*steps[: len(steps) // 2], CUT])
        answer = client.post({"model": client.model, "max_tokens": 99, "messages": HELLO, "stream": True})
        message = read_message(answer.data, ended=False)
        answer.close()
        assert message["error"]["error"]["type"] == "api_error"
        assert SPOKEN.text.startswith(said := say(message))
        assert said
        assert client.booked().outcome == "cut"
    else:
        client.upstream.plays(fails(500))
        error = client.refused({})
        assert (client.status, error["type"]) == (503, "api_error")


@EVERY
def test_a_stream_beyond_its_cap_ends_at_it(client: Client, provider: str):
    client.serve(provider)
    client.upstream.plays(replies(provider, Reply("one two " * 2000, prompt_tokens=10)))
    answer = client.post({"model": client.model, "max_tokens": 100, "messages": HELLO, "stream": True})
    message = read_message(answer.data, ended=False)
    answer.close()
    assert 50 <= say(message).count(" ") <= 100
    assert client.booked().outcome == "cut"


@BOTH
@pytest.mark.parametrize("order", [("anthropic", "gemini", "openai"), ("openai", "gemini", "anthropic")])
def test_it_fails_over_from_one_dialect_to_another(client: Client, order: tuple[str, ...], stream: bool):
    for priority, provider in enumerate(order):
        client.serve(provider, priority=priority)
    client.upstream.plays(fails(503), fails(503), replies(order[-1], Reply("Hi.", prompt_tokens=10)))
    assert say(client.ask(stream=stream)) == "Hi."
    assert len(json.loads(client.booked().attempts)) == 3


def test_the_beginning_of_a_stream_has_a_count_of_the_prompt(client: Client):
    client.serve("openai")
    client.upstream.plays(says("Hello"))
    answer = client.post({"model": client.model, "max_tokens": 99, "messages": HELLO, "stream": True})
    start, *_ = list_events(answer.data)
    answer.close()
    assert start["message"]["usage"]["input_tokens"] > 0
    assert start["message"]["content"] == []


def test_a_whole_answer_that_a_stream_was_to_be_is_said_as_one(client: Client):
    client.serve("anthropic")
    whole_one = replies("anthropic", SPOKEN)

    def play(request: Any) -> Any:
        request.body = json.dumps({**request.json, "stream": False}).encode()
        return whole_one(request)

    client.upstream.plays(play)
    assert say(client.ask(stream=True)) == SPOKEN.text


def test_a_failed_channel_leaves_nothing_in_what_the_next_one_says(client: Client):
    for priority in (0, 1):
        client.serve("openai", priority=priority)
    client.upstream.plays(starts(), says("Hello", prompt_tokens=7))
    assert say(client.ask(stream=True)) == "Hello"
