"""A client of OpenAI's SDK and a Claude behind the gateway, over real sockets: streams, tool loops, caches, errors."""

import json
from typing import Any

import openai
import pytest

from tests.gateway import Gateway
from tests.providers.anthropic_requests import CACHE, START, block, delta, ending, event, text_block, tool_block
from tests.sdk import open_sdk
from tests.upstream import PAUSE, STREAM_HEAD, Received, Scenario, ScriptedUpstream, Step, fails, says, sends

# what is translated is the same on any database
pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)

HELLO = [{"role": "user", "content": "Hello!"}]
TOOL = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}
THOUGHT = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
USED = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Oslo"}}


def streams(*events: bytes) -> list[Step]:
    return [STREAM_HEAD, *(b"%x\r\n%b\r\n" % (len(each), each) for each in events), b"0\r\n\r\n"]


def gives(content: list[dict[str, Any]], events: list[bytes], reason: str = "end_turn") -> Scenario:
    """A good answer, whole or as a stream of the same."""

    def play(request: Received) -> list[Step]:
        if request.json.get("stream"):
            return streams(START, event("ping"), *events, ending(reason))
        usage = {"input_tokens": 10, "output_tokens": 5}
        body = {"type": "message", "content": content, "stop_reason": reason, "usage": usage}
        return sends(json.dumps(body).encode())(request)

    return play


SAYS = gives([{"type": "text", "text": "It rains."}], [text_block(0, "It", " rains", ".")])
signed = [delta(0, "thinking_delta", thinking="Hm."), delta(0, "signature_delta", signature="c2ln")]
CALLS = gives(
    [THOUGHT, USED],
    [block(0, {"type": "thinking", "thinking": "", "signature": ""}, *signed)]
    + [tool_block(1, "toolu_1", "weather", "", '{"city":', '"Oslo"}')],
    "tool_use",
)


@pytest.fixture
def model(gateway: Gateway, upstream: ScriptedUpstream) -> str:
    """A model that a Claude with a thinking budget serves."""
    name = gateway.make.make_model()
    root = upstream.base_url.removesuffix("/v1")
    gateway.make.make_channel(root, provider="anthropic", models={name: "claude-sonnet-4-5"})
    return name


@pytest.fixture
def sdk(gateway: Gateway) -> openai.OpenAI:
    return open_sdk(gateway, gateway.make.make_key().secret)


