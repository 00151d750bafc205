"""Chunks that differ from the last in their text alone take a short way: nobody can tell by what comes out."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.providers.base import AttemptFailed, Outgoing
from bridge.providers.openai.provider import OpenAI
from tests.chat_answers import chat_order

SENT = Outgoing("/chat/completions", b"{}")


def read(*events: str, include_usage: bool = False) -> tuple[list[dict[str, Any]], list[str]]:
    """What a client gets for these events in one read, and what was noted as said."""
    reader = OpenAI().open_reader(SENT, chat_order("chatcmpl-ours", "public", 0, include_usage, 2**20))
    frames = reader.feed("".join(f"data: {event}\n\n" for event in events).encode())
    assert frames.endswith(b"\n\n") or not frames
    return [json.loads(frame[6:]) for frame in frames.decode().split("\n\n")[:-1]], reader.text


def chunk(**delta: Any) -> str:
    body = {"id": "up", "object": "chat.completion.chunk", "created": 1, "model": "theirs"}
    return json.dumps(
        body | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}], "usage": None}, separators=(",", ":")
    )


FIELDS = st.sampled_from(["content", "reasoning_content"])


@given(st.lists(st.text(), max_size=8), FIELDS, st.booleans())
def test_every_text_arrives_as_it_was_sent(texts: list[str], field: str, include_usage: bool):
    sent = ["first", *texts]
    chunks, said = read(*[chunk(**{field: text}) for text in sent], include_usage=include_usage)
    assert [each["choices"][0]["delta"][field] for each in chunks] == sent
    assert "".join(said) == "".join(sent)
    assert {(each["id"], each["model"], "usage" in each) for each in chunks} == {
        ("chatcmpl-ours", "public", include_usage)
    }


@given(st.lists(st.text(min_size=1), min_size=1, max_size=8))
def test_pieces_of_arguments_arrive_as_they_were_sent(pieces: list[str]):
    opening = chunk(
        tool_calls=[{"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}]
    )
    rest = [chunk(tool_calls=[{"index": 0, "function": {"arguments": piece}}]) for piece in pieces]
    chunks, said = read(opening, *rest)
    found = [each["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"] for each in chunks[1:]]
    assert found == pieces
    assert "".join(said) == "f" + "".join(pieces)


@pytest.mark.parametrize(
    "inside",
    [
        'x","refusal":"y',
        'x"},"finish_reason":"stop","delta":{"content":"y',
        "x\\",
        "x\ny",
        'x"',
        "\x00",
        '","content":"',
    ],
)
def test_what_only_looks_like_one_text_is_read_in_full_or_refused(inside: str):
    plain = chunk(content="first")
    odd = plain.replace("first", inside)
    try:
        expected: Any = json.loads(odd)["choices"][0]
    except ValueError:
        with pytest.raises(AttemptFailed):
            read(plain, odd)
        return
    chunks, _ = read(plain, odd)
    assert chunks[1]["choices"][0] == expected


PIECES = st.sampled_from(["a", "\\", '"', ",", "\\n", '","', '",\\n"', "\\u00e9", '"},"x":{"y":"', " "])


@given(st.lists(st.lists(PIECES, max_size=4).map("".join), min_size=1, max_size=6))
def test_a_read_full_of_odd_texts_is_what_its_events_are_one_by_one(insides: list[str]):
    plain = chunk(content="first")
    events = [plain, *(plain.replace('"first"', f'"{inside}"') for inside in insides)]
    reader = OpenAI().open_reader(SENT, chat_order("chatcmpl-ours", "public", 0, False, 2**20))
    # the first read teaches what the second has in common with it
    reader.feed(f"data: {events[0]}\n\n".encode())
    together = "".join(f"data: {event}\n\n" for event in events[1:]).encode()
    try:
        expected = [json.loads(event)["choices"][0]["delta"].get("content") for event in events[1:]]
    except ValueError:
        with pytest.raises(AttemptFailed):
            reader.feed(together)
        return
    frames = [json.loads(frame[6:]) for frame in reader.feed(together).decode().split("\n\n")[:-1]]
    assert [frame["choices"][0]["delta"].get("content") for frame in frames] == expected
    assert "".join(reader.text) == "first" + "".join(text or "" for text in expected)
