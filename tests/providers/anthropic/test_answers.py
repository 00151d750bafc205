"""Anthropic's answers, whole and streamed, and its errors: what a client of OpenAI's API gets for them."""

import json
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from bridge.conversation.usage import Counts
from bridge.providers.anthropic.provider import Anthropic
from bridge.providers.base import AttemptFailed, Blame, Outgoing
from bridge.providers.fences import FenceStripper, strip_fence
from tests.chat_answers import body_of, chat_order
from tests.providers.anthropic_requests import (
    COUNTS,
    HAIKU_35,
    SONNET_45,
    START,
    STOP,
    TOOL,
    answer,
    block,
    delta,
    ending,
    event,
    join,
    message,
    read,
    text,
    text_block,
    tool_block,
    write,
)

THOUGHT = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
REDACTED = {"type": "redacted_thinking", "data": "abc"}
USED = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Oslo"}}
SEARCH = [
    {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}},
    {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [{"type": "web_search_result"}]},
]
CITATION = {"type": "web_search_result_location", "url": "https://example.com", "title": "T", "cited_text": "x"}
PAGE = {"type": "page_location", "document_index": 0, "cited_text": "x"}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object", "properties": {}}}}
BY_TOOL, IN_WORDS = write(HAIKU_35, response_format=SCHEMA), write(response_format={"type": "json_object"})
RENAMED = write(tools=[{"type": "function", "function": {"name": "a.b"}}])
LEGACY = write(functions=[{"name": "weather"}])
REASONS = [
    ("end_turn", "stop"),
    ("stop_sequence", "stop"),
    ("tool_use", "tool_calls"),
    ("max_tokens", "length"),
    ("model_context_window_exceeded", "length"),
    ("refusal", "content_filter"),
    ("pause_turn", "stop"),
]


def valid(completion: Any) -> dict[str, Any]:
    """The message, once OpenAI's own types have taken it."""
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    body = {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "usage": usage, **body_of(completion)}
    ChatCompletion.model_validate(body, strict=True)
    return message(completion)


# whole


def test_texts_are_joined_with_nothing_between_them():
    completion = answer(*text("Hello, ", "world"))
    assert valid(completion) == {"role": "assistant", "content": "Hello, world", "refusal": None}
    assert (completion.finish_reason, completion.text) == ("stop", ["Hello, world"])


def test_calls_have_their_arguments_as_text_and_nothing_else_is_null():
    completion = answer(USED, {**USED, "id": "toolu_2", "input": {}}, stop_reason="tool_use")
    found = valid(completion)
    assert found["content"] is None
    assert [(each["id"], each["function"]["arguments"]) for each in found["tool_calls"]] == [
        ("toolu_1", '{"city":"Oslo"}'),
        ("toolu_2", "{}"),
    ]
    assert completion.finish_reason == "tool_calls"


def test_thoughts_are_reasoning_and_kept_where_a_call_needs_them_back():
    completion = answer(THOUGHT, REDACTED, *text("Let me look."), USED, stop_reason="tool_use")
    found = valid(completion)
    assert found["reasoning_content"] == "Hm."
    assert found["thinking_blocks"] == [THOUGHT, REDACTED]
    blocks = {"provider": "anthropic", "model": SONNET_45, "blocks": [THOUGHT, REDACTED]}
    assert completion.kept == {"toolu_1": blocks}
    plain = answer(THOUGHT, *text("Hi"))
    assert ("thinking_blocks" in valid(plain), plain.kept) == (False, {})


def test_what_tools_of_anthropics_own_did_is_left_out():
    completion = answer(*SEARCH, *text("Found."), {"type": "compaction", "content": "x"})
    assert valid(completion) == {"role": "assistant", "content": "Found.", "refusal": None}


def test_citations_of_pages_are_annotations():
    cited = {"type": "text", "text": "Sure", "citations": [CITATION, PAGE, "x"]}
    found = valid(answer(*text("Well: "), cited))
    assert found["annotations"] == [
        {
            "type": "url_citation",
            "url_citation": {"url": "https://example.com", "title": "T", "start_index": 6, "end_index": 10},
        }
    ]


