"""Keeps connections to one upstream: they are waited for before they are read, and kept while idle."""

import math
import time
from collections import deque
from typing import Any

from gevent import get_hub, socket, ssl
from gevent.socket import wait

from bridge.providers.wire.dial import Dialer

READ_BYTES = 64 * 1024
TICK_SECONDS = 5.0
# below the 60 s after which many routers forget a connection without a word
MAX_IDLE_SECONDS = 55.0
_NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class _Silence(Exception):  # noqa: N818 - not an error: nothing came in time
    """Thrown into the greenlet that waits for bytes."""


class NeverSent(Exception):  # noqa: N818 - decides whether the request may go out again
    """The connection was dead before a byte of the request left."""


class Connection:
    """A connected socket that is waited for before it is read, so that each read is one system call."""

    __slots__ = ("idle_since", "_sock", "_secure", "_hub", "_timer", "_rings_at", "_deadline")

    def __init__(self, sock: Any):
        sock.settimeout(0.0)
        self.idle_since = 0.0
        self._sock = sock
        self._secure = isinstance(sock, ssl.SSLSocket)
        self._hub = get_hub()
        self._timer: Any = None
        self._rings_at = math.inf
        self._deadline = 0.0

    def send(self, data: bytes, timeout_seconds: float) -> None:
        """Send all of it. Raises NeverSent, or OSError when it broke later."""
        sent = 0
        if not self._secure:
            try:
                sent = self._sock.send(data)
            except BlockingIOError:
                pass
            except OSError:
                raise NeverSent from None
            if sent == len(data):
                return
        self._sock.settimeout(timeout_seconds)
        self._sock.sendall(memoryview(data)[sent:])
        self._sock.settimeout(0.0)

    def wait_readable(self, timeout_seconds: float) -> bool:
        """Wait for bytes, an end or a failure; False after that much silence. Raises OSError when closed meanwhile."""
        if self._secure and self._sock.pending():
            return True
        self._deadline = time.monotonic() + timeout_seconds
        if self._rings_at > self._deadline:
            self._set_timer(timeout_seconds)
        while True:
            try:
                wait(self._sock._read_event)
            except _Silence:
                # thrown for an earlier wait if bytes and bell came at the same moment
                if time.monotonic() >= self._deadline:
                    return False
                self._set_timer(self._deadline - time.monotonic())
            else:
                return True

    def receive(self) -> bytes | None:
        """One read: bytes, b"" at the end, None when it was only the beginning of a TLS record. Raises OSError."""
        try:
            data: bytes = self._sock.recv(READ_BYTES)
        except _NOT_NOW:
            return None
        return data

    def is_alive(self) -> bool:
        """Whether an idle connection is open and silent: an end, a failure or stray bytes all make it unusable."""
        try:
            # the raw socket: gevent's select knows no descriptor above 1023, and TLS has no peek
            self._sock._sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def close(self) -> None:
        self._stop_timer()
        self._sock.close()

    def _set_timer(self, after_seconds: float) -> None:
        """Ring in time for the deadline, or earlier.

        The timer runs on while waits end and deadlines move: one for each wait would cost more than the read."""
        self._stop_timer()
        after_seconds = min(TICK_SECONDS, max(0.0, after_seconds))
        self._rings_at = time.monotonic() + after_seconds
        self._timer = self._hub.loop.timer(after_seconds, ref=False)
        self._timer.start(self._ring)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.close()
            self._timer = None
        self._rings_at = math.inf

    def _ring(self) -> None:
        left = self._deadline - time.monotonic()
        if left > 0:
            self._set_timer(left)
        else:
            self._stop_timer()
            self._hub.cancel_wait(self._sock._read_event, _Silence)


class Pool:
    """Idle connections to one upstream, the latest used first. There is no limit on how many are in use."""

    def __init__(self, dialer: Dialer, size: int):
        self._dialer = dialer
        self._size = size
        self._idle: deque[Connection] = deque()
        self._timer: Any = None

    def take(self) -> Connection | None:
        """An idle connection that is alive, if there is one."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_alive():
                return connection
            connection.close()
        return None

    def connect(self, timeout_seconds: float) -> Connection:
        """A new connection. Raises AttemptFailed."""
        return Connection(self._dialer.connect(timeout_seconds))

    def give_back(self, connection: Connection) -> None:
        if len(self._idle) >= self._size:
            connection.close()
            return
        connection.idle_since = time.monotonic()
        self._idle.append(connection)
        if self._timer is None:
            self._set_timer(MAX_IDLE_SECONDS)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.close()
            self._timer = None
        self._size = 0
        while self._idle:
            self._idle.pop().close()

    def _set_timer(self, after_seconds: float) -> None:
        self._timer = get_hub().loop.timer(after_seconds, ref=False)
        self._timer.start(self._close_old)

    def _close_old(self) -> None:
        self._timer.close()
        self._timer = None
        oldest = time.monotonic() - MAX_IDLE_SECONDS
        while self._idle and self._idle[0].idle_since <= oldest:
            self._idle.popleft().close()
        if self._idle:
            self._set_timer(self._idle[0].idle_since - oldest)
