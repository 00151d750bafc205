"""Which connections to an upstream are used again, which are replaced, which are closed; and no request twice."""

import socket as plain_socket
from typing import Any

import gevent
import pytest
from gevent.event import Event

from bridge.providers.base import AttemptFailed, Blame
from bridge.providers.wire import connections
from tests.providers.socket_server import HELLO, LIMIT_SECONDS, Visit, answer, chunked, plays, read, serving


@pytest.mark.parametrize("data", [answer(b"hi"), chunked(b"hi"), answer(b"", "204 No Content")])
def test_a_connection_is_used_again(connect: Any, data: bytes) -> None:
    with serving(plays(data)) as server:
        upstream = connect(server.url)
        for _ in range(3):
            read(upstream)
        assert [visit.connection for visit in server.visits] == [1, 1, 1]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(answer(b"hi", headers="Connection: close\r\n"), id="said to close"),
        pytest.param(answer(b"hi") + b"stray", id="stray bytes"),
        pytest.param(answer(b"hi") + answer(b"someone else's"), id="a second answer"),
        pytest.param(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", id="HTTP 1.0"),
    ],
)
def test_a_connection_that_can_not_be_trusted_is_not_used_again(connect: Any, data: bytes) -> None:
    with serving(plays(data)) as server:
        upstream = connect(server.url)
        assert [read(upstream), read(upstream)] == [b"hi", b"hi"]
        assert [visit.connection for visit in server.visits] == [1, 2]


def test_a_body_that_was_not_read_to_its_end_closes_its_connection(connect: Any) -> None:
    with serving(lambda visit: (visit.send(chunked(b"one", end=False)), visit.wait_until_hung_up())) as server:
        found = connect(server.url).send(HELLO)
        assert found.read_some(LIMIT_SECONDS) == b"one"
        found.close()
        found.close()
        server.wait_until_closed(1)
        with pytest.raises(AttemptFailed, match="closed"):
            found.read_some(LIMIT_SECONDS)


def test_closing_wakes_the_greenlet_that_reads(connect: Any) -> None:
    with serving(lambda visit: (visit.send(chunked(b"one", end=False)), visit.wait_until_hung_up())) as server:
        found = connect(server.url).send(HELLO)
        found.read_some(LIMIT_SECONDS)
        reader = gevent.spawn(pytest.raises, AttemptFailed, found.read_some, LIMIT_SECONDS)
        gevent.idle()
        found.close()
        assert reader.get(timeout=LIMIT_SECONDS).value.blame is Blame.UPSTREAM
        server.wait_until_closed(1)


def test_a_greenlet_that_is_killed_while_it_waits_leaves_no_connection(connect: Any) -> None:
    arrived = Event()

    def play(visit: Visit) -> None:
        arrived.set()
        visit.wait_until_hung_up()

    with serving(play) as server:
        sender = gevent.spawn(connect(server.url).send, HELLO)
        assert arrived.wait(LIMIT_SECONDS)
        sender.kill()
        server.wait_until_closed(1)


def test_an_idle_connection_that_the_upstream_closed_is_replaced(connect: Any) -> None:
    with serving(plays(answer(b"hi"), keep=False)) as server:
        upstream = connect(server.url)
        for count in (1, 2, 3):
            assert read(upstream) == b"hi"
            server.wait_until_closed(count)
        assert [visit.connection for visit in server.visits] == [1, 2, 3]


def test_a_connection_that_breaks_before_a_byte_left_is_replaced_once(
    connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections.Connection, "is_alive", lambda _: True)
    with serving(plays(answer(b"hi"))) as server:
        upstream = connect(server.url)
        read(upstream)
        (idle,) = upstream._adapter._pool._idle
        idle._sock.shutdown(plain_socket.SHUT_WR)
        assert read(upstream) == b"hi"
        assert [visit.connection for visit in server.visits] == [1, 2]


def test_a_request_is_never_replayed_on_a_connection_that_died_after_sending(connect: Any) -> None:
    with serving(lambda visit: len(server.visits) == 1 and (visit.send(answer()) or True)) as server:
        upstream = connect(server.url)
        read(upstream)
        with pytest.raises(AttemptFailed, match="before an answer came"):
            upstream.send(HELLO)
        assert [visit.connection for visit in server.visits] == [1, 1]


def test_a_hundred_streams_at_once_do_not_wait_for_each_other_and_few_connections_stay(connect: Any) -> None:
    everyone = Event()

    def play(visit: Visit) -> bool:
        visit.send(chunked(b"one", end=False))
        if len(server.visits) == 100:
            everyone.set()
        everyone.wait(LIMIT_SECONDS)
        visit.send(b"0\r\n\r\n")
        return True

    with serving(play) as server:
        upstream = connect(server.url, pool_size=2)
        readers = [gevent.spawn(read, upstream) for _ in range(100)]
        assert [reader.get(timeout=LIMIT_SECONDS) for reader in readers] == [b"one"] * 100
        server.wait_until_closed(98)


def test_idle_connections_are_closed_in_time(connect: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MAX_IDLE_SECONDS", 0.0)
    with serving(plays(answer())) as server:
        read(connect(server.url))
        server.wait_until_closed(1)


def test_closing_the_upstream_closes_idle_connections_and_later_those_in_use(connect: Any) -> None:
    with serving(plays(answer(b"hi"))) as server:
        upstream = connect(server.url)
        in_use = upstream.send(HELLO)
        read(upstream)
        upstream.close()
        server.wait_until_closed(1)
        assert in_use.read_all(10, LIMIT_SECONDS) == b"hi"
        in_use.close()
        server.wait_until_closed(2)