@pytest.mark.parametrize("content", [[], text("Hi")])
def test_an_answer_that_stopped_for_no_known_reason_is_none(content: list[dict[str, Any]]):
    with pytest.raises(AttemptFailed) as caught:
        answer(*content, stop_reason="something_new")
    assert (caught.value.blame, caught.value.reason) == (Blame.UPSTREAM, "the answer ended in failure: something_new")
    with pytest.raises(AttemptFailed):
        read(START, *([text_block(0, "Hi")] if content else []), ending("something_new"))


def test_an_answer_without_content_has_to_say_its_end():
    with pytest.raises(AttemptFailed):
        answer(stop_reason=None)
    with pytest.raises(AttemptFailed):
        Anthropic().read_answer(b'{"content":[]}', write())
    with pytest.raises(AttemptFailed):
        read(START, STOP)
    assert answer(*text("Hi"), stop_reason=None).finish_reason == "stop"
    assert answer(USED, stop_reason=None).finish_reason == "tool_calls"


@pytest.mark.parametrize(("theirs", "ours"), REASONS)
def test_why_an_answer_ended(theirs: str, ours: str):
    content = [USED] if theirs == "tool_use" else []
    completion = answer(*content, stop_reason=theirs)
    assert completion.finish_reason == body_of(completion)["choices"][0]["finish_reason"] == ours
    assert message(completion)["content"] == (None if content else "")
    streamed = [tool_block(0, "t", "f")] if content else []
    deltas, reader = read(START, *streamed, ending(theirs))
    assert (reader.finish_reason, deltas[-1]) == (ours, {})


def test_the_old_dialect_gets_one_function_call():
    found = message(answer(USED, {**USED, "id": "b"}, stop_reason="tool_use", outgoing=LEGACY))
    assert found["function_call"] == {"name": "weather", "arguments": '{"city":"Oslo"}'}
    assert "tool_calls" not in found
    deltas, reader = read(START, tool_block(0, "a", "f", "{", "}"), tool_block(1, "b", "g"), ending(), outgoing=LEGACY)
    assert "".join(each["function_call"]["arguments"] for each in deltas if "function_call" in each) == "{}"
    assert answer(USED, stop_reason="tool_use", outgoing=LEGACY).finish_reason == "function_call"


def test_the_tool_that_stands_for_the_answer_is_the_answer():
    used = {**USED, "name": "answer"}
    completion = answer(*text("Here: "), used, used, stop_reason="tool_use", outgoing=BY_TOOL)
    assert message(completion) == {"role": "assistant", "content": '{"city":"Oslo"}', "refusal": None}
    assert completion.finish_reason == "stop"
    stream = [tool_block(0, "a", "answer", "", '{"city":', '"Oslo"}'), tool_block(1, "b", "answer", "{}")]
    deltas, reader = read(START, *stream, text_block(2, "Done."), ending("tool_use"), outgoing=BY_TOOL)
    assert (join(deltas), reader.finish_reason) == ('{"city":"Oslo"}', "stop")
    assert not any("tool_calls" in each for each in deltas)
    deltas, _ = read(START, tool_block(0, "a", "answer"), ending("tool_use"), outgoing=BY_TOOL)
    assert join(deltas) == "{}"


def test_renamed_tools_have_the_clients_names_again():
    assert message(answer({**USED, "name": "a_b"}, outgoing=RENAMED))["tool_calls"][0]["function"]["name"] == "a.b"
    deltas, _ = read(START, tool_block(0, "t", "a_b"), ending("tool_use"), outgoing=RENAMED)
    assert deltas[1]["tool_calls"][0]["function"]["name"] == "a.b"


FENCED = [
    ('```json\n{"a": 1}\n```', '{"a": 1}'),
    ("\n```\n{}\n```\n", "{}"),
    ('{"a": "```"}', '{"a": "```"}'),
    ('```json\n{"a": "```\\n"}```', '{"a": "```\\n"}'),
]


@pytest.mark.parametrize(("theirs", "ours"), FENCED)
def test_json_comes_without_its_fence(theirs: str, ours: str):
    assert message(answer(*text(theirs), outgoing=IN_WORDS))["content"] == ours
    assert message(answer(*text(theirs)))["content"] == theirs
    for size in (1, 2, 3, 100):
        pieces = [theirs[i : i + size] for i in range(0, len(theirs), size)]
        deltas, _ = read(START, text_block(0, *pieces), ending(), outgoing=IN_WORDS)
        assert join(deltas) == ours


