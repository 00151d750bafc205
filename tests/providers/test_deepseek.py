"""DeepSeek: text alone, JSON by instruction, thinking that excludes some fields, and reasoning that it wants back."""

import json
from typing import Any

import msgspec
import pytest

from bridge.conversation.usage import Counts
from bridge.providers.base import AttemptFailed, Blame, Outgoing
from bridge.providers.deepseek import DeepSeek
from bridge.providers.openai.choice import Reading
from tests.chat_answers import body_of
from tests.conversations import converse, make_order
from tests.providers.openai_streams import COUNTS, HEAD, SENT, USAGE, accept, chunk, read, stream

HI = [{"role": "user", "content": "Hi"}]
FUNCTION = {"name": "f", "parameters": {"type": "object", "properties": {}}}
TOOL = {"type": "function", "function": FUNCTION}
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CALLED = [*HI, {"role": "assistant", "content": None, "tool_calls": [CALL]}]
CALLED += [{"role": "tool", "tool_call_id": "call_1", "content": "1"}]
LEGACY = Outgoing("/chat/completions", b"{}", reading=Reading(legacy=True))


def write(kept: dict[str, Any] | None = None, upstream_id: str = "deepseek-v4-flash", **fields: Any) -> Outgoing:
    body = {"model": "public", "messages": HI, **fields}
    encoded = msgspec.Raw(msgspec.json.encode(body["messages"]))
    return DeepSeek().write_request(make_order(body, upstream_id, None, encoded, kept or {}))


def sent(*args: Any, **fields: Any) -> dict[str, Any]:
    return json.loads(write(*args, **fields).body)


def refused(**fields: Any) -> AttemptFailed:
    with pytest.raises(AttemptFailed) as failed:
        write(**fields)
    assert failed.value.blame is Blame.REQUEST
    return failed.value


def test_a_plain_request_passes_untouched():
    own = {"temperature": 0.5, "user": "someone", "logprobs": True, "top_k": 4, "thinking": {"type": "disabled"}}
    out = write(**own)
    assert json.loads(out.body) == {"model": "deepseek-v4-flash", "messages": HI, **own}
    assert (out.dropped, out.clamped) == ((), ())


@pytest.mark.parametrize("own", [{"max_tokens": 5}, {"max_completion_tokens": 5}])
def test_the_cap_goes_out_in_the_name_that_it_knows(own: dict[str, int]):
    assert sent(**own) == {"model": "deepseek-v4-flash", "messages": HI, "max_tokens": 5}


def test_what_it_has_no_equal_for_is_dropped_and_named():
    fields = {"seed": 1, "logit_bias": {"1": 1}, "verbosity": "low", "prompt_cache_key": "k", "metadata": {"a": "b"}}
    fields |= {"parallel_tool_calls": False, "service_tier": "flex", "prediction": {"type": "content"}}
    out = write(**fields)
    assert (json.loads(out.body), set(out.dropped)) == ({"model": "deepseek-v4-flash", "messages": HI}, set(fields))
    assert write(parallel_tool_calls=True, service_tier="auto", store=False).dropped == ()


def test_developers_are_the_system():
    messages = [{"role": "developer", "content": "Be brief."}, *HI]
    assert sent(messages=messages)["messages"] == [{"role": "system", "content": "Be brief."}, *HI]


