"""The framing of server-sent events: the same events wherever the reads fall and whatever ends the lines."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.providers.base import AttemptFailed, Blame
from bridge.providers.wire.sse import MAX_LINES, EventSplitter, split_joined

STREAMS = st.lists(
    st.sampled_from(
        [
            b"data: {}",
            b"data:x",
            b"data",
            b"data: ",
            b": comment",
            b"event: ping",
            b"id: 7",
            b"a",
            b" ",
            "data: é\u2028".encode(),
        ]
        + [b"\n", b"\r", b"\r\n", b"\n\n", b"\r\n\r\n", b"\r\r"]
    ),
    max_size=24,
).map(b"".join)


def split(stream: bytes, *cuts: int, max_bytes: int = 1000) -> list[bytes]:
    """The events of a stream that arrives in pieces."""
    splitter = EventSplitter(max_bytes)
    places = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    return [event for i, j in zip(places, places[1:], strict=False) for event in splitter.feed(stream[i:j])]


def read_by_the_book(stream: bytes) -> list[bytes]:
    """The standard's own algorithm, line by line."""
    events, data = [], []
    lines = stream.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")[:-1]
    for line in lines:
        field, _, value = line.partition(b":")
        if not line:
            if text := b"\n".join(data).strip():
                events.append(text)
            data = []
        elif field == b"data":
            data.append(value.removeprefix(b" "))
    return events


@given(STREAMS, st.lists(st.integers(0, 500), max_size=30))
@example(b"\r\n\r\ndata: {}", [])
@example(b"data: {}\ndata\ndata: {}\n\n", [])  # a field without a colon has an empty value
def test_the_events_are_the_standard_s_wherever_the_reads_fall(stream: bytes, cuts: list[int]):
    assert split(stream, *cuts) == read_by_the_book(stream)


@given(STREAMS)
def test_the_events_are_the_same_byte_by_byte(stream: bytes):
    assert split(stream, *range(len(stream))) == read_by_the_book(stream)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_lines_end_in_lf_crlf_or_cr(end: bytes, size: int):
    stream = end.join(
        [b": hello", b"data: one", b"", b"event: x", b"data: two", b"data:  lines", b"", b"data: [DONE]", b"", b""]
    )
    assert split(stream, *range(0, len(stream), size)) == [b"one", b"two\n lines", b"[DONE]"]


def test_other_line_separators_are_text():
    text = "a\u2028b\u0085c\x0bd\x0ce".encode()
    assert split(b"data: " + text + b"\n\n") == [text]


def test_a_character_cut_in_two_is_whole_again():
    stream = 'data: {"content":"é😀"}\n\n'.encode()
    assert split(stream, *range(len(stream))) == ['{"content":"é😀"}'.encode()]


def test_an_event_without_its_end_is_no_event():
    assert split(b"data: one\n\ndata: two\n") == [b"one"]


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=8))
def test_any_bytes_are_events_or_none(stream: bytes, cuts: list[int]):
    assert all(split(stream, *cuts))


def test_an_event_beyond_the_limit_ends_the_attempt():
    splitter = EventSplitter(100)
    splitter.feed(b"data: " + b"x" * 94)
    with pytest.raises(AttemptFailed) as failed:
        splitter.feed(b"x")
    assert failed.value.blame is Blame.UPSTREAM


def test_many_small_events_are_within_the_limit():
    assert len(split(b"data: 0123456789\n\n" * 500, *range(0, 9000, 97), max_bytes=120)) == 500


OBJECTS = st.dictionaries(st.text(max_size=4), st.text(max_size=9) | st.none() | st.integers(), min_size=1, max_size=3)
ENDS = st.sampled_from(["\n", "\r\n", "\r"])


