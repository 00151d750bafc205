"""A client of OpenAI's SDK and a Gemini behind the gateway, over real sockets: streams, tool loops, choices, errors."""

import json
from typing import Any

import openai
import pytest

from tests.gateway import Gateway
from tests.sdk import open_sdk
from tests.upstream import Received, Scenario, ScriptedUpstream, Step, sends

# what is translated is the same on any database
pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)

HELLO = [{"role": "user", "content": "Hello!"}]
TOOL = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
COUNTS = {"promptTokenCount": 10, "candidatesTokenCount": 3, "thoughtsTokenCount": 4, "totalTokenCount": 17}
SIGNED = {"functionCall": {"name": "weather", "args": {"city": "Oslo"}, "id": "whZntcQw"}, "thoughtSignature": "c2ln"}


def gives(*parts: dict[str, Any]) -> Scenario:
    """A good answer of these parts, whole or as a stream that ends with its body, as Gemini's do."""

    def answer(some: tuple[dict[str, Any], ...], last: bool) -> bytes:
        candidate = {
            "content": {"role": "model", "parts": some},
            "index": 0,
            **({"finishReason": "STOP"} if last else {}),
        }
        return json.dumps({"candidates": [candidate], "usageMetadata": COUNTS, "modelVersion": "theirs"}).encode()

    def play(request: Received) -> list[Step]:
        if not request.path.endswith(":streamGenerateContent?alt=sse"):
            return sends(answer(parts, True))(request)
        events = [
            b"data: " + answer((part,), place == len(parts) - 1) + b"\r\n\r\n" for place, part in enumerate(parts)
        ]
        return [STREAM_HEAD, *(b"%x\r\n%b\r\n" % (len(event), event) for event in events), b"0\r\n\r\n"]

    return play


@pytest.fixture
def model(gateway: Gateway, upstream: ScriptedUpstream) -> str:
    """A model that a Gemini of the third generation serves."""
    name = gateway.make.make_model()
    root = upstream.base_url.removesuffix("/v1")
    gateway.make.make_channel(root, provider="gemini", models={name: "gemini-3.5-flash"})
    return name


@pytest.fixture
def sdk(gateway: Gateway) -> openai.OpenAI:
    return open_sdk(gateway, gateway.make.make_key().secret)


def test_a_stream_ends_with_its_body_and_is_charged_by_its_last_counts(sdk, model, upstream):
    upstream.plays(gives({"text": "hm", "thought": True}, {"text": "Hel"}, {"text": "lo"}))
    pieces = list(
        sdk.chat.completions.create(
            model=model, messages=HELLO, stream=True, stream_options={"include_usage": True}, reasoning_effort="low"
        )
    )
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices) == "Hello"
    assert [piece.choices[0].finish_reason for piece in pieces if piece.choices][-1] == "stop"
    usage = pieces[-1].usage
    assert (usage.prompt_tokens, usage.completion_tokens) == (10, 7)
    assert usage.completion_tokens_details.reasoning_tokens == 4
    (request,) = upstream.requests
    assert request.path == "/v1beta/models/gemini-3.5-flash:streamGenerateContent?alt=sse"
    assert request.headers["x-goog-api-key"].startswith("sk-Zq83hTr0")
    assert "authorization" not in request.headers
    config = request.json["generationConfig"]
    assert config["thinkingConfig"] == {"thinkingLevel": "low", "includeThoughts": True}
    assert config["maxOutputTokens"] > 0


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_knows_no_signatures_goes_on_in_a_tool_loop(sdk, model, upstream, stream):
    upstream.plays(gives(SIGNED), gives({"text": "It rains."}))
    first = sdk.chat.completions.create(model=model, messages=HELLO, tools=[TOOL], stream=stream)
    if stream:
        found = [call for piece in first for call in piece.choices[0].delta.tool_calls or ()]
    else:
        assert first.choices[0].finish_reason == "tool_calls"
        found = first.choices[0].message.tool_calls
    (call,) = found
    function = {"name": call.function.name, "arguments": call.function.arguments}
    spoken = {"role": "assistant", "tool_calls": [{"id": call.id, "type": "function", "function": function}]}
    result = {"role": "tool", "tool_call_id": call.id, "content": "rain"}
    second = sdk.chat.completions.create(model=model, messages=[*HELLO, spoken, result], tools=[TOOL])
    assert second.choices[0].message.content == "It rains."
    assert upstream.requests[1].json["contents"][1:] == [
        {"role": "model", "parts": [SIGNED]},
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"name": "weather", "response": {"result": "rain"}, "id": "whZntcQw"}},
            ],
        },
    ]


@pytest.mark.parametrize("stream", [False, True])
def test_several_choices_are_several_calls(sdk, model, upstream, stream):
    upstream.plays(gives({"text": "Hello"}))
    answer = sdk.chat.completions.create(model=model, messages=HELLO, n=2, stream=stream)
    if stream:
        texts = ["", ""]
        for piece in answer:
            texts[piece.choices[0].index] += piece.choices[0].delta.content or ""
    else:
        texts = [choice.message.content for choice in answer.choices]
        assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (20, 14)
    assert texts == ["Hello", "Hello"]
    assert len(upstream.requests) == 2


def test_a_mistake_of_the_clients_is_a_400_and_one_of_our_key_is_not(sdk, model, upstream):
    error = {"code": 400, "message": "Invalid value at 'contents'", "status": "INVALID_ARGUMENT"}
    upstream.plays(sends(json.dumps({"error": error}).encode(), 400))
    with pytest.raises(openai.BadRequestError):
        sdk.chat.completions.create(model=model, messages=HELLO)
    key = {**error, "message": "API key not valid.", "details": [{"reason": "API_KEY_INVALID"}]}
    upstream.plays(sends(json.dumps({"error": key}).encode(), 400))
    with pytest.raises(openai.InternalServerError) as caught:
        sdk.chat.completions.create(model=model, messages=HELLO)
    assert caught.value.status_code == 503
