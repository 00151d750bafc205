"""Carries a requests session to an upstream: over our connections, with llhttp's parser from geventhttpclient."""

import math
import time
from typing import Any, cast
from urllib.parse import urlsplit

import gevent
import requests
from geventhttpclient.response import HTTPParseError, HTTPResponseParser
from requests.adapters import HTTPAdapter

from bridge.providers.base import AttemptFailed, Blame
from bridge.providers.wire.connections import Connection, NeverSent, Pool
from bridge.providers.wire.dial import Dialer

MAX_HEAD_BYTES = 256 * 1024


class LeftUnsent(gevent.GreenletExit):
    """The greenlet was ended before a byte of its request had left: the upstream knows nothing of it."""


class Reply(HTTPResponseParser):
    """One answer as it arrives; what requests calls `raw`. The parser calls the methods that begin with _on_."""

    def __init__(self, connection: Connection, pool: Pool):
        super().__init__()
        self.headers: dict[str, str] = {}
        self.ended = False
        self._connection: Connection | None = connection
        self._pool = pool
        self._broken = ""
        self._headers_complete = False
        self._field = ""
        self._value: str | None = None
        self._pieces: list[bytearray] = []
        self._on_body = self._pieces.append

    def read_head(self, timeout_seconds: float, until: float = math.inf) -> None:
        """Read until status and headers are there, for so long, and not beyond `until`. Raises AttemptFailed."""
        deadline = min(time.monotonic() + timeout_seconds, until)
        received = 0
        while not self._headers_complete:
            if received > MAX_HEAD_BYTES:
                raise AttemptFailed(Blame.UPSTREAM, "the answer's headers are too large")
            grown = self._read(deadline - time.monotonic(), "the connection broke before an answer came")
            if grown is None:
                raise AttemptFailed(Blame.UPSTREAM, f"no answer within {timeout_seconds:g} s")
            received += grown

    def read_some(self, timeout_seconds: float) -> bytes | None:
        """Whatever body has arrived; None after that much silence; b"" at the end. Raises AttemptFailed when cut."""
        if not self._pieces and not self.ended:
            deadline = time.monotonic() + timeout_seconds
            left = timeout_seconds
            while not self._pieces and not self.ended:
                if self._read(left, "the answer was cut off") is None:
                    return None
                left = deadline - time.monotonic()
        body = b"".join(self._pieces)
        self._pieces.clear()
        return body

    def close(self) -> None:
        """Give the connection back when another request can use it, else close it."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if self.ended and self.should_keep_alive() and not self.parser_failed():
            self._pool.give_back(connection)
        else:
            connection.close()

    def _read(self, timeout_seconds: float, complaint: str) -> int | None:
        """Wait, read once, parse; the number of bytes, or None after that much silence."""
        connection = self._connection
        if connection is None or self._broken:
            raise AttemptFailed(Blame.UPSTREAM, self._broken or "the answer is closed")
        try:
            if not connection.wait_readable(timeout_seconds):
                return None
            data = connection.receive()
        except OSError:
            raise AttemptFailed(Blame.UPSTREAM, complaint) from None
        if data is None:
            return 0
        try:
            self.feed(data)  # no data is the end of the connection, which may be the answer's end or its cut
            if not data and not self.ended:
                self._broken = complaint
        except HTTPParseError:
            if not self.ended:  # else the answer is whole, and what follows it only costs the connection
                self._broken = "the answer is not HTTP" if data else complaint
        return len(data)

    def _on_message_begin(self) -> None:
        if self.ended:
            raise HTTPParseError("more than one answer")

    def _on_status(self, text: str) -> None:
        pass

    def _on_header_field(self, text: str) -> None:
        if self._headers_complete:
            return  # a trailer: nothing we use, and nothing to fill memory with
        if self._value is not None:
            self._keep_header()
            self._field = ""
        self._field += text

    def _on_header_value(self, text: str) -> None:
        self._value = text if self._value is None else self._value + text

    def _keep_header(self) -> None:
        name, value = self._field.lower(), self._value or ""
        self.headers[name] = f"{self.headers[name]}, {value}" if name in self.headers else value
        self._value = None

    def _on_headers_complete(self) -> None:
        if self._value is not None:
            self._keep_header()
            self._field = ""
        if self.get_code() < 200:
            self.headers.clear()  # "continue" or hints: the answer itself follows
        else:
            self._headers_complete = True

    def _on_message_complete(self) -> None:
        self.ended = self._headers_complete


class PreparedUpstreamRequest(requests.PreparedRequest):
    """A prepared request whose head is rendered once and used for every request to the same path."""

    head: bytes


class LeanResponse(requests.Response):
    """requests' response without the cookie jar that its constructor makes for each: nothing here reads cookies."""

    def __init__(self, request: requests.PreparedRequest, reply: Reply):
        self.__dict__.update(
            request=request,
            url=request.url,
            raw=reply,
            status_code=reply.get_code(),
            headers=reply.headers,
            history=[],
            encoding=None,
            reason="",
            _content=False,
            _content_consumed=False,
            _next=None,
        )


