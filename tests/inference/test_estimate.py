"""Our own count replaces a missing one of the provider: of the whole text, on the scale of the model that answered."""

from typing import Any

import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.conversation.usage import Usage
from bridge.inference.estimate import count_answer
from bridge.providers import PROVIDERS
from bridge.providers.token_scale import OPENAI, TokenScale, find_scale
from tests.inference.test_meter import TEXT, ask, o200k
from tests.served import Served
from tests.upstream import CUT, STREAM_HEAD, chunk, fails, framed, says

__all__ = ["o200k"]  # the fixture
ON_SQLITE = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
NOTHING_AROUND = TokenScale(
    percent=100, per_conversation=0, per_message=0, tools=0, per_tool=0, per_call=0, schema=0, per_answer=0
)
AROUND = TokenScale(
    percent=100,
    per_conversation=1,
    per_message=10,
    tools=100,
    per_tool=1_000,
    per_call=10,
    schema=100_000,
    per_answer=5,
)
HI = [{"role": "user", "content": "Hi"}]
CALL = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Paris"}'}}
TOOL = {"name": "weather", "description": "Tells the weather", "parameters": {"type": "object"}}
TEXT_PART = {"type": "text"}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}


def count(said: list[str], messages: Any, scale: TokenScale = NOTHING_AROUND, sent: int = 1, **fields: Any) -> Usage:
    request, bound = ask(messages, **fields)
    return count_answer(said, request, bound.prompt_bound_tokens, scale, sent)


@settings(max_examples=30)
@given(TEXT, st.lists(TEXT, max_size=4))
def test_of_openai_s_plain_models_it_is_tiktoken_s_and_within_the_bound(
    o200k: tiktoken.Encoding, text: str, said: list[str]
):
    scale = find_scale(OPENAI, "gpt-4o")
    messages = [{"role": "system", "content": text}, {"role": "user", "content": [{"type": "text", "text": text}]}]
    request, bound = ask(messages)
    usage = count_answer(said, request, bound.prompt_bound_tokens, scale)
    written = len(o200k.encode_ordinary("".join(said)))
    assert usage.completion_tokens == min(written + 1 if written else 0, len("".join(said).encode()))
    assert 2 * len(o200k.encode_ordinary(text)) <= usage.prompt_tokens <= bound.prompt_bound_tokens


@pytest.mark.parametrize(("percent", "ours", "theirs"), [(100, 7, 7), (110, 1, 2), (110, 10, 11), (133, 100, 133)])
def test_a_scale_rounds_up(percent: int, ours: int, theirs: int):
    scale = TokenScale(percent=percent, per_conversation=0, tools=0, per_call=0, schema=0, per_answer=0)
    assert scale.answer(ours, calls=0) == theirs


@pytest.mark.parametrize(
    ("messages", "more", "texts"),
    [
        (HI, {}, ["Hi"]),
        ([*HI, {"role": "assistant", "tool_calls": [CALL]}], {}, ["Hi", 'weather{"city":"Paris"}']),
        ([*HI, {"role": "assistant", "function_call": CALL["function"]}], {}, ["Hi", 'weather{"city":"Paris"}']),
        ([*HI, {"role": "assistant", "content": "Ho", "reasoning_content": "Greet"}], {}, ["Hi", "Ho", "Greet"]),
        ([*HI, {"role": "tool", "tool_call_id": "c", "content": [{**TEXT_PART, "text": "Rain"}]}], {}, ["Hi", "Rain"]),
        ([*HI, {"role": "assistant", "content": [{"type": "refusal", "refusal": "No"}]}], {}, ["Hi", "No"]),
        (HI, {"tools": [{"type": "function", "function": TOOL}]}, ["Hi", 'weatherTells the weather{"type":"object"}']),
        (HI, {"functions": [TOOL]}, ["Hi", 'weatherTells the weather{"type":"object"}']),
        (HI, {"response_format": SCHEMA}, ["Hi", '{"name":"x","schema":{"type":"object"}}']),
    ],
)  # fmt: skip
def test_all_that_is_text_of_a_prompt_counts(o200k: tiktoken.Encoding, messages: Any, more: Any, texts: list[str]):
    expected = sum(len(o200k.encode_ordinary(text)) for text in texts)
    assert count([], messages, **more).prompt_tokens == expected


def test_what_stands_around_the_text_counts_as_often_as_it_is_there():
    plain = count([], HI).prompt_tokens
    assert count([], HI, AROUND).prompt_tokens == plain + 1 + 10
    request = {"tools": [{"type": "function", "function": TOOL}] * 2}
    without = count([], "x " * 9_000, **request).prompt_tokens
    assert count([], "x " * 9_000, AROUND, **request).prompt_tokens == without + 1 + 10 + 100 + 2 * 1_000
    said = ["Let me see", "weather", '{"city":', '"Paris"}', "weather", "{}"]
    assert count(said, HI, AROUND, **request).completion_tokens == count(said, HI).completion_tokens + 5 + 2 * 10
    asked, bound = ask(HI)
    cut = count_answer(said, asked, bound.prompt_bound_tokens, AROUND, ended=False)
    assert cut == count(said, HI)  # the end was not delivered: its texts alone, and the prompt's
    assert count(said, HI, AROUND).completion_tokens == count(said, HI).completion_tokens + 5  # no tool of this name