def test_a_stream_arrives_and_is_charged_by_its_last_counts(sdk, model, upstream):
    counts = {"cache_read_input_tokens": 20, "cache_creation_input_tokens": 7, "output_tokens": 9}
    upstream.plays(lambda _request: streams(START, text_block(0, "It", " rains", "."), ending("max_tokens", **counts)))
    marked = [{"role": "system", "content": [{"type": "text", "text": "Be brief.", **CACHE}]}, *HELLO]
    pieces = list(
        sdk.chat.completions.create(model=model, messages=marked, stream=True, stream_options={"include_usage": True})
    )
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices) == "It rains."
    assert [piece.choices[0].finish_reason for piece in pieces if piece.choices][-1] == "length"
    usage = pieces[-1].usage
    assert (usage.prompt_tokens, usage.prompt_tokens_details.cached_tokens, usage.completion_tokens) == (37, 20, 9)
    (request,) = upstream.requests
    assert request.path == "/v1/messages"
    assert request.headers["x-api-key"].startswith("sk-Zq83hTr0")
    assert request.headers["anthropic-version"] == "2023-06-01"
    assert "authorization" not in request.headers
    assert request.json["system"] == [{"type": "text", "text": "Be brief.", **CACHE}]
    assert request.json["max_tokens"] > 0


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_knows_no_thoughts_goes_on_thinking_in_a_tool_loop(sdk, model, upstream, stream):
    upstream.plays(CALLS, SAYS)
    asked = {"model": model, "tools": [TOOL], "reasoning_effort": "low", "max_tokens": 4096}
    first = sdk.chat.completions.create(messages=HELLO, stream=stream, **asked)
    name, arguments, call_id = "", "", ""
    if stream:
        for piece in first:
            for call in piece.choices[0].delta.tool_calls or ():
                call_id, name = call_id or call.id, name or call.function.name
                arguments += call.function.arguments
    else:
        assert first.choices[0].finish_reason == "tool_calls"
        (call,) = first.choices[0].message.tool_calls
        name, arguments, call_id = call.function.name, call.function.arguments, call.id
    function = {"name": name, "arguments": arguments}
    spoken = {"role": "assistant", "tool_calls": [{"id": call_id, "type": "function", "function": function}]}
    result = {"role": "tool", "tool_call_id": call_id, "content": "rain"}
    second = sdk.chat.completions.create(messages=[*HELLO, spoken, result], **asked)
    assert second.choices[0].message.content == "It rains."
    sent = upstream.requests[1].json
    assert sent["thinking"] == {"type": "enabled", "budget_tokens": 2048}
    assert [turn["content"] for turn in sent["messages"][1:]] == [
        [THOUGHT, USED],
        [{"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "rain"}]}],
    ]


def test_several_choices_are_several_calls(sdk, model, upstream):
    upstream.plays(SAYS)
    answer = sdk.chat.completions.create(model=model, messages=HELLO, n=2)
    assert [choice.message.content for choice in answer.choices] == ["It rains."] * 2
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (20, 10)
    assert len(upstream.requests) == 2


def test_what_is_adapted_is_said(sdk, model, upstream):
    upstream.plays(SAYS)
    answer = sdk.chat.completions.with_raw_response.create(
        model=model, messages=HELLO, seed=1, temperature=1.5, extra_body={"odd\nname: x": 1}
    )
    assert answer.headers["x-bridge-dropped"] == "seed, odd?name??x"
    assert answer.headers["x-bridge-clamped"] == "temperature=1"


def test_no_number_of_adapted_fields_makes_headers_that_a_proxy_refuses(sdk, model, upstream):
    upstream.plays(SAYS)
    strict = [{"type": "function", "function": {"name": f"f{i}", "strict": True}} for i in range(2000)]
    answer = sdk.chat.completions.with_raw_response.create(model=model, messages=HELLO, tools=strict)
    assert answer.headers["x-bridge-dropped"].startswith("tools[")
    assert len(answer.headers["x-bridge-dropped"]) < 2000


def test_what_a_channel_that_failed_did_not_take_is_not_said_of_the_one_that_answered(gateway, sdk, upstream):
    other, name = ScriptedUpstream(), gateway.make.make_model()
    root = upstream.base_url.removesuffix("/v1")
    gateway.make.make_channel(root, provider="anthropic", models={name: "claude-sonnet-4-5"}, priority=0)
    gateway.make.make_channel(other.base_url, name, priority=1)
    upstream.plays(fails(500))
    other.plays(says("Hi"))
    answer = sdk.chat.completions.with_raw_response.create(model=name, messages=HELLO, temperature=1.5, seed=1)
    assert answer.headers["x-bridge-attempts"] == "2"
    assert other.requests[-1].json["temperature"] == 1.5
    assert not {"x-bridge-clamped", "x-bridge-dropped"} & answer.headers.keys()


def test_an_error_in_the_stream_ends_it_with_an_error(sdk, model, upstream):
    error = event("error", error={"type": "overloaded_error", "message": "Overloaded"})
    *said, failed, end = streams(START, text_block(0, "It"), error)
    upstream.plays(lambda _request: [*said, PAUSE, failed, end])
    pieces = iter(sdk.chat.completions.create(model=model, messages=HELLO, stream=True))
    assert [next(pieces).choices[0].delta.content for _ in range(2)] == ["", "It"]
    upstream.resume()
    with pytest.raises(openai.APIError):
        next(pieces)


@pytest.mark.parametrize(
    ("status", "kind", "message", "seen"),
    [
        (400, "invalid_request_error", "prompt is too long: 9 tokens > 8 maximum", 400),
        (400, "invalid_request_error", "Your credit balance is too low to access the API.", 503),
        (401, "authentication_error", "invalid x-api-key", 503),
        (404, "not_found_error", "model: claude-x", 503),
        (529, "overloaded_error", "Overloaded", 503),
    ],
)
def test_only_the_clients_own_mistakes_are_the_clients(sdk, model, upstream, status, kind, message, seen):
    body = {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}
    upstream.plays(sends(json.dumps(body).encode(), status))
    with pytest.raises(openai.APIStatusError) as caught:
        sdk.chat.completions.create(model=model, messages=HELLO)
    assert caught.value.status_code == seen
    assert seen == 503 or caught.value.code == "context_length_exceeded"
