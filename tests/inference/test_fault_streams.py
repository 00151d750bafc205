"""The table of faults: what breaks once content was delivered, and what never ends. There is no other channel then."""

import json
from collections.abc import Iterator
from typing import Any

import gevent
import pytest

from bridge.providers.base import Blame
from tests import services
from tests.doors import DOORS
from tests.gateway import Gateway
from tests.rooms import make_settings
from tests.served import Served, estimate_of
from tests.upstream import CUT, PAUSE, STALL, STREAM_HEAD, Received, ScriptedUpstream, Step, chunk, framed, says, starts

pytestmark = pytest.mark.parametrize("by", DOORS)
WORDS = ("Once", " upon", " a", " time")
ERROR = framed({"error": {"message": "org-operator broke at far.test", "type": "server_error"}})
BREAKS: dict[str, tuple[list[Step], str]] = {
    "cut": ([CUT], "the answer was cut off"),
    "error event": ([ERROR, STALL], "an error inside a 200"),
    "unreadable event": ([b"c\r\ndata: rub}\n\n\r\n", STALL], "the stream holds what is no chunk"),
    "ends without an end": ([b"0\r\n\r\n"], "the stream ended without an end"),
    "silence": ([STALL], "silence in mid-stream"),
}


@pytest.fixture(scope="module")
def gateway(databases: services.Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("streams")
    short = {"first_content_timeout_seconds": 3, "answer_timeout_seconds": 3, "idle_timeout_seconds": 1.5}
    short |= {"keepalive_seconds": 0.2, "open_stream_after_seconds": 0.2, "total_timeout_seconds": 3}
    changes: dict[str, Any] = {**short, "max_answer_bytes": 1_000_000}
    gateway = Gateway(make_settings(folder, database_url=databases.open("postgresql"), **changes), folder / "log")
    yield gateway
    gateway.stop()


def check_cut(served: Served, answer: bytes, reason: str, *, beyond_cap: bool = False) -> Any:
    """It ends as its door's answers break off, says nothing of the operator, was charged for what was received, and
    speaks against the channel; the booked request."""
    served.door.check_failure(served.told(answer), 200, beyond_cap=beyond_cap)
    assert b"operator" not in answer
    assert b"far.test" not in answer
    usage = served.await_usage()
    assert (usage.outcome, usage.state, usage.error_code) == ("cut", "captured", "upstream_error")
    assert served.spent() == (usage.charge_nanos, 0)
    assert usage.charge_nanos == usage.prompt_tokens * 1000 + usage.completion_tokens * 2000 > 0
    [attempt] = json.loads(usage.attempts)
    assert reason in attempt["outcome"]
    [line] = [line for line in served.gateway.log_lines("attempt_failed") if line["channel"] == attempt["channel"]]
    assert (line["blame"], line["reason"]) == (Blame.UPSTREAM.value, attempt["outcome"])
    return usage


def was_kept_alive(served: Served, answer: bytes) -> bool:
    return answer.count(served.door.alive) > (served.door.name == "responses")


@pytest.mark.parametrize("name", BREAKS)
def test_a_stream_that_breaks_ends_in_an_error_event_and_costs_what_was_delivered(gateway, upstream, by, name):
    second = ScriptedUpstream()
    served = Served(gateway, upstream.base_url, second.base_url, door=by)
    steps, reason = BREAKS[name]
    play = starts(*WORDS)
    upstream.plays(lambda request: [*play(request)[:-1], PAUSE, *steps])
    pieces = served.post(stream=True).iter_content(chunk_size=None)
    received = b""
    while b" time" not in received:
        received += next(pieces)
    upstream.resume()
    answer = received + b"".join(pieces)
    usage = check_cut(served, answer, reason)
    assert served.told(answer).text == "".join(WORDS)
    assert (usage.tokens_source, usage.completion_tokens) == ("estimate", estimate_of(4))
    assert was_kept_alive(served, answer[len(received) :]) or name != "silence"
    assert second.requests == []
    second.close()


def endless(piece: bytes, seconds: float) -> Any:
    def play(_request: Received) -> Iterator[bytes]:
        yield STREAM_HEAD
        while True:
            yield piece
            gevent.sleep(seconds)

    return play


def endless_whole(_request: Received) -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    while True:
        yield b"1\r\n \r\n"
        gevent.sleep(0.05)


def test_a_stream_that_drips_ends_at_the_deadline(gateway, upstream, by):
    served = Served(gateway, upstream.base_url, door=by)
    upstream.plays(endless(framed(chunk(delta={"content": " drop"})), 0.3))
    usage = check_cut(served, served.post(stream=True).content, "no end before the deadline")
    assert usage.completion_tokens >= 4
    assert upstream.requests[0].hung_up.wait(10)


def test_a_whole_answer_that_drips_ends_at_the_deadline_and_is_free(gateway, upstream, by):
    served = Served(gateway, upstream.base_url, door=by)
    upstream.plays(endless_whole)
    answer = served.post()
    served.door.check_failure(served.told(answer.content, stream=False), answer.status_code)
    usage = served.await_usage()
    assert (usage.outcome, usage.charge_nanos, served.spent()) == ("failed", 0, (0, 0))
    assert "deadline" in json.loads(usage.attempts)[0]["outcome"]
    assert upstream.requests[0].hung_up.wait(10)


def test_an_oversized_stream_ends_at_the_byte_limit(gateway, upstream, by):
    served = Served(gateway, upstream.base_url, door=by)
    upstream.plays(endless(framed(chunk(delta={"content": "!"}) | {"obfuscation": "x" * 5000}), 0))
    answer = served.post(stream=True)
    check_cut(served, answer.content, "larger than the limit")
    assert len(answer.content) < 3_000_000
    assert upstream.requests[0].hung_up.wait(10)


def test_a_stream_that_ignores_its_cap_is_ended_and_costs_no_more_than_the_cap(gateway, upstream, by):
    served = Served(gateway, upstream.base_url, door=by)
    upstream.plays(endless(framed(chunk(delta={"content": " more"})), 0))
    answer = served.post(stream=True, max_tokens=20)
    usage = check_cut(served, answer.content, "longer than its cap", beyond_cap=True)
    assert usage.completion_tokens == 20
    assert upstream.requests[0].hung_up.wait(10)


def test_once_a_keep_alive_has_opened_the_stream_the_failure_of_all_channels_is_its_error_event(gateway, upstream, by):
    second = ScriptedUpstream()
    served = Served(gateway, upstream.base_url, second.base_url, door=by)
    for each in (upstream, second):
        each.plays(lambda request: [PAUSE, *starts()(request)])
    answer = served.post(stream=True)
    pieces = answer.iter_content(chunk_size=None)
    assert answer.status_code == 200
    first = next(pieces)
    assert served.door.alive in first
    for each in (upstream, second):
        each.resume()
    told = served.told(first + b"".join(pieces))
    served.door.check_failure(told, 200)
    assert told.text == ""
    usage = served.await_usage()
    assert (usage.outcome, usage.state, usage.status, served.spent()) == ("failed", "released", 200, (0, 0))
    assert len(json.loads(usage.attempts)) == 2
    second.close()


def test_a_silent_upstream_is_kept_alive_and_its_late_answer_arrives(gateway, upstream, by):
    served = Served(gateway, upstream.base_url, door=by)
    upstream.plays(lambda request: [PAUSE, *says("Late")(request)])
    pieces = served.post(stream=True).iter_content(chunk_size=None)
    first = next(pieces)
    assert served.door.alive in first
    upstream.resume()
    told = served.told(first + b"".join(pieces))
    assert (told.end, told.text) == ("done", "Late")
    assert served.await_usage().outcome == "complete"


def test_the_role_chunk_alone_does_not_commit_to_a_channel(gateway, upstream, by):
    second = ScriptedUpstream()
    served = Served(gateway, upstream.base_url, second.base_url, door=by)
    upstream.plays(starts(then=CUT))
    second.plays(says("Good"))
    told = served.told(served.post(stream=True).content)
    assert (told.end, told.text, told.error) == ("done", "Good", {})
    second.close()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_without_the_providers_counts_our_own_are_charged(gateway, upstream, by, stream):
    served = Served(gateway, upstream.base_url, door=by)
    upstream.plays(says("One", " two", " three", usage=False))
    told = served.told(served.post(stream).content, stream)
    assert (told.end, told.text) == ("done", "One two three")
    usage = served.await_usage()
    assert told.counts == (usage.prompt_tokens, 0, 0, usage.completion_tokens, 0)
    assert (usage.outcome, usage.tokens_source) == ("complete", "estimate")
    assert usage.completion_tokens == estimate_of(3, ended=True)
    assert usage.prompt_tokens > 0