PARTS = [
    ({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}, "invalid_image"),
    ({"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}, "invalid_image"),
    ({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}, "invalid_value"),
    ({"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA"}}, "invalid_value"),
]


@pytest.mark.parametrize(("part", "code"), PARTS)
def test_a_part_that_is_no_text_is_refused_by_its_place(part: dict[str, Any], code: str):
    messages = [*HI, {"role": "user", "content": [{"type": "text", "text": "Look:"}, part]}]
    failure = refused(messages=messages)
    assert (failure.param, failure.code) == ("messages[1].content[1]", code)


@pytest.mark.parametrize("part", [part for part, _ in PARTS])
def test_the_model_that_sees_takes_pictures_and_nothing_else(part: dict[str, Any]):
    messages = [{"role": "user", "content": [{"type": "text", "text": "Look:"}, part]}]
    if part["type"] == "image_url":
        assert sent(messages=messages, upstream_id="deepseek-flash")["messages"] == messages
    else:
        assert "text and pictures only" in refused(messages=messages, upstream_id="deepseek-flash").message


def test_texts_pass_in_parts_and_refusals_are_texts():
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert sent(messages=[{"role": "user", "content": parts}])["messages"][0]["content"] == parts
    refusal = [*HI, {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}]
    assert sent(messages=refusal)["messages"][1]["content"] == [{"type": "text", "text": "No."}]


# thinking


@pytest.mark.parametrize(
    ("asked", "thinking", "effort", "clamped"),
    [
        ({}, None, None, ()),
        ({"reasoning_effort": "high"}, "enabled", "high", ()),
        ({"reasoning_effort": "low"}, "enabled", "high", ("reasoning_effort=high",)),
        ({"reasoning_effort": "medium"}, "enabled", "high", ("reasoning_effort=high",)),
        ({"reasoning_effort": "xhigh"}, "enabled", "max", ("reasoning_effort=max",)),
        ({"reasoning_effort": "max"}, "enabled", "max", ()),
        ({"reasoning_effort": "none"}, "disabled", None, ()),
        ({"thinking": {"type": "enabled"}}, "enabled", None, ()),
        ({"thinking": {"type": "adaptive"}}, "enabled", None, ("thinking=enabled",)),
        ({"thinking": {"type": "disabled"}, "reasoning_effort": "high"}, "disabled", None, ()),
        ({"model": "deepseek-chat"}, "disabled", None, ()),
        ({"model": "deepseek-reasoner"}, "enabled", None, ()),
        ({"model": "deepseek-chat", "reasoning_effort": "max"}, "enabled", "max", ()),
    ],
)
def test_thinking_is_told_in_its_words(asked: dict[str, Any], thinking: Any, effort: Any, clamped: tuple[str, ...]):
    out = write(**asked)
    body = json.loads(out.body)
    assert (body.get("thinking", {}).get("type"), body.get("reasoning_effort")) == (thinking, effort)
    assert (out.clamped, out.dropped) == (clamped, ())


def test_a_budget_is_dropped_and_named():
    out = write(thinking={"type": "enabled", "budget_tokens": 2048})
    assert (json.loads(out.body)["thinking"], out.dropped) == ({"type": "enabled"}, ("thinking.budget_tokens",))


SAMPLING = {"temperature": 0.2, "top_p": 0.5, "presence_penalty": 1, "frequency_penalty": 1}


def test_what_it_would_not_heed_while_thinking_is_dropped_and_named():
    out = write(**SAMPLING, stop=["x"])
    assert (set(out.dropped), json.loads(out.body)["stop"]) == (set(SAMPLING), ["x"])
    assert write(**SAMPLING, reasoning_effort="none").dropped == ()


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "f"}}])
def test_a_tool_is_forced_without_thinking(choice: Any):
    out = write(tools=[TOOL], tool_choice=choice, reasoning_effort="high", **SAMPLING)
    body = json.loads(out.body)
    assert (body["tool_choice"], body["thinking"]) == (choice, {"type": "disabled"})
    assert ("reasoning_effort" in body, out.clamped, out.dropped) == (False, ("thinking=disabled",), ())
    assert write(tools=[TOOL], tool_choice=choice, model="deepseek-chat").clamped == ()
    assert write(tools=[TOOL], tool_choice="auto").clamped == ()


def test_allowed_tools_are_the_tools():
    other = {"type": "function", "function": {"name": "g"}}
    allowed = {"mode": "auto", "tools": [{"type": "function", "function": {"name": "g"}}]}
    body = sent(tools=[TOOL, other], tool_choice={"type": "allowed_tools", "allowed_tools": allowed})
    assert (body["tools"], body["tool_choice"]) == ([other], "auto")
    assert refused(tools=[TOOL], tool_choice={"type": "allowed_tools", "allowed_tools": allowed}).param == "tool_choice"


