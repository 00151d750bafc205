"""The client's end of a stream's connection, as far as the server shows it."""

import contextlib
import socket
from wsgiref.types import WSGIEnvironment

from bridge.inference.own_page import CLIENT

CLIENT_SLOW = "bridge.client_slow"  # in the environ: closes a client that took nothing for too long


class HttpClient:
    """The client that sent the request."""

    __slots__ = ("_environ", "_socket")

    def __init__(self, environ: WSGIEnvironment):
        environ = environ.get(CLIENT, environ)
        self._environ = environ
        self._socket: socket.socket | None = environ.get("gunicorn.socket")

    def has_left(self) -> bool:
        """Whether the client has closed its side, by a peek that consumes nothing; False if unknown.

        It peeks at the plain socket beneath gevent's, which would wait for something to read."""
        if self._socket is None:
            return False
        try:
            plain = getattr(self._socket, "_sock", self._socket)
            return bool(plain.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b"")
        except BlockingIOError:
            return False
        except OSError:
            return True

    @property
    def is_slow(self) -> bool:
        """Whether the client was closed because it took nothing for too long."""
        return CLIENT_SLOW in self._environ

    def close_slow(self) -> None:
        """Close the client because it took nothing for too long."""
        if self._socket is not None:
            self._environ[CLIENT_SLOW] = True
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
