"""Moonshot: what each generation of its models takes, pictures as data alone, counts in a choice, reasoning kept."""

import json
from typing import Any

import msgspec
import pytest

from bridge.conversation.usage import Counts
from bridge.providers.base import AttemptFailed, Blame, Outgoing
from bridge.providers.moonshot import Moonshot
from tests.conversations import converse, make_order
from tests.providers.openai_streams import COUNTS, HEAD, HELLO, SENT, USAGE, accept, chunk, read, stream

HI = [{"role": "user", "content": "Hi"}]
TOOL = {"type": "function", "function": {"name": "f"}}
CALL = {"id": "functions.f:0", "type": "function", "function": {"name": "f", "arguments": "{}"}}
V1, K2, K25, K27, K3 = "moonshot-v1-128k", "kimi-k2-0905-preview", "kimi-k2.5", "kimi-k2.7-code", "kimi-k3"


def write(upstream_id: str = K25, kept: dict[str, Any] | None = None, **fields: Any) -> Outgoing:
    body = {"model": "public", "messages": HI, **fields}
    encoded = msgspec.Raw(msgspec.json.encode(body["messages"]))
    return Moonshot().write_request(make_order(body, upstream_id, None, encoded, kept or {}))


def sent(upstream_id: str = K25, **fields: Any) -> dict[str, Any]:
    return json.loads(write(upstream_id, **fields).body)


def refused(upstream_id: str = K25, **fields: Any) -> AttemptFailed:
    with pytest.raises(AttemptFailed) as failed:
        write(upstream_id, **fields)
    assert failed.value.blame is Blame.REQUEST
    return failed.value


@pytest.mark.parametrize("upstream_id", [V1, K2, K25, K27, K3, "kimi-k9"])
@pytest.mark.parametrize(
    "own", [{"max_tokens": 5}, {"max_completion_tokens": 5}, {"max_tokens": 9, "max_completion_tokens": 5}]
)
def test_a_plain_request_passes_with_the_cap_in_its_newer_name(upstream_id: str, own: dict[str, int]):
    more = {"tools": [TOOL], "tool_choice": "auto", "prompt_cache_key": "k", "top_k": 4}
    out = write(upstream_id, **own, **more)
    assert json.loads(out.body) == {"model": upstream_id, "messages": HI, "max_completion_tokens": 5, **more}
    assert (out.dropped, out.clamped) == ((), ())


def test_what_it_has_no_equal_for_is_dropped_and_named():
    fields = {"seed": 1, "logit_bias": {"1": 1}, "verbosity": "low", "service_tier": "flex", "logprobs": True}
    out = write(**fields)
    assert (json.loads(out.body), set(out.dropped)) == ({"model": K25, "messages": HI}, set(fields))


@pytest.mark.parametrize(("own", "expected"), [({}, "someone"), ({"safety_identifier": "else"}, "else")])
def test_the_end_user_is_named_by_its_own_field(own: dict[str, str], expected: str):
    body = sent(user="someone", **own)
    assert (body["safety_identifier"], "user" in body) == (expected, False)


SAMPLING = {"temperature": 0.2, "top_p": 0.5, "presence_penalty": 1, "frequency_penalty": 1}


@pytest.mark.parametrize("upstream_id", [K25, "kimi-k2.6", K27, K3, "moonshotai/kimi-k2.5"])
def test_the_newer_models_choose_how_they_sample(upstream_id: str):
    out = write(upstream_id, **SAMPLING)
    assert (json.loads(out.body), set(out.dropped)) == ({"model": upstream_id, "messages": HI}, set(SAMPLING))
    assert write(upstream_id, temperature=1, top_p=1).dropped == ()


@pytest.mark.parametrize("upstream_id", [V1, K2])
def test_the_older_ones_sample_as_they_are_told_within_bounds(upstream_id: str):
    assert write(upstream_id, **SAMPLING).dropped == ()
    out = write(upstream_id, temperature=1.5)
    assert (json.loads(out.body)["temperature"], out.clamped) == (1, ("temperature=1",))