@pytest.mark.parametrize("count", [16, 17])
def test_it_takes_sixteen_stops(count: int):
    stops = [str(number) for number in range(count)]
    out = write(stop=stops)
    assert (json.loads(out.body)["stop"], out.clamped) == (stops[:16], ("stop=16",) if count > 16 else ())


# structured output

SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}
FORMAT = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}


@pytest.mark.parametrize(
    "first", [[], [{"role": "system", "content": "Be brief."}], [{"role": "developer", "content": "x"}]]
)
def test_a_schema_is_an_instruction(first: list[dict[str, Any]]):
    out = write(messages=[*first, *HI], response_format=FORMAT)
    body = json.loads(out.body)
    assert (body["response_format"], out.clamped) == ({"type": "json_object"}, ("response_format=json_object",))
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    assert body["messages"][0]["content"].startswith(first[0]["content"] if first else "Answer")
    assert body["messages"][0]["content"].endswith(json.dumps(SCHEMA, separators=(",", ":")))
    assert body["messages"][1] == HI[0]


@pytest.mark.parametrize(("said", "told"), [("Hi", True), ("Answer in JSON.", False)])
def test_the_word_json_is_in_the_prompt(said: str, told: bool):
    out = write(messages=[{"role": "user", "content": said}], response_format={"type": "json_object"})
    messages = json.loads(out.body)["messages"]
    assert (len(messages) == 2, out.clamped) == (told, ())
    assert "json" in json.dumps(messages).lower()


def test_a_schema_that_is_none_is_refused():
    assert (
        refused(response_format={"type": "json_schema", "json_schema": {}}).param
        == "response_format.json_schema.schema"
    )


# reasoning given back

KEPT = {"call_1": {"provider": "deepseek", "reasoning": "Kept."}}


def reasoning(message: dict[str, Any], kept: dict[str, Any], **fields: Any) -> Any:
    messages = [*HI, message, CALLED[-1]]
    return sent(kept, messages=messages, tools=[TOOL], **fields)["messages"][1].get("reasoning_content")


@pytest.mark.parametrize(
    ("own", "kept", "expected"),
    [
        ({"reasoning_content": "Own."}, KEPT, "Own."),
        ({"reasoning_content": "pt."}, KEPT, "Kept."),  # whose client kept the last piece of a stream alone
        ({"reasoning": "Own."}, KEPT, "Own."),
        ({"reasoning_details": [{"type": "reasoning.text", "text": "Own."}, {"data": "x"}, 5]}, KEPT, "Own."),
        ({}, KEPT, "Kept."),
        ({"reasoning_content": ""}, KEPT, "Kept."),
        ({"tool_calls": [{**CALL, "id": "other"}, CALL]}, KEPT, "Kept."),
        ({}, {}, " "),
        ({}, {"call_1": {"provider": "moonshot", "reasoning": "Not its own."}}, " "),
        ({}, {"call_1": "rubbish"}, " "),
    ],
)
def test_a_call_comes_back_with_what_was_thought_before_it(own: dict[str, Any], kept: dict[str, Any], expected: str):
    assert reasoning({**CALLED[1], **own}, kept) == expected
    assert reasoning({**CALLED[1], **own}, kept, thinking={"type": "disabled"}) == own.get("reasoning_content")


def test_a_call_s_message_has_a_content():
    assert sent(messages=CALLED)["messages"][1]["content"] == ""


# answers

THOUGHT = [
    chunk({"role": "assistant", "content": None, "reasoning_content": ""}),
    *(chunk({"content": None, "reasoning_content": text}) for text in ("I ", "should ", "call ", "f.")),
    chunk({"content": "Well.", "reasoning_content": None}),
]
CALLING = [
    chunk({"tool_calls": [{"index": 0, **CALL, "function": {"name": "f", "arguments": ""}}]}),
    *(chunk({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}) for piece in ('{"a"', ":1", "}")),
    chunk({"tool_calls": [{"index": 1, **CALL, "id": "call_2"}]}),
    {**chunk({"content": ""}, "tool_calls"), "usage": {**COUNTS, "prompt_cache_hit_tokens": 4}},
]


