"""Anthropic's own SDK on models of every provider: its objects and its streams, its errors, its list of models."""

from typing import Any

import anthropic
import pytest

from tests.played import Caller, Providers
from tests.replay import stream_steps
from tests.replies import Call, Reply, write_stream
from tests.upstream import CUT
from tests.v1.test_messages import SPOKEN, TOOLS
from tests.v1.test_providers_sdk import MODELS, calls_of

pytestmark = pytest.mark.filterwarnings("ignore:The model .* is deprecated:DeprecationWarning")
EVERY = pytest.mark.parametrize("provider", MODELS)
HELLO: list[Any] = [{"role": "user", "content": "Hello!"}]


def asked(provider: str, **more: Any) -> dict[str, Any]:
    return {"model": MODELS[provider], "max_tokens": 1000, "messages": HELLO, **more}


@EVERY
def test_a_whole_answer_is_its_message(provider: str, providers: Providers, caller: Caller):
    providers[provider].answers(SPOKEN)
    message = caller.anthropic.messages.create(**asked(provider))
    assert (message.content[0].text, message.stop_reason, message.model) == (SPOKEN.text, "end_turn", MODELS[provider])
    assert (message.usage.input_tokens, message.usage.cache_read_input_tokens) == (32, 8)
    assert message.usage.output_tokens == 21
    assert message._request_id == caller.last_booked().request_id


@EVERY
@pytest.mark.parametrize("size", [1, 40])
def test_its_stream_helper_puts_the_message_together(provider: str, size: int, providers: Providers, caller: Caller):
    reply = Reply("Let me look.", "Hm.", "c2ln", calls_of(provider), reasoning_tokens=3)
    providers[provider].plays(lambda _request: stream_steps(write_stream(provider, reply), (size,)))
    with caller.anthropic.messages.stream(**asked(provider, tools=TOOLS)) as stream:
        text = "".join(stream.text_stream)
        message = stream.get_final_message()
    assert text == "Let me look."
    assert message.stop_reason == "tool_use"
    found = [block for block in message.content if block.type == "tool_use"]
    assert [(call.name, call.input) for call in found] == [(call.name, call.arguments) for call in calls_of(provider)]
    assert message.usage.output_tokens == 21
    assert caller.last_booked().outcome == "complete"


@EVERY
def test_what_it_was_given_it_gives_back(provider: str, providers: Providers, caller: Caller):
    call = Call("toolu_01AbCdEfGhIjKlMnOp", "weather", {"city": "Oslo"})
    providers[provider].answers(Reply("", "Hm.", "c2ln", (call,), reasoning_tokens=3), Reply("Cold."))
    thinks = {"thinking": {"type": "enabled", "budget_tokens": 2000}, "max_tokens": 4000}
    first = caller.anthropic.messages.create(**asked(provider, tools=TOOLS, **thinks))
    used = next(block for block in first.content if block.type == "tool_use")
    result = {"type": "tool_result", "tool_use_id": used.id, "content": "minus 4"}
    turns = [*HELLO, {"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
    second = caller.anthropic.messages.create(**asked(provider, tools=TOOLS, **{**thinks, "messages": turns}))
    assert second.content[-1].text == "Cold."


def test_an_error_in_a_stream_is_raised_with_its_body(providers: Providers, caller: Caller):
    steps = stream_steps(write_stream("openai", SPOKEN), (40,))
    providers["openai"].plays(lambda _request: [*steps[: len(steps) // 2], CUT])
    with pytest.raises(anthropic.APIStatusError) as raised:
        list(caller.anthropic.messages.create(**asked("openai", stream=True)))
    assert raised.value.body["error"]["type"] == "api_error"


def test_its_errors_are_its_own_classes(providers: Providers, caller: Caller):
    client = caller.anthropic
    with pytest.raises(anthropic.NotFoundError) as missing:
        client.messages.create(**{**asked("openai"), "model": "claude-none"})
    assert missing.value.body["error"]["message"].startswith("model: claude-none")
    with pytest.raises(anthropic.BadRequestError):
        client.messages.create(**{**asked("openai"), "messages": []})
    with pytest.raises(anthropic.AuthenticationError):
        client.with_options(api_key="sk-wrong").messages.create(**asked("openai"))


def test_it_counts_tokens_and_lists_models(providers: Providers, caller: Caller):
    client = caller.anthropic
    assert client.messages.count_tokens(model=MODELS["gemini"], messages=HELLO).input_tokens > 0
    ids = [model.id for model in client.models.list(limit=5)]
    assert set(MODELS.values()) & set(ids)
    assert len(ids) == len(set(ids)) > 5
    model = client.models.retrieve("gpt-4o")
    assert (model.type, model.max_input_tokens) == ("model", 128_000)