@pytest.mark.parametrize(
    ("upstream_id", "asked", "told", "adapted"),
    [
        (K25, {}, {}, ""),
        (K25, {"thinking": {"type": "enabled"}}, {"thinking": {"type": "enabled"}}, ""),
        (K25, {"thinking": {"type": "disabled"}}, {"thinking": {"type": "disabled"}}, ""),
        (K25, {"reasoning_effort": "none"}, {"thinking": {"type": "disabled"}}, ""),
        (K25, {"reasoning_effort": "low"}, {"thinking": {"type": "enabled"}}, "thinking=enabled"),
        (K27, {"reasoning_effort": "none"}, {}, "thinking=enabled"),
        (K27, {"thinking": {"type": "enabled"}}, {}, ""),
        (K3, {"reasoning_effort": "high"}, {"reasoning_effort": "high"}, ""),
        (K3, {"reasoning_effort": "medium"}, {"reasoning_effort": "high"}, "reasoning_effort=high"),
        (K3, {"reasoning_effort": "xhigh"}, {"reasoning_effort": "max"}, "reasoning_effort=max"),
        (K3, {"reasoning_effort": "none"}, {"reasoning_effort": "low"}, "reasoning_effort=low"),
        (K3, {"thinking": {"type": "disabled"}}, {"reasoning_effort": "low"}, "reasoning_effort=low"),
        (K3, {"thinking": {"type": "enabled"}, "reasoning_effort": "max"}, {"reasoning_effort": "max"}, ""),
        (V1, {"reasoning_effort": "high"}, {}, "reasoning_effort"),
        (V1, {"reasoning_effort": "none"}, {}, ""),
        (K2, {"thinking": {"type": "enabled"}}, {}, "thinking"),
        (
            K25,
            {"thinking": {"type": "enabled", "budget_tokens": 9}},
            {"thinking": {"type": "enabled"}},
            "thinking.budget_tokens",
        ),
    ],
)
def test_thinking_is_told_in_the_generation_s_own_field_alone(
    upstream_id: str, asked: dict[str, Any], told: dict[str, Any], adapted: str
):
    out = write(upstream_id, **asked)
    assert json.loads(out.body) == {"model": upstream_id, "messages": HI, **told}
    assert ", ".join((*out.dropped, *out.clamped)) == adapted


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "f"}}])
def test_a_tool_is_forced_without_thinking_or_not_at_all(choice: Any):
    forced = {"tools": [TOOL], "tool_choice": choice}
    out = write(K25, **forced, reasoning_effort="high")
    body = json.loads(out.body)
    assert (body["tool_choice"], body["thinking"]) == (choice, {"type": "disabled"})
    assert out.clamped == ("thinking=disabled",)
    for upstream_id in (K27, K3):
        out = write(upstream_id, **forced)
        assert (json.loads(out.body)["tool_choice"], out.clamped) == ("auto", ("tool_choice=auto",))
    assert sent(V1, **forced)["tool_choice"] == choice


def test_it_takes_five_short_stops():
    long = "x" * 33
    out = write(stop=[long, *"abcdef"])
    assert (json.loads(out.body)["stop"], out.dropped, out.clamped) == (list("abcde"), ("stop",), ("stop=5",))
    assert "stop" not in sent(stop=long)
    assert sent(stop="é" * 16)["stop"] == "é" * 16


def picture(url: str) -> list[dict[str, Any]]:
    return [
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": url}}]}
    ]


DATA = "data:image/png;base64,AAAA"


@pytest.mark.parametrize("upstream_id", [K25, K3, "moonshot-v1-8k-vision-preview"])
def test_pictures_go_as_data_alone(upstream_id: str):
    assert sent(upstream_id, messages=picture(DATA))["messages"] == picture(DATA)
    for url in ("https://example.com/a.png", "http://example.com/a.png", "file:///a.png", "ms://file-1"):
        failure = refused(upstream_id, messages=picture(url))
        assert (failure.code, failure.param) == ("invalid_image", "messages[0].content[1].image_url.url")
        assert "data:image/png;base64" in failure.message


@pytest.mark.parametrize("upstream_id", [V1, K2])
def test_a_model_that_reads_text_takes_it_as_a_string(upstream_id: str):
    failure = refused(upstream_id, messages=picture(DATA))
    assert (failure.code, failure.param) == ("invalid_image", "messages[0].content[1]")
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert sent(upstream_id, messages=[{"role": "user", "content": parts}])["messages"][0]["content"] == "a\nb"
    assert sent(K25, messages=[{"role": "user", "content": parts}])["messages"][0]["content"] == parts


def test_no_sound_and_no_file_is_taken():
    part = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
    failure = refused(messages=[{"role": "user", "content": [part]}])
    assert (failure.code, failure.param) == ("invalid_value", "messages[0].content[0]")


