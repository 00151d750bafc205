"""Streams of OpenAI's dialect for the tests: made, read as a client reads them, and held to the official SDK."""

import json
from typing import Any

from openai.types.chat import ChatCompletionChunk

from bridge.providers.base import Outgoing
from bridge.providers.openai.provider import OpenAI, OpenAICompatible
from bridge.providers.openai.stream import OpenAIReader
from tests.chat_answers import chat_order

SENT = Outgoing("/chat/completions", b"{}")
OURS, PUBLIC = "chatcmpl-0123456789abcdef", "public-name"
HEAD = {
    "id": "chatcmpl-theirs",
    "object": "chat.completion.chunk",
    "created": 1_750_000_000,
    "model": "theirs-2026-01-01",
}
COUNTS = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
DONE = b"data: [DONE]\n\n"


def chunk(delta: dict | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """One chunk with one choice."""
    return {**HEAD, "choices": [{"index": 0, "delta": delta or {}, "logprobs": None, "finish_reason": finish}], **more}


def stream(*chunks: dict[str, Any], done: bool = True, spaced: bool = False) -> bytes:
    separators = (", ", ": ") if spaced else (",", ":")
    lines = [
        b"data: " + json.dumps(one, separators=separators, ensure_ascii=False).encode() + b"\n\n" for one in chunks
    ]
    return b"".join(lines) + (DONE if done else b"")


def read(
    data: bytes,
    *cuts: int,
    include_usage: bool = False,
    provider: OpenAICompatible | None = None,
    outgoing: Outgoing = SENT,
) -> tuple[list[dict[str, Any]], OpenAIReader]:
    """What a client gets of a stream that arrives in pieces, as decoded chunks, and the reader."""
    reader = (provider or OpenAI()).open_reader(outgoing, chat_order(OURS, PUBLIC, 0, include_usage, 10**6))
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    out = b"".join(reader.feed(data[i:j]) for i, j in zip(places, places[1:], strict=False))
    frames = out.split(b"\n\n")
    assert frames.pop() == b""
    assert all(frame.startswith(b"data: {") and b"\n" not in frame for frame in frames)
    return [json.loads(frame[6:], object_pairs_hook=no_key_twice) for frame in frames], reader


def no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len(dict(pairs)) == len(pairs), pairs
    return dict(pairs)


def accept(chunks: list[dict[str, Any]], include_usage: bool = False) -> None:
    """The official SDK takes each, with our names."""
    for one in chunks:
        ChatCompletionChunk.model_validate(one)
        assert (one["id"], one["model"]) == (OURS, PUBLIC)
        assert one.get("usage", "absent") in ([None] if include_usage else ["absent", None])
        assert one["choices"]


HELLO = [
    chunk({"role": "assistant", "content": ""}),
    chunk({"content": "Hello"}),
    chunk({"content": ' "id":"chatcmpl-theirs" wörld\u2028😀'}),
    chunk({}, "stop"),
]
USAGE = {**HEAD, "choices": [], "usage": COUNTS}


def without(one: dict[str, Any], *fields: str) -> dict[str, Any]:
    return {name: value for name, value in one.items() if name not in fields}