@given(
    st.lists(st.tuples(OBJECTS, st.integers(1, 3), st.booleans()), min_size=1, max_size=8),
    ENDS,
    st.booleans(),
    st.lists(st.integers(0, 900), max_size=12),
)
def test_whole_objects_are_events_with_one_line_end_between_them_or_several_and_none_at_the_end(
    said: list[tuple[dict, int, bool]], end: str, last: bool, cuts: list[int]
):
    texts = [json.dumps(one, ensure_ascii=False) for one, _, _ in said]
    lines = [
        f"event: x{end}data: {text}{end * breaks}" if named else f"data: {text}{end * breaks}"
        for text, (_, breaks, named) in zip(texts, said, strict=True)
    ]
    stream = ("".join(lines) if last else "".join(lines).rstrip(end)).encode()
    splitter, found = EventSplitter(10_000), []
    places = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    for i, j in zip(places, places[1:], strict=False):
        found += splitter.feed(stream[i:j])
    found += [splitter.flush()]
    assert [one for event in found if event for one in split_joined(event) or [event]] == [
        text.encode() for text in texts
    ]
    assert splitter.flush() == b""


def test_an_event_over_several_lines_stays_one():
    stream = b'data: {"a":\ndata: {"b": 1},\ndata: "c": 2}\n\n'
    whole = b'{"a":\n{"b": 1},\n"c": 2}'
    assert split(stream) == split(stream, *range(len(stream))) == [whole]
    assert split_joined(whole) == []


def test_a_byte_order_mark_before_the_first_event_is_no_part_of_it():
    stream = b"\xef\xbb\xbfdata: one\n\ndata: two\n\n"
    assert split(stream) == split(stream, *range(len(stream))) == [b"one", b"two"]


@given(STREAMS, st.lists(st.integers(0, 20_000), max_size=30), st.integers(4000, 9000), st.sampled_from([b"x", b"x\n"]))
def test_large_events_are_the_same_wherever_the_reads_fall(stream: bytes, cuts: list[int], size: int, filler: bytes):
    stream = b"data: " + filler * (size // len(filler)) + stream + b"y\n\ndata: last\n\n"
    assert split(stream, *cuts, max_bytes=100_000) == read_by_the_book(stream)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize(
    "line", [b"x" * 200_000, b'data: {"a":\n' * 16_000, b"data: {}x\n" * 20_000, b": c\n" * 50_000]
)
def test_a_large_event_that_drips_is_looked_at_few_times(end: bytes, line: bytes, monkeypatch: pytest.MonkeyPatch):
    looked_at = 0
    take = EventSplitter._take_pieces

    def count(splitter: EventSplitter) -> bytes:
        nonlocal looked_at
        looked_at += len(splitter._rest) + splitter._waiting
        return take(splitter)

    monkeypatch.setattr(EventSplitter, "_take_pieces", count)
    stream = (b"data: " + line).replace(b"\n", end)
    splitter = EventSplitter(2**20)
    for place in range(0, len(stream), 10):
        assert splitter.feed(stream[place : place + 10]) == []
    splitter.feed(end + end)
    assert 0 < looked_at < 8 * len(stream)


def test_a_large_event_beyond_the_limit_is_refused_as_it_comes():
    splitter = EventSplitter(50_000)
    for _ in range(5000):
        splitter.feed(b"0123456789")
    with pytest.raises(AttemptFailed, match="larger than the limit"):
        splitter.feed(b"0" * 8192)


@pytest.mark.parametrize("line", [b"data: \n", b"data: x\r\n", b"x\r", b": c\n"])
def test_an_event_of_more_lines_than_any_server_writes_is_refused_as_it_comes(line: bytes):
    def feed(lines: int) -> None:
        splitter = EventSplitter(2**24)
        for _ in range(lines // 1000):
            splitter.feed(line * 1000)

    feed(MAX_LINES)
    with pytest.raises(AttemptFailed, match="more lines than the limit"):
        feed(2 * MAX_LINES)


def test_a_large_event_that_lacks_its_end_is_read_when_nothing_follows():
    splitter, event = EventSplitter(100_000), b'{"a":"' + b"x" * 50_000 + b'"}'
    stream = b"data: " + event
    for place in range(0, len(stream), 10):
        assert splitter.feed(stream[place : place + 10]) == []
    assert splitter.flush() == event
