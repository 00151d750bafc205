"""gunicorn's gevent worker with some costs taken off each request: an access line that nobody reads, hooks that nobody
set, a timer for each wait between requests, and a system call of its own for the head of each answer.

It also ends as a deploy needs it, and closes the connections whose clients take nothing for too long."""

import contextlib
import errno
import functools
import time
from typing import Any

import gevent
from gevent import select, socket
from gevent.pool import Pool
from gevent.server import StreamServer
from gunicorn import util
from gunicorn.glogging import Logger
from gunicorn.http import message, wsgi
from gunicorn.http.parser import RequestParser
from gunicorn.workers.ggevent import GeventWorker

from bridge.headers import ReadyHeaders

LOOK_SECONDS = 0.25
CLIENT_SLOW = "bridge.client_slow"  # in the environ of a request whose client took nothing for too long
ACCEPT_ON_SECONDS = 1.0  # once told to stop: routers hear of it a moment later than we do
IDLE_SECONDS = 1.0  # after that, what a router keeps open and doesn't use for so long is closed
GRACE_BEYOND_DRAIN_SECONDS = 5  # for the last look at a stream, its charge, and a database that has to be waited for
LINGER_SECONDS = 10.0
DISCARD_BYTES = 2**16


class SlowClient(BrokenPipeError):
    """The client took nothing for too long."""


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
    status_code: int
    response_length: int | None

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._head = b""

    def start_response(self, status: str, headers: Any, exc_info: Any = None) -> Any:
        """As gunicorn's, which checks each header, for whatever isn't ready."""
        if type(headers) is not ReadyHeaders or self.req.method == "HEAD":
            return super().start_response(status, headers, exc_info)
        self.status, self.status_code, self.headers = status, int(status[:3]), headers
        self.response_length = headers.length
        self.chunked = self.is_chunked()
        return self.write

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
            with gevent.Timeout(self.slow_client_seconds, SlowClient(errno.EPIPE, "the client reads too slowly")):
                sent += self.sock.send(data[sent : sent + 2**16])

    def _send_now(self, data: bytes) -> int:
        """What the socket takes at once. gevent's own sendall asks for the buffer's size first, each time."""
        try:
            return int(getattr(self.sock, "_sock", self.sock).send(data))
        except BlockingIOError:
            return 0


class Request(message.Request):
    """A request whose sender is nobody to believe about itself: TRUST_PROXY decides that, behind the server."""

    def _peer_is_trusted_proxy(self) -> bool:
        return False


# gunicorn's workers make answers and requests by these names
wsgi.Response = Response
RequestParser.mesg_class = Request


class Idle:
    """Notes since when a connection waits for its next request. gunicorn enters it before each."""

    def __init__(self, since: dict[Any, float]):
        self._since = since

    def __enter__(self) -> None:
        self._since[gevent.getcurrent()] = time.monotonic()

    def __exit__(self, *about: Any) -> None:
        self._since.pop(gevent.getcurrent(), None)


class Worker(GeventWorker):
    """Closes what has been idle for `keepalive` seconds. Told to stop, it loses nothing that it has accepted.

    It goes on accepting for a moment, and says `Connection: close` to whoever asks, so that a router lets go of its
    connections by itself. Then nothing new is accepted, what still lies idle is closed, and the rest may finish.
    Shortly before gunicorn would kill it, it cuts what is left: each then ends as if its client had gone."""

    cfg: Any

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.cfg = Settings(self.cfg)
        self.clients: dict[Any, Any] = {}  # by the greenlet that serves them
        self.idle_since: dict[Any, float] = {}
        self.finished = 0  # requests answered to their end since it was told to stop
        self.cut = 0  # and those that had to be ended by force
        self._closed_at: float | None = None  # when the last chance for idle connections began

    def timeout_ctx(self) -> Idle:
        return Idle(self.idle_since)

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        if client.family != socket.AF_UNIX:
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
            except SlowClient:
                environ[CLIENT_SLOW] = True
                raise
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
        if not self.alive:
            self.finished += 1
        if answer.should_close():
            if is_unread(req):
                discard(sock)
            raise StopIteration

    def run(self) -> None:
        pool = Pool(self.worker_connections)
        servers = [StreamServer(each, functools.partial(self.handle, each), spawn=pool) for each in self.sockets]
        for server in servers:
            if self.cfg.workers > 1:
                server.max_accept = 1  # leave some for the others
            server.start()
        gevent.spawn(self._close_idle)
        while self.alive:
            self.notify()
            gevent.sleep(LOOK_SECONDS)
        told_at = time.monotonic()
        self._accept_the_last(servers, told_at + ACCEPT_ON_SECONDS)
        self._closed_at = time.monotonic()
        cut_at = told_at + self.cfg.graceful_timeout - 1
        while pool and time.monotonic() < cut_at:
            self.notify()
            pool.join(LOOK_SECONDS)
        self._cut_the_rest(pool)

    def _accept_the_last(self, servers: list[Any], until: float) -> None:
        """Close the doors, but only once nobody waits outside: whom the kernel has let in would be thrown out."""
        while (now := time.monotonic()) < until or (_anyone_waits(servers) and now < until + ACCEPT_ON_SECONDS):
            self.notify()
            gevent.sleep(min(LOOK_SECONDS, max(0, until - now)))
        for server in servers:
            server.close()

    def _cut_the_rest(self, pool: Pool) -> None:
        """Each connection breaks, wherever its greenlet waits for it; streams settle then."""
        self.cut = len(pool) - len(self.idle_since)
        for client in list(self.clients.values()):
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        pool.join(LOOK_SECONDS)

    def _close_idle(self) -> None:
        while True:
            gevent.sleep(LOOK_SECONDS)
            now = time.monotonic()
            for connection, since in list(self.idle_since.items()):
                if connection in self.clients and self._is_idle(since, now):
                    # its next read finds the end; a request that has just come in is still read, and answered
                    with contextlib.suppress(OSError):
                        self.clients[connection].shutdown(socket.SHUT_RD)

    def _is_idle(self, since: float, now: float) -> bool:
        if self._closed_at is not None:
            return now - max(since, self._closed_at) >= IDLE_SECONDS
        return now - since >= self.cfg.keepalive


def _anyone_waits(servers: list[Any]) -> bool:
    """Whether connections wait to be accepted."""
    return bool(select.select([server.socket for server in servers], [], [], 0)[0])


def is_unread(req: Any) -> bool:
    """Whether the request's body has not come to its end."""
    reader = req.body.reader
    return bool(getattr(reader, "length", 0) or getattr(reader, "parser", None))


def discard(sock: Any) -> None:
    """Let a client whose connection ends here finish what it sends. Were it closed at once, the kernel would answer
    the rest of its body with a reset, and our answer could be lost with it."""
    with contextlib.suppress(OSError), gevent.Timeout(LINGER_SECONDS, False):
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(DISCARD_BYTES):
            pass
