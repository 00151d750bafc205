"""OpenAI's dialect: what goes out, whole answers, and streams that pass with our names, wherever the reads fall."""

import json
import os
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from bridge.providers.base import AttemptFailed, Blame, ChatOrder, Outgoing, StreamOrder, Usage
from bridge.providers.openai import NEVER_FORWARDED, OpenAI
from bridge.providers.openai_stream import OpenAIReader

SENT = Outgoing("/chat/completions", b"{}")
OURS, PUBLIC = "chatcmpl-0123456789abcdef", "public-name"
HEAD = {
    "id": "chatcmpl-theirs",
    "object": "chat.completion.chunk",
    "created": 1_750_000_000,
    "model": "theirs-2026-01-01",
}
COUNTS = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
DONE = b"data: [DONE]\n\n"


def chunk(delta: dict | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """One chunk with one choice."""
    return {**HEAD, "choices": [{"index": 0, "delta": delta or {}, "logprobs": None, "finish_reason": finish}], **more}


def stream(*chunks: dict[str, Any], done: bool = True, spaced: bool = False) -> bytes:
    separators = (", ", ": ") if spaced else (",", ":")
    lines = [
        b"data: " + json.dumps(one, separators=separators, ensure_ascii=False).encode() + b"\n\n" for one in chunks
    ]
    return b"".join(lines) + (DONE if done else b"")


def read(data: bytes, *cuts: int, include_usage: bool = False) -> tuple[list[dict[str, Any]], OpenAIReader]:
    """What a client gets of a stream that arrives in pieces, as decoded chunks, and the reader."""
    reader = OpenAI().open_reader(SENT, StreamOrder(OURS, PUBLIC, 0, include_usage, 10**6))
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    out = b"".join(reader.feed(data[i:j]) for i, j in zip(places, places[1:], strict=False))
    frames = out.split(b"\n\n")
    assert frames.pop() == b""
    assert all(frame.startswith(b"data: {") and b"\n" not in frame for frame in frames)
    return [json.loads(frame[6:], object_pairs_hook=no_key_twice) for frame in frames], reader


def no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len(dict(pairs)) == len(pairs), pairs
    return dict(pairs)


def accept(chunks: list[dict[str, Any]], include_usage: bool = False) -> None:
    """The official SDK takes each, with our names."""
    for one in chunks:
        ChatCompletionChunk.model_validate(one)
        assert (one["id"], one["model"]) == (OURS, PUBLIC)
        assert one.get("usage", "absent") in ([None] if include_usage else ["absent", None])
        assert one["choices"]


HELLO = [
    chunk({"role": "assistant", "content": ""}),
    chunk({"content": "Hello"}),
    chunk({"content": ' "id":"chatcmpl-theirs" wörld\u2028😀'}),
    chunk({}, "stop"),
]
USAGE = {**HEAD, "choices": [], "usage": COUNTS}


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
    assert reader.usage == Usage(10, 5)
    assert "".join(reader.text) == 'Hello "id":"chatcmpl-theirs" wörld\u2028😀'


@given(st.lists(st.integers(0, 3000), max_size=20), st.booleans(), st.booleans())
def test_a_stream_reads_the_same_wherever_the_reads_fall(cuts: list[int], include_usage: bool, spaced: bool):
    data = stream(*HELLO, USAGE, spaced=spaced)
    whole, at_once = read(data, include_usage=include_usage)
    chunks, reader = read(data, *cuts, include_usage=include_usage)
    assert chunks == whole
    assert (reader.usage, reader.text, reader.finished) == (at_once.usage, at_once.text, True)


def without(one: dict[str, Any], *fields: str) -> dict[str, Any]:
    return {name: value for name, value in one.items() if name not in fields}


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
    assert chunks[1]["provider"] == other["provider"]
    call = chunk({"tool_calls": [{"index": 0, "id": "", "function": {"arguments": "{}"}}]})
    nameless = [dict(reversed({**one, "id": "", "model": ""}.items())) for one in (HELLO[0], call)]
    chunks, _ = read(stream(*nameless))
    accept(chunks)
    assert chunks[1]["choices"] == call["choices"]


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
    assert reader.usage == Usage(10, 5, 4, 3)
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


def test_of_several_counts_the_last_one_wins():
    running = [{**one, "usage": {**COUNTS, "completion_tokens": place}} for place, one in enumerate(HELLO)]
    _, reader = read(stream(*running, USAGE))
    assert reader.usage == Usage(10, 5)
    _, reader = read(stream(*running, {**USAGE, "usage": None}))
    assert reader.usage == Usage(10, 3)


@pytest.mark.parametrize(
    ("counts", "usage"),
    [
        ({"prompt_tokens": 0, "completion_tokens": 0}, Usage(0, 0)),
        ({"prompt_tokens": -5, "completion_tokens": 2**40}, Usage(0, 2**31)),
        ({"prompt_tokens": 10**30, "completion_tokens": 1}, Usage(2**31, 1)),
        ({**COUNTS, "prompt_tokens_details": {"cached_tokens": 11}}, Usage(10, 5, 10)),
        ({**COUNTS, "completion_tokens_details": {"reasoning_tokens": 6}}, Usage(10, 5, 0, 5)),
        ({**COUNTS, "prompt_tokens_details": None}, Usage(10, 5)),
        ({**COUNTS, "prompt_tokens_details": {"cache_write_tokens": 7}}, Usage(10, 5, cache_write_tokens=7)),
        ({**COUNTS, "prompt_tokens_details": {"cache_write_tokens": None}}, Usage(10, 5)),
        ({**COUNTS, "prompt_tokens_details": {"cache_write_tokens": "7"}}, None),
        ({"prompt_tokens": 10}, None),
        ({"prompt_tokens": None, "completion_tokens": 5}, None),
        ({"prompt_tokens": "10", "completion_tokens": 5}, None),
        ({"prompt_tokens": 1.5, "completion_tokens": 5}, None),
        ({"prompt_tokens": True, "completion_tokens": 5}, None),
        ("many", None),
        ([], None),
        ({}, None),
    ],
)
def test_counts_are_checked_and_what_is_no_count_is_missing(counts: Any, usage: Usage | None):
    chunks, reader = read(stream(*HELLO[:3], {**HELLO[3], "usage": counts}, {**USAGE, "usage": counts}))
    accept(chunks)
    assert len(chunks) == 4
    assert (reader.usage, reader.finish_reason) == (usage, "stop")
    whole = {"choices": [{"message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}], "usage": counts}
    assert OpenAI().read_answer(json.dumps(whole).encode(), SENT).usage == usage


def test_tool_calls_pass_untouched_and_are_counted():
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
    assert [one["choices"] for one in chunks] == [one["choices"] for one in theirs]
    assert "".join(reader.text) == 'weather{"id":"chatcmpl-theirs","model":"theirs-2026-01-01"}'
    assert (reader.started, reader.finish_reason) == (True, "tool_calls")


@pytest.mark.parametrize(
    "delta",
    [
        {"reasoning_content": "Hm"},
        {"reasoning": "Hm"},
        {"reasoning": "Hm", "reasoning_content": "Hm"},
        {"refusal": "Hm"},
        {"function_call": {"name": "Hm"}},
        {"content": "Hm"},
    ],
)
def test_whatever_the_model_says_starts_the_answer_and_is_counted_once(delta: dict[str, Any]):
    chunks, reader = read(stream(chunk(delta)))
    assert (reader.text, reader.started) == (["Hm"], True)
    assert chunks[0]["choices"][0]["delta"] == delta


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
        b'data: {"choices":[{"delta":{"content":"\\ud800"}}]}',
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


SCRAPS = st.sampled_from(
    [json.dumps(one).encode() for one in (*HELLO, USAGE)]
    + [
        b"data: ",
        b"data:",
        b"\n\n",
        b"\r\n",
        b"{",
        b"}",
        b"[",
        b"]",
        b"null",
        b'"',
        b"\\u",
        b"[DONE]",
        b"\xff",
        b"1e999",
    ]
    + [b'"choices":', b'"delta":', b'"usage":', b'"usage":null', b'"id":', b'"error":', b',"x":1', b":", b","]
)


@given(st.lists(SCRAPS | st.binary(max_size=6), max_size=12).map(b"".join), st.booleans())
def test_any_bytes_are_frames_or_a_failed_attempt(data: bytes, include_usage: bool):
    reader = OpenAI().open_reader(SENT, StreamOrder(OURS, PUBLIC, 0, include_usage, 500))
    try:
        frames = reader.feed(data)
    except AttemptFailed:
        return
    assert all(frame.startswith(b"data: {") for frame in frames.split(b"\n\n")[:-1])


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


# whole answers


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
    assert completion.usage == Usage(10, 5, 4, 3)
    assert (completion.finish_reason, completion.text) == ("stop", ["Hi"])
    assert completion.body["system_fingerprint"] == "f"
    ChatCompletion.model_validate(completion.body)


def test_a_poor_answer_gets_what_the_sdk_relies_on():
    completion = OpenAI().read_answer(b'{"choices":[{"message":{"content":"a"}},{"message":{"content":"b"}}]}', SENT)
    choices = completion.body["choices"]
    ChatCompletion.model_validate({**HEAD, **completion.body, "object": "chat.completion"})
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
        "function_call": {"name": "g"},
    }
    assert OpenAI().read_answer(answer(message), SENT).text == ["a", "b", "c", "f", "{}", "g"]
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
        b'{"choices":[{"message":{"content":"\\ud800"}}]}',
        b"[" * 100_000,
        answer({"content": "cut"})[:-20],
    ],
)
def test_what_is_no_answer_fails_the_attempt(data: bytes):
    with pytest.raises(AttemptFailed) as failed:
        OpenAI().read_answer(data, SENT)
    assert failed.value.blame is Blame.UPSTREAM


# what goes out


def write(body: dict[str, Any], upstream_id: str = "theirs", cap: int | None = None) -> tuple[dict[str, Any], tuple]:
    outgoing = OpenAI().write_chat(ChatOrder(body, upstream_id, cap))
    assert outgoing.path == "/chat/completions"
    return json.loads(outgoing.body), outgoing.dropped


BODY: dict[str, Any] = {"model": "public", "messages": [{"role": "user", "content": "Hi", "unknown": 1}], "top_k": 4}


def test_a_request_passes_untouched_but_for_the_model_name():
    out, dropped = write(BODY)
    assert (out, dropped) == ({**BODY, "model": "theirs"}, ())
    assert BODY["model"] == "public"


@pytest.mark.parametrize("field", NEVER_FORWARDED)
def test_what_would_choose_a_model_a_host_or_a_price_is_dropped_and_named(field: str):
    out, dropped = write({**BODY, field: ["x"]})
    assert (field in out, dropped) == (False, (field,))


def test_stored_state_is_dropped_with_the_metadata_that_needs_it():
    out, dropped = write({**BODY, "store": True, "metadata": {"a": "b"}})
    assert (out, dropped) == ({**BODY, "model": "theirs"}, ("store", "metadata"))
    out, dropped = write({**BODY, "store": False, "metadata": {"a": "b"}})
    assert (out["store"], out["metadata"], dropped) == (False, {"a": "b"}, ())


@pytest.mark.parametrize(
    ("upstream_id", "field"),
    [("gpt-4o", "max_tokens"), ("o3-mini", "max_completion_tokens"), ("gpt-5", "max_completion_tokens")],
)
def test_a_cap_is_always_sent_in_the_name_that_the_model_knows(upstream_id: str, field: str):
    out, _ = write(BODY, upstream_id, 700)
    assert {name: value for name, value in out.items() if "tokens" in name} == {field: 700}


@pytest.mark.parametrize("own", [{"max_tokens": 5}, {"max_tokens": 5, "max_completion_tokens": 6}])
def test_a_client_s_own_cap_is_sent_as_it_is(own: dict[str, int]):
    assert write({**BODY, **own})[0] == {**BODY, **own, "model": "theirs"}


@pytest.mark.parametrize(
    ("upstream_id", "field"),
    [("theirs", "max_tokens"), ("o4-mini", "max_completion_tokens"), ("ft:o4-mini:us", "max_completion_tokens")],
)
@pytest.mark.parametrize("other", [{}, {"max_tokens": None}])
def test_a_server_that_knows_only_the_older_name_of_the_cap_is_told_it(
    upstream_id: str, field: str, other: dict[str, None]
):
    out, dropped = write({**BODY, "max_completion_tokens": 5, **other}, upstream_id)
    assert ({name: value for name, value in out.items() if "tokens" in name and value}, dropped) == ({field: 5}, ())


@pytest.mark.parametrize("field", ["n_predict", "num_predict", "max_output_tokens", "best_of"])
def test_nothing_beside_the_cap_raises_what_an_upstream_writes(field: str):
    out, dropped = write({**BODY, "max_tokens": 5, field: 100_000})
    assert (out, dropped) == ({**BODY, "max_tokens": 5, "model": "theirs"}, (field,))


@pytest.mark.parametrize("options", [None, {}, {"include_usage": False}, {"include_obfuscation": False}])
def test_a_stream_is_always_asked_for_its_usage(options: dict[str, Any] | None):
    out, _ = write({**BODY, "stream": True, "stream_options": options})
    assert out["stream_options"] == {**(options or {}), "include_usage": True}
    assert "stream_options" not in write(BODY)[0]


# real traffic, where somebody has it: a folder of exchanges as JSON, one a file, with `api`, `request` and `response`

RECORDINGS = os.environ.get("RECORDINGS_DIR", "")
CHATS = ("openai-chat", "azure-openai-chat", "openai-moonshot", "kimi-via-host", "deepseek-chat")


def list_recordings(stream: bool) -> list[Any]:
    found = []
    for path in sorted(Path(RECORDINGS).glob("*/*.json")) if RECORDINGS else ():
        recording = json.loads(path.read_text())
        response = recording["response"]
        if recording.get("api") in CHATS and ((recording["request"]["json"] or {}).get("stream") is True) == stream:
            found.append(pytest.param(response["status"], response["body_text"].encode(), id=path.stem))
    return found or [pytest.param(0, b"", marks=pytest.mark.skip("RECORDINGS_DIR names no recordings"))]


@pytest.mark.parametrize(("status", "data"), list_recordings(stream=False))
def test_a_recorded_answer_is_read(status: int, data: bytes):
    if status != 200:
        failure = OpenAI().read_error(status, {}, data)
        assert failure.reason.startswith(str(status))
        return
    completion = OpenAI().read_answer(data, SENT)
    body = without(completion.body, "service_tier")  # some hosts have tiers of their own
    ChatCompletion.model_validate({**HEAD, **body, "object": "chat.completion"})
    assert completion.usage is not None
    assert completion.finish_reason


@pytest.mark.parametrize(("status", "data"), list_recordings(stream=True))
@pytest.mark.parametrize("include_usage", [True, False])
def test_a_recorded_stream_passes_whole_and_in_pieces(status: int, data: bytes, include_usage: bool):
    if status != 200:
        assert OpenAI().read_error(status, {}, data).reason.startswith(str(status))
        return
    chunks, reader = read(data, include_usage=include_usage)
    accept(chunks, include_usage)
    assert reader.started or reader.finish_reason == "length"  # thinking used up all it was given
    assert reader.finish_reason
    draw = random.Random(7)
    for pieces in (3, 40, 400):
        again, cut = read(data, *(draw.randrange(len(data)) for _ in range(pieces)), include_usage=include_usage)
        assert again == chunks
        assert (cut.usage, cut.text, cut.finish_reason) == (reader.usage, reader.text, reader.finish_reason)