class GeventAdapter(HTTPAdapter):
    """Sends a session's requests to one upstream. urllib3, which the base class would use, is never asked."""

    def __init__(self, dialer: Dialer, pool_size: int):
        super().__init__(pool_connections=1, pool_maxsize=1)
        self._dialer = dialer
        self._pool = Pool(dialer, pool_size)

    def render_head(self, request: requests.PreparedRequest) -> bytes:
        """The request's first line and headers, but for the body's length and the end."""
        url = urlsplit(str(request.url))
        target = request.path_url
        headers = {"Host": url.netloc.rpartition("@")[2], **dict(request.headers or {})}
        if self._dialer.forwards:
            target = f"http://{headers['Host']}{target}"
            if authorization := self._dialer.proxy_authorization:
                headers["Proxy-Authorization"] = authorization
        lines = [f"{request.method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), ""]
        return "\r\n".join(lines).encode("latin-1")

    def send(  # type: ignore[override]
        self,
        request: PreparedUpstreamRequest,
        timeout: tuple[float, float, float] = (5.0, 60.0, math.inf),
        **unused: Any,
    ) -> LeanResponse:
        """Send the request, wait for status and headers; `timeout` is (connect, first byte, and until when in all).
        Raises AttemptFailed, and LeftUnsent where its greenlet is ended while there is no connection.

        A connection from the pool that proves dead before a byte was sent is replaced, once; after that nothing is
        sent again, for the upstream may already be at work, and be paid for it."""
        body = cast(bytes, request.body)
        data = b"%bContent-Length: %d\r\n\r\n%b" % (request.head, len(body), body)
        connect_seconds, first_byte_seconds, until = timeout
        connection = self._pool.take()
        if connection is not None:
            try:
                return self._exchange(connection, request, data, first_byte_seconds, until)
            except NeverSent:
                pass
        failure = AttemptFailed(Blame.UPSTREAM, "the connection broke before the request was sent")
        try:
            connection = self._pool.connect(connect_seconds)
        except AttemptFailed as refused:
            failure = refused
        except gevent.GreenletExit:
            raise LeftUnsent from None
        else:
            try:
                return self._exchange(connection, request, data, first_byte_seconds, until)
            except NeverSent:
                pass
        failure.unsent = True
        raise failure

    def close(self) -> None:
        """Close the idle connections; those in use close when their answers do."""
        self._pool.close()
        super().close()

    def _exchange(
        self,
        connection: Connection,
        request: requests.PreparedRequest,
        data: bytes,
        first_byte_seconds: float,
        until: float,
    ) -> LeanResponse:
        reply = Reply(connection, self._pool)
        try:
            try:
                connection.send(data, max(0.001, min(first_byte_seconds, until - time.monotonic())))
            except TimeoutError:
                raise AttemptFailed(Blame.UPSTREAM, "the upstream does not take the request") from None
            except OSError:
                pass  # it may have answered and closed before reading everything: see what it said
            reply.read_head(first_byte_seconds, until)
        except BaseException:
            reply.close()
            raise
        return LeanResponse(request, reply)
