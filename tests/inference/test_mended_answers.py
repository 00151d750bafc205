"""What servers of OpenAI's dialect do otherwise, by the door, whole and streamed: what the client gets is what OpenAI
would have written, it is charged once, and the log names what was odd. What failed is never sold as complete."""

import json
from typing import Any

import pytest

from tests.contract import read_answer, read_stream
from tests.gateway import Gateway
from tests.served import Served
from tests.upstream import PAUSE, STREAM_HEAD, Scenario, ScriptedUpstream, Step, framed, says, whole

# what is translated is the same on any database
pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)

TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {}}}}
    for name in ("get_weather", "get_time")
]
HEAD = {"id": "chatcmpl-up", "object": "chat.completion.chunk", "created": 1764000000, "model": "some-model"}
USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
OSLO, ROME = '{"city": "Oslo"}', '{"city": "Rome"}'
WEATHER, TIME = ("get_weather", {"city": "Oslo"}), ("get_time", {"city": "Rome"})
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}


def call(name: str | None = "get_weather", arguments: Any = OSLO, **more: Any) -> dict[str, Any]:
    function = {field: value for field, value in (("name", name), ("arguments", arguments)) if value is not None}
    return {**more, "type": "function", "function": function}


def step(finish: Any = None, **delta: Any) -> dict[str, Any]:
    return {**HEAD, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def without(event: dict[str, Any], *fields: str) -> dict[str, Any]:
    return {field: value for field, value in event.items() if field not in fields}


def bare(event: dict[str, Any], *fields: str) -> dict[str, Any]:
    """The same without these fields of its choice."""
    return {**event, "choices": [without(event["choices"][0], *fields)]}


def say(content: Any = "Hello there", **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **more}


START = step(role="assistant", content="")
HELLO = [START, step(content="Hello"), step(content=" there"), step("stop")]
THOUGHT = [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}]
PART = [{"type": "text", "text": "Hello"}]
DONE_CALLS = step("tool_calls")
# What is sent, what it says (text, thoughts, calls, end), and what the log calls it.
Said = tuple[str, str, list[Any], str]
GREETING: Said = ("Hello there", "", [], "stop")
ONE_CALL: Said = ("", "", [WEATHER], "tool_calls")
TWO_CALLS: Said = ("", "", [WEATHER, TIME], "tool_calls")
STREAMS: dict[str, tuple[list[dict[str, Any]], Said, str]] = {
    "01 a call without an index": ([step(role="assistant", tool_calls=[call(id="a")]), DONE_CALLS], ONE_CALL, "index"),
    "02 two calls on one index": (
        [
            START,
            step(tool_calls=[call(index=0, id="a")]),
            step(tool_calls=[call("get_time", ROME, index=0, id="b")]),
            DONE_CALLS,
        ],
        TWO_CALLS,
        "index",
    ),
    "04 id and name in every piece": (
        [
            START,
            *(step(tool_calls=[call(arguments=piece, index=0, id="a")]) for piece in ("", '{"city":', ' "Oslo"}')),
            DONE_CALLS,
        ],
        ONE_CALL,
        "id",
    ),
    "a name in pieces": (
        [
            START,
            step(tool_calls=[call("get_", "", index=0, id="a")]),
            step(tool_calls=[call("weather", OSLO, index=0)]),
            DONE_CALLS,
        ],
        ONE_CALL,
        "",
    ),
    "a name and an id that are late": (
        [
            START,
            step(tool_calls=[call(arguments="", index=0)]),
            step(tool_calls=[call(None, OSLO, index=0, id="a")]),
            DONE_CALLS,
        ],
        ONE_CALL,
        "",
    ),
    "ids that nobody gave": (
        [START, step(tool_calls=[call(index=0), call("get_time", ROME, index=1)]), DONE_CALLS],
        TWO_CALLS,
        "id",
    ),
    "06 arguments as an object": (
        [START, step(tool_calls=[call(arguments={"city": "Oslo"}, index=0, id="a")]), DONE_CALLS],
        ONE_CALL,
        "arguments",
    ),
    "no arguments at all": (
        [START, step(tool_calls=[call(arguments=None, index=0, id="a")]), DONE_CALLS],
        ("", "", [("get_weather", {})], "tool_calls"),
        "arguments",
    ),
    "a call in the old dialect": (
        [START, step(function_call={"name": "get_weather", "arguments": OSLO}), step("function_call")],
        ONE_CALL,
        "function_call",
    ),
    "08 stop after a call": ([START, step(tool_calls=[call(index=0, id="a")]), step("stop")], ONE_CALL, ""),
    "09 a content of parts": (
        [START, step(content=THOUGHT), step(content=PART), step(content=" there"), step("stop", content="")],
        ("Hello there", "Hm.", [], "stop"),
        "content",
    ),
    "15 role null, and no end until it comes": (
        [
            bare(step(role="assistant"), "finish_reason"),
            bare(step(role=None, content="Hello"), "finish_reason"),
            step("stop", role=None, content=" there"),
        ],
        GREETING,
        "role",
    ),
    "16 no role, and an empty end": (
        [step("", content="Hello"), step("", content=" there"), step("stop", content="")],
        GREETING,
        "role",
    ),
    "16b no time": ([without(event, "created") for event in HELLO], GREETING, "created"),
    "a time that moves": ([{**event, "created": place} for place, event in enumerate(HELLO)], GREETING, "created"),
    "24 a number for an end": ([*HELLO[:3], step(2)], GREETING, "finish reason"),
    "14 half a character at the end of a piece": (
        [START, step(content="Hello \ud83d"), step(content="\ude00"), step(content="\udcaf!"), step("stop")],
        ("Hello 😀\ufffd!", "", [], "stop"),
        "JSON",
    ),
    "an index that nobody asked for": (
        [{**event, "choices": [{**event["choices"][0], "index": 4}]} for event in HELLO],
        GREETING,
        "index of a choice",
    ),
    "an index that counts tokens": (
        [{**event, "choices": [{**event["choices"][0], "index": place}]} for place, event in enumerate(HELLO)],
        GREETING,
        "index of a choice",
    ),
    "the whole message beside an empty delta": (
        [{**HEAD, "choices": [{"index": 0, "delta": {}, "message": say(), "finish_reason": "stop"}]}],
        GREETING,
        "message for delta",
    ),
    "an id that is a number": ([{**event, "id": 17} for event in HELLO], GREETING, ""),
    "what is no chunk after the end": ([*HELLO, {"choices": "none"}], GREETING, ""),
    "37e the window is full": (
        [*HELLO[:3], step("model_context_window_exceeded")],
        ("Hello there", "", [], "length"),
        "finish reason",
    ),
}


