"""However an answer is said, its events are in order, without a gap, and say the same as the whole answer."""

import json
from collections.abc import Iterator
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.conversation.answer import TEXT, Call, Choice, Completion, NativeAnswer, Sealed
from bridge.conversation.usage import Usage
from bridge.dialects.responses.numbers import Numbered
from bridge.dialects.responses.read import Asked, read_responses
from bridge.dialects.responses.request import ResponsesRequest
from bridge.dialects.responses.writer import Kept, Responses, ResponsesWriter
from bridge.errors import InvalidRequest, UpstreamError
from bridge.vault import open_vault
from tests.responses_contract import check_answer, check_stream, read_events
from tests.rooms import FERNET_KEY

REQUEST_ID = "req_01893b5ac0f07c3a9b1f0d2e4a6c8b0d"
USED = Usage(10, 5, cached_tokens=3)
ALIVE = b": keep-alive\n\n"
TOOLS = [{"type": "function", "name": "look"}, {"type": "custom", "name": "patch"}]
open_vault([FERNET_KEY])


def ask(**more: Any) -> Asked:
    body = {"model": "m", "input": "Hi", "tools": TOOLS, "include": ["reasoning.encrypted_content"], **more}
    return read_responses(body, msgspec.convert(body, ResponsesRequest), 1)


def dialect_of(asked: Asked) -> Responses:
    return Responses(asked, 1, Kept())


def number(frames: list[bytes], dialect: Responses, at_end: Any = lambda: None) -> bytes:
    return b"".join(Numbered(frames, dialect.head(REQUEST_ID), at_end))


words = st.text(min_size=1, max_size=9)
arguments = st.dictionaries(words, words, max_size=2).map(lambda value: json.dumps(value, ensure_ascii=False))
steps = st.lists(
    st.one_of(
        st.tuples(st.just("text"), words),
        st.tuples(st.just("pieces"), st.lists(words, min_size=1, max_size=3)),
        st.tuples(st.just("reasoning"), words),
        st.tuples(st.just("refusal"), words),
        st.tuples(st.just("call"), st.tuples(st.sampled_from(["look", "patch"]), arguments)),
        st.tuples(st.just("seal"), words),
        st.tuples(st.just("begin"), st.just("")),
        st.tuples(st.just("annotate"), words),
    ),
    max_size=12,
)


def speak(writer: ResponsesWriter, said: list[Any], end: str) -> Iterator[bytes]:
    """The frames, each written when it is asked for."""
    choice = writer.choice(0)
    calls = 0
    for kind, value in said:
        if kind == "pieces":
            encoded = [msgspec.json.encode(each)[1:-1] for each in value]
            yield choice.text(value[0])
            yield choice.pieces(TEXT, encoded, value)
        elif kind == "call":
            name, text = value
            yield choice.call(Call(f"call_{calls}", name))
            for piece in (text[:3], text[3:]):
                yield choice.arguments(calls, piece) if piece else b""
            calls += 1
        elif kind == "seal":
            yield choice.seal(Sealed({"provider": "x", "value": value}))
        elif kind == "annotate":
            yield choice.extras({"annotations": [{"type": "url_citation", "url_citation": {"url": value}}]})
        elif kind == "begin":
            yield choice.begin()
        else:
            yield {"text": choice.text, "reasoning": choice.reasoning, "refusal": choice.refusal}[kind](value)
    if said or end:
        yield choice.finish(end)


def say(writer: ResponsesWriter, said: list[Any], end: str) -> list[bytes]:
    return list(speak(writer, said, end))


@settings(max_examples=150)
@given(
    steps, st.sampled_from(["stop", "tool_calls", "length", "content_filter"]), st.lists(st.integers(0, 20), max_size=4)
)
def test_a_stream_is_in_order_whatever_is_said_and_whenever_it_is_kept_alive(said, end, pauses):
    dialect = dialect_of(ask())
    writer = dialect.open_writer(REQUEST_ID, "m", 1)
    frames = [*say(writer, said, end), writer.tail(USED, "0.001")]
    for place in pauses:
        frames.insert(min(place, len(frames) - 1), ALIVE)
    last = "response.incomplete" if end in ("length", "content_filter") else "response.completed"
    answer = check_stream(number([each for each in frames if each], dialect), end=last)
    assert answer["output"] == dialect.kept.items


@settings(max_examples=150)
@given(steps, st.lists(st.integers(0, 20), max_size=4))
def test_a_stream_is_in_order_that_goes_out_as_it_is_written(said, pauses):
    dialect = dialect_of(ask())
    writer = dialect.open_writer(REQUEST_ID, "m", 1)

    def frames() -> Iterator[bytes]:
        for place, each in enumerate(speak(writer, said, "stop")):
            yield from [ALIVE] * pauses.count(place)
            if each:
                yield each
        yield writer.tail(USED, "0.001")

    answer = check_stream(b"".join(Numbered(frames(), dialect.head(REQUEST_ID), lambda: None)))
    assert answer["output"] == dialect.kept.items


