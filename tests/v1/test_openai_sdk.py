"""The official OpenAI SDK, unchanged but for its base URL, sync and async, against a running gateway."""

import asyncio
import json

import openai
import pytest
from pydantic import BaseModel

from tests.gateway import Gateway
from tests.sdk import open_sdk
from tests.upstream import Received, ScriptedUpstream, chunk, completion, fails, framed, says, sends, whole

HELLO = [{"role": "user", "content": "Hello!"}]
TOOL = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


class Event(BaseModel):
    name: str
    day: str


@pytest.fixture
def model(gateway: Gateway, upstream: ScriptedUpstream) -> str:
    """A model that the scripted upstream serves."""
    name = gateway.make.make_model()
    gateway.make.make_channel(upstream.base_url, name)
    return name


@pytest.fixture
def sdk(gateway: Gateway) -> openai.OpenAI:
    return open_sdk(gateway, gateway.make.make_key().secret)


def test_create_gives_the_answer_with_our_id_the_public_name_and_the_cost(sdk, model, upstream):
    upstream.plays(says("Hello", " there", prompt_tokens=10, completion_tokens=8))
    answer = sdk.chat.completions.create(model=model, messages=HELLO)
    assert answer.choices[0].message.content == "Hello there"
    assert answer.choices[0].message.refusal is None
    assert answer.choices[0].finish_reason == "stop"
    assert answer.id.startswith("chatcmpl-")
    assert answer.id != "chatcmpl-upstream"
    assert answer.model == model
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (10, 8, 18)
    assert answer.usage.cost == 0.000026


def test_stream_reads_as_the_published_example_reads_it(sdk, model, upstream):
    upstream.plays(says("One", " two", " three"))
    stream = sdk.chat.completions.create(model=model, messages=HELLO, stream=True)
    assert "".join(piece.choices[0].delta.content or "" for piece in stream) == "One two three"


def test_stream_with_usage_ends_in_one_chunk_of_usage_and_cost(sdk, model, upstream):
    upstream.plays(says("One", " two", prompt_tokens=5, completion_tokens=2))
    stream = sdk.chat.completions.create(
        model=model, messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert {piece.id for piece in chunks} == {chunks[0].id}
    assert {piece.model for piece in chunks} == {model}
    assert chunks[-1].choices == []
    assert chunks[-1].usage.prompt_tokens == 5
    assert chunks[-1].usage.cost == 0.000009
    assert all(piece.usage is None for piece in chunks[:-1])
    assert [piece.choices[0].finish_reason for piece in chunks[:-1] if piece.choices[0].finish_reason] == ["stop"]


def test_tools_pass_untouched_and_their_calls_come_back(sdk, model, upstream):
    def calls(request: Received) -> list:
        call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}}
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
        body = json.loads(completion("", {"prompt_tokens": 1, "completion_tokens": 1}))
        body["choices"] = [{"index": 0, "message": message, "finish_reason": "tool_calls"}]
        return [whole(json.dumps(body).encode())]

    upstream.plays(calls)
    answer = sdk.chat.completions.create(model=model, messages=HELLO, tools=[TOOL], tool_choice="auto")
    assert upstream.requests[-1].json["tools"] == [TOOL]
    assert answer.choices[0].message.tool_calls[0].function.arguments == '{"city":"Oslo"}'
    assert answer.choices[0].finish_reason == "tool_calls"


def test_streamed_tool_calls_keep_their_indexes(sdk, model, upstream):
    def delta(index: int, **more) -> dict:
        return chunk(delta={"tool_calls": [{"index": index, **more}]})

    def calls(request: Received) -> list:
        events = [
            chunk(delta={"role": "assistant", "content": None}),
            delta(0, id="a", type="function", function={"name": "weather", "arguments": ""}),
            delta(0, function={"arguments": '{"city":'}),
            delta(0, function={"arguments": '"Oslo"}'}),
            delta(1, id="b", type="function", function={"name": "weather", "arguments": "{}"}),
            chunk(finish_reason="tool_calls"),
        ]
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        return [head, *map(framed, events), framed("[DONE]"), b"0\r\n\r\n"]

    upstream.plays(calls)
    found: dict[int, str] = {}
    for piece in sdk.chat.completions.create(model=model, messages=HELLO, tools=[TOOL], stream=True):
        for call in piece.choices[0].delta.tool_calls or []:
            found[call.index] = found.get(call.index, "") + (call.function.arguments or "")
    assert found == {0: '{"city":"Oslo"}', 1: "{}"}


