"""OpenAI's dialect, streamed: chunks pass with our names, and no one else's, wherever the reads fall."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.conversation.usage import Counts
from bridge.providers.base import AttemptFailed, Blame
from bridge.providers.openai.provider import OpenAI
from tests.chat_answers import chat_order
from tests.providers.openai_streams import (
    COUNTS,
    DONE,
    HEAD,
    HELLO,
    OURS,
    PUBLIC,
    SENT,
    USAGE,
    accept,
    chunk,
    read,
    stream,
    without,
)


@pytest.mark.parametrize("include_usage", [True, False])
@pytest.mark.parametrize("spaced", [True, False])
@pytest.mark.parametrize("usage_null", [True, False])
def test_a_stream_passes_with_our_names_and_its_usage_kept_back(include_usage: bool, spaced: bool, usage_null: bool):
    theirs = [{**one, "usage": None} if usage_null else one for one in HELLO]
    chunks, reader = read(stream(*theirs, USAGE, spaced=spaced), include_usage=include_usage)
    accept(chunks, include_usage)
    assert [one["choices"] for one in chunks] == [one["choices"] for one in HELLO]
    assert all(one["created"] == HEAD["created"] for one in chunks)
    assert (reader.finished, reader.started, reader.finish_reason) == (True, True, "stop")
    assert reader.usage == Counts(10, 5)
    assert "".join(reader.text) == 'Hello "id":"chatcmpl-theirs" wörld\u2028😀'


@given(st.lists(st.integers(0, 3000), max_size=20), st.booleans(), st.booleans())
def test_a_stream_reads_the_same_wherever_the_reads_fall(cuts: list[int], include_usage: bool, spaced: bool):
    data = stream(*HELLO, USAGE, spaced=spaced)
    whole, at_once = read(data, include_usage=include_usage)
    chunks, reader = read(data, *cuts, include_usage=include_usage)
    assert chunks == whole
    assert (reader.usage, reader.text, reader.finished) == (at_once.usage, at_once.text, True)


@pytest.mark.parametrize(
    "theirs",
    [
        [without(one, "id", "model") for one in HELLO],
        [without(one, "object", "created") for one in HELLO],
        [HELLO[0], *(without(one, "id") for one in HELLO[1:])],
        [{**HELLO[0], "id": "", "model": ""}, *HELLO[1:]],
        [{**HELLO[0], "id": None}, *HELLO[1:]],
        [{**one, "id": f"chatcmpl-{place}"} for place, one in enumerate(HELLO)],
        [{**one, "model": f"m{place % 2}"} for place, one in enumerate(HELLO)],
        [{**one, "id": 'é"\\', "model": "é/\u2028"} for one in HELLO],
        [dict(reversed(one.items())) for one in HELLO],
        [{**one, "provider": {"id": "chatcmpl-theirs", "model": "theirs-2026-01-01"}} for one in HELLO],
        [{**one, "created": 1_750_000_000.5, "object": "completion"} for one in HELLO],
        [{**one, "choices": [without(one["choices"][0], "index", "logprobs")]} for one in HELLO],
        [*HELLO[:3], {**HELLO[3], "choices": [{"finish_reason": "stop"}]}],
        [*HELLO[:3], {**HELLO[3], "choices": [{"index": 0, "delta": None, "finish_reason": "stop"}]}],
    ],
)
@pytest.mark.parametrize("spaced", [True, False])
def test_our_names_are_in_every_chunk_whatever_the_upstream_leaves_out(theirs: list[dict], spaced: bool):
    for include_usage in (True, False):
        chunks, reader = read(stream(*theirs, USAGE, spaced=spaced), include_usage=include_usage)
        accept(chunks, include_usage)
        assert "".join(reader.text).startswith("Hello")
        assert reader.finish_reason == "stop"


def test_what_only_looks_like_the_upstream_s_name_is_left_alone():
    other = {"provider": {"id": "chatcmpl-theirs", "model": "theirs-2026-01-01"}, **HELLO[1], "id": "b", "model": "c"}
    chunks, _ = read(stream(HELLO[0], other))
    accept(chunks)
    assert "provider" not in chunks[1]
    call = {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}
    more = {"index": 0, "function": {"arguments": '{"id":"","model":""}'}}
    calls = [chunk({"tool_calls": [piece]}) for piece in (call, more)]
    nameless = [dict(reversed({**one, "id": "", "model": ""}.items())) for one in (HELLO[0], *calls)]
    chunks, _ = read(stream(*nameless))
    accept(chunks)
    assert [one["choices"] for one in chunks[1:]] == [one["choices"] for one in calls]


def test_an_upstream_that_changes_its_spacing_still_gets_our_names():
    data = stream(HELLO[0]) + stream(HELLO[1], spaced=True) + stream(*HELLO[2:])
    data = data.replace(DONE, b"") + DONE
    chunks, _ = read(data)
    accept(chunks)
    assert len(chunks) == 4


@pytest.mark.parametrize("layout", [{"indent": 1}, {"separators": (",\n", ":")}])
def test_an_event_over_several_data_lines_stays_one_frame(layout: dict[str, Any]):
    pretty = json.dumps(HELLO[1], **layout).replace("\n", "\ndata: ")
    chunks, _ = read(stream(HELLO[0], done=False) + f"data: {pretty}\n\n".encode() + DONE)
    accept(chunks)
    assert chunks[1]["choices"][0]["delta"]["content"] == "Hello"


@pytest.mark.parametrize("include_usage", [True, False])
def test_counts_beside_the_last_delta_are_read_and_kept_back(include_usage: bool):
    counts = {
        **COUNTS,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }
    chunks, reader = read(stream(*HELLO[:3], {**HELLO[3], "usage": counts}), include_usage=include_usage)
    accept(chunks, include_usage)
    assert reader.usage == Counts(10, 5, 4, 3)
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


def test_of_several_counts_the_last_one_wins():
    counts = [{**COUNTS, "completion_tokens": place, "total_tokens": 10 + place} for place in range(len(HELLO))]
    running = [{**one, "usage": usage} for one, usage in zip(HELLO, counts, strict=True)]
    _, reader = read(stream(*running, USAGE))
    assert reader.usage == Counts(10, 5)
    _, reader = read(stream(*running, {**USAGE, "usage": None}))
    assert reader.usage == Counts(10, 3)


@pytest.mark.parametrize(
    ("counts", "usage"),
    [
        ({"prompt_tokens": 0, "completion_tokens": 0}, Counts(0, 0)),
        ({"prompt_tokens": -5, "completion_tokens": 2**40}, Counts(-5, 2**40)),
        ({"prompt_tokens": 0, "completion_tokens": -1}, Counts(0, -1)),
        ({"prompt_tokens": 5, "completion_tokens": 2**40}, Counts(5, 2**40)),
        ({"prompt_tokens": 10**30, "completion_tokens": 1}, Counts(None, 1, odd=True)),
        ({**COUNTS, "prompt_tokens_details": {"cached_tokens": 11}}, Counts(10, 5, 11)),
        ({**COUNTS, "completion_tokens_details": {"reasoning_tokens": 6}}, Counts(10, 5, 0, 6)),
        ({**COUNTS, "prompt_tokens_details": None}, Counts(10, 5)),
        (
            {**COUNTS, "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 5, "image_tokens": 9}},
            Counts(10, 5, 4, audio_tokens=5, image_tokens=9),
        ),
        ({**COUNTS, "completion_tokens_details": {"audio_tokens": 3}}, Counts(10, 5, audio_output_tokens=3)),
        ({**COUNTS, "prompt_tokens_details": {"cache_write_tokens": 7}}, Counts(10, 5, cache_write_tokens=7)),
        ({**COUNTS, "prompt_tokens_details": {"cache_write_tokens": None}}, Counts(10, 5)),
        ({**COUNTS, "prompt_tokens_details": {"cache_write_tokens": "7"}}, Counts(10, 5, odd=True)),
        ({"prompt_tokens": 10}, Counts(10)),
        ({"prompt_tokens": None, "completion_tokens": 5}, Counts(None, 5)),
        ({"prompt_tokens": "10", "completion_tokens": 5}, Counts(None, 5, odd=True)),
        ({"prompt_tokens": 1.5, "completion_tokens": 5}, Counts(None, 5, odd=True)),
        ({"prompt_tokens": True, "completion_tokens": 5}, Counts(None, 5, odd=True)),
        ("many", Counts(odd=True)),
        ([], None),
        ({}, None),
    ],
)
def test_counts_areread_class_by_class_as_they_were_said(counts: Any, usage: Counts | None):
    chunks, reader = read(stream(*HELLO[:3], {**HELLO[3], "usage": counts}, {**USAGE, "usage": counts}))
    accept(chunks)
    assert len(chunks) == 4
    assert (reader.usage, reader.finish_reason) == (usage, "stop")
    whole = {"choices": [{"message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}], "usage": counts}
    assert OpenAI().read_answer(json.dumps(whole).encode(), SENT).usage == usage


def test_tool_calls_pass_and_are_counted():
    def call(**fields: Any) -> dict[str, Any]:
        return chunk({"tool_calls": [{"index": 0, **fields}]})

    theirs = [
        chunk({"role": "assistant", "content": None}),
        call(id="call_1", type="function", function={"name": "weather", "arguments": ""}),
        call(id="", function={"arguments": '{"id":"chatcmpl-theirs",'}),
        call(function={"arguments": '"model":"theirs-2026-01-01"}'}),
        chunk({}, "tool_calls"),
    ]
    chunks, reader = read(stream(*theirs))
    accept(chunks)
    del theirs[2]["choices"][0]["delta"]["tool_calls"][0]["id"]  # an id comes once
    assert [one["choices"] for one in chunks] == [one["choices"] for one in theirs]
    assert "".join(reader.text) == 'weather{"id":"chatcmpl-theirs","model":"theirs-2026-01-01"}'
    assert (reader.started, reader.finish_reason) == (True, "tool_calls")


@pytest.mark.parametrize(
    "delta",
    [
        {"reasoning_content": "Hm"},
        {"refusal": "Hm"},
        {"function_call": {"name": "Hm", "arguments": ""}},
        {"content": "Hm"},
    ],
)
def test_whatever_the_model_says_starts_the_answer_and_is_counted_once(delta: dict[str, Any]):
    chunks, reader = read(stream(chunk(delta)))
    assert (reader.text, reader.started) == (["Hm"], True)
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", **delta}


@pytest.mark.parametrize(
    "more", [{}, {"reasoning_content": "Hm"}, {"reasoning_details": [{"type": "reasoning.text", "text": "Hm"}]}]
)
def test_what_a_host_calls_reasoning_reaches_the_client_by_its_usual_name(more: dict[str, Any]):
    theirs = [chunk({"role": "assistant", "content": "", "reasoning": text, **more}) for text in ("Hm", "Hm", "Hm")]
    chunks, reader = read(stream(*theirs))
    assert reader.text == ["Hm"] * 3
    said = {"content": "", "reasoning_content": "Hm"}
    assert [one["choices"][0]["delta"] for one in chunks] == [{"role": "assistant", **said}, said, said]


CHOICE_FIELDS = ("native_finish_reason", "content_filter_results", "token_ids")
TELLING = [
    {"native_finish_reason": None},
    {"content_filter_results": {}},
    {"provider": "Chutes", "token_ids": [1, 2]},
    {"provider": "Chutes"},
    {"x_groq": {"id": "req_1"}},
    {"timings": {"predicted_ms": 1.5}},
    {"prompt_filter_results": []},
    {"service_tier": "on_demand"},
    {"cost": 0.1},
]


@pytest.mark.parametrize("more", TELLING)
@pytest.mark.parametrize("spaced", [True, False])
def test_no_chunk_tells_who_served_it(more: dict[str, Any], spaced: bool):
    top = {name: value for name, value in more.items() if name not in CHOICE_FIELDS}
    inside = {name: value for name, value in more.items() if name in CHOICE_FIELDS}
    theirs = [{**one, **top, "choices": [{**one["choices"][0], **inside}]} for one in HELLO]
    chunks, reader = read(stream(*theirs, USAGE, spaced=spaced))
    accept(chunks)
    assert [set(one) for one in chunks] == [{"id", "object", "created", "model", "choices"}] * 4
    assert [one["choices"] for one in chunks] == [one["choices"] for one in HELLO]
    assert reader.usage == Counts(10, 5)


def test_openai_s_own_fields_pass():
    own = {"service_tier": "default", "system_fingerprint": "fp_1", "obfuscation": "x7"}
    chunks, _ = read(stream(*({**one, **own} for one in HELLO)))
    assert all(own.items() <= one.items() for one in chunks)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("stop", "stop"),
        ("insufficient_system_resource", "length"),
        ("MAX_TOKENS", "length"),
        ("tool_use", "tool_calls"),
        ("eos", "stop"),
    ],
)
def test_a_finish_reason_is_one_that_clients_know(theirs: str, ours: str):
    chunks, reader = read(stream(*HELLO[:3], chunk({}, theirs)))
    assert chunks[-1]["choices"][0]["finish_reason"] == reader.finish_reason == ours
    whole = {"choices": [{"message": {"content": "Hi"}, "finish_reason": theirs}]}
    assert OpenAI().read_answer(json.dumps(whole).encode(), SENT).finish_reason == ours


def test_an_unknown_reason_after_a_call_is_the_call():
    call = chunk({"tool_calls": [{"index": 0, "id": "a", "type": "function", "function": {"name": "f"}}]})
    assert read(stream(call, chunk({}, "eos")))[1].finish_reason == "tool_calls"


def test_a_choice_ends_once():
    again = [chunk({"content": "", "role": "assistant"}, "stop"), chunk({"content": "!"}, "stop")]
    chunks, reader = read(stream(*HELLO, *again, {**again[0], "usage": COUNTS}))
    assert [one["choices"][0]["finish_reason"] for one in chunks] == [None, None, None, "stop", None]
    assert chunks[-1]["choices"][0]["delta"] == {"content": "!"}
    assert (reader.finish_reason, reader.usage) == ("stop", Counts(10, 5))


def test_counts_in_between_are_outdated_by_what_is_said_after_them():
    more = [chunk({"content": text}) for text in ("Hello", "again", "!")]
    for theirs in ([*HELLO[:2], USAGE, *more], [*HELLO[:2], *more[:2], USAGE, more[2]]):
        _, reader = read(stream(*theirs))
        assert (reader.usage, bool(reader.uncounted)) == (Counts(10, 5), True)


def test_a_role_alone_is_no_content():
    _, reader = read(stream(chunk({"role": "assistant", "content": ""}), chunk({"content": None}), done=False))
    assert not reader.started


def test_a_prologue_without_choices_is_not_passed_on():
    prologue = {**HEAD, "choices": [], "id": "", "model": "", "prompt_filter_results": [{"prompt_index": 0}]}
    chunks, _ = read(stream(prologue, *HELLO, USAGE))
    accept(chunks)
    assert len(chunks) == 4


def test_several_choices_pass():
    both = {**HEAD, "choices": [{"index": place, "delta": {"content": "x"}, "finish_reason": None} for place in (1, 0)]}
    chunks, reader = read(stream(both))
    assert [choice["index"] for choice in chunks[0]["choices"]] == [1, 0]
    assert reader.text == ["x", "x"]


def test_a_stream_without_done_says_why_it_stopped():
    chunks, reader = read(stream(*HELLO, done=False))
    assert (reader.finished, reader.finish_reason, len(chunks)) == (False, "stop", 4)


def test_nothing_after_done_counts():
    chunks, reader = read(stream(*HELLO) + stream(chunk({"content": "more"})))
    assert len(chunks) == 4
    assert "more" not in reader.text


def test_comments_are_not_passed_on():
    data = b": OPENROUTER PROCESSING\n\n" + stream(*HELLO).replace(b"\n\n", b"\n\n: keep-alive\n\n")
    chunks, reader = read(data)
    assert len(chunks) == 4
    assert reader.finished


@pytest.mark.parametrize(
    "event",
    [
        b'data: {"error":{"message":"overloaded","type":"server_error","code":null}}',
        b'data: {"error":"overloaded"}',
        b'data: {"id":"x","choices":[{"index":0,"delta":{"content":"x"}}],"error":{"code":500}}',
        b'event: error\ndata: {"error":{"message":"overloaded"}}',
        b"data: {this is no chunk",
        b"data: [1]",
        b'data: "text"',
        b"data: 5",
        b'data: {"choices":{}}',
        b'data: {"choices":[5]}',
        b'data: {"choices":[{"delta":[]}]}',
        b'data: {"choices":[{"delta":{"content":5}}]}',
        b'data: {"choices":[{"delta":{"tool_calls":{}}}]}',
        b'data: {"id":5,"choices":[]}',
        b'data: {"choices":[{"delta":{"content":"\xff"}}]}',
        b'data: {"choices":[{"delta":{}}],"x":1e999}',
        b"data: <html>Bad gateway</html>",
    ],
)
def test_an_error_or_rubbish_in_a_stream_fails_the_attempt(event: bytes):
    with pytest.raises(AttemptFailed) as failed:
        read(stream(*HELLO[:2], done=False) + event + b"\n\n")
    assert failed.value.blame is Blame.UPSTREAM


def test_what_came_soundly_before_an_error_in_the_same_read_is_not_lost():
    with pytest.raises(AttemptFailed) as failed:
        read(stream(*HELLO[:3], done=False) + b'data: {"error":{"message":"overloaded"}}\n\n')
    frames = failed.value.frames.split(b"\n\n")[:-1]
    assert [json.loads(frame[6:])["choices"] for frame in frames] == [one["choices"] for one in HELLO[:3]]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "delta", "message", "usage", "error", "tool_calls", "function", "content", "index"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=15,
)


@given(JSON | st.fixed_dictionaries({"choices": st.lists(JSON, min_size=1, max_size=2)}))
def test_any_json_is_an_answer_or_a_failed_attempt(value: Any):
    data = json.dumps(value).encode()
    for take in (lambda data: OpenAI().read_answer(data, SENT), lambda data: read(b"data: " + data + b"\n\n")):
        try:
            take(data)
        except AttemptFailed as failed:
            assert failed.blame is not Blame.REQUEST  # noqa: PT017 - either way is fine


def test_streams_that_a_client_reads_as_one_have_one_time():
    found = set()
    for index in range(2):
        order = chat_order(OURS, PUBLIC, 7, False, 10**6, index, parallel=True)
        frames = OpenAI().open_reader(SENT, order).feed(stream(*({**one, "created": index} for one in HELLO)))
        found |= {json.loads(frame[6:])["created"] for frame in frames.split(b"\n\n")[:-1]}
    assert found == {7}
