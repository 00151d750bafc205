"""gunicorn's gevent worker with three costs taken off each request: an access line that nobody reads, a timer for each
wait between requests, and a system call of its own for the head of each answer.

It also closes idle connections once it is told to stop, and those whose clients take nothing for too long."""

import errno
import time
from typing import Any

import gevent
from gevent import socket
from gunicorn.glogging import Logger
from gunicorn.http import wsgi
from gunicorn.workers.ggevent import GeventWorker

LOOK_SECONDS = 0.25


class Log(Logger):
    """gunicorn's own log without its access line: it would be put together for each request and then thrown away."""

    def access(self, *arguments: Any, **more: Any) -> None:
        """Nothing: a request's line is ours to write."""


class Response(wsgi.Response):
    """An answer whose head goes out with the first bytes of its body."""

    slow_client_seconds = 60.0
    headers_sent: bool
    sock: Any

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._head = b""

    def send_headers(self) -> None:
        if self.headers_sent:
            return
        lines = [*self.default_headers(), *[f"{name}: {value}\r\n" for name, value in self.headers], "\r\n"]
        self._head = "".join(lines).encode("latin-1")
        self.headers_sent = True

    def _emit_body(self, data: bytes) -> None:
        if self.chunked:
            data = b"%b%X\r\n%b\r\n" % (self._head, len(data), data)
        else:
            data = self._head + data
        self._head = b""
        self._send(data)

    def close(self) -> None:
        if not self.headers_sent:
            self.send_headers()
        data = self._head + (b"0\r\n\r\n" if self.chunked else b"")
        self._head = b""
        if data:
            self._send(data)

    def _send(self, data: bytes) -> None:
        """Send all of it. A client that takes nothing for too long has left, as far as we are concerned."""
        sent = self._send_now(data)
        while sent < len(data):
            with gevent.Timeout(self.slow_client_seconds, BrokenPipeError(errno.EPIPE, "the client reads too slowly")):
                sent += self.sock.send(data[sent : sent + 2**16])

    def _send_now(self, data: bytes) -> int:
        """What the socket takes at once. gevent's own sendall asks for the buffer's size first, each time."""
        try:
            return int(getattr(self.sock, "_sock", self.sock).send(data))
        except BlockingIOError:
            return 0


wsgi.Response = Response  # gunicorn's workers make their answers by this name


class IdleOver(BaseException):
    """A connection has waited long enough for its next request."""


class Idle:
    """Notes since when a connection waits for its next request. gunicorn enters it before each."""

    def __init__(self, since: dict[Any, float]):
        self._since = since

    def __enter__(self) -> None:
        self._since[gevent.getcurrent()] = time.monotonic()

    def __exit__(self, kind: type[BaseException] | None, *about: Any) -> bool:
        self._since.pop(gevent.getcurrent(), None)
        return kind is IdleOver  # as if the client had closed it


class Worker(GeventWorker):
    """Closes what has been idle for `keepalive` seconds, and all that is idle once it is told to stop: else a router
    that keeps its connections open would make every deploy wait for the whole grace time."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.idle_since: dict[Any, float] = {}

    def timeout_ctx(self) -> Idle:
        return Idle(self.idle_since)

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().handle(listener, client, addr)

    def run(self) -> None:
        gevent.spawn(self._close_idle)
        super().run()

    def _close_idle(self) -> None:
        while True:
            gevent.sleep(LOOK_SECONDS)
            latest = time.monotonic() - (self.cfg.keepalive if self.alive else 0)
            for connection, since in list(self.idle_since.items()):
                if since <= latest:
                    connection.kill(IdleOver, block=False)