@pytest.mark.parametrize("theirs", ["No.", "```\nno JSON\n```", "``", "```python", "{} ```"])
def test_what_is_no_json_is_delivered_as_it_is(theirs: str):
    assert message(answer(*text(theirs), outgoing=IN_WORDS))["content"] == theirs
    if not theirs.startswith("```\n"):
        deltas, _ = read(START, text_block(0, *theirs), ending(), outgoing=IN_WORDS)
        assert join(deltas) == theirs


def test_a_fence_is_held_back_only_as_long_as_it_may_be_one():
    stripper = FenceStripper()
    assert [stripper.feed(piece) for piece in ("```", "json", "\n{", "}", "\n`", "``", "x")] == (
        ["", "", "{", "}", "", "", "\n```x"]
    )
    assert stripper.finish() == ""
    assert strip_fence(" " * 100 + "{}") == " " * 100 + "{}"


# counts

CACHED = {"cache_read_input_tokens": 20, "cache_creation_input_tokens": 7}
SPLIT = {"cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 4}}
THOUGHT_TOKENS = {"output_tokens_details": {"thinking_tokens": 2}}


@pytest.mark.parametrize(
    ("usage", "ours"),
    [
        (COUNTS, Counts(10, 5)),
        (COUNTS | CACHED, Counts(37, 5, 20, 0, 7)),
        (COUNTS | CACHED | SPLIT | THOUGHT_TOKENS, Counts(37, 5, 20, 2, 7, 4)),
        (COUNTS | SPLIT, Counts(17, 5, 0, 0, 7, 4)),
        (COUNTS | {"cache_read_input_tokens": None, "cache_creation": None}, Counts(10, 5)),
        ({"input_tokens": 0, "output_tokens": 0}, Counts(0, 0)),
        (COUNTS | {"output_tokens": 2**40}, Counts(10, 2**40)),
        (COUNTS | {"cache_read_input_tokens": -5}, Counts(-5, 5, -5)),
        (COUNTS | {"output_tokens": -1}, Counts(10, -1)),
        ({"input_tokens": 10}, Counts(10)),
        ({"output_tokens": 5, "cache_read_input_tokens": 9}, Counts(None, 5, 9)),
        ({"input_tokens": 10.0, "output_tokens": 5.0, "cache_read_input_tokens": 20.0}, Counts(30, 5, 20)),
        (COUNTS | {"output_tokens": 5.5}, Counts(10, odd=True)),
        ({"input_tokens": "10", "output_tokens": 5}, Counts(None, 5, odd=True)),
        ("none", Counts(odd=True)),
        (None, None),
    ],
)
def test_counts_are_openais(usage: Any, ours: Counts | None):
    assert answer(*text("Hi"), usage=usage).usage == ours


def test_a_count_at_the_end_that_is_none_leaves_the_others_as_they_were_said():
    start = event("message_start", message={"usage": COUNTS})
    end = event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": "many"})
    assert read(start, text_block(0, "Hi"), end)[1].usage == Counts(10, odd=True)


def test_later_counts_replace_earlier_ones():
    start = event("message_start", message={"usage": COUNTS | CACHED | SPLIT})
    _, reader = read(start, text_block(0, "Hi"))
    assert (reader.usage, bool(reader.uncounted)) == (Counts(37, 5, 20, 0, 7, 4), True)
    only_output = event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 9})
    _, reader = read(start, text_block(0, "Hi"), only_output, STOP)
    assert (reader.usage, bool(reader.uncounted)) == (Counts(37, 9, 20, 0, 7, 4), False)
    all_of_them = ending(input_tokens=100, cache_read_input_tokens=0, cache_creation_input_tokens=2)
    assert read(start, all_of_them)[1].usage == Counts(102, 5, 0, 0, 2, 2)


# streams