FORMAT = {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object"}}}


def test_the_newer_models_know_schemas():
    out = write(K25, response_format=FORMAT)
    assert (json.loads(out.body)["response_format"], out.clamped) == (FORMAT, ())
    out = write(V1, response_format=FORMAT)
    body = json.loads(out.body)
    assert (body["response_format"], out.clamped) == ({"type": "json_object"}, ("response_format=json_object",))
    assert body["messages"][0]["role"] == "system"


@pytest.mark.parametrize(
    ("upstream_id", "temperature", "choices"),
    [(V1, 0.5, 5), (V1, 0.3, 1), (V1, None, 1), (K25, 0.5, 1), (K3, 1, 1)],
)
def test_several_choices_are_given_by_the_older_models_alone(upstream_id: str, temperature: Any, choices: int):
    assert Moonshot().choices_per_call(converse({"n": 3, "temperature": temperature}), upstream_id) == choices


CALLED = [*HI, {"role": "assistant", "content": None, "tool_calls": [CALL]}]
CALLED += [{"role": "tool", "tool_call_id": CALL["id"], "content": "1"}]
KEPT = {CALL["id"]: {"provider": "moonshot", "reasoning": "Kept."}}


@pytest.mark.parametrize(
    ("upstream_id", "more", "expected"),
    [
        (K25, {}, "Kept."),
        (K3, {}, "Kept."),
        (K27, {}, "Kept."),
        ("kimi-k2-thinking", {}, "Kept."),
        (K25, {"reasoning_effort": "none"}, None),
        (K25, {"tools": [TOOL], "tool_choice": "required"}, None),
        (V1, {}, None),
        (K2, {}, None),
    ],
)
def test_a_call_comes_back_with_what_was_thought_before_it(upstream_id: str, more: dict[str, Any], expected: Any):
    out = write(upstream_id, KEPT, messages=CALLED, **more)
    assert json.loads(out.body)["messages"][1].get("reasoning_content") == expected
    fallback = write(upstream_id, {}, messages=CALLED, **more)
    assert json.loads(fallback.body)["messages"][1].get("reasoning_content") == (" " if expected else None)


# answers


def test_counts_in_a_choice_are_read_and_kept_back():
    ending = chunk({}, "stop")
    ending["choices"][0]["usage"] = {**COUNTS, "cached_tokens": 4}
    for more in ((), ({**USAGE, "usage": {**COUNTS, "cached_tokens": 4}},)):
        chunks, reader = read(stream(*HELLO[:3], ending, *more), provider=Moonshot())
        accept(chunks)
        assert (reader.usage, reader.finish_reason) == (Counts(10, 5, 4), "stop")
        assert chunks[-1]["choices"] == [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}]


@pytest.mark.parametrize("counts", ["many", {"prompt_tokens": "7"}, [], 5])
def test_counts_in_a_choice_that_are_none_are_not_believed(counts: Any):
    ending = chunk({}, "stop")
    ending["choices"][0]["usage"] = counts
    chunks, reader = read(stream(*HELLO[:3], ending), provider=Moonshot())
    accept(chunks)
    assert (reader.usage, reader.finish_reason) == (Counts(odd=True) if counts else None, "stop")


def test_a_host_s_reasoning_is_kept_too():
    thoughts = [chunk({"role": "assistant", "content": "", "reasoning": text}) for text in ("I ", "must ", "call.")]
    call = chunk({"tool_calls": [{"index": 0, **CALL}]})
    chunks, reader = read(stream(*thoughts, call, chunk({}, "tool_calls")), provider=Moonshot())
    accept(chunks)
    assert reader.kept == {CALL["id"]: {"provider": "moonshot", "reasoning": "I must call."}}
    message = {"role": "assistant", "content": None, "reasoning": "I must call.", "tool_calls": [CALL]}
    choices = [{"index": 0, "message": message, "finish_reason": "tool_calls"}]
    whole = Moonshot().read_answer(json.dumps({**HEAD, "choices": choices, "usage": COUNTS}).encode(), SENT)
    assert whole.kept == reader.kept


def test_a_name_that_never_thought_does_not_begin_to_when_a_successor_serves_it():
    assert sent(model=V1)["thinking"] == {"type": "disabled"}
    assert write(model=V1).clamped == ()
    assert sent(model=V1, reasoning_effort="high")["thinking"] == {"type": "enabled"}
    assert "thinking" not in sent(model=K25)