def answer(message: Any, finish: Any = "stop", **choice: Any) -> bytes:
    one = {"index": 0, "message": message, "finish_reason": finish, **choice}
    return json.dumps({**HEAD, "object": "chat.completion", "choices": [one], "usage": USAGE}).encode()


WHOLES: dict[str, tuple[bytes, Said, str]] = {
    "09w a content of parts": (answer(say([*THOUGHT, *PART])), ("Hello", "Hm.", [], "stop"), "content"),
    "08 stop after a call": (answer(say("", tool_calls=[call(id="a")])), ONE_CALL, ""),
    "ids that nobody gave": (
        answer(say(None, tool_calls=[call(), call("get_time", ROME, id="")]), "tool_calls"),
        TWO_CALLS,
        "id",
    ),
    "an id for two": (
        answer(say(None, tool_calls=[call(id="a"), call("get_time", ROME, id="a")]), "tool_calls"),
        TWO_CALLS,
        "id",
    ),
    "06 arguments as an object": (
        answer(say(None, tool_calls=[call(arguments={"city": "Oslo"}, id="a")]), "tool_calls"),
        ONE_CALL,
        "arguments",
    ),
    "a call in the old dialect": (
        answer(say(None, function_call={"name": "get_weather", "arguments": OSLO}), "function_call"),
        ONE_CALL,
        "function_call",
    ),
    "14w half a character": (answer(say("Hi \udcaf bye")), ("Hi \ufffd bye", "", [], "stop"), "JSON"),
    "24 a number for an end": (answer(say(), 2), GREETING, "finish reason"),
    "no role": (answer({"content": "Hello there"}), GREETING, "role"),
    "no index": (answer(say(), index=None), GREETING, "index of a choice"),
    "37e the window is full": (
        answer(say(), "model_context_window_exceeded"),
        ("Hello there", "", [], "length"),
        "finish reason",
    ),
}


