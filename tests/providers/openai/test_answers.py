"""OpenAI's dialect, whole answers: read as they are, poor ones completed, and nothing in them tells who served it."""

import json
from typing import Any

import pytest
from openai.types.chat import ChatCompletion

from bridge.conversation.usage import Counts
from bridge.providers.base import AttemptFailed, Blame, Outgoing
from bridge.providers.openai.choice import Reading
from bridge.providers.openai.provider import OpenAI
from tests.chat_answers import body_of
from tests.providers.openai_streams import COUNTS, HEAD, SENT


def answer(message: dict[str, Any], **more: Any) -> bytes:
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return json.dumps({**HEAD, "object": "chat.completion", "choices": [choice], "usage": COUNTS, **more}).encode()


def test_a_whole_answer_is_read():
    counts = {
        **COUNTS,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }
    completion = OpenAI().read_answer(
        answer({"role": "assistant", "content": "Hi"}, usage=counts, system_fingerprint="f"), SENT
    )
    assert completion.usage == Counts(10, 5, 4, 3)
    assert (completion.finish_reason, completion.text) == ("stop", ["Hi"])
    assert body_of(completion)["system_fingerprint"] == "f"
    assert set(body_of(completion)) == {"created", "system_fingerprint", "choices"}
    ChatCompletion.model_validate({**HEAD, **body_of(completion), "object": "chat.completion"})


def test_a_poor_answer_gets_what_the_sdk_relies_on():
    completion = OpenAI().read_answer(b'{"choices":[{"message":{"content":"a"}},{"message":{"content":"b"}}]}', SENT)
    choices = body_of(completion)["choices"]
    ChatCompletion.model_validate({**HEAD, **body_of(completion), "object": "chat.completion"})
    assert [choice["index"] for choice in choices] == [0, 1]
    assert choices[0]["message"] == {"role": "assistant", "content": "a", "refusal": None}
    assert (choices[0]["finish_reason"], choices[0]["logprobs"]) == ("stop", None)
    assert (completion.usage, completion.text) == (None, ["a", "b"])


def test_everything_the_model_wrote_is_there_for_our_own_count():
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {
        "content": "a",
        "refusal": "b",
        "reasoning_content": "c",
        "tool_calls": [call],
        "function_call": {"name": "g", "arguments": "[]"},
    }
    assert OpenAI().read_answer(answer(message), SENT).text == ["a", "b", "c", "f", "{}", "g", "[]"]
    assert OpenAI().read_answer(answer({"content": None, "reasoning": "d"}), SENT).text == ["d"]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>",
        b"null",
        b"[]",
        b"{}",
        b'{"choices":[]}',
        b'{"choices":{}}',
        b'{"choices":[5]}',
        b'{"choices":[{"message":null}]}',
        b'{"choices":[{"message":"Hi"}]}',
        b'{"error":{"message":"no"}}',
        b'{"error":"no"}',
        b'{"choices":[{"message":{"content":"\xff"}}]}',
        b"[" * 100_000,
        answer({"content": "cut"})[:-20],
    ],
)
def test_what_is_no_answer_fails_the_attempt(data: bytes):
    with pytest.raises(AttemptFailed) as failed:
        OpenAI().read_answer(data, SENT)
    assert failed.value.blame is Blame.UPSTREAM


def test_no_answer_tells_who_served_it():
    message = {"content": "Hi", "reasoning": "Hm", "reasoning_details": [{"text": "Hm"}], "tool_calls": None}
    host = {"provider": "Chutes", "x_groq": {}, "timings": {}, "usage_breakdown": None, "service_tier": "on_demand"}
    data = json.loads(answer(message, **host))
    data["choices"][0] |= {"native_finish_reason": "stop", "content_filter_results": {}, "stop_reason": 7}
    completion = OpenAI().read_answer(json.dumps(data).encode(), SENT)
    assert set(body_of(completion)) == {"created", "choices"}
    assert body_of(completion)["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hi", "refusal": None, "reasoning_content": "Hm"},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ]


def test_openai_s_own_fields_pass():
    own = {"service_tier": "flex", "system_fingerprint": None}
    message = {"content": None, "refusal": "No.", "annotations": [], "audio": {"id": "a", "data": "", "transcript": ""}}
    found = body_of(OpenAI().read_answer(answer(message, **own), SENT))
    assert own.items() <= found.items()
    assert found["choices"][0]["message"] == {"role": "assistant", **message}