def test_a_run_of_pieces_that_goes_out_next_is_numbered_once():
    """Which is what makes it cheap: nobody takes it apart."""
    dialect = dialect_of(ask())
    choice = dialect.open_writer(REQUEST_ID, "m", 1).choice(0)
    written: list[bytes] = []

    def frames() -> Iterator[bytes]:
        yield choice.text("Hi")
        for texts in (["a", "b"], ["c"]):
            written.append(choice.pieces(TEXT, [each.encode() for each in texts], texts))
            yield written[-1]
        yield ALIVE

    _, *runs, alive = Numbered(frames(), dialect.head(REQUEST_ID), lambda: None)
    assert [run is each for run, each in zip(runs, written, strict=True)] == [True, True]
    assert [event["sequence_number"] for event in read_events(b"".join([*runs, alive]))] == [5, 6, 7, 8]


@settings(max_examples=100)
@given(steps, st.integers(0, 20))
def test_a_stream_that_breaks_off_anywhere_ends_as_failed(said, place):
    dialect = dialect_of(ask())
    writer = dialect.open_writer(REQUEST_ID, "m", 1)
    frames = say(writer, said[:place], "")
    error = writer.error(UpstreamError("The stream broke."))
    data = number([*(each for each in frames if each), error], dialect)
    answer = check_stream(data, end="response.failed")
    assert answer["error"] == {"code": "server_error", "message": "The stream broke."}
    assert len(answer["output"]) == sum(event["type"] == "response.output_item.added" for event in read_events(data))


def test_a_stream_of_silence_alone_has_its_opening_and_its_end():
    dialect = dialect_of(ask())
    error = dialect.open_writer(REQUEST_ID, "m", 1).error(InvalidRequest("Too long.", code="context_length_exceeded"))
    answer = check_stream(number([ALIVE, ALIVE, error], dialect), end="response.failed")
    assert answer["error"]["code"] == "context_length_exceeded"


def test_a_wrong_request_is_no_server_error_so_nobody_asks_again():
    error = dialect_of(ask()).open_writer(REQUEST_ID, "m", 1).error(InvalidRequest("No.", param="input"))
    assert b'"code":"invalid_prompt"' in error


def test_keeping_alive_is_an_event_with_the_next_number():
    dialect = dialect_of(ask())
    writer = dialect.open_writer(REQUEST_ID, "m", 1)
    choice = writer.choice(0)
    frames = [ALIVE, choice.text("Hi"), ALIVE, choice.finish("stop"), writer.tail(USED, "0")]
    data = number(frames, dialect)
    check_stream(data)
    kinds = [event["type"] for event in read_events(data)]
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert kinds.count("response.in_progress") == 3
    assert kinds.count("response.created") == 1


def test_t21_arguments_that_come_in_turns_go_to_their_own_calls():
    dialect = dialect_of(ask())
    writer = dialect.open_writer(REQUEST_ID, "m", 1)
    choice = writer.choice(0)
    frames = [choice.call(Call("a", "look")), choice.arguments(0, '{"x"'), choice.call(Call("b", "look"))]
    frames += [choice.arguments(1, '{"y"'), choice.arguments(0, ":1}"), choice.arguments(1, ":2}")]
    frames += [choice.finish("tool_calls"), writer.tail(USED, "0")]
    answer = check_stream(number(frames, dialect))
    assert [(item["call_id"], item["arguments"]) for item in answer["output"]] == [("a", '{"x":1}'), ("b", '{"y":2}')]


def test_t18_all_counts_are_there_though_they_are_zero():
    writer = dialect_of(ask()).open_writer(REQUEST_ID, "m", 1)
    body = json.loads(writer.whole(Completion([Choice("stop", "Hi")], None, "stop", []), Usage(0, 0), "0"))
    check_answer(body)
    assert body["usage"] == {
        "input_tokens": 0,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 0,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 0,
        "cost": 0,
    }


def test_t28_sources_have_all_fields_that_clients_insist_on():
    writer = dialect_of(ask()).open_writer(REQUEST_ID, "m", 1)
    cited = {"annotations": [{"type": "url_citation", "url_citation": {"url": "https://a.example"}}]}
    choice = Choice("tool_calls", "Hi", calls=[Call("a", "look", "{}")], extras=cited)
    body = json.loads(writer.whole(Completion([choice], None, "tool_calls", []), USED, "0"))
    check_answer(body)
    [annotation] = body["output"][0]["content"][0]["annotations"]
    assert set(annotation) == {"type", "url", "title", "start_index", "end_index"}


def test_a_whole_answer_has_its_reasoning_first_and_sealed():
    writer = dialect_of(ask()).open_writer(REQUEST_ID, "m", 1)
    choice = Choice("stop", "Hi", "Hmm.", sealed=[Sealed({"provider": "x"})])
    body = json.loads(writer.whole(Completion([choice], None, "stop", []), USED, "0"))
    check_answer(body)
    assert [item["type"] for item in body["output"]] == ["reasoning", "message"]
    assert body["output"][0]["encrypted_content"].startswith("ab1.")