def test_parse_gives_the_structured_output(sdk, model, upstream):
    upstream.plays(says('{"name":"Launch",', '"day":"Friday"}'))
    answer = sdk.chat.completions.parse(model=model, messages=HELLO, response_format=Event)
    assert answer.choices[0].message.parsed == Event(name="Launch", day="Friday")
    assert upstream.requests[-1].json["response_format"]["json_schema"]["strict"] is True


def test_unknown_fields_and_extra_body_reach_the_upstream_but_what_would_choose_a_model_does_not(sdk, model, upstream):
    raw = sdk.chat.completions.with_raw_response.create(
        model=model, messages=HELLO, extra_body={"min_p": 0.1, "provider": {"only": ["x"]}, "store": True}
    )
    sent = upstream.requests[-1].json
    assert sent["min_p"] == 0.1
    assert "provider" not in sent
    assert "store" not in sent
    assert raw.headers["x-bridge-dropped"] == "provider, store"


def test_models_list_and_retrieve(sdk, model):
    assert model in {listed.id for listed in sdk.models.list()}
    assert "gpt-4o" in {listed.id for listed in sdk.models.list()}
    assert sdk.models.retrieve("claude-3-5-sonnet").id == "claude-3-5-sonnet-20241022"


def test_errors_arrive_as_the_sdks_own(gateway, sdk, model, upstream):
    with pytest.raises(openai.AuthenticationError) as refused:
        sdk.with_options(api_key="sk-wrong").models.list()
    assert refused.value.code == "invalid_api_key"
    with pytest.raises(openai.NotFoundError) as missing:
        sdk.chat.completions.create(model="gpt-4oo", messages=HELLO)
    assert missing.value.code == "model_not_found"
    assert "gpt-4o" in missing.value.message
    with pytest.raises(openai.BadRequestError) as wrong:
        sdk.chat.completions.create(model=model, messages=HELLO, temperature=9)
    assert wrong.value.param == "temperature"


def test_a_limit_is_a_rate_limit_error_with_a_true_retry_after(gateway, model):
    key = gateway.make.make_key(rpm=1)
    sdk = open_sdk(gateway, key.secret)
    sdk.chat.completions.create(model=model, messages=HELLO)
    with pytest.raises(openai.RateLimitError) as refused:
        sdk.chat.completions.create(model=model, messages=HELLO)
    assert refused.value.body["message"] == "Rate limit exceeded: 1 RPM"
    assert 1 <= int(refused.value.response.headers["retry-after"]) <= 120
    assert refused.value.response.headers["x-ratelimit-limit-requests"] == "1"


def test_an_empty_balance_is_402_and_is_not_retried(gateway, model, upstream):
    account = gateway.make.make_account(balance_nanos=0)
    key = gateway.make.make_key(account)
    sdk = open_sdk(gateway, key.secret, max_retries=2)
    with pytest.raises(openai.APIStatusError) as refused:
        sdk.chat.completions.create(model=model, messages=HELLO)
    assert refused.value.status_code == 402
    assert refused.value.code == "insufficient_balance"
    assert upstream.requests == []


def test_a_providers_complaint_about_the_request_arrives_without_its_secrets(sdk, model, upstream):
    complaint = "Invalid 'messages': see https://platform.example/org-abc123 or ask me@example.com"
    upstream.plays(fails(400, complaint, "invalid_value"))
    with pytest.raises(openai.BadRequestError) as refused:
        sdk.chat.completions.create(model=model, messages=HELLO)
    assert "Invalid 'messages'" in refused.value.message
    assert "org-abc123" not in refused.value.message
    assert "me@example.com" not in refused.value.message
    assert len(upstream.requests) == 1


def test_the_async_client_works_the_same(gateway, model, upstream):
    upstream.plays(says("Hello", " there"))
    key = gateway.make.make_key().secret

    async def ask() -> tuple[str, str]:
        async with openai.AsyncOpenAI(api_key=key, base_url=gateway.base_url, max_retries=0) as sdk:
            answer = await sdk.chat.completions.create(model=model, messages=HELLO)
            stream = await sdk.chat.completions.create(model=model, messages=HELLO, stream=True)
            pieces = [piece.choices[0].delta.content or "" async for piece in stream]
            return answer.choices[0].message.content or "", "".join(pieces)

    assert asyncio.run(ask()) == ("Hello there", "Hello there")


def test_an_answer_that_is_none_is_503_and_free(gateway, model, upstream):
    key = gateway.make.make_key()
    upstream.plays(sends(b"<html>Bad gateway</html>", content_type="text/html"))
    sdk = open_sdk(gateway, key.secret)
    with pytest.raises(openai.InternalServerError) as refused:
        sdk.chat.completions.create(model=model, messages=HELLO)
    assert refused.value.status_code == 503
    assert refused.value.code == "upstream_error"
    assert gateway.make.find_money(key.account_id) == (10_000_000_000, 0)
