"""What an upstream's or client's text costs grows with its length, however it is cut and whatever it is made of.

Processor time is compared, of a text and of one sixteen times as long: copying and searching happen in C, where no
count of steps sees them. What is linear takes sixteen times as long, what is quadratic 256 times; the limit lies far
from both, and the least of several tries counts, so that a busy machine changes nothing. What is quadratic is so in
each of several rounds."""

import contextlib
import gzip
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bridge.inference.intake import Intake
from bridge.providers.anthropic.provider import Anthropic
from bridge.providers.base import AttemptFailed, Outgoing
from bridge.providers.blame.complaints import explain_complaint
from bridge.providers.blame.error_bodies import list_said, unwrap
from bridge.providers.blame.scrubbing import keep_name, keep_sentence, keep_word, scrub
from bridge.providers.fences import FenceStripper
from bridge.providers.gemini.provider import Gemini
from bridge.providers.odd_json import Halves
from bridge.providers.openai.provider import OpenAI
from bridge.providers.recast import JsonReader, read_any_answer
from bridge.providers.wire.sse import EventSplitter
from bridge.providers.wire.unpack import Unpacked
from tests.chat_answers import chat_order
from tests.providers.openai_streams import SENT, chunk, stream

TIMES, ROUNDS = 16, 5
LIMIT = 80  # times as long: five times what it should be, and a third of what it would be
ORDER = chat_order("chatcmpl-1", "public", 0, True, 10**9)
HEAD = {"index": 0, "id": "call_0", "type": "function"}
CASES: dict[str, Callable[[int], Callable[[], Any]]] = {}


def case(function: Callable[[int], Callable[[], Any]]) -> Callable[[int], Callable[[], Any]]:
    """`function` prepares a text of so many units; what it returns reads it once."""
    CASES[function.__name__] = function
    return function


def feed_all(make_reader: Callable[[], Any], data: bytes, step: int) -> Callable[[], Any]:
    pieces = [data[i : i + step] for i in range(0, len(data), step)]

    def run() -> None:
        reader = make_reader()
        for piece in pieces:
            reader.feed(piece)
        reader.flush() if isinstance(reader, EventSplitter) else reader.pause()

    return run


def openai(*chunks: dict[str, Any], step: int = 100, **request: Any) -> Callable[[], Any]:
    return feed_all(lambda: OpenAI().open_reader(SENT, ORDER), stream(*chunks, done=False), step)


def calls(*pieces: dict[str, Any]) -> list[dict[str, Any]]:
    return [chunk({"role": "assistant"}), *(chunk({"tool_calls": [piece]}) for piece in pieces)]


def anthropic(events: list[dict[str, Any]], step: int = 100) -> Callable[[], Any]:
    data = b"".join(b"data: " + json.dumps(one, separators=(",", ":")).encode() + b"\n\n" for one in events)
    return feed_all(lambda: Anthropic().open_reader(Outgoing("/", b"{}"), ORDER), data, step)


