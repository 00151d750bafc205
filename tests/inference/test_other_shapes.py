"""An answer in another shape than was asked for is still the answer: JSON for a stream, events for a whole one, packed
bodies. And what is no answer, or holds nothing, costs nothing."""

import gzip
import json
import zlib
from typing import Any

import brotli
import pytest

from tests.each_provider import PROVIDERS, REPLIES, Asked, Door, check_complete, end, piece
from tests.replies import write_stream, write_whole
from tests.upstream import CUT, STALL, STREAM_HEAD, chunk, framed, sends, whole

OPEN_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
MODES = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
BOTH = pytest.mark.parametrize("said", REPLIES)
EACH = pytest.mark.parametrize("provider", PROVIDERS)


def check_whole(asked: Asked, said: str) -> None:
    """All of the reply is there, charged by the provider's counts."""
    reply = REPLIES[said]
    assert asked.answer.status_code == 200
    (choice,) = asked.answer.json()["choices"]
    message = choice["message"]
    assert (message["role"], message["content"] or "") == ("assistant", reply.text)
    calls = [call["function"] for call in message.get("tool_calls") or ()]
    assert [(call["name"], json.loads(call["arguments"])) for call in calls] == [
        (call.name, call.arguments) for call in reply.calls
    ]
    assert all(call["id"] and call["type"] == "function" for call in message.get("tool_calls") or ())
    assert choice["finish_reason"] == reply.finish_reason
    booked = asked.booked
    assert (booked.outcome, booked.state, booked.tokens_source) == ("complete", "captured", "provider")
    assert (booked.prompt_tokens, booked.completion_tokens) == (reply.prompt_tokens, reply.completion_tokens)


def check(asked: Asked, said: str, stream: bool) -> None:
    if stream:
        check_complete(asked, REPLIES[said])
    else:
        check_whole(asked, said)