def streams(events: list[dict[str, Any]]) -> Scenario:
    sent = [*events, {**HEAD, "choices": [], "usage": USAGE}, "[DONE]"]
    steps: list[Step] = [STREAM_HEAD, *map(framed, sent), b"0\r\n\r\n"]
    return lambda _request: steps


def check(said: list[dict[str, Any]], expected: Said) -> None:
    [one] = said
    calls = [(made["name"], json.loads(made["arguments"])) for made in one["calls"]]
    assert (one["text"], one["thoughts"], calls, one["finish"]) == expected


def check_paid_once(served: Served, gateway: Gateway, channel_note: str) -> None:
    usage = served.await_usage()
    assert (usage.outcome, usage.prompt_tokens, usage.completion_tokens) == ("complete", 10, 5)
    assert served.spent() == (usage.charge_nanos, 0)
    [attempt] = json.loads(usage.attempts)
    lines = [line for line in gateway.log_lines("answer_mended") if line["channel"] == attempt["channel"]]
    assert len(lines) <= 1
    if channel_note:
        assert any(channel_note in oddity for oddity in lines[0]["oddities"])


@pytest.mark.parametrize("name", STREAMS)
def test_an_odd_stream_leaves_as_openai_would_have_written_it(gateway: Gateway, upstream: ScriptedUpstream, name: str):
    events, expected, note = STREAMS[name]
    served = Served(gateway, upstream.base_url)
    upstream.plays(streams(events))
    got = served.post(stream=True, tools=TOOLS, stream_options={"include_usage": True})
    check(read_stream(got.content, usage=True), expected)
    check_paid_once(served, gateway, note)


@pytest.mark.parametrize("name", WHOLES)
def test_an_odd_answer_leaves_as_openai_would_have_written_it(gateway: Gateway, upstream: ScriptedUpstream, name: str):
    data, expected, note = WHOLES[name]
    served = Served(gateway, upstream.base_url)
    upstream.plays(lambda _request: [whole(data)])
    check(read_answer(served.post(tools=TOOLS).json()), expected)
    check_paid_once(served, gateway, note)


def test_a_probability_that_is_no_number_is_the_lowest_there_is(gateway: Gateway, upstream: ScriptedUpstream):
    token = {"token": "Hi", "logprob": float("-inf"), "bytes": None, "top_logprobs": []}
    logprobs = {"content": [token, {**token, "logprob": float("nan")}]}
    served = Served(gateway, upstream.base_url)
    data = answer(say("Hi"), logprobs=logprobs)
    event = step(role="assistant", content="Hi")
    event["choices"][0]["logprobs"] = logprobs
    upstream.plays(lambda _request: [whole(data)], streams([event, step("stop")]))
    found = served.post(logprobs=True).json()["choices"][0]["logprobs"]["content"]
    assert [one["logprob"] for one in found] == [-9999.0, -9999.0]
    text = served.post(stream=True, logprobs=True).text
    first = json.loads(text.split("\n\n")[0].removeprefix("data: "))
    assert [one["logprob"] for one in first["choices"][0]["logprobs"]["content"]] == [-9999.0, -9999.0]