def test_content_beside_calls_is_null_where_nothing_was_said():
    call = {"id": "c", "index": 0, "type": "function", "function": {"name": "f", "arguments": {"a": 1}}}
    message = body_of(OpenAI().read_answer(answer({"content": "", "tool_calls": [call]}), SENT))["choices"][0][
        "message"
    ]
    function = {"name": "f", "arguments": '{"a":1}'}
    assert message["content"] is None
    assert message["tool_calls"] == [{"id": "c", "type": "function", "function": function}]


@pytest.mark.parametrize("before", [b"\n \n         \n", b": keep-alive\n\n: keep-alive\n\n", b"\r\n: x\r\n\n"])
def test_what_keeps_the_line_open_is_skipped(before: bytes):
    assert OpenAI().read_answer(before + answer({"content": "Hi"}), SENT).text == ["Hi"]


def test_a_filtered_choice_may_have_no_message():
    completion = OpenAI().read_answer(b'{"choices":[{"finish_reason":"content_filter","index":0}]}', SENT)
    ChatCompletion.model_validate({**HEAD, **body_of(completion), "object": "chat.completion"})
    assert completion.finish_reason == "content_filter"


@pytest.mark.parametrize(
    "counts", [{"cached_tokens": 4}, {"prompt_cache_hit_tokens": 4, "prompt_cache_miss_tokens": 6}]
)
def test_what_came_from_a_cache_is_counted_wherever_it_stands(counts: dict[str, int]):
    assert OpenAI().read_answer(answer({"content": "Hi"}, usage={**COUNTS, **counts}), SENT).usage == Counts(10, 5, 4)
    both = {**COUNTS, **counts, "prompt_tokens_details": {"cached_tokens": 4}}
    assert OpenAI().read_answer(answer({"content": "Hi"}, usage=both), SENT).usage == Counts(10, 5, 4)


def _whole_with(message: dict[str, Any], finish_reason: str) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish_reason}
    return json.dumps({"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}).encode()


def _call_of(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


ORDINARY_CALLS = [_call_of("a", "get_weather", '{"city":"Oslo"}'), _call_of("b", "get_weather", "{}")]


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    ("message", "finish_reason"),
    [
        ({"content": "Hello", "refusal": None, "annotations": []}, "stop"),
        ({"content": "Hel", "reasoning_content": "Hm."}, "length"),
        ({"content": None, "tool_calls": ORDINARY_CALLS}, "tool_calls"),
        ({"content": "", "reasoning_content": "", "tool_calls": ORDINARY_CALLS[:1]}, "tool_calls"),
        ({"content": "I look.", "reasoning_content": "Hm.", "tool_calls": ORDINARY_CALLS}, "tool_calls"),
    ],
)
def test_nothing_is_called_mended_about_an_ordinary_whole_answer(message, finish_reason, legacy, monkeypatch):
    """And the short way to read one leads where the long one does."""
    outgoing = Outgoing("/", b"{}", reading=Reading(legacy=legacy, names={"get_weather": "get weather"}))
    data = _whole_with(message, finish_reason)
    found = OpenAI().read_answer(data, outgoing)
    assert found.mended == set()
    monkeypatch.setattr("bridge.providers.openai.answer._read_plain", lambda *_: None)
    assert OpenAI().read_answer(data, outgoing) == found


@pytest.mark.parametrize(
    "calls",
    [
        [_call_of("a", "get_weather", "")],
        [_call_of("a", "get_weather", "{}"), _call_of("a", "get_time", "{}")],
        [_call_of("", "get_weather", "{}")],
        [{"id": "a", "type": "function", "function": {"name": "get_weather", "arguments": {"city": "Oslo"}}}],
    ],
)
def test_calls_that_lack_something_take_the_long_way(calls):
    data = _whole_with({"content": None, "tool_calls": calls}, "tool_calls")
    found = OpenAI().read_answer(data, Outgoing("/", b"{}"))
    written = body_of(found)["choices"][0]["message"]["tool_calls"]
    assert found.mended
    assert len({call["id"] for call in written}) == len(calls)
    assert all(json.loads(call["function"]["arguments"]) is not None for call in written)