def test_a_stream_of_all_kinds_of_blocks():
    thinking = [delta(0, "thinking_delta", thinking="H"), delta(0, "thinking_delta", thinking="m.")]
    signed = [*thinking, delta(0, "signature_delta", signature="c2ln")]
    deltas, reader = read(
        START,
        event("ping"),
        block(0, {"type": "thinking", "thinking": "", "signature": ""}, *signed),
        block(1, REDACTED),
        text_block(2, "Let", " me", " look."),
        block(3, SEARCH[0], delta(3, "input_json_delta", partial_json='{"q":1}')),
        block(4, SEARCH[1]),
        tool_block(5, "toolu_1", "weather", "", '{"city":', ' "Oslo"}'),
        tool_block(6, "toolu_2", "now", ""),
        event("something_new", delta="odd", index="odd"),
        ending("tool_use"),
    )
    for each in deltas:
        chunk = {"id": "x", "object": "chat.completion.chunk", "created": 0, "model": "m"}
        choice = {"index": 0, "delta": each, "finish_reason": None, "logprobs": None}
        ChatCompletionChunk.model_validate({**chunk, "choices": [choice]}, strict=True)
    assert deltas[0] == {"role": "assistant", "content": "", "refusal": None}
    assert (join(deltas, "reasoning_content"), join(deltas)) == ("Hm.", "Let me look.")
    made = [call for each in deltas for call in each.get("tool_calls", ())]
    assert [(call["index"], call.get("id"), call["function"]["arguments"]) for call in made] == [
        (0, "toolu_1", ""),
        (0, None, '{"city":'),
        (0, None, ' "Oslo"}'),
        (1, "toolu_2", ""),
        (1, None, "{}"),
    ]
    assert deltas[-2:] == [{"thinking_blocks": [THOUGHT, REDACTED]}, {}]
    assert reader.kept == {"toolu_1": {"provider": "anthropic", "model": SONNET_45, "blocks": [THOUGHT, REDACTED]}}
    assert (reader.finished, reader.finish_reason) == (True, "tool_calls")
    assert "".join(reader.text) == 'Hm.Let me look.weather{"city": "Oslo"}now{}'


def test_what_a_block_begins_with_is_said_too():
    deltas, _ = read(START, block(0, {"type": "text", "text": "Hi"}), block(1, USED), ending("tool_use"))
    assert join(deltas) == "Hi"
    assert deltas[3]["tool_calls"][0]["function"]["arguments"] == '{"city":"Oslo"}'


def test_pages_cited_in_a_stream_are_annotations():
    cited = [delta(1, "text_delta", text="Sure"), delta(1, "citations_delta", citation=CITATION)]
    cited.append(delta(1, "citations_delta", citation=PAGE))
    deltas, _ = read(START, text_block(0, "Well: "), block(1, {"type": "text", "text": ""}, *cited), ending())
    (found,) = [each["annotations"] for each in deltas if "annotations" in each]
    assert [(one["url_citation"]["start_index"], one["url_citation"]["end_index"]) for one in found] == [(6, 10)]


def test_the_stream_ends_with_its_last_event_whatever_follows():
    deltas, reader = read(START, text_block(0, "Hi"), ending(), text_block(1, "more"), event("error", error={}))
    assert (join(deltas), reader.finished) == ("Hi", True)
    assert reader.feed(text_block(0, "more")) == b""


def test_a_stream_that_was_cut_is_not_finished_and_has_no_reason():
    told = event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 5})
    for events in ([START], [START, text_block(0, "Hi")], [START, text_block(0, "Hi"), told]):
        deltas, reader = read(*events)
        assert (reader.finished, reader.finish_reason) == (False, None)
        assert {} not in deltas


def test_a_choice_of_several_keeps_its_index():
    deltas, _ = read(START, text_block(0, "a", "b", "c"), tool_block(1, "t", "f", "{", "}"), ending(), index=2)
    assert join(deltas) == "abc"


@pytest.mark.parametrize(
    ("kind", "blame"),
    [
        ("overloaded_error", Blame.UPSTREAM),
        ("api_error", Blame.UPSTREAM),
        ("rate_limit_error", Blame.RATE),
        ("authentication_error", Blame.CREDENTIAL),
        ("billing_error", Blame.CREDENTIAL),
        ("invalid_request_error", Blame.REQUEST),
        ("not_found_error", Blame.SETUP),
        ("something_new", Blame.UPSTREAM),
    ],
)
def test_an_error_inside_an_answer_is_no_answer(kind: str, blame: Blame):
    error = event("error", error={"type": kind, "message": "Overloaded"})
    with pytest.raises(AttemptFailed) as caught:
        read(START, text_block(0, "Hi"), error)
    assert (caught.value.blame, caught.value.status) == (blame, 200)
    assert b"Hi" in caught.value.frames
    with pytest.raises(AttemptFailed) as caught:
        Anthropic().read_answer(error.split(b"data: ")[1], write())
    assert caught.value.blame is blame


