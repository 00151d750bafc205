"""A complete answer is never sold as broken: in every dialect it is complete once it has said how it ended, however its
events are framed and however its connection goes on."""

from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest

from tests.each_provider import PROVIDERS, REPLIES, check_complete, end, piece
from tests.replies import write_stream
from tests.upstream import CUT, STALL, STREAM_HEAD, chunk, framed

END_MARKS = (b"data: [DONE]\n\n", b'event: message_stop\ndata: {"type": "message_stop"}   \n\n')


def without_mark(body: bytes) -> bytes:
    for mark in END_MARKS:
        body = body.removesuffix(mark)
    return body


def and_comments(body: bytes) -> Iterator[bytes]:
    """The body, and comments without an end."""
    yield STREAM_HEAD
    yield piece(body)
    while True:
        yield piece(b": ping\n\n")
        gevent.sleep(0.02)


def before_the_last(body: bytes, more: bytes) -> bytes:
    """The body with something else before its last event."""
    events = without_mark(body).replace(b"\r\n", b"\n").split(b"\n\n")
    return b"\n\n".join([*events[:-2], more + events[-2], b""])


# how a stream may go on once its answer has ended, and how its events may be framed
WAYS: dict[str, Callable[[bytes], Any]] = {
    "silence": lambda body: end(without_mark(body), STALL),
    "silence with its end mark to come": lambda body: end(body[:-2], STALL),
    "comments for ever": lambda body: and_comments(without_mark(body)),
    "cut": lambda body: end(without_mark(body), CUT),
    "closed": lambda body: end(without_mark(body)),
    "counts after a comment, then silence": lambda body: end(before_the_last(body, b": wait\n\n"), STALL),
    "no blank line at the end": lambda body: end(without_mark(body).rstrip()),
    "no blank line at the end, then silence": lambda body: end(without_mark(body).rstrip(), STALL),
    "no blank line at the end, then cut": lambda body: end(without_mark(body).rstrip() + b"\n", CUT),
    "one line end between events": lambda body: end(body.replace(b"\r\n", b"\n").replace(b"\n\n", b"\n")),
    "one CRLF between events": lambda body: end(
        body.replace(b"\r\n", b"\n").replace(b"\n\n", b"\n").replace(b"\n", b"\r\n"), STALL
    ),
    "lines that end in CR": lambda body: end(body.replace(b"\r\n", b"\n").replace(b"\n", b"\r")),
    "lines that end in CRLF": lambda body: end(body.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")),
    "a byte order mark": lambda body: end(b"\xef\xbb\xbf" + body),
    "OpenAI's end mark": lambda body: end(without_mark(body) + b"data: [DONE]\n\n"),
    "rubbish after its end": lambda body: end(without_mark(body) + b"data: <html>\n\n"),
}


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("said", REPLIES)
@pytest.mark.parametrize("way", WAYS)
def test_an_answer_that_said_how_it_ended_is_complete_whatever_follows(door, way, said, provider):
    steps = WAYS[way](write_stream(provider, REPLIES[said]))
    check_complete(door.ask(provider, steps, stream=True), REPLIES[said])


def test_a_choice_that_has_not_ended_is_still_waited_for(door):
    """Of two, one has said its end: the other one's cut is a cut."""
    two = [
        framed(chunk(choices=[{"index": index, "delta": {"role": "assistant", "content": "Hi"}}])) for index in (0, 1)
    ]
    ended = framed(chunk(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}]))
    asked = door.ask("openai", [STREAM_HEAD, *two, ended, CUT], stream=True, n=2)
    assert asked.events[-1]["error"]["code"] == "upstream_error"
    assert asked.booked.outcome == "cut"


def test_an_error_after_the_end_of_an_answer_is_one(door):
    body = without_mark(write_stream("openai", REPLIES["text"]))
    asked = door.ask("openai", end(body + b'data: {"error": {"message": "It broke."}}\n\n'), stream=True)
    assert (asked.answer.status_code, asked.booked.outcome, asked.booked.state) == (503, "failed", "released")


@pytest.mark.parametrize("provider", ["anthropic", "gemini", "deepseek"])
def test_choices_that_are_made_by_parallel_calls_end_each_by_itself(door, provider):
    body = without_mark(write_stream(provider, REPLIES["text"]))
    asked = door.ask(provider, end(body, STALL), stream=True, n=2)
    assert asked.events[-1] == "[DONE]"
    assert (asked.booked.outcome, asked.booked.prompt_tokens, len(door.upstream.requests)) == ("complete", 20, 2)