URL = PICTURE["image_url"]["url"]
DATA = URL.partition(",")[2]


@pytest.mark.parametrize(
    "shown_as",
    [
        {"content": "", "images": [PICTURE]},
        {"content": "", "images": [URL]},
        {"content": "", "images": {"url": URL}},
        {"content": "", "image": {"url": URL, "detail": "auto"}},
        {"content": "", "images": [{"b64_json": DATA}]},
        {"content": [PICTURE]},
        {"content": [{"type": "image", "image": URL}]},
        {"content": [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": DATA}}]},
    ],
    ids=str,
)
def test_a_picture_in_an_answer_is_passed_on(gateway: Gateway, upstream: ScriptedUpstream, shown_as: dict[str, Any]):
    served = Served(gateway, upstream.base_url)
    data = answer(say(**shown_as))
    shown = step(role="assistant", **shown_as)
    upstream.plays(lambda _request: [whole(data)], streams([shown, step("stop")]))
    [said] = read_answer(served.post().json())
    assert said["images"] == [PICTURE]
    [said] = read_stream(served.post(stream=True).content, usage=True)
    assert said["images"] == [PICTURE]


TWO = [{**HEAD, "choices": [{"index": index, "delta": say("Hello"), "finish_reason": None}]} for index in (0, 1)]
SECOND_ENDS = {**HEAD, "choices": [{"index": 1, "delta": {}, "finish_reason": "stop"}]}


def test_each_of_several_choices_ends_though_the_server_ended_but_the_last(
    gateway: Gateway, upstream: ScriptedUpstream
):
    """One server says only how the last choice ended."""
    served = Served(gateway, upstream.base_url)
    upstream.plays(streams([*TWO, SECOND_ENDS]))
    said = read_stream(served.post(stream=True, n=2).content, usage=True)
    assert [(one["text"], one["finish"]) for one in said] == [("Hello", "stop"), ("Hello", "stop")]
    check_paid_once(served, gateway, "finish reason")


def test_fewer_choices_than_were_asked_for_are_the_answer_if_it_was_counted(
    gateway: Gateway, upstream: ScriptedUpstream
):
    """Some servers know no `n`, and some of them no end mark."""
    counts = framed({**HEAD, "choices": [], "usage": USAGE})
    served = Served(gateway, upstream.base_url)
    upstream.plays(lambda _request: [STREAM_HEAD, *map(framed, HELLO), counts, b"0\r\n\r\n"])
    check(read_stream(served.post(stream=True, n=2).content, usage=True), GREETING)
    check_paid_once(served, gateway, "")


def test_counts_in_groq_s_own_field_are_the_counts(gateway: Gateway, upstream: ScriptedUpstream):
    served = Served(gateway, upstream.base_url)
    last = {**step("stop"), "x_groq": {"id": "req_1", "usage": {**USAGE, "queue_time": 0.1}}}
    ends = [framed("[DONE]"), b"0\r\n\r\n"]
    upstream.plays(lambda _request: [STREAM_HEAD, *map(framed, [*HELLO[:3], last]), *ends])
    check(read_stream(served.post(stream=True).content, usage=True), GREETING)
    check_paid_once(served, gateway, "")


def test_a_client_of_the_old_dialect_gets_a_function_call_whatever_the_server_says(
    gateway: Gateway, upstream: ScriptedUpstream
):
    served = Served(gateway, upstream.base_url)
    functions = [{"name": "get_weather", "parameters": {"type": "object", "properties": {}}}]
    data = answer(say(None, tool_calls=[call(id="a")]), "tool_calls")
    made = step(tool_calls=[call(index=0, id="a")])
    upstream.plays(lambda _request: [whole(data)], streams([START, made, DONE_CALLS]))
    choice = served.post(functions=functions).json()["choices"][0]
    assert choice["message"]["function_call"] == {"name": "get_weather", "arguments": OSLO}
    assert ("tool_calls" in choice["message"], choice["finish_reason"]) == (False, "function_call")
    [said] = read_stream(served.post(stream=True, functions=functions).content, usage=True)
    assert (said["calls"][0]["id"], said["calls"][0]["arguments"]) == ("function", OSLO)
    assert said["finish"] == "function_call"


TEXT_CHOICE = {"index": 0, "text": "Hello", "finish_reason": "stop"}
FAILURES: dict[str, tuple[bytes, list[dict[str, Any]]]] = {
    "37 abort": (answer(say("Hello the"), "abort"), [step("abort")]),
    "error": (answer(say("Hello the"), "error"), [step("error")]),
    "network_error": (answer(say("Hello the"), "network_error"), [step("network_error")]),
    "a word that nobody knows": (answer(say("Hello the"), "gone_fishing"), [step("gone_fishing")]),
    "an error in the choice": (
        answer(say("Hello the"), error={"code": 502, "message": "no"}),
        [{**HEAD, "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": None, "error": {"code": 502}}]}],
    ),
}


