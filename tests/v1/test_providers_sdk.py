"""The official OpenAI SDK on models of every provider: the same objects, whatever dialect the answer came in."""

import json
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from tests.played import Caller, Providers
from tests.replay import replies, stream_steps, upstream_model
from tests.replies import Call, Reply, write_stream
from tests.upstream import PAUSE, Received, Step

MODELS = {
    "openai": "gpt-4o",
    "anthropic": "claude-haiku-4-5",
    "gemini": "gemini-2.5-flash-lite",
    "deepseek": "deepseek-v4-pro",
    "moonshot": "kimi-k2.6",
}
LATER_MODELS = [("anthropic", "claude-opus-4-8"), ("gemini", "gemini-3.5-flash"), ("moonshot", "kimi-k3")]
THINKING = ["anthropic", "gemini", "deepseek", "moonshot"]
EVERY = pytest.mark.parametrize("provider", MODELS)
HELLO = [{"role": "user", "content": "Hello!"}]
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS: list[Any] = [
    {"type": "function", "function": {"name": name, "description": f"Gives the {name}.", "parameters": PARAMETERS}}
    for name in ("weather", "time")
]
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SPOKEN = Reply("Hello — wie geht's? 你好 🙂", prompt_tokens=40, cached_tokens=8, completion_tokens=21)
CALLS = {
    "openai": ("call_a1", "call_b2"),
    "anthropic": ("toolu_01A1", "toolu_01B2"),
    "gemini": ("", ""),
    "deepseek": ("call_00_a1", "call_01_b2"),
    "moonshot": ("functions.weather:0", "functions.time:1"),
}


class Event(BaseModel):
    name: str
    day: str


def calls_of(provider: str) -> tuple[Call, Call]:
    first, second = CALLS[provider]
    return Call(first, "weather", {"city": "Zürich"}), Call(second, "time", {"city": "Oslo", "zone": [1, None, "x"]})


def join_calls(stream: Any) -> list[dict[str, str]]:
    """The calls of a stream, put together as a client does it: id and name once, arguments piece by piece."""
    found: list[dict[str, str]] = []
    for piece in stream:
        for call in piece.choices[0].delta.tool_calls or [] if piece.choices else []:
            if call.id:
                assert call.index == len(found)
                found.append({"id": call.id, "name": call.function.name, "arguments": ""})
            found[call.index]["arguments"] += call.function.arguments or ""
    return found


@EVERY
def test_a_whole_answer_has_our_id_the_public_name_and_the_provider_s_counts(
    provider: str, providers: Providers, caller: Caller
):
    providers[provider].answers(SPOKEN)
    answer = caller.sdk.chat.completions.create(model=MODELS[provider], messages=HELLO)
    assert answer.object == "chat.completion"
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == (SPOKEN.text, "stop")
    assert answer.choices[0].message.refusal is None
    assert answer.choices[0].message.tool_calls is None
    assert answer.id.startswith("chatcmpl-")
    assert "RepLay" not in answer.id
    assert answer.model == upstream_model(providers[provider].requests[-1]) == MODELS[provider]
    usage, booked = answer.usage, caller.last_booked()
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (40, 21, 61)
    assert usage.prompt_tokens_details.cached_tokens == 8
    assert (booked.prompt_tokens, booked.cached_tokens, booked.completion_tokens) == (40, 8, 21)
    assert (booked.tokens_source, booked.outcome, booked.finish_reason) == ("provider", "complete", "stop")
    assert usage.cost * 1e9 == pytest.approx(booked.charge_nanos)
    assert booked.charge_nanos > 0


