"""The upstreams of the attack: one that is calm, and plays of one that is not, chosen by the model's name.

`python -m tests.attack.upstream` serves until its input ends, and prints its base URL."""

from gevent import monkey

monkey.patch_all()

import collections
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import gevent

from tests.upstream import (
    CUT,
    STREAM_HEAD,
    Received,
    ScriptedUpstream,
    Step,
    chunk,
    fails,
    framed,
    hangs_up,
    says,
    stalls,
)

MEBIBYTE = 2**20
DRIP_BYTES, DRIP_SECONDS = 2**14, 0.001
WORD = "word "
HEAD_JSON = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"
PROVOKED: dict[str, Callable[[Received], Any]] = {
    "PROVOKE-402": fails(402, "Your credit balance is too low to access the API.", "insufficient_quota"),
    "PROVOKE-401": fails(401, "Incorrect API key provided.", "invalid_api_key"),
    "PROVOKE-404": fails(404, "The model does not exist.", "model_not_found"),
    "PROVOKE-500": fails(500, "The server had an error."),
    "PROVOKE-CUT": hangs_up(),
    "PROVOKE-SILENCE": stalls(),
}


def drip(data: bytes, size: int = DRIP_BYTES) -> Iterator[Step]:
    """The bytes in small chunks, one after the other."""
    for start in range(0, len(data), size):
        piece = data[start : start + size]
        gevent.sleep(DRIP_SECONDS)
        yield b"%x\r\n%b\r\n" % (len(piece), piece)


def in_bursts(frames: Iterator[bytes], count: int = 200) -> Iterator[Step]:
    """Many events with each write."""
    waiting: list[bytes] = []
    for frame in frames:
        waiting.append(frame)
        if len(waiting) == count:
            yield b"".join(waiting)
            waiting.clear()
            gevent.sleep(0)
    yield b"".join(waiting)


def event(data: dict[str, Any], name: str = "") -> bytes:
    """One event's bytes, as they are without a transfer encoding."""
    return (f"event: {name}\n" if name else "").encode() + b"data: " + json.dumps(data).encode() + b"\n\n"


def as_chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def end_stream() -> Iterator[Step]:
    yield framed(chunk(finish_reason="stop"))
    yield framed("[DONE]")
    yield END


