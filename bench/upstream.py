"""The mock upstream, a process of its own: one epoll loop that costs about as much as nginx for a ready answer.

`python -m bench.upstream` prints its port and answers each request with the play that its prompt names, in any dialect,
until its standard input is closed."""

import gc
import heapq
import re
import select
import socket
import sys
import time

from bench.plays import PLAYS, Play

FIND_PLAY = re.compile(rb"play-[a-z-]+").search
FIND_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)").search
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
GOLDEN = 0.6180339887  # spreads the streams' ticks evenly over the pause, whenever they start
PLAYS_BY_NAME = {name.encode(): play for name, play in PLAYS.items()}


class Connection:
    """A client's connection: the received part of its request, and how far its answer is."""

    __slots__ = ("incoming", "play", "rest", "socket", "step")

    def __init__(self, accepted: socket.socket):
        self.socket = accepted
        self.incoming = b""
        self.play: Play | None = None
        self.step = 0
        self.rest = b""


class Upstream:
    """The loop: accepts, reads requests, writes what is due."""

    def __init__(self, port: int = 0):
        self.listener = socket.create_server(("127.0.0.1", port), backlog=4096)
        self.listener.setblocking(False)
        self.port: int = self.listener.getsockname()[1]
        self.poll = select.epoll()
        self.poll.register(self.listener, select.EPOLLIN)
        self.connections: dict[int, Connection] = {}
        self.due: list[tuple[float, int, Connection]] = []
        self.streams = 0

    def run(self, until_closed: int) -> None:
        """Serve until the descriptor `until_closed` (our standard input) is at its end."""
        self.poll.register(until_closed, select.EPOLLIN | select.EPOLLHUP)
        listening, connections = self.listener.fileno(), self.connections
        while True:
            if self.due:
                # select, unlike epoll, waits for less than a millisecond
                select.select((self.poll,), (), (), max(0.0, self.due[0][0] - time.monotonic()))
            for descriptor, _ in self.poll.poll(0 if self.due else -1):
                if descriptor == listening:
                    self._accept()
                elif descriptor == until_closed:
                    return
                else:
                    self._read(connections[descriptor])
            if self.due:
                self._write_due()

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self.listener.accept()
            except BlockingIOError:
                return
            accepted.setblocking(False)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections[accepted.fileno()] = Connection(accepted)
            self.poll.register(accepted, select.EPOLLIN)

    def _read(self, connection: Connection) -> None:
        try:
            data = connection.socket.recv(262_144)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._close(connection)
            return
        if connection.incoming:
            data = connection.incoming + data
        head_end = data.find(b"\r\n\r\n") + 4
        length = FIND_LENGTH(data, 0, head_end) if head_end > 3 else None
        if head_end <= 3 or (length and len(data) < head_end + int(length[1])):
            connection.incoming = data
            return
        connection.incoming = b""
        self._answer(connection, FIND_PLAY(data))

    def _answer(self, connection: Connection, name: re.Match[bytes] | None) -> None:
        play = PLAYS_BY_NAME.get(name[0]) if name else None
        if play is None:
            self._send(connection, NOT_FOUND)
            return
        if self._send(connection, play.writes[0]) and (connection.rest or len(play.writes) > 1):
            connection.play, connection.step = play, 1
            self.streams += 1
            phase = self.streams * GOLDEN % 1.0
            heapq.heappush(self.due, (time.monotonic() + play.pause_seconds * (phase or 1.0), self.streams, connection))

    def _write_due(self) -> None:
        now = time.monotonic()
        while self.due and self.due[0][0] <= now:
            planned, number, connection = heapq.heappop(self.due)
            play = connection.play
            if play is None:  # the client left
                continue
            if not connection.rest:
                connection.rest = play.writes[connection.step]
                connection.step += 1
            if not self._send(connection, connection.rest):
                continue
            if connection.rest:  # the client reads slowly: the rest follows a little later
                heapq.heappush(self.due, (now + 0.001, number, connection))
            elif connection.step < len(play.writes):
                pause = play.pause_seconds
                following = planned + pause if planned + pause > now else now + pause  # no catching up with two at once
                heapq.heappush(self.due, (following, number, connection))
            else:
                connection.play = None

    def _send(self, connection: Connection, data: bytes) -> bool:
        """Write what the socket takes and store the rest; False if the client has left."""
        try:
            sent = connection.socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._close(connection)
            return False
        connection.rest = data[sent:] if sent < len(data) else b""
        return True

    def _close(self, connection: Connection) -> None:
        connection.play = None
        if self.connections.pop(connection.socket.fileno(), None):
            connection.socket.close()


def main() -> None:
    """Serve on a free port until standard input ends."""
    upstream = Upstream()
    gc.disable()
    print(upstream.port, flush=True)
    upstream.run(until_closed=sys.stdin.fileno())


if __name__ == "__main__":
    main()