def halves(body: bytes) -> list[bytes]:
    return [body[: len(body) // 2], body[len(body) // 2 :]]


JSON_WAYS: dict[str, Any] = {
    "with its length": lambda body: [whole(body)],
    "as text/event-stream": lambda body: [whole(body, content_type="text/event-stream")],
    "with an end mark glued to it": lambda body: [whole(body + b"\n\ndata: [DONE]\n\n")],
    "with a byte order mark": lambda body: [whole(b"\xef\xbb\xbf" + body)],
    "after blank lines": lambda body: [CHUNKED_HEAD, piece(b"\n\n"), piece(b"\r\n" + body), b"0\r\n\r\n"],
    "after comments": lambda body: [CHUNKED_HEAD, piece(b": keep-"), piece(b"alive\n\n"), piece(body), b"0\r\n\r\n"],
    "pretty": lambda body: [whole(json.dumps(json.loads(body), indent=2).encode())],
    "in pieces": lambda body: [
        CHUNKED_HEAD,
        *(piece(body[at : at + 40]) for at in range(0, len(body), 40)),
        b"0\r\n\r\n",
    ],
    "with the connection open": lambda body: [OPEN_HEAD + body, STALL],
    "cut after its last byte": lambda body: [CHUNKED_HEAD, piece(body), CUT],
}


@MODES
@EACH
@BOTH
@pytest.mark.parametrize("way", JSON_WAYS)
def test_json_is_an_answer_to_whoever_asked_for_whichever_shape(door: Door, way, said, provider, stream):
    asked = door.ask(provider, JSON_WAYS[way](write_whole(provider, REPLIES[said])), stream=stream)
    check(asked, said, stream)


@EACH
@BOTH
@pytest.mark.parametrize("then", ["the end", STALL, CUT])
def test_events_are_an_answer_to_whoever_asked_for_a_whole_one(door: Door, then, said, provider):
    body = write_stream(provider, REPLIES[said])
    check_whole(door.ask(provider, end(body) if then == "the end" else end(body, then)), said)


@MODES
def test_a_list_of_a_streams_chunks_is_the_answer(door: Door, stream):
    """As Gemini's come where nobody asks for events."""
    events = write_stream("gemini", REPLIES["text"]).split(b"\r\n\r\n")[:-1]
    body = b"[" + b",\r\n".join(event.removeprefix(b"data: ") for event in events) + b"]"
    check(door.ask("gemini", sends(body), stream=stream), "text", stream)


@MODES
@EACH
@BOTH
def test_a_streams_chunks_each_in_a_line_are_the_answer(door: Door, said, provider, stream):
    lines = write_stream(provider, REPLIES[said]).replace(b"\r\n", b"\n").split(b"\n")
    body = b"\n".join(line.removeprefix(b"data: ") for line in lines if line.startswith(b"data: {"))
    check(door.ask(provider, sends(body, content_type="application/x-ndjson"), stream=stream), said, stream)


@MODES
@EACH
def test_an_error_or_half_an_answer_in_the_other_shape_is_none(door: Door, provider, stream):
    good = write_whole(provider, REPLIES["text"]) if stream else write_stream(provider, REPLIES["text"])[:-150]
    for body in (b'{"error": {"message": "It broke.", "type": "server_error"}}', good[: len(good) * 2 // 3]):
        asked = door.ask(provider, sends(body), stream=stream)
        assert (asked.answer.status_code, asked.booked.outcome, asked.booked.charge_nanos) == (503, "failed", 0)
        assert asked.answer.headers["x-bridge-attempts"] == "1"


PACKINGS = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "Deflate": lambda body: zlib.compress(body, wbits=-15),
    "br": brotli.compress,
}


@MODES
@pytest.mark.parametrize("coding", PACKINGS)
def test_a_packed_answer_is_unpacked_though_nobody_asked_for_one(door: Door, coding, stream):
    write = write_stream if stream else write_whole
    body = PACKINGS[coding](write("openai", REPLIES["text"]))
    head = f"Content-Encoding: {coding}\r\n"
    check(door.ask("openai", [whole(body, headers=head)], stream=stream), "text", stream)
    assert door.upstream.requests[0].headers["accept-encoding"] == "identity"


@MODES
def test_what_can_not_be_unpacked_is_a_failure(door: Door, stream):
    good = gzip.compress(write_whole("openai", REPLIES["text"]))
    for coding, body in (("zstd", b"(\xb5/\xfd"), ("gzip", good[:-20]), ("gzip", b"\x1f\x8b" + b"x" * 40)):
        asked = door.ask("openai", [whole(body, headers=f"Content-Encoding: {coding}\r\n")], stream=stream)
        assert (asked.answer.status_code, asked.booked.outcome, asked.booked.charge_nanos) == (503, "failed", 0)


@MODES
def test_a_packed_bomb_ends_at_the_byte_limit(door: Door, stream):
    """A hundred megabytes in a hundred thousand bytes: what comes out of them counts."""
    body = gzip.compress(b'{"choices": "' + b" " * 100_000_000)
    asked = door.ask("openai", [whole(body, headers="Content-Encoding: gzip\r\n")], stream=stream)
    assert asked.answer.status_code == 503
    assert "larger than" in json.loads(asked.booked.attempts)[0]["outcome"]


GEMINI_FAILURES = ("MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "OTHER", "NEVER_HEARD_OF")
COUNTS = {"promptTokenCount": 10, "thoughtsTokenCount": 40, "totalTokenCount": 50}


def gemini(finish: str | None, *parts: dict[str, Any], counts: dict[str, int] | None = None) -> bytes:
    candidate = {"content": {"parts": list(parts)} if parts else {}, "index": 0}
    candidate |= {"finishReason": finish} if finish else {}
    return json.dumps({"candidates": [candidate], "usageMetadata": counts or COUNTS}).encode()


def in_mode(body: bytes, stream: bool) -> list[Any]:
    return end(b"data: " + body + b"\r\n\r\n") if stream else [whole(body)]


@MODES
@pytest.mark.parametrize("finish", GEMINI_FAILURES)
def test_an_empty_answer_that_ended_in_failure_is_none_and_free(door: Door, finish, stream):
    asked = door.ask("gemini", in_mode(gemini(finish), stream), stream=stream)
    assert (asked.answer.status_code, asked.answer.json()["error"]["code"]) == (503, "upstream_error")
    assert (asked.booked.outcome, asked.booked.state, asked.booked.charge_nanos) == ("failed", "released", 0)
    assert json.loads(asked.booked.attempts)[0]["outcome"] == f"the answer ended in failure: {finish}"
    assert asked.answer.headers["x-bridge-attempts"] == "1"


@pytest.mark.parametrize("provider", ["gemini", "anthropic"])
def test_a_failure_after_content_is_an_error_event(door: Door, provider):
    if provider == "gemini":
        events = [gemini(None, {"text": "Hello"}), gemini("MALFORMED_FUNCTION_CALL", {"text": " there"})]
        pieces = [piece(b"data: " + event + b"\r\n\r\n") for event in events]
    else:
        body = write_stream(provider, REPLIES["text"]).replace(b'"end_turn"', b'"something_new"')
        pieces = [piece(event + b"\n\n") for event in body.split(b"\n\n")[:-1]]
    asked = door.ask(provider, [STREAM_HEAD, *pieces, b"0\r\n\r\n"], stream=True)
    if asked.answer.status_code == 200:  # else all of it came at once, and nothing was given on
        assert asked.events[-1]["error"]["code"] == "upstream_error"
        assert not [one for one in asked.events[:-1] if one["choices"][0]["finish_reason"]]
        assert (asked.booked.outcome, asked.booked.state) == ("cut", "captured")
    assert "[DONE]" not in asked.answer.text


@MODES
def test_an_anthropic_answer_without_content_and_end_is_none(door: Door, stream):
    bodies = [b'{"content":[]}', b'{"type":"message","content":[],"stop_reason":null}']
    if stream:
        bodies = [b'event: message_stop\ndata: {"type":"message_stop"}\n\n']
    for body in bodies:
        asked = door.ask("anthropic", end(body) if stream else [whole(body)], stream=stream)
        assert (asked.answer.status_code, asked.booked.charge_nanos) == (503, 0)


def nothing_said(provider: str, stream: bool) -> bytes:
    """A complete answer without any content: a prompt was counted, and no token of an answer."""
    if provider == "gemini":
        body = gemini("STOP", counts={"promptTokenCount": 10, "totalTokenCount": 10})
        return b"data: " + body + b"\r\n\r\n" if stream else body
    usage = {"input_tokens": 10, "output_tokens": 0}
    if provider == "anthropic" and stream:
        start = {"type": "message_start", "message": {"usage": usage}}
        ended = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage}
        return b"".join(f"data: {json.dumps(each)}\n\n".encode() for each in (start, ended, {"type": "message_stop"}))
    if provider == "anthropic":
        return json.dumps({"content": [], "stop_reason": "end_turn", "usage": usage}).encode()
    usage = {"prompt_tokens": 10, "completion_tokens": 0, "total_tokens": 10}
    if stream:
        events = [chunk(delta={"role": "assistant", "content": ""}), chunk(finish_reason="stop", usage=usage)]
        return b"".join(f"data: {json.dumps(each)}\n\n".encode() for each in events) + b"data: [DONE]\n\n"
    choice = {"index": 0, "message": {"role": "assistant", "content": ""}, "finish_reason": "stop"}
    return json.dumps({"choices": [choice], "usage": usage}).encode()


@MODES
@EACH
def test_a_complete_answer_that_holds_nothing_is_free_and_its_receipt_says_so(door: Door, provider, stream):
    body = nothing_said(provider, stream)
    options = {"stream_options": {"include_usage": True}} if stream else {}
    asked = door.ask(provider, end(body) if stream else [whole(body)], stream=stream, **options)
    assert asked.answer.status_code == 200
    usage = asked.events[-2]["usage"] if stream else asked.answer.json()["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"], float(usage["cost"])) == (10, 0, 0)
    booked = asked.booked
    assert (booked.outcome, booked.state, booked.charge_nanos, booked.finish_reason) == (
        "complete",
        "released",
        0,
        "stop",
    )
    assert (booked.prompt_tokens, booked.completion_tokens) == (10, 0)
    receipt = door.receipt(asked)
    assert (receipt["rule"]["name"], receipt["outcome"]) == ("empty", "complete")
    assert door.gateway.make.check_ledger() == []


@MODES
def test_an_answer_that_only_thought_has_output_tokens_and_is_charged(door: Door, stream):
    asked = door.ask("gemini", in_mode(gemini("MAX_TOKENS"), stream), stream=stream)
    assert asked.answer.status_code == 200
    assert (asked.booked.state, asked.booked.completion_tokens) == ("captured", 40)
    assert asked.booked.charge_nanos == 10 * 1000 + 40 * 2000


@MODES
def test_a_picture_is_an_answer(door: Door, stream):
    picture = {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}
    counts = {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 15}
    asked = door.ask("gemini", in_mode(gemini("STOP", picture, counts=counts), stream), stream=stream)
    wanted = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}, "index": 0}
    if stream:
        deltas = [choice["delta"] for event in asked.events[:-1] for choice in event["choices"]]
        assert [delta["images"] for delta in deltas if "images" in delta] == [[wanted]]
    else:
        assert asked.answer.json()["choices"][0]["message"]["images"] == [wanted]
    assert (asked.booked.state, asked.booked.charge_nanos) == ("captured", 20_000)