@pytest.mark.parametrize("at_once", [True, False])
def test_what_was_thought_before_a_call_is_kept_and_usage_beside_the_end_is_read(at_once: bool):
    data = stream(*THOUGHT, *CALLING)
    cuts = () if at_once else range(len(data))
    chunks, reader = read(data, *cuts, provider=DeepSeek())
    accept(chunks)
    assert [one["choices"] for one in chunks] == [one["choices"] for one in (*THOUGHT, *CALLING)]
    assert reader.kept == {"call_1": {"provider": "deepseek", "reasoning": "I should call f."}}
    assert (reader.usage, reader.finish_reason) == (Counts(10, 5, 4), "tool_calls")


def test_counts_among_the_thoughts_lose_none_of_them():
    _, reader = read(stream(*THOUGHT[:3], USAGE, *THOUGHT[3:], *CALLING), provider=DeepSeek())
    assert reader.kept == {"call_1": {"provider": "deepseek", "reasoning": "I should call f."}}


def test_thoughts_without_a_call_and_calls_without_a_thought_are_not_kept():
    assert read(stream(*THOUGHT), provider=DeepSeek())[1].kept == {}
    assert read(stream(*CALLING), provider=DeepSeek())[1].kept == {}


def whole(message: dict[str, Any], reason: str = "tool_calls", outgoing: Outgoing = SENT) -> Any:
    choices = [{"index": 0, "message": message, "finish_reason": reason, "logprobs": None}]
    return DeepSeek().read_answer(json.dumps({**HEAD, "choices": choices, "usage": COUNTS}).encode(), outgoing)


def test_a_whole_answer_is_kept_likewise():
    message = {"role": "assistant", "content": "", "reasoning_content": "Hm.", "tool_calls": [CALL]}
    found = whole(message)
    assert found.kept == {"call_1": {"provider": "deepseek", "reasoning": "Hm."}}
    assert body_of(found)["choices"][0]["message"]["content"] is None
    assert whole({**message, "tool_calls": None}, "stop").kept == {}


# the dialect of functions


def test_legacy_functions_are_tools():
    messages = [
        *HI,
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "1"},
    ]
    out = write(messages=messages, functions=[FUNCTION], function_call={"name": "f"})
    body = json.loads(out.body)
    assert (body["tools"], "functions" in body, "function_call" in body) == ([TOOL], False, False)
    assert body["tool_choice"] == {"type": "function", "function": {"name": "f"}}
    call = body["messages"][1]["tool_calls"][0]
    assert call["function"] == {"name": "f", "arguments": "{}"}
    assert body["messages"][2] == {"role": "tool", "tool_call_id": call["id"], "content": "1"}
    assert (out.dropped, out.reading.legacy) == ((), True)


def test_a_call_is_a_function_call_to_a_client_that_asked_so():
    found = body_of(whole({"content": "", "tool_calls": [CALL]}, outgoing=LEGACY))["choices"][0]
    assert found["message"]["function_call"] == CALL["function"]
    assert ("tool_calls" in found["message"], found["finish_reason"]) == (False, "function_call")
    chunks, reader = read(stream(*CALLING), provider=DeepSeek(), outgoing=LEGACY)
    accept(chunks)
    deltas = [one["choices"][0]["delta"] for one in chunks]
    calls = [delta["function_call"] for delta in deltas if "function_call" in delta]
    assert (calls[0], "".join(call["arguments"] for call in calls)) == ({"name": "f", "arguments": ""}, '{"a":1}')
    assert not any("tool_calls" in delta for delta in deltas)
    assert chunks[-1]["choices"][0]["finish_reason"] == reader.finish_reason == "function_call"


def test_one_choice_a_call():
    assert DeepSeek().choices_per_call(converse({"n": 4}), "deepseek-v4-pro") == 1


def test_what_it_says_of_thoughts_probabilities_passes():
    probabilities = {"content": None, "reasoning_content": [{"token": "I", "logprob": -0.1, "top_logprobs": []}]}
    one = chunk({"content": None, "reasoning_content": "I"})
    one["choices"][0]["logprobs"] = probabilities
    chunks, _ = read(stream(one, chunk({}, "stop"), USAGE), provider=DeepSeek())
    accept(chunks)
    assert chunks[0]["choices"][0]["logprobs"] == probabilities