@pytest.mark.parametrize(
    "data", [b"", b"<html>", b"[]", b"{}", b'{"content": 3}', b'{"content": [{"text": 3}]}', b"\xff"]
)
def test_what_is_no_answer_is_the_upstreams_failure(data: bytes):
    with pytest.raises(AttemptFailed) as caught:
        Anthropic().read_answer(data, Outgoing("/v1/messages", b""))
    assert caught.value.blame is Blame.UPSTREAM


@pytest.mark.parametrize("data", [b"{", b"[]", b"3", b'{"type": "content_block_delta", "delta": 3}', b'{"type": 3}'])
def test_what_is_no_event_is_the_upstreams_failure(data: bytes):
    reader = Anthropic().open_reader(write(tools=[TOOL]), chat_order("x", "m", 0, False, 2**20))
    with pytest.raises(AttemptFailed) as caught:
        reader.feed(b"data: " + data + b"\n\n")
    assert caught.value.blame is Blame.UPSTREAM


# errors


def error(kind: str, words: str) -> bytes:
    body = {"type": "error", "error": {"type": kind, "message": words}, "request_id": "req_011CZZ"}
    return json.dumps(body).encode()


BAD = "invalid_request_error"


@pytest.mark.parametrize(
    ("status", "data", "blame", "param", "code"),
    [
        (400, error(BAD, "temperature: range: 0..1"), Blame.REQUEST, "temperature", "invalid_value"),
        (400, error(BAD, "messages.3.content.1: odd"), Blame.REQUEST, "messages", None),
        (400, error(BAD, "tools.0.custom.name: odd"), Blame.REQUEST, "tools[0].function.name", "invalid_value"),
        (
            400,
            error(BAD, "prompt is too long: 9 tokens > 8 maximum"),
            Blame.REQUEST,
            "messages",
            "context_length_exceeded",
        ),
        (400, error(BAD, "messages.0.content.0.image.source: Could not process image"), Blame.REQUEST, "messages")
        + ("invalid_image",),
        (400, error(BAD, "You have reached your specified API usage limits."), Blame.CREDENTIAL, None, None),
        (400, error(BAD, "Your credit balance is too low to access the API."), Blame.CREDENTIAL, None, None),
        (400, error(BAD, "This organization has been disabled."), Blame.CREDENTIAL, None, None),
        (401, error("authentication_error", "invalid x-api-key"), Blame.CREDENTIAL, None, None),
        (402, error("billing_error", "No credit"), Blame.CREDENTIAL, None, None),
        (403, error("permission_error", "No"), Blame.CREDENTIAL, None, None),
        (404, error("not_found_error", "model: claude-x"), Blame.SETUP, None, None),
        (413, b"<html><title>413 Request Entity Too Large</title></html>", Blame.REQUEST, None, "request_too_large"),
        (413, error("request_too_large", "Request exceeds the maximum size"), Blame.REQUEST, None, "request_too_large"),
        (429, error("rate_limit_error", "Slow down"), Blame.RATE, None, None),
        (500, error("api_error", "Internal server error"), Blame.UPSTREAM, None, None),
        (503, b"", Blame.UPSTREAM, None, None),
        (529, error("overloaded_error", "Overloaded"), Blame.UPSTREAM, None, None),
    ],
)
def test_an_error_speaks_against_whom_it_is_about(
    status: int, data: bytes, blame: Blame, param: str | None, code: str | None
):
    failure = Anthropic().read_error(status, {"retry-after": "7"}, data)
    assert (failure.blame, failure.status, failure.param, failure.code) == (blame, status, param, code)
    assert bool(failure.message) is (blame is Blame.REQUEST)
    assert "req_" not in failure.message
    assert failure.retry_after_seconds == (None if blame is Blame.REQUEST else 7)
    if status == 413:
        assert "too large" in failure.message
