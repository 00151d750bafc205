"""The mock upstream's answers: the same bytes every time, chosen by the name of a play in the prompt."""

import dataclasses
import json

from bench.dialects import DIALECTS, Dialect

CHUNKS_PER_BURST = 25
ALONE_CHUNKS, BURST_CHUNKS, SLOW_CHUNKS = 400, 5_000, 6  # so many that a stream's first and last chunk matter little
SHORTER = 4  # streams of a short round are shorter by this factor


@dataclasses.dataclass(frozen=True)
class Play:
    """An answer as the writes in which it is sent: the first at once, then one every `pause_seconds`."""

    writes: tuple[bytes, ...]
    pause_seconds: float = 0.0


def _whole(dialect: Dialect) -> Play:
    body = json.dumps(dialect.whole, separators=(",", ":")).encode()
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


_OPENAI = DIALECTS["openai"]
PLAYS = {
    "play-whole": _whole(_OPENAI),
    "play-alone": _stream(_OPENAI, ALONE_CHUNKS, pause_seconds=0.010),
    "play-alone-short": _stream(_OPENAI, ALONE_CHUNKS // SHORTER, pause_seconds=0.010),
    "play-bursts": _bursts(_OPENAI),
    "play-bursts-short": _bursts(_OPENAI, BURST_CHUNKS // SHORTER),
    "play-slow": _stream(_OPENAI, SLOW_CHUNKS, pause_seconds=1.0),
    "play-slow-short": _stream(_OPENAI, SLOW_CHUNKS // 2, pause_seconds=1.0),
    "play-anthropic-whole": _whole(DIALECTS["anthropic"]),
    "play-anthropic-bursts": _bursts(DIALECTS["anthropic"]),
    "play-anthropic-bursts-short": _bursts(DIALECTS["anthropic"], BURST_CHUNKS // SHORTER),
    "play-gemini-whole": _whole(DIALECTS["gemini"]),
    "play-gemini-bursts": _bursts(DIALECTS["gemini"]),
    "play-gemini-bursts-short": _bursts(DIALECTS["gemini"], BURST_CHUNKS // SHORTER),
}
