"""The short way of a Responses stream's pieces says what the long way does, and leaves to that whatever is odd."""

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.conversation.answer import Chunks, Numbers
from bridge.conversation.usage import Usage
from bridge.dialects.responses.numbers import Numbered
from bridge.dialects.responses.read import read_responses
from bridge.dialects.responses.request import ResponsesRequest
from bridge.dialects.responses.writer import Kept, Responses
from bridge.providers.base import AttemptFailed, StreamOrder
from bridge.providers.responses.passing import Passing
from bridge.providers.responses.template import find_template
from tests.providers.responses.reading import NATIVE, OPENAI, OfResponses, gather
from tests.responses_answers import call, encode, list_events, message
from tests.responses_contract import read_events

REQUEST_ID = "req_01893b5ac0f07c3a9b1f0d2e4a6c8b0d"
ASKED = {"model": "m", "input": "Hi"}

TRICKY = ['","item_id":"msg_1', '"delta":"', "\\", '\\"', '"sequence_number":7', "}\n\nevent: ", "é", "😀", "\x00", " "]
TEXTS = st.one_of(st.sampled_from(TRICKY), st.text(st.characters(codec="utf-8"), min_size=1, max_size=12))
OPENAIS = ("type", "sequence_number", "item_id", "output_index", "content_index", "delta", "logprobs", "obfuscation")
PLAIN = OPENAIS[:-1]
ORDERS = [
    OPENAIS,
    PLAIN,
    ("type", "content_index", "delta", "item_id", "logprobs", "obfuscation", "output_index", "sequence_number"),
    ("type", "delta", "logprobs", "item_id", "content_index", "output_index", "sequence_number"),
    ("delta", "content_index", "item_id", "output_index", "type"),
]


def pieces_of(texts: list[str], order: tuple[str, ...], paddings: list[str]) -> list[dict[str, Any]]:
    """Pieces of one message, their fields in this order."""
    found = []
    for number, (text, padding) in enumerate(zip(texts, paddings, strict=True)):
        event = {"type": "response.output_text.delta", "content_index": 0, "delta": text, "item_id": "msg_1"}
        event |= {"logprobs": [], "obfuscation": padding, "output_index": 0, "sequence_number": number + 97}
        found.append({field: event[field] for field in order})
    return found


def compact(event: dict[str, Any]) -> bytes:
    return f"event: {event['type']}\ndata: {json.dumps(event, separators=(',', ':'))}".encode()


def stream_of(texts: list[str], order: tuple[str, ...], paddings: list[str]) -> bytes:
    begun, end = list_events(message("".join(texts)))[:4], list_events(message("".join(texts)))[-1]
    return encode([*begun, *pieces_of(texts, order, paddings), end])


def closely(stream: bytes) -> bytes:
    """The same without a blank in its JSON, as OpenAI writes it."""
    return b"".join(compact(event) + b"\n\n" for event in read_events(stream))


@given(st.lists(TEXTS, min_size=1, max_size=9), st.sampled_from(ORDERS), st.data())
def test_pieces_in_one_read_say_what_they_say_one_by_one(texts: list[str], order: tuple[str, ...], data: Any):
    paddings = data.draw(st.lists(st.from_regex("[A-Za-z0-9]{1,9}", fullmatch=True), min_size=9, max_size=9))
    stream = stream_of(texts, order, paddings[: len(texts)])
    stream = closely(stream) if data.draw(st.booleans()) else stream
    places = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    cuts = [0, *places, len(stream)]
    choice, reader = gather(stream[start:end] for start, end in zip(cuts, cuts[1:], strict=False))
    assert choice.text == "".join(texts)
    assert list(reader.text) == texts
    assert not reader.mended


def test_a_run_of_pieces_is_read_in_one():
    """Which is what makes it short: the reader looks at none of them by itself."""
    events = pieces_of(["a", "b", "c", "d"], ORDERS[0], ["x", "Yz", "q1", "w"])
    blocks = [encode([event]).removesuffix(b"\n\n") for event in events]
    template = find_template(blocks[0], "text", None)
    assert template is not None
    assert template.read(b"\n\n".join(blocks[1:]), b"\n\n") == ([b"b", b"c", b"d"], ["b", "c", "d"])
    assert template.read(blocks[2], b"\n\n") == ([b"c"], ["c"])


