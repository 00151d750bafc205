"""Streams that are cut at any place, of any upstream, by any door: what was delivered is paid once, and the client
learns in its own dialect that the answer broke off."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests import services
from tests.doors import DOORS, Counts
from tests.gateway import Gateway
from tests.pairs import UPSTREAMS, Got, Pairs, price
from tests.replies import Call, Reply, write_stream
from tests.rooms import make_settings
from tests.upstream import CUT, STREAM_HEAD, Step

SAID = Reply(text="It is cold, and it snows.", prompt_tokens=40, cached_tokens=0, completion_tokens=50)
CALLED = Reply(calls=(Call("call_a1", "weather", {"city": "Oslo"}),), prompt_tokens=40, cached_tokens=0)
ENDS = ('"finish_reason": "', '"stop_reason": "', '"finishReason": "', '"type": "response.completed"')


@pytest.fixture(scope="module")
def pairs(databases: services.Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pairs]:
    folder = tmp_path_factory.mktemp("cuts")
    settings = make_settings(folder, database_url=databases.open("sqlite"), end_mark_seconds=0.2)
    gateway = Gateway(settings, folder / "log")
    pairs = Pairs(gateway)
    yield pairs
    pairs.close()
    gateway.stop()


def list_frames(upstream: str, reply: Reply) -> list[bytes]:
    """The stream's events."""
    body = write_stream(upstream, reply)
    end = b"\r\n\r\n" if b"\r\n\r\n" in body else b"\n\n"
    return [frame + end for frame in body.split(end) if frame]


def text_of(upstream: str, frame: bytes) -> str:
    """What of the answer's text an event says."""
    data = frame.partition(b"data: ")[2].strip()
    if not data.startswith(b"{"):
        return ""
    event: Any = json.loads(data)
    if upstream == "anthropic":
        return event.get("delta", {}).get("text", "")
    if upstream == "responses":
        return event["delta"] if event["type"] == "response.output_text.delta" else ""
    if upstream == "gemini":
        return "".join(part.get("text", "") for part in event["candidates"][0]["content"].get("parts", ()))
    return "".join(choice["delta"].get("content") or "" for choice in event["choices"])


def list_cuts(frames: list[bytes]) -> Iterator[tuple[list[bytes], bytes]]:
    """Behind each event, and in the middle of each: what is whole by then, and what is not."""
    for place, frame in enumerate(frames):
        yield frames[:place], b""
        yield frames[:place], frame[: len(frame) // 2]
    yield frames, b""


def cut_after(frames: list[bytes], half: bytes) -> list[Step]:
    body = b"".join(frames) + half
    return [STREAM_HEAD, b"%x\r\n%b\r\n" % (len(body), body), CUT] if body else [STREAM_HEAD, CUT]


def check_row(got: Got) -> None:
    """What is booked is the price of its counts, no part of them is below zero, and nobody held on to anything."""
    row = got.row
    assert row.charge_nanos == (price(got.booked) if row.state == "captured" else 0)
    assert min(got.booked) >= 0
    assert row.loss_nanos == 0


@pytest.mark.parametrize("upstream", UPSTREAMS)
@pytest.mark.parametrize("reply", [SAID, CALLED], ids=["text", "call"])
def test_wherever_a_stream_is_cut_it_is_paid_once_for_what_was_delivered(pairs: Pairs, upstream: str, reply: Reply):
    most = price(Counts(reply.prompt_tokens, 0, 0, reply.completion_tokens, 0))
    tool = {"name": "weather", "parameters": {"type": "object", "properties": {}}}
    tools = {
        "chat": [{"type": "function", "function": tool}],
        "messages": [{"name": "weather", "input_schema": tool["parameters"]}],
        "responses": [{"type": "function", **tool}],
    }
    for frames, half in list_cuts(list_frames(upstream, reply)):
        ended = any(word in frame.decode() for word in ENDS for frame in frames)
        delivered = "".join(text_of(upstream, frame) for frame in frames)
        booked = set()
        for door in DOORS.values():
            got = pairs.ask(upstream, door, cut_after(frames, half), stream=True, tools=tools[door.name])
            booked.add((got.row.outcome, got.row.completion_tokens))
            check_row(got)
            if ended:
                assert (got.status, got.told.end, got.row.outcome) == (200, "done", "complete")
                assert got.told.text == reply.text
                assert got.told_nanos == got.row.charge_nanos > 0
                continue
            door.check_failure(got.told, got.status)
            assert got.told.text == delivered
            assert got.told.counts is None
            if got.status == 503:
                assert not delivered
                assert (got.row.outcome, got.row.state, got.row.charge_nanos) == ("failed", "released", 0)
            else:
                assert (got.row.outcome, got.row.state, got.asked) == ("cut", "captured", 1)
                assert 0 < got.row.charge_nanos <= most + price(Counts(got.row.prompt_tokens, 0, 0, 0, 0))
                assert 0 < got.row.completion_tokens <= reply.completion_tokens
        assert len(booked) == 1, "one door charges for another answer than the others"
    pairs.check_books()
