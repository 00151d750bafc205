"""Many events in one read take a short way: what comes out is what it would be if each was read in full."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.providers.anthropic.provider import Anthropic
from bridge.providers.base import AttemptFailed
from bridge.providers.gemini.provider import Gemini
from bridge.providers.openai.provider import OpenAI
from tests.chat_answers import chat_order
from tests.conversations import make_order

ORDER = chat_order("chatcmpl-ours", "public", 0, False, 2**20)


def write(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def openai(inside: bytes, number: int) -> bytes:
    chunk = {"id": "up", "object": "chat.completion.chunk", "created": 1, "model": "theirs"}
    choices = [{"index": 0, "delta": {"content": "@"}, "finish_reason": None}]
    return b"data: " + write(chunk | {"choices": choices}).replace(b"@", inside) + b"\n\n"


def anthropic(inside: bytes, number: int) -> bytes:
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "@"}}
    return b"event: content_block_delta\ndata: " + write(delta).replace(b"@", inside) + b"\n\n"


def gemini(inside: bytes, number: int) -> bytes:
    counts = {"promptTokenCount": 7, "candidatesTokenCount": number, "totalTokenCount": 7 + number}
    candidate = {"content": {"parts": [{"text": "@"}], "role": "model"}, "index": 0}
    event = {"candidates": [candidate], "usageMetadata": counts, "modelVersion": "g"}
    return b"data: " + write(event).replace(b"@", inside) + b"\r\n\r\n"


BEGIN = b'data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}\n\n'
DIALECTS: dict[str, tuple[Any, Any, bytes]] = {
    "openai": (OpenAI(), openai, b""),
    "anthropic": (Anthropic(), anthropic, BEGIN),
    "gemini": (Gemini(), gemini, b""),
}
PIECES = st.sampled_from(
    [b"a", b" ", "é".encode(), b"\\", b'"', b",", b"\\n", b'","', b'",\\n"', b'"}', b'"}],"role":"model"},"x":[{"y":"']
    + [b'"},"text":"b', b'","refusal":"x', b"\xff", b"\n"]
)
INSIDES = st.lists(st.lists(PIECES, max_size=3).map(b"".join), min_size=1, max_size=6)


def read(name: str, begun: bytes, events: list[bytes], *, one_by_one: bool) -> tuple[Any, ...]:
    """What a client gets for the events, what is noted of it, and whether they are refused."""
    provider = DIALECTS[name][0]
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    reader = provider.open_reader(provider.write_request(make_order(body, "theirs", 100)), ORDER)
    frames = reader.feed(begun)
    try:
        if one_by_one:
            for event in events:
                setattr(reader, "_template" if name == "openai" else "_plain", None)  # so that no short way is taken
                frames += reader.feed(event)
        else:
            frames += reader.feed(b"".join(events))
    except AttemptFailed as failure:
        return ("refused", frames + failure.frames, "".join(reader.text))
    return (frames, "".join(reader.text), reader.usage, "".join(reader.uncounted), reader.started)


@pytest.mark.parametrize("name", DIALECTS)
@given(first=st.sampled_from([b"first", b""]), insides=INSIDES)
def test_many_events_in_one_read_are_what_they_are_one_by_one(name: str, first: bytes, insides: list[bytes]):
    _, write_event, begin = DIALECTS[name]
    events = [write_event(inside, number) for number, inside in enumerate(insides)]
    begun = begin + write_event(first, 1)
    assert read(name, begun, events, one_by_one=False) == read(name, begun, events, one_by_one=True)
