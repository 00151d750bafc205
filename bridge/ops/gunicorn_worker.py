"""gunicorn's gevent worker without some costs of each request: an access line that nobody reads, hooks that nobody
sets, a stream for errors, a timer for each wait between requests, and a system call for the head of each answer.

It also ends in the way that a deploy needs, and closes connections whose clients take nothing for too long."""

import contextlib
import errno
import functools
import time
from collections.abc import Callable
from typing import Any

import gevent
from gevent import select, socket
from gevent.pool import Pool
from gevent.server import StreamServer
from gunicorn import util
from gunicorn.glogging import Logger
from gunicorn.http import message, wsgi
from gunicorn.http.errors import InvalidRequestLine, ParseException
from gunicorn.http.parser import RequestParser
from gunicorn.workers.ggevent import GeventWorker

from bridge.headers import CommonHeaders, ReadyHeaders
from bridge.ops.chunks import Chunks
from bridge.ops.last_stop import LastStop, drop_handshakes
from bridge.ops.malformed import explain_fault, write_refusal
from bridge.telemetry import log_refusal, new_request_id

LOOK_SECONDS = 0.25
BODY_IS_HERE = "bridge.body_is_here"  # in the environ of a request whose body came with its head
CLIENT_SLOW = "bridge.client_slow"  # in the environ of a request whose client took nothing for too long
ACCEPT_ON_SECONDS = 1.0  # after the signal to stop: routers learn of it a moment later
HANDSHAKE_SECONDS = 0.3  # for those that have begun: a round trip, also around the earth
IDLE_SECONDS = 1.0  # then connections that have been idle for so long are closed
GRACE_BEYOND_DRAIN_SECONDS = 5  # for a stream's last check, its charge, and waiting for the database
LINGER_SECONDS = 10.0
DISCARD_BYTES = 2**16
CARRIAGE_RETURN = 13


class SlowClient(BrokenPipeError):
    """The client took nothing for too long."""


class Log(Logger):
    """gunicorn's own log without its access line, which would be made for each request and then thrown away."""

    def access(self, *arguments: Any, **more: Any) -> None:
        """Do nothing: we log requests ourselves."""


class Settings:
    """gunicorn's settings, each looked up once: it reads some of them a dozen times per request, and in a worker they
    don't change."""

    def __init__(self, settings: Any):
        self._settings = settings

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._settings, name)
        self.__dict__[name] = value
        return value


@functools.lru_cache(maxsize=1)
def format_date(seconds: int) -> str:
    """Seconds since 1970 in the Date header's form; cached, since all answers of a second share it."""
    return str(util.http_date(seconds))