@pytest.mark.parametrize("name", FAILURES)
@pytest.mark.parametrize("stream", [False, True])
def test_what_failed_goes_to_the_next_channel_while_nothing_was_said(
    gateway: Gateway, upstream: ScriptedUpstream, name: str, stream: bool
):
    data, end = FAILURES[name]
    second = ScriptedUpstream()
    second.plays(says("Good"))
    served = Served(gateway, upstream.base_url, second.base_url)
    upstream.plays(streams([START, *end]) if stream else lambda _request: [whole(data)])
    got = served.post(stream=stream)
    [said] = read_stream(got.content) if stream else read_answer(got.json())
    assert (said["text"], said["finish"]) == ("Good", "stop")
    assert [attempt["outcome"] == "200" for attempt in json.loads(served.await_usage().attempts)] == [False, True]
    second.close()


@pytest.mark.parametrize("name", FAILURES)
def test_what_failed_after_some_content_ends_in_an_error_event(gateway: Gateway, upstream: ScriptedUpstream, name: str):
    served = Served(gateway, upstream.base_url)
    end = [*map(framed, [*FAILURES[name][1], "[DONE]"]), b"0\r\n\r\n"]
    upstream.plays(lambda _request: [STREAM_HEAD, framed(START), framed(step(content="Hello the")), PAUSE, *end])
    pieces = served.post(stream=True).iter_lines(chunk_size=1)
    received: list[bytes] = []
    while b"Hello the" not in b"".join(received):
        received.append(next(pieces))
    upstream.resume()
    lines = [line.decode() for line in (*received, *pieces) if line]
    assert json.loads(lines[-1].removeprefix("data: "))["error"]["code"] == "upstream_error"
    assert not any('"finish_reason":"stop"' in line.replace(" ", "") for line in lines)
    usage = served.await_usage()
    assert (usage.outcome, served.spent()) == ("cut", (usage.charge_nanos, 0))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "choice",
    [TEXT_CHOICE, {**TEXT_CHOICE, "delta": {}, "message": {}}, {"index": 0, "finish_reason": "stop"}],
    ids=["23w text", "text beside an empty message", "nothing"],
)
def test_a_choice_that_says_nothing_we_know_is_a_failure_and_free(
    gateway: Gateway, upstream: ScriptedUpstream, choice: dict[str, Any], stream: bool
):
    served = Served(gateway, upstream.base_url)
    body = {"id": "x", "object": "text_completion", "created": 1, "model": "m", "choices": [choice], "usage": USAGE}
    upstream.plays(streams([body]) if stream else lambda _request: [whole(json.dumps(body).encode())])
    got = served.post(stream=stream)
    assert (got.status_code, got.json()["error"]["code"]) == (503, "upstream_error")
    assert served.spent() == (0, 0)