@pytest.mark.parametrize("stream", [None, False])
def test_options_of_a_stream_do_not_go_out_with_a_whole_request(door: Door, stream):
    asked = door.ask(
        "openai", [whole(write_whole("openai", REPLIES["text"]))], stream=stream, stream_options={"include_usage": True}
    )
    assert asked.answer.status_code == 200
    assert asked.answer.headers["x-bridge-dropped"] == "stream_options"
    assert "stream_options" not in door.upstream.requests[0].json


WORDS = [f" word{number}" for number in range(3000)]


@pytest.mark.parametrize("how", ["all in one event", "all in one read", "a read each", "whole JSON"])
@pytest.mark.parametrize("cap", [20, 400])
def test_a_stream_is_ended_at_its_cap_however_fast_it_comes(door: Door, cap, how):
    frames = [framed(chunk(delta={"content": word})) for word in WORDS]
    one = framed(chunk(delta={"content": "".join(WORDS)}))
    tail = [framed(chunk(finish_reason="stop")), framed("[DONE]"), b"0\r\n\r\n"]
    steps: dict[str, list[Any]] = {
        "all in one event": [STREAM_HEAD + one, *tail],
        "all in one read": [STREAM_HEAD + b"".join([*frames, *tail])],
        "a read each": [STREAM_HEAD, *frames, *tail],
        "whole JSON": [
            whole(json.dumps({"choices": [{"message": {"content": "".join(WORDS)}, "finish_reason": "stop"}]}).encode())
        ],
    }
    asked = door.ask("openai", steps[how], stream=True, max_tokens=cap)
    assert asked.answer.status_code == 200
    text = "".join(event["choices"][0]["delta"].get("content") or "" for event in asked.events[:-1])
    assert "".join(WORDS).startswith(text)
    assert 0 < len(text.split()) <= 0.75 * cap + 8  # a word is two tokens at least, and the last may have come already
    assert asked.events[-1]["error"]["code"] == "upstream_error"
    assert (asked.booked.outcome, asked.booked.completion_tokens) == ("cut", cap)
    assert "longer than its cap" in json.loads(asked.booked.attempts)[0]["outcome"]


@MODES
def test_refusals_say_how_many_attempts_there_were(door: Door, stream):
    asked = door.ask("openai", [whole(b'{"error": {"message": "Invalid value for temperature"}}', 400)], stream=stream)
    assert (asked.answer.status_code, asked.answer.headers["x-bridge-attempts"]) == (400, "1")
