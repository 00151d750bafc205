"""A complete answer is never sold as broken: in every dialect it is complete once it has said how it ended, however its
events are framed and however its connection goes on."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
import requests

from tests import services
from tests.gateway import Gateway
from tests.replay import BASES
from tests.replies import Call, Reply, write_stream
from tests.rooms import make_settings
from tests.upstream import CUT, STALL, STREAM_HEAD, ScriptedUpstream, Step, chunk, framed
from tests.v1.served import HELLO

PROVIDERS = ("openai", "anthropic", "gemini", "deepseek", "moonshot")
UPSTREAM_IDS = {"gemini": "gemini-2.5-flash", "anthropic": "claude-sonnet-4-5"}
REPLIES = {
    "text": Reply(text="Hello there, friend.", prompt_tokens=10, cached_tokens=0, completion_tokens=5),
    "call": Reply(
        calls=(Call("call_1", "weather", {"city": "Oslo"}),), prompt_tokens=10, cached_tokens=0, completion_tokens=5
    ),
}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
END_MARKS = (b"data: [DONE]\n\n", b'event: message_stop\ndata: {"type": "message_stop"}   \n\n')
LAST_CHUNK = b"0\r\n\r\n"


def piece(data: bytes) -> bytes:
    """These bytes as one chunk of the transfer encoding."""
    return b"%x\r\n%b\r\n" % (len(data), data)


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


def end(body: bytes, *rest: Step) -> list[Step]:
    return [STREAM_HEAD, piece(body), *(rest or (LAST_CHUNK,))]


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
    "rubbish after its end": lambda body: end(without_mark(body) + b"data: <html>\n\n"),
}


class Door:
    """A gateway with a model of each provider, all played by one upstream, and a client of it."""

    def __init__(self, gateway: Gateway):
        self.gateway, self.upstream, self.key = gateway, ScriptedUpstream(), gateway.make.make_key()
        self.models = {}
        for provider in PROVIDERS:
            model = self.models[provider] = gateway.make.make_model()
            base_url = self.upstream.base_url.removesuffix("/v1") + BASES.get(provider, "")
            served = {model: UPSTREAM_IDS.get(provider, "theirs")}
            gateway.make.make_channel(base_url, provider=provider, models=served)

    def ask(self, provider: str, steps: Any, **more: Any) -> "Asked":
        """One request to this provider's model, which it answers in these steps."""
        self.upstream.requests.clear()
        self.upstream.plays(steps if callable(steps) else lambda _request: steps)
        return Asked(self, {"model": self.models[provider], "messages": HELLO, "tools": [TOOL], **more})


@pytest.fixture(scope="module")
def door(databases: services.Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    folder = tmp_path_factory.mktemp("ends")
    # an upstream's silence would be noticed only after the test's own patience
    changes: dict[str, Any] = {"end_mark_seconds": 0.2, "idle_timeout_seconds": 60, "total_timeout_seconds": 60}
    gateway = Gateway(make_settings(folder, database_url=databases.open("sqlite"), **changes), folder / "log")
    door = Door(gateway)
    yield door
    gateway.stop()
    door.upstream.close()


class Asked:
    """An answer, and what it was booked as."""

    def __init__(self, door: Door, body: dict[str, Any]):
        url = f"{door.gateway.base_url}/chat/completions"
        self.answer = requests.post(url, json=body, headers=door.key.headers, timeout=30)
        rows = door.gateway.make.list_usage(door.key.account_id)
        [self.booked] = [row for row in rows if row.request_id == self.answer.headers["x-request-id"]]

    @property
    def events(self) -> list[Any]:
        lines = [line.removeprefix("data: ") for line in self.answer.text.splitlines() if line.startswith("data: ")]
        return [line if line == "[DONE]" else json.loads(line) for line in lines]


def check_complete(asked: Asked, reply: Reply) -> None:
    """All of the reply is there, once, with its end; it was charged by the provider's counts."""
    assert asked.answer.status_code == 200
    *chunks, last = asked.events
    assert last == "[DONE]"
    assert not [one for one in chunks if "error" in one]
    choices = [choice for one in chunks for choice in one["choices"]]
    deltas = [choice["delta"] for choice in choices]
    assert "".join(delta.get("content") or "" for delta in deltas) == reply.text
    calls = [call["function"] for delta in deltas for call in delta.get("tool_calls") or ()]
    assert [call["name"] for call in calls if call.get("name")] == [call.name for call in reply.calls]
    arguments = "".join(call.get("arguments") or "" for call in calls)
    assert ([json.loads(arguments)] if arguments else []) == [call.arguments for call in reply.calls]
    assert [choice["finish_reason"] for choice in choices if choice["finish_reason"]] == [reply.finish_reason]
    assert [delta["role"] for delta in deltas if "role" in delta] == ["assistant"]
    booked = asked.booked
    assert (booked.outcome, booked.state, booked.tokens_source) == ("complete", "captured", "provider")
    assert (booked.prompt_tokens, booked.completion_tokens) == (reply.prompt_tokens, reply.completion_tokens)
    assert [attempt["outcome"] for attempt in json.loads(booked.attempts)] == ["200"]


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
