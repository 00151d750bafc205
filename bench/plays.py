"""The mock upstream's answers: the same bytes every time, chosen by the name of a play in the prompt."""

import dataclasses
import json
from typing import Any

from bench.dialects import DIALECTS, Dialect, write_embeddings, write_picture

CHUNKS_PER_BURST = 25
ALONE_CHUNKS, BURST_CHUNKS, SLOW_CHUNKS = 400, 5_000, 6  # so many that a stream's first and last chunk matter little
SHORTER = 4  # streams of a short round are shorter by this factor


@dataclasses.dataclass(frozen=True)
class Play:
    """An answer as the writes in which it is sent: the first at once, then one every `pause_seconds`."""

    writes: tuple[bytes, ...]
    pause_seconds: float = 0.0


def _whole(answer: dict[str, Any]) -> Play:
    body = json.dumps(answer, separators=(",", ":")).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return Play((head.encode() + body,))


def _framed(data: bytes) -> bytes:
    """One chunk of HTTP's chunked encoding. Servers write one per event, also when several leave in one packet."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def _stream(dialect: Dialect, chunks: int, pause_seconds: float, per_write: int = 1) -> Play:
    """The first events and the first text with the headers, then the rest, and the dialect's end."""
    text = [_framed(dialect.word(number)) for number in range(chunks)]
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    first = head + b"".join(map(_framed, dialect.first)) + b"".join(text[:per_write])
    rest = [b"".join(text[at : at + per_write]) for at in range(per_write, chunks, per_write)]
    return Play((first, *rest, b"".join(map(_framed, dialect.last(chunks))) + b"0\r\n\r\n"), pause_seconds)


def _bursts(dialect: Dialect, chunks: int = BURST_CHUNKS) -> Play:
    return _stream(dialect, chunks, pause_seconds=0.020, per_write=CHUNKS_PER_BURST)


def _play_all() -> dict[str, Play]:
    plays: dict[str, Play] = {}
    for name, dialect in DIALECTS.items():
        kinds = {
            "whole": _whole(dialect.whole),
            "alone": _stream(dialect, ALONE_CHUNKS, pause_seconds=0.010),
            "alone-short": _stream(dialect, ALONE_CHUNKS // SHORTER, pause_seconds=0.010),
            "bursts": _bursts(dialect),
            "bursts-short": _bursts(dialect, BURST_CHUNKS // SHORTER),
        }
        plays |= {name_play(name, kind): play for kind, play in kinds.items()}
    plays["play-embeddings"] = _whole(write_embeddings())
    plays["play-picture"] = _whole(write_picture())
    plays["play-slow"] = _stream(DIALECTS["openai"], SLOW_CHUNKS, pause_seconds=1.0)
    plays["play-slow-short"] = _stream(DIALECTS["openai"], SLOW_CHUNKS // 2, pause_seconds=1.0)
    return plays


def name_play(provider: str, kind: str) -> str:
    """The play of this kind, in the dialect of this upstream."""
    return f"play-{kind}" if provider == "openai" else f"play-{provider}-{kind}"


PLAYS = _play_all()