def test_a_prompt_that_was_sent_several_times_counts_as_often():
    once = count(["Ho"], HI)
    assert count(["Ho"], HI, sent=3) == Usage(3 * once.prompt_tokens, once.completion_tokens)


def test_no_count_of_ours_is_above_what_was_held():
    request, bound = ask(HI)
    dear = TokenScale(percent=900, per_conversation=9_000, tools=0, per_call=0, schema=0, per_answer=0)
    assert count_answer([], request, bound.prompt_bound_tokens, dear).prompt_tokens == bound.prompt_bound_tokens


def test_nothing_said_is_nothing_counted():
    assert count([], "", AROUND) == Usage(1 + 10, 0)


@settings(max_examples=50)
@given(
    st.lists(TEXT, max_size=4), st.sampled_from([scale for one in PROVIDERS.values() for _, scale in one.token_scales])
)
def test_an_answer_has_no_more_tokens_than_bytes(said: list[str], scale: TokenScale):
    asked, bound = ask(HI)
    for ended in (True, False):
        usage = count_answer(said, asked, bound.prompt_bound_tokens, scale, ended=ended)
        assert usage.completion_tokens <= len("".join(said).encode())
    assert count(["Hi!"], HI, find_scale(OPENAI, "gpt-5")).completion_tokens == 3  # and 26 with what stands around it


@pytest.mark.parametrize(
    ("provider", "cheaper", "dearer"),
    [
        ("openai", ["gpt-4o", "ft:gpt-4.1-mini:us", "chatgpt-4o-latest"], ["gpt-oss-120b", "llama3.2", "qwen/qwen3"]),
        ("openai", ["gpt-4o"], ["gpt-5", "gpt-5.6-sol", "o3", "o4-mini", "ft:o4-mini-2025-04-16:us"]),
        (
            "anthropic",
            ["claude-2.1", "claude-3-5-haiku-latest", "claude-haiku-4-5", "claude-haiku-4-5-20251001",
             "claude-sonnet-4-20250514", "claude-opus-4-1-20250805", "claude-sonnet-4-5", "claude-opus-4-6"],
            ["claude-opus-4-7", "claude-opus-4-8", "claude-opus-4-8-20260401", "claude-opus-5", "claude-sonnet-5",
             "claude-fable-5", "claude-haiku-5", "claude-whatever"],
        ),
    ],
)  # fmt: skip
def test_each_generation_has_its_own_scale_and_an_unknown_model_a_dear_one(provider: str, cheaper: Any, dearer: Any):
    scales = PROVIDERS[provider].token_scales

    def cost(model: str) -> int:
        return find_scale(scales, model).answer(100, calls=1)

    assert max(map(cost, cheaper)) < min(map(cost, dearer))


# by way of the gateway


def expected_completion(provider: str, model: str, ours: int) -> int:
    return find_scale(PROVIDERS[provider].token_scales, model).answer(ours, calls=0)


@ON_SQLITE
def test_a_stream_is_counted_by_the_channel_that_delivered_it_not_by_the_one_that_failed(gateway, upstream):
    served = Served(gateway)
    for priority, (provider, theirs) in enumerate([("openai", "gpt-4o"), ("deepseek", "deepseek-v4-flash")]):
        models = {served.model: theirs}
        gateway.make.make_channel(upstream.base_url, provider=provider, models=models, priority=priority)
    upstream.plays(fails(500), says(*["word "] * 20, usage=False))
    assert "[DONE]" in served.post(stream=True).text
    usage = served.await_usage()
    by_failed, by_delivered = (
        expected_completion("openai", "gpt-4o", 21),
        expected_completion("deepseek", "deepseek-v4-flash", 21),
    )
    assert by_failed < by_delivered == usage.completion_tokens
    assert (usage.outcome, usage.tokens_source) == ("complete", "estimate")
    assert served.spent() == (usage.prompt_tokens * 1000 + by_delivered * 2000, 0)


@ON_SQLITE
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("theirs", ["gpt-4o", "gpt-5-mini", "somebody/else"])
def test_an_answer_without_counts_is_counted_as_its_model_counts(gateway, upstream, theirs, stream):
    served = Served(gateway)
    gateway.make.make_channel(upstream.base_url, models={served.model: theirs})
    upstream.plays(says(*["word "] * 20, usage=False))
    assert "word" in served.post(stream).text  # read to its end: who leaves early pays for less
    usage = served.await_usage()
    assert usage.completion_tokens == expected_completion("openai", theirs, 21)
    assert served.spent() == (usage.prompt_tokens * 1000 + usage.completion_tokens * 2000, 0)


@ON_SQLITE
def test_the_calls_of_a_cut_stream_count_too(gateway, upstream):
    served = Served(gateway)
    gateway.make.make_channel(upstream.base_url, models={served.model: "gpt-4o"})
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "weather", "arguments": ""}}
    steps = [{"tool_calls": [call]}, {"tool_calls": [{"index": 0, "function": {"arguments": '{"city":"Paris"}'}}]}]
    upstream.plays(lambda _request: [STREAM_HEAD, *(framed(chunk(delta=delta)) for delta in steps), CUT])
    assert "upstream_error" in served.post(stream=True, tools=[{"type": "function", "function": TOOL}]).text
    ours = len(tiktoken.get_encoding("o200k_base").encode_ordinary('weather{"city":"Paris"}'))
    assert served.await_usage().completion_tokens == ours  # without what stands around calls that came to their end
