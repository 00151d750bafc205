"""A SOCKS5 server on loopback: it notes whom it was asked for and how its client signed in, and leads to one port."""

import contextlib
from typing import Any

import gevent
from gevent import socket
from gevent.server import StreamServer

GRANTED = b"\5\0\0\1\0\0\0\0\0\0"


class SocksServer:
    """Leads every connection to `port` of this machine, whatever it was asked for. With a `login` (name, password) it
    takes no client without; `says` is what it answers in place of granting."""

    def __init__(self, port: int = 0, login: tuple[str, str] | None = None, says: bytes = GRANTED):
        self.asked: list[tuple[str, int]] = []
        self.logins: list[tuple[str, str]] = []
        self._port, self._login, self._says = port, login, says
        self._server = StreamServer(("127.0.0.1", 0), self._serve)
        self._server.start()

    def __enter__(self) -> "SocksServer":
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(timeout=0)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.server_port}"

    def _serve(self, sock: Any, _address: object) -> None:
        with sock, sock.makefile("rb") as incoming, contextlib.suppress(OSError):
            _, count = incoming.read(2)
            methods = incoming.read(count)
            wanted = 2 if self._login else 0
            sock.sendall(bytes([5, wanted if wanted in methods else 255]))
            if wanted not in methods or (wanted and not self._sign_in(sock, incoming)):
                return
            self.asked.append(_read_target(incoming))
            sock.sendall(self._says)
            if self._says == GRANTED:
                self._lead(sock)

    def _sign_in(self, sock: Any, incoming: Any) -> bool:
        incoming.read(1)
        name, password = (incoming.read(incoming.read(1)[0]).decode() for _ in range(2))
        self.logins.append((name, password))
        sock.sendall(bytes([1, 0 if (name, password) == self._login else 1]))
        return (name, password) == self._login

    def _lead(self, sock: Any) -> None:
        with socket.create_connection(("127.0.0.1", self._port)) as far:
            ways = [gevent.spawn(_pass_on, sock, far), gevent.spawn(_pass_on, far, sock)]
            gevent.joinall(ways, count=1)
            gevent.killall(ways)


def _read_target(incoming: Any) -> tuple[str, int]:
    kind = incoming.read(4)[3]
    data = incoming.read(incoming.read(1)[0] if kind == 3 else 4 if kind == 1 else 16)
    host = data.decode() if kind == 3 else socket.inet_ntop(socket.AF_INET if kind == 1 else socket.AF_INET6, data)
    return host, int.from_bytes(incoming.read(2), "big")


def _pass_on(source: Any, sink: Any) -> None:
    while data := source.recv(65536):
        sink.sendall(data)
