"""A TCP proxy between the gateway and its database or Redis, which a test can slow, freeze and cut."""

import contextlib
from typing import Any

import gevent
from gevent import socket
from gevent.event import Event
from gevent.server import StreamServer

PIECE_BYTES = 2**16


class Proxy:
    """Passes everything on to a port of this machine, both ways. `freeze()` takes connections and bytes and passes
    nothing on until `thaw()`; `delay_seconds` holds each piece up; `sent` is what clients have sent so far."""

    def __init__(self, port: int, host: str = "127.0.0.1"):
        self._target = (host, port)
        self._open = Event()
        self._open.set()
        self._sockets: set[Any] = set()
        self.delay_seconds = 0.0
        self.sent = bytearray()
        self._server = StreamServer(("127.0.0.1", 0), self._serve)
        self._server.start()

    @property
    def port(self) -> int:
        return int(self._server.server_port)

    def freeze(self) -> None:
        self._open.clear()

    def thaw(self) -> None:
        self._open.set()

    def cut(self) -> None:
        """End every connection."""
        for sock in list(self._sockets):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._server.stop(timeout=0)
        self.thaw()
        self.cut()

    def _serve(self, client: Any, _address: Any) -> None:
        with client, contextlib.suppress(OSError), socket.create_connection(self._target) as server:
            self._sockets |= {client, server}
            try:
                ways = [gevent.spawn(self._pass, client, server, self.sent), gevent.spawn(self._pass, server, client)]
                gevent.joinall(ways, count=1)
                gevent.killall(ways)
            finally:
                self._sockets -= {client, server}

    def _pass(self, source: Any, target: Any, noted: bytearray | None = None) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(PIECE_BYTES):
                if noted is not None:
                    noted += data
                if self.delay_seconds:
                    gevent.sleep(self.delay_seconds)
                self._open.wait()
                target.sendall(data)