@EVERY
def test_a_stream_reads_as_the_published_example_reads_it(provider: str, providers: Providers, caller: Caller):
    providers[provider].answers(SPOKEN)
    stream = caller.sdk.chat.completions.create(model=MODELS[provider], messages=HELLO, stream=True)
    chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == SPOKEN.text
    assert chunks[0].choices[0].delta.role == "assistant"
    assert {(chunk.id, chunk.model, chunk.object) for chunk in chunks} == {
        (chunks[0].id, MODELS[provider], "chat.completion.chunk")
    }
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices[0].finish_reason] == ["stop"]
    assert all(chunk.usage is None for chunk in chunks)
    booked = caller.last_booked()
    assert (booked.prompt_tokens, booked.cached_tokens, booked.completion_tokens) == (40, 8, 21)
    assert (booked.tokens_source, booked.outcome, booked.stream) == ("provider", "complete", True)


@EVERY
def test_a_stream_with_usage_ends_in_one_chunk_of_it(provider: str, providers: Providers, caller: Caller):
    providers[provider].answers(SPOKEN)
    options = {"include_usage": True}
    stream = caller.sdk.chat.completions.create(
        model=MODELS[provider], messages=HELLO, stream=True, stream_options=options
    )
    *chunks, last = list(stream)
    assert last.choices == []
    assert (last.usage.prompt_tokens, last.usage.completion_tokens, last.usage.total_tokens) == (40, 21, 61)
    assert last.usage.prompt_tokens_details.cached_tokens == 8
    assert last.usage.cost > 0
    assert all(chunk.usage is None and len(chunk.choices) == 1 for chunk in chunks)


@EVERY
@pytest.mark.parametrize("size", [1, 13])
def test_a_stream_is_the_same_wherever_the_network_cuts_it(
    provider: str, size: int, providers: Providers, caller: Caller
):
    def in_pieces(request: Received) -> list[Step]:
        return stream_steps(write_stream(provider, SPOKEN), (size,))

    providers[provider].plays(in_pieces)
    stream = caller.sdk.chat.completions.create(model=MODELS[provider], messages=HELLO, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == SPOKEN.text


@EVERY
@pytest.mark.parametrize("parallel", [False, True], ids=["one", "parallel"])
def test_tool_calls_come_whole(provider: str, parallel: bool, providers: Providers, caller: Caller):
    calls = calls_of(provider)[: 2 if parallel else 1]
    providers[provider].answers(Reply(calls=calls))
    answer = caller.sdk.chat.completions.create(model=MODELS[provider], messages=HELLO, tools=TOOLS)
    choice = answer.choices[0]
    assert (choice.finish_reason, choice.message.content or None) == ("tool_calls", None)
    found = choice.message.tool_calls
    assert [(call.type, call.function.name) for call in found] == [("function", call.name) for call in calls]
    assert [json.loads(call.function.arguments) for call in found] == [call.arguments for call in calls]
    assert len({call.id for call in found} - {""}) == len(calls)
    assert caller.last_booked().finish_reason == "tool_calls"


@EVERY
@pytest.mark.parametrize("parallel", [False, True], ids=["one", "parallel"])
def test_tool_calls_come_in_a_stream(provider: str, parallel: bool, providers: Providers, caller: Caller):
    calls = calls_of(provider)[: 2 if parallel else 1]
    providers[provider].answers(Reply("Let me look.", calls=calls))
    stream = caller.sdk.chat.completions.create(model=MODELS[provider], messages=HELLO, tools=TOOLS, stream=True)
    chunks = list(stream)
    found = join_calls(chunks)
    assert [call["name"] for call in found] == [call.name for call in calls]
    assert [json.loads(call["arguments"]) for call in found] == [call.arguments for call in calls]
    assert len({call["id"] for call in found}) == len(calls)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Let me look."
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices[0].finish_reason] == ["tool_calls"]


@EVERY
def test_a_call_without_arguments_has_an_empty_object_of_them(provider: str, providers: Providers, caller: Caller):
    providers[provider].answers(Reply(calls=(Call(CALLS[provider][0], "time", {}),)))
    sdk = caller.sdk.chat.completions
    whole = sdk.create(model=MODELS[provider], messages=HELLO, tools=TOOLS).choices[0].message.tool_calls
    assert json.loads(whole[0].function.arguments) == {}
    (streamed,) = join_calls(sdk.create(model=MODELS[provider], messages=HELLO, tools=TOOLS, stream=True))
    assert json.loads(streamed["arguments"]) == {}


