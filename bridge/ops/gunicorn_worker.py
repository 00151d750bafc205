"""gunicorn's gevent worker with some costs taken off each request: an access line that nobody reads, hooks that nobody
set, a timer for each wait between requests, and a system call of its own for the head of each answer.

It also closes idle connections once it is told to stop, and those whose clients take nothing for too long."""

import contextlib
import errno
import functools
import time
from typing import Any

import gevent
from gevent import socket
from gunicorn import util
from gunicorn.glogging import Logger
from gunicorn.http import wsgi
from gunicorn.workers.ggevent import GeventWorker

LOOK_SECONDS = 0.25


class Log(Logger):
    """gunicorn's own log without its access line: it would be put together for each request and then thrown away."""

    def access(self, *arguments: Any, **more: Any) -> None:
        """Nothing: a request's line is ours to write."""


class Settings:
    """gunicorn's settings, each looked up once: it asks for some of them a dozen times a request. In a worker they
    don't change any more."""

    def __init__(self, settings: Any):
        self._settings = settings

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._settings, name)
        self.__dict__[name] = value
        return value


@functools.lru_cache(maxsize=1)
def format_date(seconds: int) -> str:
    """Seconds since 1970 as the header Date has them: the same for all answers of a second."""
    return util.http_date(seconds)


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
        major, minor = self.req.version
        lines = [
            f"HTTP/{major}.{minor} {self.status}\r\nServer: {self.version}\r\nDate: {format_date(int(time.time()))}\r\n"
            f"Connection: {'close' if self.should_close() else 'keep-alive'}\r\n",
            "Transfer-Encoding: chunked\r\n" if self.chunked else "",
            *[f"{name}: {value}\r\n" for name, value in self.headers],
            "\r\n",
        ]
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


class Idle:
    """Notes since when a connection waits for its next request. gunicorn enters it before each."""

    def __init__(self, since: dict[Any, float]):
        self._since = since

    def __enter__(self) -> None:
        self._since[gevent.getcurrent()] = time.monotonic()

    def __exit__(self, *about: Any) -> None:
        self._since.pop(gevent.getcurrent(), None)


class Worker(GeventWorker):
    """Closes what has been idle for `keepalive` seconds, and all that is idle once it is told to stop: else a router
    that keeps its connections open would make every deploy wait for the whole grace time."""

    cfg: Any

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.cfg = Settings(self.cfg)
        self.clients: dict[Any, Any] = {}  # by the greenlet that serves them
        self.idle_since: dict[Any, float] = {}

    def timeout_ctx(self) -> Idle:
        return Idle(self.idle_since)

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.clients[gevent.getcurrent()] = client
        try:
            super().handle(listener, client, addr)
        finally:
            self.clients.pop(gevent.getcurrent(), None)

    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> None:
        """As gunicorn's, without what we don't use: its hooks, its access line, its file wrapper, its request limit."""
        try:
            answer, environ = wsgi.create(req, sock, addr, listener_name, self.cfg)
            environ["wsgi.multithread"] = True
            if not self.alive:
                answer.force_close()
            body = self.wsgi(environ, answer.start_response)
            try:
                for piece in body:
                    answer.write(piece)
                answer.close()
            finally:
                if hasattr(body, "close"):
                    body.close()
        except (OSError, StopIteration):
            raise
        except (gevent.GreenletExit, SystemExit):
            return
        except Exception:  # what could still be said would come too late or in the middle of something
            self.log.exception("Error handling request")
            raise StopIteration from None
        if answer.should_close():
            raise StopIteration

    def run(self) -> None:
        gevent.spawn(self._close_idle)
        super().run()

    def _close_idle(self) -> None:
        while True:
            gevent.sleep(LOOK_SECONDS)
            latest = time.monotonic() - (self.cfg.keepalive if self.alive else 0)
            for connection, since in list(self.idle_since.items()):
                if since <= latest and connection in self.clients:
                    # its next read finds the end; a request that has just come in is still read, and answered
                    with contextlib.suppress(OSError):
                        self.clients[connection].shutdown(socket.SHUT_RD)