def test_logprobs_are_there_where_they_were_included():
    logprobs = {"content": [{"token": "Hi", "logprob": -0.5, "bytes": None, "top_logprobs": []}]}
    for include, count in (["message.output_text.logprobs"], 1), ([], 0):
        writer = dialect_of(ask(include=include)).open_writer(REQUEST_ID, "m", 1)
        body = json.loads(
            writer.whole(Completion([Choice("stop", "Hi", logprobs=logprobs)], None, "stop", []), USED, "0")
        )
        assert len(body["output"][0]["content"][0]["logprobs"]) == count


THEIRS = {
    "id": "resp_theirs",
    "model": "gpt-theirs",
    "status": "completed",
    "output": [{"id": "msg_1", "type": "message", "phase": "final_answer", "content": []}],
    "usage": {"input_tokens": 99},
    "store": True,
    "temperature": 1.0,
    "metadata": {},
}


def test_an_upstreams_own_events_pass_and_its_last_one_has_our_names_and_what_was_charged():
    dialect = dialect_of(ask(metadata={"a": "b"}))
    writer = dialect.open_writer(REQUEST_ID, "m", 1)
    passed = [
        b'event: response.created\ndata: {"type":"response.created","sequence_number":0,"response":{}}\n\n',
        b'event: response.in_progress\ndata: {"response":{},"sequence_number":1,"type":"response.in_progress"}\n\n',
        b'data: {"type":"response.output_text.delta","output_index":0,"delta":"\\"sequence_number\\":7"}\n\n',
    ]
    writer.chunks.ending = {"type": "response.completed", "sequence_number": 3, "response": THEIRS}
    data = number([ALIVE, *passed, ALIVE, writer.tail(USED, "0.001")], dialect)
    events = read_events(data)
    assert [event["sequence_number"] for event in events] == list(range(6))
    assert [event["type"] for event in events].count("response.created") == 1
    assert events[3]["delta"] == '"sequence_number":7'
    last = events[-1]["response"]
    assert (last["id"], last["model"], last["store"]) == (f"resp_{REQUEST_ID[4:]}", "m", False)
    assert (last["usage"]["input_tokens"], last["usage"]["cost"]) == (10, 0.001)
    assert (last["output"], last["metadata"], last["temperature"]) == (THEIRS["output"], {"a": "b"}, 1.0)
    assert dialect.kept.items == THEIRS["output"]


def test_an_upstreams_own_whole_answer_passes_likewise():
    dialect = dialect_of(ask())
    writer = dialect.open_writer(REQUEST_ID, "m", 1)
    completion = Completion([Choice("stop")], None, "stop", [], native=NativeAnswer("responses", THEIRS))
    body = json.loads(writer.whole(completion, USED, "0.001"))
    assert (body["id"], body["model"], body["output"]) == (f"resp_{REQUEST_ID[4:]}", "m", THEIRS["output"])
    assert body["usage"]["total_tokens"] == 15


def test_an_upstream_of_this_dialect_gets_its_own_reasoning_back_and_nobody_elses():
    writer = dialect_of(ask()).open_writer(REQUEST_ID, "m", 1)
    sealed = [Sealed({"provider": "openai", "encrypted_content": "gAAA"}), Sealed({"provider": "gemini", "x": 1})]
    choice = Choice("stop", "Hi", "Hmm.", sealed=sealed)
    body = json.loads(writer.whole(Completion([choice], None, "stop", []), USED, "0"))
    raw = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "raw", "content": None}
    native = ask(input=[{"role": "user", "content": "Hi"}, *body["output"], raw]).conversation.native
    assert native is not None
    reasoning = [item.get("encrypted_content") for item in native.body["input"] if item["type"] == "reasoning"]
    assert reasoning == ["gAAA", "raw"]
    assert "content" not in native.body["input"][-1]
    assert [item["id"] for item in native.body["input"] if "id" in item] == ["rs_1"], (
        "no id of ours means anything there"
    )


def test_no_hosted_tool_reaches_an_upstream_of_this_dialect_whatever_it_stands_in():
    search = {"type": "web_search"}
    brought = {"type": "additional_tools", "role": "developer", "tools": [search, TOOLS[0]]}
    native = ask(input=[brought, {"role": "user", "content": "Hi"}], tools=[search, *TOOLS]).conversation.native
    assert native is not None
    assert "web_search" not in json.dumps(native.body)
    assert native.body["tools"] == TOOLS
    assert native.body["input"][0]["tools"] == TOOLS[:1]


def test_ended_is_called_before_the_last_event_goes_out():
    dialect = dialect_of(ask())
    writer = dialect.open_writer(REQUEST_ID, "m", 1)
    choice, heard = writer.choice(0), []
    frames = [choice.text("Hi"), choice.finish("stop"), writer.tail(USED, "0")]
    numbered = Numbered(frames, dialect.head(REQUEST_ID), lambda: heard.append(list(dialect.kept.items)))
    assert [bool(heard) for _ in numbered] == [False, False, True]