@EVERY
def test_a_picture_reaches_the_providers_that_see(provider: str, providers: Providers, caller: Caller):
    providers[provider].answers(Reply("A pixel."))
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
    messages: list[Any] = [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, picture]}]
    if provider == "deepseek":
        with pytest.raises(openai.BadRequestError) as refused:
            caller.sdk.chat.completions.create(model=MODELS[provider], messages=messages)
        assert refused.value.param == "messages[0].content[1]"
        assert providers[provider].requests == []
        return
    answer = caller.sdk.chat.completions.create(model=MODELS[provider], messages=messages)
    assert answer.choices[0].message.content == "A pixel."
    assert PIXEL in providers[provider].requests[-1].body.decode()


@pytest.mark.parametrize(("provider", "model"), [*MODELS.items(), *LATER_MODELS])
def test_parse_gives_the_structured_output(provider: str, model: str, providers: Providers, caller: Caller):
    providers[provider].answers(Reply('{"name": "Launch", "day": "Friday"}'))
    answer = caller.sdk.chat.completions.parse(model=model, messages=HELLO, response_format=Event, max_tokens=2000)
    assert answer.choices[0].message.parsed == Event(name="Launch", day="Friday")
    assert answer.choices[0].finish_reason == "stop"
    sent = json.dumps(providers[provider].sent[-1])
    assert '"day"' in sent or '\\"day\\"' in sent  # the schema, native or in words


def test_a_claude_without_schemas_answers_by_a_tool_and_the_client_reads_content(providers: Providers, caller: Caller):
    def answer_by_the_tool(request: Received) -> list[Step]:
        (tool,) = request.json["tools"]
        assert request.json["tool_choice"]["name"] == tool["name"]
        reply = Reply(calls=(Call("toolu_01S", tool["name"], {"name": "Launch", "day": "Friday"}),))
        return replies("anthropic", reply)(request)

    name = providers.gateway.make.make_model()
    providers.gateway.make.make_channel(
        providers["anthropic"].base_url, provider="anthropic", models={name: "claude-3-5-haiku-20241022"}
    )
    providers["anthropic"].plays(answer_by_the_tool)
    answer = caller.sdk.chat.completions.parse(model=name, messages=HELLO, response_format=Event)
    assert answer.choices[0].message.parsed == Event(name="Launch", day="Friday")
    assert (answer.choices[0].finish_reason, answer.choices[0].message.tool_calls) == ("stop", None)


@pytest.mark.parametrize("provider", THINKING)
def test_what_the_model_thinks_is_reasoning_content_and_counted(provider: str, providers: Providers, caller: Caller):
    thought = "The user greets me — friendly. 🤔"
    providers[provider].answers(Reply("Hi!", thought, "c2lnbmVk", completion_tokens=30, reasoning_tokens=12))
    sdk, asked = caller.sdk.chat.completions, {"model": MODELS[provider], "messages": HELLO, "max_tokens": 4000}
    whole = sdk.create(**asked, reasoning_effort="high")
    message = whole.choices[0].message
    assert (message.content, message.reasoning_content) == ("Hi!", thought)
    assert whole.usage.completion_tokens == 30
    counted = 0 if provider == "moonshot" else 12  # which gives no such count
    assert whole.usage.completion_tokens_details.reasoning_tokens == counted
    chunks = list(sdk.create(**asked, reasoning_effort="high", stream=True))
    deltas = [chunk.choices[0].delta for chunk in chunks]
    assert "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas) == thought
    assert "".join(delta.content or "" for delta in deltas) == "Hi!"
    booked = caller.last_booked()
    assert (booked.completion_tokens, booked.reasoning_tokens) == (30, counted)


