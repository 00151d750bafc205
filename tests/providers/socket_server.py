"""An upstream on a loopback socket that plays what a test wrote: it reads requests and answers them byte for byte."""

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gevent
from gevent import socket
from gevent.event import Event
from gevent.server import StreamServer

from bridge.providers.base import Outgoing
from bridge.providers.wire.http import Answer, Timeouts, Upstream

LIMIT_SECONDS = 60  # of anything a test waits for; reached only when it fails
SOON = 0.02  # for silences that a test wants to see end
PATIENT = Timeouts(LIMIT_SECONDS, LIMIT_SECONDS, LIMIT_SECONDS)
HELLO = Outgoing("/chat/completions", b'{"model":"m"}')


@dataclasses.dataclass
class Visit:
    """One request that arrived."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int
    sock: Any

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def wait_until_hung_up(self) -> bool:
        """Wait for the client's end; whether it came."""
        self.sock.settimeout(LIMIT_SECONDS)
        try:
            return self.sock.recv(1) == b""
        except ConnectionResetError:
            return True


Play = Callable[[Visit], Any]


def answer(body: bytes = b"{}", status: str = "200 OK", headers: str = "") -> bytes:
    """A whole answer with its length."""
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


def chunked(*chunks: bytes, end: bool = True) -> bytes:
    """A whole answer in chunks, or one that lacks the last."""
    data = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + data + (b"0\r\n\r\n" if end else b"")


def plays(data: bytes, keep: bool = True) -> Play:
    """Answer every request with these bytes."""

    def play(visit: Visit) -> bool:
        visit.send(data)
        return keep

    return play


def read(upstream: Upstream, outgoing: Outgoing = HELLO) -> bytes:
    """Send, and read the whole answer."""
    found = upstream.send(outgoing)
    try:
        return found.read_all(2**20, LIMIT_SECONDS)
    finally:
        found.close()


def pieces(found: Answer) -> list[bytes]:
    """The body, read by read."""
    return list(iter(lambda: found.read_some(LIMIT_SECONDS) or b"", b""))


class SocketServer:
    """Calls `play` for every request; the connection stays open when that returns True."""

    def __init__(self, play: Play, ssl_context: Any = None):
        self.visits: list[Visit] = []
        self.connections = 0
        self.closed = 0
        self.close_seen = Event()
        self._play = play
        self._scheme = "https" if ssl_context else "http"
        tls = {"ssl_context": ssl_context} if ssl_context else {}
        self._server = StreamServer(("127.0.0.1", 0), self._serve, backlog=256, **tls)
        self._server.start()

    @property
    def port(self) -> int:
        return int(self._server.server_port)

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.port}"

    def stop(self) -> None:
        self._server.stop(timeout=0)

    def wait_until_closed(self, count: int) -> None:
        """Wait until that many connections are over."""
        while self.closed < count:
            self.close_seen.clear()
            assert self.close_seen.wait(LIMIT_SECONDS), f"{self.closed} connections are over, not {count}"

    def _serve(self, sock: Any, address: object) -> None:
        self.connections += 1
        number = self.connections
        try:
            with sock.makefile("rb") as incoming:
                while visit := _read_request(incoming, number, sock):
                    self.visits.append(visit)
                    if self._play(visit) is not True:
                        break
        except ConnectionError:
            pass
        finally:
            sock.close()
            self.closed += 1
            self.close_seen.set()


@contextmanager
def serving(play: Play, ssl_context: Any = None) -> Iterator[SocketServer]:
    server = SocketServer(play, ssl_context)
    try:
        yield server
    finally:
        server.stop()


def splice(visit: Visit, port: int) -> None:
    """Play a proxy's tunnel to a port of this machine, until the client ends it."""
    with socket.create_connection(("127.0.0.1", port)) as far:
        visit.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        pumps = [gevent.spawn(_pump, visit.sock, far), gevent.spawn(_pump, far, visit.sock)]
        gevent.joinall(pumps, count=1)
        gevent.killall(pumps)


def _pump(source: Any, sink: Any) -> None:
    while data := source.recv(65536):
        sink.sendall(data)


def _read_request(incoming: Any, number: int, sock: Any) -> Visit | None:
    line = incoming.readline().decode("latin-1").split()
    if not line:
        return None
    headers = {}
    while header := incoming.readline().decode("latin-1").strip():
        name, _, value = header.partition(":")
        assert name.lower() not in headers, f"{name} came twice"
        headers[name.lower()] = value.strip()
    body = incoming.read(int(headers.get("content-length", 0)))
    return Visit(line[0], line[1], headers, body, number, sock)