def delta(index: int, **fields: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": fields}


def block(index: int, **fields: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": fields}


# bytes


@case
def an_event_in_single_bytes(n: int):
    return feed_all(lambda: EventSplitter(10**9), b"data: " + b"x" * 50 * n, 1)


@case
def an_event_in_lines(n: int):
    return feed_all(lambda: EventSplitter(10**9), b"data: x\r" * 20 * n, 3)


@case
def lines_of_data_that_never_end_an_event(n: int):
    return feed_all(lambda: EventSplitter(10**9), b"data:{\n" * 20 * n, 7)


@case
def a_comment_before_the_answer(n: int):
    def run() -> None:
        intake = Intake(None, lambda: None)
        for piece in [b":"] + [b"x"] * 50 * n:
            intake._choose_reader(piece)

    return run


@case
def empty_members_of_gzip(n: int):
    data = gzip.compress(b"") * 10 * n + gzip.compress(b"{}")
    pieces = [data[i : i + 4096] for i in range(0, len(data), 4096)]

    def run() -> None:
        waiting = iter([*pieces, b""])
        unpacked = Unpacked(lambda _seconds: next(waiting), "gzip")
        assert unpacked.read_some(1) == b"{}"

    return run


@case
def json_for_a_stream(n: int):
    body = {"choices": [{"index": 0, "message": {"content": "x" * 100 * n}, "finish_reason": "stop"}]}
    return feed_all(lambda: JsonReader(OpenAI(), SENT, ORDER), json.dumps(body).encode(), 20)


# texts in pieces


@case
def a_fenced_text(n: int):
    def run() -> None:
        fence = FenceStripper()
        for piece in ["```json\n"] + ["x", " ", "`"] * 20 * n:
            fence.feed(piece)

    return run


@case
def blanks_in_place_of_a_fence(n: int):
    def run() -> None:
        for sign in (" ", "`", "```a", "``` ", "``` \n", "```json\n```"):
            fence = FenceStripper()
            for _ in range(10 * n):
                fence.feed(sign)

    return run


@case
def halves_of_characters(n: int):
    def run() -> None:
        halves = Halves()
        for piece in ["\ud83d", "\ude00", "\ud83d"] * 10 * n:
            halves.join("content", piece)

    return run


# OpenAI's dialect


@case
def a_text(n: int):
    return openai(*(chunk({"content": "word "}) for _ in range(n)))


@case
def a_text_with_odd_names(n: int):
    return openai(*(chunk({"reasoning": "word ", "role": "assistant"}) for _ in range(n)))


@case
def arguments_that_wait_for_a_name(n: int):
    return openai(*calls(*({"index": 0, "function": {"arguments": "xx"}} for _ in range(n))))


@case
def blank_arguments(n: int):
    pieces = ({**HEAD, "id": f"call_{i}", "function": {"name": "f", "arguments": " "}} for i in range(n))
    return openai(*calls({**HEAD, "function": {"name": "f", "arguments": " " * n}}, *pieces))


@case
def many_calls(n: int):
    pieces = ({"index": i, "id": f"c{i}", "function": {"name": "f", "arguments": "{}"}} for i in range(n))
    return openai(*calls(*pieces, *({"index": 0, "function": {"arguments": " "}} for _ in range(n))))


@case
def calls_without_arguments_at_the_end(n: int):
    end = chunk({}, "tool_calls")
    return openai(*calls(*({"index": i, "id": f"c{i}", "function": {"name": "f"}} for i in range(n))), end)


@case
def one_call_said_again_and_again(n: int):
    whole = {**HEAD, "function": {"name": "f", "arguments": json.dumps({"x": "y" * 100 * n})}}
    return openai(*calls(whole, *({**HEAD, "function": {"name": "f", "arguments": "{1}"}} for _ in range(n))))


@case
def counts_with_ever_new_names(n: int):
    return openai(*(chunk({"content": "x"}, usage={f"field_{i}": i}) for i in range(n)))


@case
def many_choices(n: int):
    choices = ({"index": i, "delta": {"content": "x"}, "finish_reason": "stop"} for i in range(n))
    run = openai(*({**chunk(), "choices": [choice]} for choice in choices))

    def read() -> None:
        with contextlib.suppress(AttemptFailed):  # where there are more than anybody can ask for
            run()

    return read


def whole(data: bytes) -> Callable[[], Any]:
    return lambda: read_any_answer(OpenAI(), data, SENT)


@case
def a_stream_for_a_whole_answer(n: int):
    said = [chunk({"content": "word " * 40}) for _ in range(n)]
    return whole(stream(chunk({"role": "assistant"}), *said, chunk({}, "stop")))


@case
def a_stream_of_arguments_for_a_whole_answer(n: int):
    begun, rest = (
        {**HEAD, "function": {"name": "f", "arguments": ""}},
        {"index": 0, "function": {"arguments": "x" * 200}},
    )
    return whole(stream(*calls(begun, *[rest] * n), chunk({}, "tool_calls")))


@case
def a_stream_of_logprobs_for_a_whole_answer(n: int):
    said = [chunk({"content": "x"}) for _ in range(n)]
    for one in said:
        one["choices"][0]["logprobs"] = {"content": [{"token": "x", "logprob": -1.0, "bytes": None}] * 20}
    return whole(stream(*said, chunk({}, "stop")))


@case
def a_whole_answer_with_a_call_in_pieces(n: int):
    pieces = [{**HEAD, "function": {"name": "f", "arguments": "{"}}]
    pieces += [{"index": 0, "function": {"arguments": "x" * 200}}] * n
    choice = {"index": 0, "message": {"role": "assistant", "tool_calls": pieces}, "finish_reason": "tool_calls"}
    return whole(json.dumps({"choices": [choice]}).encode())


# Anthropic's and Gemini's


@case
def blocks_that_all_end_late(n: int):
    begun = [block(i, type="text", text="") for i in range(n)]
    said = [delta(0, type="text_delta", text="word ") for _ in range(n)]
    return anthropic([*begun, *said, *({"type": "content_block_stop", "index": i} for i in range(n))])


@case
def arguments_of_claude(n: int):
    return anthropic(
        [block(0, type="tool_use", id="t", name="f"), *[delta(0, type="input_json_delta", partial_json="xx")] * n]
    )


@case
def counts_of_claude_with_ever_new_names(n: int):
    return anthropic([{"type": "message_delta", "usage": {f"field_{i}": i}} for i in range(n)])


@case
def many_calls_of_gemini(n: int):
    part = {"functionCall": {"name": "f", "args": {}, "id": "x"}, "thoughtSignature": "s"}
    event = {"candidates": [{"content": {"parts": [part]}, "index": 0}]}
    data = (b"data: " + json.dumps(event).encode() + b"\r\n\r\n") * n
    return feed_all(lambda: Gemini().open_reader(Outgoing("/", b"{}"), ORDER), data, 100)


# texts that are searched


HOSTILE = (
    "a",
    " ",
    "a ",
    "a.",
    "aA",
    "…",
    "… ",
    "a=",
    "= ",
    "*",
    "a*",
    "@",
    "a@",
    "http://",
    "-",
    "0",
    "1.",
    "\\",
    "{'",
    "é",
)
HOSTILE += (
    "invalid 'messages",
    "organization ",
    "Error: ",
    "A_",
    "request ",
    "sk-",
    "tokens ",
    "{",
    "[",
    '"a":',
    "`",
    "不",
)


@case
def a_scrubbed_text(n: int):
    return lambda: [
        read(one * 3 * n) for one in HOSTILE for read in (scrub, keep_sentence, keep_word, keep_name, unwrap)
    ]


@case
def an_error_body(n: int):
    bodies = [json.dumps({"error": {"message": one * n, "raw": one * 8 * n}}).encode() for one in HOSTILE]
    return lambda: [list_said(body) for body in bodies]


def measure(run: Callable[[], Any], tries: int) -> float:
    def once() -> Iterator[float]:
        for _ in range(tries):
            start = time.thread_time()
            run()
            yield time.thread_time() - start

    return min(once())


@pytest.mark.parametrize("name", CASES)
def test_a_text_costs_by_its_length(name: str):
    units = 64
    while measure(CASES[name](units), 3) < 0.001:  # too short to be told from the clock's own steps
        units *= 2
    said = []
    for _ in range(ROUNDS):
        seconds, long = measure(CASES[name](units), 3), measure(CASES[name](units * TIMES), 2)
        if long < LIMIT * seconds:
            return
        said.append(f"{units} units take {seconds:.4f} s, {units * TIMES} take {long:.4f} s")
    pytest.fail("; ".join(said))


@pytest.mark.parametrize("text", HOSTILE)
def test_a_complaint_of_any_kind_is_understood_in_no_time(text: str):
    body = json.dumps({"error": {"message": text * 2000}}).encode()
    assert measure(lambda: [explain_complaint(said) for said in list_said(body)], 3) < 0.1