@pytest.mark.parametrize(
    "odd",
    [
        {"delta": ""},
        {"item_id": "msg_2"},
        {"logprobs": [{"token": "b", "logprob": 0.0}]},
        {"sequence_number": "7"},
        {"sequence_number": -7},
        {"obfuscation": "a b"},
        {"output_index": 1},
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "order", [ORDERS[2], ORDERS[3], OPENAIS, PLAIN], ids=["padded", "plain", "OpenAI's", "OpenAI's, plain"]
)
def test_another_kind_of_event_among_them_goes_the_long_way(odd: dict[str, Any], order: tuple[str, ...]):
    events = pieces_of(["a", "b", "c"], order, ["x", "y", "z"])
    events[1] |= odd
    blocks = [compact(event) for event in events]
    template = find_template(blocks[0], "text", None)
    assert template is not None
    assert template.read(b"\n\n".join(blocks), b"\n\n") is None
    assert template.read(blocks[1], b"\n\n") is None


def test_what_is_no_json_in_a_run_of_pieces_is_no_answer():
    stream = stream_of(["a", "b", "c"], ORDERS[0], ["x", "y", "z"]).replace(b'"delta": "c"', b'"delta": "\\q"')
    with pytest.raises(AttemptFailed, match="no event"):
        gather([stream])


def test_a_piece_after_its_items_end_is_not_said():
    events = list_events(message("Hello there, you."))
    late = next(one for one in events if one["type"].endswith("text.delta"))
    done = next(place for place, one in enumerate(events) if one["type"] == "response.output_item.done")
    choice, _ = gather([encode(events[: done + 1]), encode([late]), encode([late, late]), encode(events[done + 1 :])])
    assert choice.text == "Hello there, you."


def test_arguments_by_the_short_way_are_known_when_their_end_comes():
    """What their end says once more is not said again."""
    given_ = json.dumps({"city": "Oslo, and a few more of its kind"})
    events = list_events(call("call_1", "weather", given_))
    for how in ([encode(events)], [encode([event]) for event in events]):
        choice, reader = gather(how)
        assert choice.calls[0].arguments == given_
        assert not reader.mended


def test_a_run_of_pieces_passes_byte_by_byte_as_it_came():
    stream = stream_of(["a", "b", "c", "d"], ORDERS[0], ["x", "Yz", "q1", "w"])
    reader = OPENAI.open_reader(NATIVE, StreamOrder(OfResponses(), 2**20))
    theirs = [frame for frame in stream.split(b"\n\n") if b".delta" in frame]
    assert [frame for frame in reader.feed(stream).split(b"\n\n") if b".delta" in frame] == theirs
    assert list(reader.text) == ["a", "b", "c", "d"]


@given(st.lists(TEXTS, min_size=1, max_size=9), st.sampled_from(ORDERS[:4]), st.data())
def test_pieces_that_pass_have_our_numbers_and_all_else_of_theirs(texts: list[str], order: tuple[str, ...], data: Any):
    paddings = data.draw(st.lists(st.from_regex("[A-Za-z0-9]{1,9}", fullmatch=True), min_size=9, max_size=9))
    stream = stream_of(texts, order, paddings[: len(texts)])
    stream = closely(stream) if data.draw(st.booleans()) else stream
    ends = [found.end() for found in re.finditer(b"\n\n", stream)]  # so that reads have pieces and nothing else
    places = data.draw(st.lists(st.one_of(st.sampled_from(ends), st.integers(0, len(stream))), max_size=9))
    cuts = [0, *sorted(places), len(stream)]
    alive = data.draw(st.integers(0, 7))  # where a sign of life takes a number
    dialect = Responses(read_responses(ASKED, msgspec.convert(ASKED, ResponsesRequest), 1), 1, Kept())
    writer = dialect.open_writer(REQUEST_ID, "m", 1)
    reader = OPENAI.open_reader(NATIVE, StreamOrder(writer, 2**20))

    def frames() -> Iterator[bytes]:
        for place, (start, end) in enumerate(zip(cuts, cuts[1:], strict=False)):
            if place == alive:
                yield dialect.keepalive
            if frames := reader.feed(stream[start:end]):
                yield frames
        yield writer.tail(Usage(1, 1), "0")

    events = read_events(b"".join(Numbered(frames(), dialect.head(REQUEST_ID), lambda: None)))
    assert [event.pop("sequence_number") for event in events] == list(range(len(events)))
    theirs = [event for event in read_events(stream) if event["type"].endswith(".delta")]
    for event in theirs:
        del event["sequence_number"]
    assert [event for event in events if event["type"].endswith(".delta")] == theirs
    assert list(reader.text) == texts


def test_a_run_of_pieces_whose_numbers_are_ours_passes_untouched():
    events = pieces_of(["a", "b", "c"], PLAIN, ["x", "y", "z"])
    blocks = [compact(event) for event in events]
    template = find_template(blocks[0], "text", None)
    assert template is not None
    for numbers, is_theirs in ((Numbers(98), True), (Numbers(7), False)):
        run = b"\n\n".join(blocks[1:])
        assert template.read(run, b"\n\n") == ([b"b", b"c"], ["b", "c"])
        passing = Passing(Chunks("resp_ours", "public", 1, True, numbers=numbers))
        passed = passing.frame_run(template, run + b"\n\n", b"\n\n")
        assert passed is numbers.run
        assert (passed == run + b"\n\n") is is_theirs
        assert [event["sequence_number"] for event in read_events(passed)] == [numbers.first, numbers.first + 1]
