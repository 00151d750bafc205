"""The load generator, a process of its own: one epoll loop over raw sockets, cheaper than what it measures.

`python -m bench.load` reads a LoadSpec as JSON from standard input and writes a Result as JSON to standard output. It
reads the servers' CPU and memory at the very moments between which it counts answers."""

import dataclasses
import gc
import itertools
import json
import math
import re
import select
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable

from bench.dialects import word
from bench.processes import cpu_nanos, memory_bytes

FIND_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)").search
FIND_CHUNKED = re.compile(rb"(?i)\r\ntransfer-encoding: *chunked").search
FIND_WORDS = re.compile(rb"\bword(\d\d)").findall
FIND_NUMBERS = re.compile(rb'"sequence_number":(\d+)').findall
END_OF_CHUNKS = b"\r\n0\r\n\r\n"
FRAME = b"\ndata: "
CARRY = 6  # one byte less than either, so that a mark across two reads is found, and only once
WARMING_STREAMS = 64
DRAIN_SECONDS = 30.0  # streams take four, on a machine that keeps up


@dataclasses.dataclass(frozen=True)
class LoadSpec:
    """What to send where, and which answers to expect. `repeat`: each client sends again when it is answered, for
    `seconds` after `warm_seconds` or until `requests` of them were answered. Otherwise each sends once, `per_second` of
    them, and memory is read `hold_seconds` after the last. With several keys, requests use them by turns."""

    port: int
    body: str
    keys: tuple[str, ...] = ("",)
    clients: int = 1
    seconds: float = 1.0
    warm_seconds: float = 0.3
    repeat: bool = True
    per_second: float = 500.0
    hold_seconds: float = 1.0
    path: str = "/v1/chat/completions"
    header: str = ""  # one more, as `name: value`
    requests: int = 0
    words: int = 0  # words in each stream, in order
    end_mark: str = ""  # in each stream's last event; this and the next two: see Proof
    tellings: int = 1
    numbered: bool = False
    text: str = ""  # in each whole answer, which must be JSON
    processes: dict[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Result:
    """The answers. Times are in milliseconds, CPU in nanoseconds per group of `LoadSpec.processes`, memory in bytes.
    `statuses` also counts requests that were sent in time and answered later. A 200 with a wrong answer counts as
    "garbled", a broken answer as "0", a missing one as "unanswered"."""

    seconds: float = 0.0
    answers: int = 0
    frames: int = 0
    reads: int = 0
    statuses: dict[str, int] = dataclasses.field(default_factory=dict)
    mean_ms: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    first_p50_ms: float = 0.0
    first_p99_ms: float = 0.0
    open_streams: int = 0
    cpu: dict[str, int] = dataclasses.field(default_factory=dict)
    memory_before: dict[str, int] = dataclasses.field(default_factory=dict)
    memory_during: dict[str, int] = dataclasses.field(default_factory=dict)


def look_at(carry: bytes, data: bytes) -> tuple[int, bool, bytes]:
    """What a read adds to a chunked stream: the frames that begin in it, whether it is the end, and the bytes to carry
    over."""
    data = carry + data
    return data.count(FRAME), data.endswith(END_OF_CHUNKS), data[-CARRY:]


def join_chunks(body: bytes) -> bytes:
    """The content of a chunked body. Here CR and LF precede the first size, as they do every later one."""
    pieces, at = [], 0
    while (end := body.find(b"\r\n", at + 2)) > 0 and (size := int(body[at + 2 : end], 16)):
        pieces.append(body[end + 2 : end + 2 + size])
        at = end + 2 + size
    return b"".join(pieces)


def is_whole_stream(body: bytes, words: list[bytes], end_mark: bytes = b"", numbered: bool = False) -> bool:
    """Whether a chunked stream has exactly these words, in order, and ends with its mark; with `numbered`, whether its
    events have numbers without a gap too."""
    try:
        events = join_chunks(body)
    except ValueError:  # not chunked correctly
        return False
    if numbered and list(map(int, FIND_NUMBERS(events))) != list(range(events.count(FRAME))):
        return False
    return FIND_WORDS(events) == words and end_mark in events[events.rfind(FRAME) :]


def is_whole_answer(body: bytes, text: bytes) -> bool:
    """Whether a body is complete JSON and contains the text."""
    try:
        json.loads(body)
    except ValueError:
        return False
    return text in body


class Client:
    """One connection, and the state of the answer to its last request."""

    __slots__ = ("body", "carry", "first_at", "missing", "outgoing", "sent_at", "socket", "status")

    def __init__(self) -> None:
        self.socket: socket.socket | None = None
        self.outgoing = memoryview(b"")
        self.sent_at = 0.0
        self.first_at = 0.0
        self.status = 0
        self.missing: int | None = None  # bytes of the body to come; None during the head, -1 if chunked
        self.carry = b""
        self.body: list[bytes] = []  # what has arrived


class Load:
    """The loop and its counts."""

    def __init__(self, spec: LoadSpec):
        self.spec = spec
        body = spec.body.encode()
        more = f"\r\n{spec.header}" if spec.header else ""
        after = f"{more}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        before = f"POST {spec.path} HTTP/1.1\r\nHost: 127.0.0.1:{spec.port}\r\nAuthorization: Bearer "
        self.requests = itertools.cycle([before.encode() + key.encode() + after for key in spec.keys])
        self.poll = select.epoll()
        self.clients: dict[int, Client] = {}
        self.waiting = 0
        self.again = spec.repeat
        self.left = spec.requests
        self.text, self.end_mark = spec.text.encode(), spec.end_mark.encode()
        self.words = [word(number)[-2:].encode() for number in range(spec.words)] * spec.tellings
        self._reset()

    def _reset(self) -> None:
        self.statuses: Counter[str] = Counter()
        self.unproved: list[bytes] = []  # ended streams; checking them meanwhile would take too long
        self.took: list[float] = []
        self.first: list[float] = []
        self.frames = self.reads = 0

    def repeat(self) -> Result:
        """Keep all clients busy; count between two readings of the CPU."""
        spec = self.spec
        for _ in range(spec.clients):
            self._send(Client())
        self._turn(spec.warm_seconds)
        before = self._measure(cpu_nanos)
        self._reset()
        started = time.perf_counter()
        self._turn(math.inf if spec.requests else spec.seconds, until_idle=bool(spec.requests))
        result = self._result(time.perf_counter() - started)
        after = self._measure(cpu_nanos)
        result.cpu = {name: after[name] - before[name] for name in after}
        self.again = False
        self._turn(DRAIN_SECONDS, until_idle=True)
        result.statuses = self._count_statuses()
        return result

    def open_streams(self) -> Result:
        """Open every stream at an even pace, read memory while all are open, then let them end."""
        spec = self.spec
        for _ in range(WARMING_STREAMS):  # a server's first use isn't a stream's cost
            self._turn(1 / spec.per_second)
            self._send(Client())
        self._turn(DRAIN_SECONDS, until_idle=True)
        self._reset()
        before = self._measure(memory_bytes)
        started = time.perf_counter()
        for number in range(spec.clients):
            self._turn(max(0.0, started + number / spec.per_second - time.perf_counter()))
            self._send(Client())
        self._turn(spec.hold_seconds)
        during, still_open = self._measure(memory_bytes), self._count_open()
        self._turn(DRAIN_SECONDS, until_idle=True)
        result = self._result(time.perf_counter() - started)
        result.memory_before, result.memory_during, result.open_streams = before, during, still_open
        result.statuses = self._count_statuses()
        return result

    def _count_statuses(self) -> dict[str, int]:
        for body in self.unproved:
            sound = is_whole_stream(body, self.words, self.end_mark, self.spec.numbered)
            self.statuses["200" if sound else "garbled"] += 1
        self.unproved = []
        if self.waiting:
            self.statuses["unanswered"] = self.waiting
        return dict(sorted(self.statuses.items()))

    def _measure(self, read: Callable[[int], int]) -> dict[str, int]:
        return {name: read(root) for name, root in self.spec.processes.items()}

    def _count_open(self) -> int:
        return sum(1 for client in self.clients.values() if client.status == 200 and client.first_at)

    def _result(self, seconds: float) -> Result:
        took, first = sorted(self.took), sorted(self.first)
        return Result(
            seconds=seconds,
            answers=len(took),
            frames=self.frames,
            reads=self.reads,
            mean_ms=sum(took) / len(took) * 1000 if took else 0.0,
            p50_ms=_percentile(took, 50) * 1000,
            p99_ms=_percentile(took, 99) * 1000,
            first_p50_ms=_percentile(first, 50) * 1000,
            first_p99_ms=_percentile(first, 99) * 1000,
        )

    def _turn(self, seconds: float, until_idle: bool = False) -> None:
        """Handle what arrives for this long or, with `until_idle`, until nobody waits for an answer."""
        end = time.perf_counter() + seconds
        clients, poll = self.clients, self.poll.poll
        while (left := end - time.perf_counter()) > 0 and not (until_idle and not self.waiting):
            for descriptor, event in poll(min(left, 0.2)):
                client = clients[descriptor]
                if event & select.EPOLLOUT:
                    self._flush(client)
                if event & ~select.EPOLLOUT:
                    self._read(client)

    def _send(self, client: Client) -> None:
        """Send the request on the client's connection, or on a new one."""
        client.status, client.missing, client.carry, client.first_at, client.body = 0, None, b"", 0.0, []
        client.sent_at = time.perf_counter()
        if client.socket is None:
            connection = socket.create_connection(("127.0.0.1", self.spec.port))
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.socket = connection
            self.clients[connection.fileno()] = client
            self.poll.register(connection, select.EPOLLIN)
        self.waiting += 1
        client.outgoing = memoryview(next(self.requests))
        self._flush(client, is_rest=False)

    def _flush(self, client: Client, is_rest: bool = True) -> None:
        assert client.socket is not None
        try:
            sent = client.socket.send(client.outgoing)
        except BlockingIOError:
            sent = 0
        except OSError:
            return  # the next read sees the broken connection
        client.outgoing = client.outgoing[sent:]
        if client.outgoing:
            self.poll.modify(client.socket, select.EPOLLIN | select.EPOLLOUT)
        elif is_rest:
            self.poll.modify(client.socket, select.EPOLLIN)

    def _read(self, client: Client) -> None:  # noqa: C901 - one branch for each state of a connection
        assert client.socket is not None
        try:
            data = client.socket.recv(262_144)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lost(client)
            return
        self.reads += 1
        if client.missing is None:
            data = client.carry + data
            end = data.find(b"\r\n\r\n") + 4
            if end <= 3:
                client.carry = data
                return
            client.status = int(data[9:12])
            length = FIND_LENGTH(data, 0, end)
            client.missing = int(length[1]) if length else -1 if FIND_CHUNKED(data, 0, end) else sys.maxsize
            client.carry, data = b"", data[end - 2 :]  # CR and LF before the first size, as before every later one
            if client.missing >= 0:
                data = data[2:]
        client.body.append(data)
        if client.missing >= 0:
            client.missing -= len(data)
            if client.missing <= 0:
                self._answered(client, is_stream=False)
            return
        frames, ended, client.carry = look_at(client.carry, data)
        self.frames += frames
        if frames and not client.first_at:
            client.first_at = time.perf_counter()
            self.first.append(client.first_at - client.sent_at)
        if ended:
            self._answered(client, is_stream=True)

    def _answered(self, client: Client, is_stream: bool) -> None:
        self.waiting -= 1
        self.took.append(time.perf_counter() - client.sent_at)
        body = b"".join(client.body)
        if client.status != 200:
            self.statuses[str(client.status)] += 1
        elif self.words and is_stream:
            self.unproved.append(body)
        else:
            sound = not self.words and is_whole_answer(body, self.text)
            self.statuses["200" if sound else "garbled"] += 1
        client.body = []
        client.status = 0
        if self.left:
            self.left -= 1
            self.again = self.left >= self.spec.clients  # those that others are waiting for
        if self.again:
            self._send(client)

    def _lost(self, client: Client) -> None:
        """The server closed the connection. In the middle of an answer this counts as status 0; otherwise connect
        anew."""
        assert client.socket is not None
        del self.clients[client.socket.fileno()]
        client.socket.close()
        client.socket = None
        if client.sent_at and client.missing != 0 and (client.status or client.missing is None):
            self.waiting -= 1
            self.statuses["0"] += 1
            if self.again:
                self._send(client)


def _percentile(ordered: list[float], percent: int) -> float:
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] if ordered else 0.0


def main() -> None:
    """Carry out the LoadSpec on standard input."""
    fields = json.load(sys.stdin)
    spec = LoadSpec(**fields | {"keys": tuple(fields["keys"])})
    gc.disable()
    load = Load(spec)
    result = load.repeat() if spec.repeat else load.open_streams()
    json.dump(dataclasses.asdict(result), sys.stdout)


if __name__ == "__main__":
    main()