@EVERY
@pytest.mark.parametrize(("finish", "stream"), [("length", False), ("length", True), ("content_filter", False)])
def test_why_an_answer_ended_is_said_in_openai_s_words(
    provider: str, finish: str, stream: bool, providers: Providers, caller: Caller
):
    providers[provider].answers(Reply("Once upon", finish=finish))
    answer = caller.sdk.chat.completions.create(model=MODELS[provider], messages=HELLO, stream=stream)
    chunks: Any = list(answer) if stream else [answer]
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices[0].finish_reason] == [finish]


# what each says of its own accord, in its own envelope
def error_of(provider: str, status: int) -> dict[str, Any]:
    if provider == "anthropic":
        kinds = {400: "invalid_request_error", 401: "authentication_error", 429: "rate_limit_error"}
        message = "prompt is too long: 210000 tokens > 200000 maximum" if status == 400 else "sk-ant-secret is wrong"
        return {"type": "error", "error": {"type": kinds.get(status, "overloaded_error"), "message": message}}
    if provider == "gemini":
        kinds = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 429: "RESOURCE_EXHAUSTED"}
        message = "The input token count (2000000) exceeds the maximum number of tokens allowed (1048576)."
        error: dict[str, Any] = {"code": status, "message": message if status == 400 else "projects/1234567 is wrong"}
        error["status"] = kinds.get(status, "UNAVAILABLE")
        if status == 429:
            kind = "type.googleapis.com/google.rpc.RetryInfo"
            error["details"] = [{"@type": kind, "retryDelay": "48s"}]
        return {"error": error}
    message = "This model's maximum context length is 65536 tokens." if status == 400 else "Your key sk-secret is wrong"
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}


@EVERY
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_prompt_that_is_too_long_is_the_client_s_own_400(
    provider: str, stream: bool, providers: Providers, caller: Caller
):
    providers[provider].refuses(400, error_of(provider, 400))
    with pytest.raises(openai.BadRequestError) as refused:
        caller.sdk.chat.completions.create(model=MODELS[provider], messages=HELLO, stream=stream)
    assert refused.value.code == "context_length_exceeded"
    assert caller.last_booked().charge_nanos == 0


@EVERY
@pytest.mark.parametrize("status", [401, 429, 500, 503, 529])
def test_what_is_between_us_and_the_provider_is_503_and_free(
    provider: str, status: int, providers: Providers, caller: Caller
):
    providers[provider].refuses(status, error_of(provider, status))
    with pytest.raises(openai.InternalServerError) as refused:
        caller.sdk.chat.completions.create(model=MODELS[provider], messages=HELLO)
    assert (refused.value.status_code, refused.value.code) == (503, "upstream_error")
    assert int(refused.value.response.headers["retry-after"]) >= 1
    assert "secret" not in refused.value.message
    assert "1234567" not in refused.value.message
    assert caller.last_booked().charge_nanos == 0
    # the only channel is asked again where that may help, until it is out
    assert 1 <= len(providers[provider].requests) <= (3 if status >= 500 else 1)


def test_an_error_inside_anthropic_s_stream_breaks_ours_off_and_charges_what_had_come(
    providers: Providers, caller: Caller
):
    head, marker, _ = write_stream("anthropic", SPOKEN).partition(b"event: content_block_stop")
    error = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n'
    assert marker
    upstream, said = providers["anthropic"], []
    upstream.plays(lambda _request: [*stream_steps(head, (100,))[:-1], PAUSE, *stream_steps(error, (20,))[1:]])
    stream = caller.sdk.chat.completions.create(model=MODELS["anthropic"], messages=HELLO, stream=True)

    def read_on() -> None:
        for chunk in stream:
            said.append(chunk.choices[0].delta.content or "")
            upstream.resume()

    with pytest.raises(openai.APIError) as broken:
        read_on()
    assert "".join(said) == SPOKEN.text
    assert broken.value.code == "upstream_error"
    booked = caller.last_booked()
    assert (booked.outcome, booked.tokens_source) == ("cut", "mixed")
    assert (booked.prompt_tokens, booked.cached_tokens) == (SPOKEN.prompt_tokens, SPOKEN.cached_tokens)  # as it said
    assert booked.charge_nanos > 0