def large_event(_request: Received) -> Iterator[Step]:
    """One event of 15 MiB."""
    yield STREAM_HEAD
    yield from drip(event(chunk(delta={"content": WORD * (15 * MEBIBYTE // 5)})))
    yield from end_stream()


def endless_line(_request: Received) -> Iterator[Step]:
    """17 MiB without the end of a line."""
    yield STREAM_HEAD
    yield from drip(b'data: {"choices":[{"index":0,"delta":{"content":"' + b"x" * 17 * MEBIBYTE)
    yield CUT


def endless_comment(_request: Received) -> Iterator[Step]:
    yield STREAM_HEAD
    yield from drip(b": " + b"x" * 17 * MEBIBYTE)
    yield CUT


def many_breaks(_request: Received) -> Iterator[Step]:
    """One event of a million lines."""
    yield STREAM_HEAD
    yield from drip(b"data: \n" * 1_000_000)
    yield from end_stream()


def large_json(_request: Received) -> Iterator[Step]:
    """30 MiB of one whole answer, also where a stream was asked for."""
    yield HEAD_JSON
    yield from drip(json.dumps(answer(WORD * (30 * MEBIBYTE // 5))).encode(), 2**16)
    yield END


def values_json(_request: Received) -> Iterator[Step]:
    """A whole answer with three million numbers beside its words."""
    body = json.dumps(answer("Hello")).encode()
    yield HEAD_JSON
    yield from drip(body[:-1] + b', "logprobs": [' + b"0," * 3_000_000 + b"0]}", 2**16)
    yield END


def deep_json(_request: Received) -> Iterator[Step]:
    yield HEAD_JSON
    yield from drip(b"[" * 10 * MEBIBYTE, 2**16)
    yield END


def many_chunks(_request: Received) -> Iterator[Step]:
    """Forty thousand events of one word."""
    yield STREAM_HEAD
    frame = framed(chunk(delta={"content": WORD}))
    yield from in_bursts(frame for _ in range(40_000))
    yield from end_stream()


def single_bytes(_request: Received) -> Iterator[Step]:
    """A stream whose every byte is a chunk of its own."""
    yield STREAM_HEAD
    data = event(chunk(delta={"content": WORD})) * 1000
    yield from in_bursts((b"1\r\n%c\r\n" % byte for byte in data), 5000)
    yield from end_stream()


def long_arguments(_request: Received) -> Iterator[Step]:
    """A tool call with 4 MiB of arguments, in fifty thousand pieces."""
    yield STREAM_HEAD
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "tool", "arguments": '{"a":"'}}
    yield framed(chunk(delta={"role": "assistant", "content": None, "tool_calls": [call]}))
    more = framed(chunk(delta={"tool_calls": [{"index": 0, "function": {"arguments": "x" * 80}}]}))
    yield from in_bursts(more for _ in range(50_000))
    yield framed(chunk(delta={"tool_calls": [{"index": 0, "function": {"arguments": '"}'}}]}))
    yield framed(chunk(finish_reason="tool_calls"))
    yield framed("[DONE]")
    yield END


def many_calls(_request: Received) -> Iterator[Step]:
    """Five thousand tool calls in one answer."""
    yield STREAM_HEAD

    def frames() -> Iterator[bytes]:
        for number in range(5000):
            function = {"name": f"tool_{number}", "arguments": "{}"}
            call = {"index": number, "id": f"call_{number}", "type": "function", "function": function}
            yield framed(chunk(delta={"tool_calls": [call]}))

    yield from in_bursts(frames())
    yield from end_stream()


def long_reasoning(_request: Received) -> Iterator[Step]:
    """Thoughts in forty thousand pieces, under each name that servers have for them, and in the text."""
    yield STREAM_HEAD
    kinds = [
        {"reasoning_content": WORD},
        {"reasoning": WORD},
        {"content": "<thi"},
        {"content": "nk>``"},
        {"content": "`"},
    ]
    frames = [framed(chunk(delta=kind)) for kind in kinds]
    yield from in_bursts(frame for _ in range(8000) for frame in frames)
    yield from end_stream()


def long_error(_request: Received) -> Iterator[Step]:
    """A refusal of 20 MiB, with what looks like addresses and keys."""
    text = "sk-abcdef0123456789 https://host.example/path org-abcdef someone@host.example " * (20 * MEBIBYTE // 78)
    body = json.dumps({"error": {"message": text, "type": text[:1000], "code": text[:1000]}}).encode()
    yield f"HTTP/1.1 400 Bad\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    for start in range(0, len(body), 2**16):
        yield body[start : start + 2**16]
        gevent.sleep(0)


def endless_head(_request: Received) -> Iterator[Step]:
    """Headers without end: 8 MiB of them."""
    yield b"HTTP/1.1 200 OK\r\n"
    for number in range(2000):
        yield f"X-Header-{number}: {'x' * 4000}\r\n".encode()
        gevent.sleep(0)


def anthropic_arguments(_request: Received) -> Iterator[Step]:
    """Anthropic's dialect: thoughts, text and a tool call, each in many pieces."""
    yield STREAM_HEAD
    usage = {"input_tokens": 7, "output_tokens": 1}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "content": [], "model": "claude", "usage": usage}
    yield as_chunk(event({"type": "message_start", "message": message}, "message_start"))
    blocks: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"type": "thinking", "thinking": ""}, {"type": "thinking_delta", "thinking": WORD}),
        ({"type": "text", "text": ""}, {"type": "text_delta", "text": "``` "}),
        (
            {"type": "tool_use", "id": "toolu_1", "name": "tool", "input": {}},
            {"type": "input_json_delta", "partial_json": " " * 80},
        ),
    ]
    for index, (block, delta) in enumerate(blocks):
        begin = {"type": "content_block_start", "index": index, "content_block": block}
        yield as_chunk(event(begin, "content_block_start"))
        more = as_chunk(event({"type": "content_block_delta", "index": index, "delta": delta}, "content_block_delta"))
        yield from in_bursts(more for _ in range(20_000))
        yield as_chunk(event({"type": "content_block_stop", "index": index}, "content_block_stop"))
    end = {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 5}}
    yield as_chunk(event(end, "message_delta"))
    yield as_chunk(event({"type": "message_stop"}, "message_stop"))
    yield END


def gemini_pieces(_request: Received) -> Iterator[Step]:
    """Google's dialect: thoughts and text in many pieces, then a call with large arguments."""
    yield STREAM_HEAD
    parts: list[dict[str, Any]] = [{"text": WORD, "thought": True}, {"text": "``` "}, {"text": WORD}]
    frames = [as_chunk(event({"candidates": [{"content": {"parts": [part], "role": "model"}}]})) for part in parts]
    yield from in_bursts(frame for _ in range(8000) for frame in frames)
    call = {"functionCall": {"name": "tool", "args": {"a": WORD * (8 * MEBIBYTE // 5)}}}
    last = {"candidates": [{"content": {"parts": [call], "role": "model"}, "finishReason": "STOP"}]}
    yield from drip(event(last))
    yield END


def answer(content: str) -> dict[str, Any]:
    """A chat.completion."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 7, "completion_tokens": 7, "total_tokens": 14}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [choice],
        "usage": usage,
    }


PLAYS: dict[str, Callable[[Received], Any]] = {
    play.__name__: play
    for play in (
        large_event,
        endless_line,
        endless_comment,
        many_breaks,
        large_json,
        values_json,
        deep_json,
        many_chunks,
        single_bytes,
        long_arguments,
        many_calls,
        long_reasoning,
        long_error,
        endless_head,
    )
}
DIALECTS: dict[str, Callable[[Received], Any]] = {"anthropic": anthropic_arguments, "gemini": gemini_pieces}


def play(request: Received) -> Any:
    """As the request's model or words want it."""
    for dialect, path in (("anthropic", "/messages"), ("gemini", "enerateContent")):
        if path in request.path:
            return DIALECTS[dialect](request) if _wants_pieces(request) else fails(400)(request)
    try:
        name = request.json.get("model", "")
    except ValueError:
        name = ""
    if name == "second":
        return says("The second.")(request)
    for words, scenario in PROVOKED.items():
        if words.encode() in request.body[:2000]:
            return scenario(request)
    return PLAYS.get(name, says("Hello", " there"))(request)


def _wants_pieces(request: Received) -> bool:
    return "/pieces:" in request.path or request.json.get("model") == "pieces"


def main() -> None:
    upstream = ScriptedUpstream()
    upstream.requests = collections.deque(maxlen=1)  # type: ignore[assignment] # bodies of many MiB
    upstream.plays(play)
    print(upstream.base_url, flush=True)
    gevent.get_hub().threadpool.apply(sys.stdin.buffer.read)
    upstream.close()


if __name__ == "__main__":
    main()
