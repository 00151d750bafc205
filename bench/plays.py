"""What the mock upstream answers: the same bytes every time, chosen by the name of a play inside the prompt."""

import dataclasses
import json
from typing import Any

CHUNKS_PER_BURST = 25


@dataclasses.dataclass(frozen=True)
class Play:
    """An answer as the writes it is sent in: the first at once, then one every `pause_seconds`."""

    writes: tuple[bytes, ...]
    pause_seconds: float = 0.0


def _whole() -> Play:
    text = "The capital of France is Paris, which has been the seat of its government for most of a thousand years."
    body = json.dumps(
        {
            "id": "chatcmpl-CbKq0mJ5tPnV3xWz7yA1dE9fH2iL",
            "object": "chat.completion",
            "created": 1760000000,
            "model": "bench-openai",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": text, "refusal": None, "annotations": []},
                    "logprobs": None,
                    "finish_reason": "stop",
                }
            ],
            "usage": {
                "prompt_tokens": 24,
                "completion_tokens": 22,
                "total_tokens": 46,
                "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
            },
            "service_tier": "default",
            "system_fingerprint": "fp_6f2eabb9a5",
        },
        separators=(",", ":"),
    ).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return Play((head.encode() + body,))


def _event(choices: list[dict[str, Any]], usage: dict[str, Any] | None = None) -> bytes:
    chunk = {
        "id": "chatcmpl-CbKq0mJ5tPnV3xWz7yA1dE9fH2iL",
        "object": "chat.completion.chunk",
        "created": 1760000000,
        "model": "bench-openai",
        "service_tier": "default",
        "system_fingerprint": "fp_6f2eabb9a5",
        "choices": choices,
        "usage": usage,
    }
    return b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n"


def _delta(delta: dict[str, Any], finish_reason: str | None = None) -> list[dict[str, Any]]:
    return [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}]


def _framed(data: bytes) -> bytes:
    """One chunk of HTTP's chunked encoding. Servers write one per event, also when several leave in one packet."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def _stream(chunks: int, pause_seconds: float, per_write: int = 1) -> Play:
    """Role and first text with the headers, then the rest; it ends with usage and [DONE], as OpenAI's do."""
    role = _event(_delta({"role": "assistant", "content": "", "refusal": None}))
    text = [_framed(_event(_delta({"content": f" word{number % 100:02}"}))) for number in range(chunks)]
    usage = {"prompt_tokens": 24, "completion_tokens": chunks, "total_tokens": 24 + chunks}
    last = (_event(_delta({}, "stop")), _event([], usage), b"data: [DONE]\n\n")
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    first = head + _framed(role) + b"".join(text[:per_write])
    rest = [b"".join(text[at : at + per_write]) for at in range(per_write, chunks, per_write)]
    return Play((first, *rest, b"".join(map(_framed, last)) + b"0\r\n\r\n"), pause_seconds)


PLAYS = {
    "play-whole": _whole(),
    "play-alone": _stream(chunks=400, pause_seconds=0.005),
    "play-bursts": _stream(chunks=5_000, pause_seconds=0.010, per_write=CHUNKS_PER_BURST),
    "play-slow": _stream(chunks=6, pause_seconds=1.0),
}