class Response(wsgi.Response):
    """An answer whose head goes out with the first bytes of its body."""

    slow_client_seconds = 60.0
    headers: Any
    headers_sent: bool
    sock: Any
    status_code: int
    response_length: int | None

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._head = b""

    def start_response(self, status: str, headers: Any, exc_info: Any = None) -> Any:
        """Like gunicorn's, but headers that are ready aren't checked."""
        if type(headers) is not ReadyHeaders or self.req.method == "HEAD":
            return super().start_response(status, headers, exc_info)
        self.status, self.status_code, self.headers = status, int(status[:3]), headers
        self.response_length = headers.length
        self.chunked = self.is_chunked()
        return self.write

    def should_close(self) -> bool:
        """Like gunicorn's; also after a malformed body, since nobody knows where the next request would begin."""
        return self.req.body.failed or bool(super().should_close())

    def send_headers(self) -> None:
        if self.headers_sent:
            return
        major, minor = self.req.version
        own, common = self.headers, ""
        if type(self.headers) is ReadyHeaders:
            own, common = self.headers[: self.headers.own_count], self.headers.common.text
        lines = [
            f"HTTP/{major}.{minor} {self.status}\r\nServer: {self.version}\r\nDate: {format_date(int(time.time()))}\r\n"
            f"Connection: {'close' if self.should_close() else 'keep-alive'}\r\n",
            "Transfer-Encoding: chunked\r\n" if self.chunked else "",
            *[f"{name}: {value}\r\n" for name, value in own],
            common,
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
        """Send all of the data. A client that takes nothing for too long counts as gone."""
        sent = self._send_now(data)
        while sent < len(data):
            with gevent.Timeout(self.slow_client_seconds, SlowClient(errno.EPIPE, "the client reads too slowly")):
                sent += self.sock.send(data[sent : sent + 2**16])

    def _send_now(self, data: bytes) -> int:
        """Send what the socket takes at once. gevent's own sendall first asks for the buffer's size, each time."""
        try:
            return int(getattr(self.sock, "_sock", self.sock).send(data))
        except BlockingIOError:
            return 0


class Request(message.Request):
    """A request whose proxy headers gunicorn doesn't trust: TRUST_PROXY decides about them, behind the server."""

    def __init__(self, *arguments: Any) -> None:
        try:
            super().__init__(*arguments)
        except ParseException as error:
            error.request = self  # marks it as not yet answered, unlike a fault in a body
            raise

    def _parse_python(self, unreader: Any, buffer: bytearray) -> Any:
        """Like gunicorn's, but bytes that don't begin with a letter, as in TLS, are refused without waiting for a
        line's end."""
        if not 32 < buffer[0] < 127 and buffer[0] != CARRIAGE_RETURN:
            raise InvalidRequestLine("")
        return super()._parse_python(unreader, buffer)

    def _peer_is_trusted_proxy(self) -> bool:
        return False


# gunicorn looks up its classes by these names
wsgi.Response = Response
wsgi.WSGIErrorsWrapper = functools.lru_cache(maxsize=1)(wsgi.WSGIErrorsWrapper)  # each new one looks up the logger
RequestParser.mesg_class = Request
message.ChunkedReader = Chunks


class Idle:
    """Records since when a connection has waited for its next request. gunicorn enters it before each request."""

    def __init__(self, since: dict[Any, float]):
        self._since = since

    def __enter__(self) -> None:
        self._since[gevent.getcurrent()] = time.monotonic()

    def __exit__(self, *about: Any) -> None:
        self._since.pop(gevent.getcurrent(), None)


class Worker(GeventWorker):
    """Closes connections that have been idle for `keepalive` seconds. When told to stop, it loses nothing that it has
    accepted.

    It accepts for another moment and answers with `Connection: close`, so that a router lets go of its connections by
    itself. Then it accepts nothing new, closes idle connections, and lets the others finish. Shortly before gunicorn
    would kill it, it cuts the rest: each then ends as if its client had left."""

    cfg: Any
    common_headers = CommonHeaders()
    last_stop: LastStop | None = None  # None: nobody tells, and listeners are closed as they are
    is_busy: Callable[[], bool] = staticmethod(lambda: False)  # whether requests go on whose clients have left

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.cfg = Settings(self.cfg)
        self.clients: dict[Any, Any] = {}  # by the greenlet that serves them
        self.idle_since: dict[Any, float] = {}
        self.finished = 0  # requests that finished since it was told to stop
        self.cut = 0  # and those that were cut
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

    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> None:  # noqa: C901 - gunicorn's own, with its cases
        """Like gunicorn's, without what we don't use: its hooks, its access line, its file wrapper, its request
        limit."""
        answer = None
        try:
            answer, environ = wsgi.create(req, sock, addr, listener_name, self.cfg)
            environ["wsgi.multithread"] = True
            environ[BODY_IS_HERE] = is_here(req)
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
        except Exception:
            if answer is None or not answer.headers_sent:
                raise
            # anything sent now would come too late, or in the middle of the answer
            self.log.exception("Error handling request")
            raise StopIteration from None
        if not self.alive:
            self.finished += 1
        if answer.should_close():
            if is_unread(req):
                discard(sock)
            raise StopIteration

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Answer requests that can't be read and those that failed before an answer began; each is logged."""
        malformed = getattr(exc, "request", None)
        if not isinstance(exc, Exception):
            return
        if malformed is None and req is None and isinstance(exc, ParseException):
            discard(client)  # the rest of an unread body: its request has its answer
            return
        error, request_id = explain_fault(exc if malformed is not None else RuntimeError()), new_request_id()
        if malformed is None:
            self.log.error("Error handling request %s", request_id, exc_info=exc)
        else:
            log_refusal(request_id, None, error.status, error.code)
        with_body = getattr(malformed or req, "method", None) != "HEAD"
        with contextlib.suppress(OSError), gevent.Timeout(LINGER_SECONDS, False):
            client.sendall(write_refusal(error, request_id, self.common_headers, with_body))
            discard(client)

    def run(self) -> None:
        pool = Pool(self.worker_connections)
        servers = [StreamServer(each, functools.partial(self.handle, each), spawn=pool) for each in self.sockets]
        for server in servers:
            if self.cfg.workers > 1:
                server.max_accept = 1  # leave some for the other workers
            server.start()
        gevent.spawn(self._close_idle)
        while self.alive:
            self.notify()
            gevent.sleep(LOOK_SECONDS)
        told_at = time.monotonic()
        self._accept_the_last(servers, told_at + ACCEPT_ON_SECONDS)
        self._closed_at = time.monotonic()
        cut_at = told_at + self.cfg.graceful_timeout - 1
        while (pool or self.is_busy()) and time.monotonic() < cut_at:
            self.notify()
            if pool:
                pool.join(LOOK_SECONDS)
            else:
                gevent.sleep(LOOK_SECONDS)
        self._cut_the_rest(pool)

    def _accept_the_last(self, servers: list[Any], until: float) -> None:
        """Stop accepting, but only once nobody waits: the kernel would drop the connections that it has already
        accepted. When the gateway stops for good, nobody new can come between the last look and the close."""
        while (seconds := until - time.monotonic()) > 0:
            self.notify()
            gevent.sleep(min(LOOK_SECONDS, seconds))
        if self.last_stop is not None and self.last_stop.has_come():
            for server in servers:
                drop_handshakes(server.socket)
            gevent.sleep(HANDSHAKE_SECONDS)
        until = time.monotonic() + ACCEPT_ON_SECONDS
        while _anyone_waits(servers) and time.monotonic() < until:
            self.notify()
            gevent.sleep(0)
        for server in servers:
            server.close()

    def _cut_the_rest(self, pool: Pool) -> None:
        """Break each connection, wherever its greenlet waits for it; streams settle then."""
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
                    # its next read finds the end; a request that has just arrived is still read and answered
                    with contextlib.suppress(OSError):
                        self.clients[connection].shutdown(socket.SHUT_RD)

    def _is_idle(self, since: float, now: float) -> bool:
        if self._closed_at is not None:
            return now - max(since, self._closed_at) >= IDLE_SECONDS
        return bool(now - since >= self.cfg.keepalive)


def _anyone_waits(servers: list[Any]) -> bool:
    """Whether connections wait to be accepted."""
    return bool(select.select([server.socket for server in servers], [], [], 0)[0])


def is_unread(req: Any) -> bool:
    """Whether the request's body has not been read to its end."""
    reader = req.body.reader
    return bool(getattr(reader, "length", 0) or getattr(reader, "parser", None))


def is_here(req: Any) -> bool:
    """Whether all of the request's body has come with its head: nobody has to wait for it."""
    length = getattr(req.body.reader, "length", None)
    return length is not None and bool(req.unreader.buf.tell() >= length)


def discard(sock: Any) -> None:
    """Let a client finish sending before its connection is closed. If we closed it at once, the kernel would answer the
    rest of the body with a reset, and our answer could be lost."""
    with contextlib.suppress(OSError), gevent.Timeout(LINGER_SECONDS, False):
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(DISCARD_BYTES):
            pass
