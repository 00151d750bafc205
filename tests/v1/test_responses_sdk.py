"""The official OpenAI SDK's Responses on models of every provider: the same objects, whatever dialect they came in."""

import json
from typing import Any

import openai
import pytest

from tests.played import Caller, Providers
from tests.replay import replies, stream_steps, upstream_model
from tests.replies import Reply, write_stream
from tests.sdk import open_sdk
from tests.upstream import CUT, Received, Step
from tests.v1.test_providers_sdk import EVERY, MODELS, PARAMETERS, PIXEL, SPOKEN, Event, calls_of

TOOLS: list[Any] = [
    {"type": "function", "name": name, "description": f"Gives the {name}.", "parameters": PARAMETERS}
    for name in ("weather", "time")
]
STREAM = pytest.mark.parametrize("stream", [False, True])


def ask(caller: Caller, provider: str, stream: bool, **more: Any) -> Any:
    """The final response of the SDK, which reads a stream event by event."""
    body = {"model": MODELS[provider], "input": "Hello!", **more}
    if not stream:
        return caller.sdk.responses.create(**body)
    with caller.sdk.responses.stream(**body) as events:
        for event in events:
            assert event.type.startswith("response.")
        return events.get_final_response()


@EVERY
@STREAM
def test_an_answer_has_our_id_the_public_name_and_the_provider_s_counts(
    provider: str, stream: bool, providers: Providers, caller: Caller
):
    providers[provider].answers(SPOKEN)
    answer = ask(caller, provider, stream)
    assert (answer.output_text, answer.status, answer.object) == (SPOKEN.text, "completed", "response")
    assert answer.id.startswith("resp_")
    assert answer.model == upstream_model(providers[provider].requests[-1]) == MODELS[provider]
    usage, booked = answer.usage, caller.last_booked()
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (40, 21, 61)
    assert usage.input_tokens_details.cached_tokens == 8
    assert (booked.prompt_tokens, booked.cached_tokens, booked.completion_tokens) == (40, 8, 21)


@EVERY
@STREAM
def test_parallel_calls_come_with_their_ids_and_their_results_go_back(
    provider: str, stream: bool, providers: Providers, caller: Caller
):
    calls = calls_of(provider)
    providers[provider].answers(Reply("Let me look.", calls=calls))
    question = {"role": "user", "content": "Weather and time?"}
    answer = ask(caller, provider, stream, input=[question], tools=TOOLS)
    called = [item for item in answer.output if item.type == "function_call"]
    assert [(item.name, json.loads(item.arguments)) for item in called] == [
        (call.name, call.arguments) for call in calls
    ]
    providers[provider].answers(SPOKEN)
    given_back = [item.model_dump(exclude_none=True, exclude={"parsed_arguments"}) for item in answer.output]
    results = [
        {"type": "function_call_output", "call_id": item.call_id, "output": f"result of {item.name}"} for item in called
    ]
    again = ask(caller, provider, stream, input=[question, *given_back, *results], tools=TOOLS)
    assert again.output_text == SPOKEN.text
    sent = providers[provider].requests[-1].body.decode()
    assert sent.index("result of weather") < sent.index("result of time")
    assert "Let me look." in sent


@EVERY
def test_a_schema_is_parsed(provider: str, providers: Providers, caller: Caller):
    providers[provider].answers(Reply('{"name":"Fair","day":"Friday"}'))
    answer = caller.sdk.responses.parse(model=MODELS[provider], input="When?", text_format=Event)
    assert answer.output_parsed == Event(name="Fair", day="Friday")


@pytest.mark.parametrize("provider", [provider for provider in MODELS if provider not in ("deepseek",)])
def test_a_picture_is_seen(provider: str, providers: Providers, caller: Caller):
    providers[provider].answers(SPOKEN)
    picture = {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}", "detail": "auto"}
    content = [{"type": "input_text", "text": "What is it?"}, picture]
    answer = ask(caller, provider, False, input=[{"role": "user", "content": content}])
    assert answer.output_text == SPOKEN.text
    assert PIXEL in providers[provider].requests[-1].body.decode()


@EVERY
def test_a_length_limit_makes_it_incomplete(provider: str, providers: Providers, caller: Caller):
    providers[provider].answers(Reply("Hello", finish="length"))
    answer = ask(caller, provider, False, max_output_tokens=16)
    assert (answer.status, answer.incomplete_details.reason) == ("incomplete", "max_output_tokens")


@EVERY
def test_a_stream_that_is_cut_ends_as_failed_and_is_paid_once(provider: str, providers: Providers, caller: Caller):
    body = write_stream(provider, Reply("It is cold. " * 20))

    def play(_request: Received) -> list[Step]:
        *steps, _end = stream_steps(body[: len(body) // 2], (50,))
        return [*steps, CUT]

    providers[provider].requests.clear()
    providers[provider].plays(play)
    events = list(caller.sdk.responses.create(model=MODELS[provider], input="Hello!", stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    last = events[-1]
    assert last.type == "response.failed"
    assert last.response.error.code == "server_error"
    said = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert said.startswith("It is")
    assert last.response.output[0].content[0].text == said
    assert caller.last_booked().outcome == "cut"


@STREAM
def test_400_401_402_404_429_and_503_are_the_sdks_own_errors(providers: Providers, caller: Caller, stream: bool):
    gateway, sdk = caller.gateway, caller.sdk
    body: Any = {"model": MODELS["openai"], "input": "Hello!", "stream": stream}
    with pytest.raises(openai.BadRequestError) as wrong:
        sdk.responses.create(**body, previous_response_id="resp_1")
    assert wrong.value.param == "previous_response_id"
    with pytest.raises(openai.NotFoundError) as unknown:
        sdk.responses.create(**{**body, "model": "gpt-nothing"})
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.AuthenticationError):
        open_sdk(gateway, "sk-wrong").responses.create(**body)
    poor = gateway.make.make_key(gateway.make.make_account(0))
    with pytest.raises(openai.APIStatusError) as unpaid:
        open_sdk(gateway, poor.secret).responses.create(**body)
    assert (unpaid.value.status_code, unpaid.value.code) == (402, "insufficient_balance")
    slow = open_sdk(gateway, gateway.make.make_key(rpm=1).secret)
    providers["openai"].answers(SPOKEN)
    slow.responses.create(**{**body, "stream": False})
    with pytest.raises(openai.RateLimitError) as limited:
        slow.responses.create(**body)
    assert int(limited.value.response.headers["retry-after"]) > 0
    with pytest.raises(openai.NotFoundError) as stored:
        sdk.responses.retrieve("resp_1")
    assert "keeps no conversation state" in str(stored.value)


def test_every_channel_failing_is_503(providers: Providers, caller: Caller):
    providers["moonshot"].refuses(500, {"error": {"message": "It went wrong."}})
    with pytest.raises(openai.InternalServerError) as failed:
        caller.sdk.responses.create(model="kimi-k2.5", input="Hello!")
    assert (failed.value.status_code, failed.value.code) == (503, "upstream_error")
    providers["moonshot"].plays(replies("moonshot", SPOKEN))


def test_input_tokens_are_counted_by_the_sdk_too(caller: Caller):
    counted = caller.sdk.responses.input_tokens.count(model=MODELS["openai"], input="Hello there!")
    assert counted.input_tokens > 2
