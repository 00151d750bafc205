"""What goes out to an upstream and what comes back, over real sockets: framing, silence, cuts, limits."""

import hashlib
import socket as plain_socket
from typing import Any

import gevent
import pytest
import responses
from gevent.event import Event

from bridge.providers.base import AttemptFailed, Blame, Outgoing
from bridge.providers.wire import connections
from bridge.providers.wire.http import Timeouts
from tests.providers.socket_server import (
    HELLO,
    LIMIT_SECONDS,
    SOON,
    Visit,
    answer,
    chunked,
    pieces,
    plays,
    read,
    serving,
)

HINTS = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"


def test_the_request_carries_path_body_key_and_asks_for_no_compression(connect: Any) -> None:
    with serving(plays(answer())) as server:
        upstream = connect(server.url + "/v1/", {"Authorization": "Bearer secret"})
        read(upstream, Outgoing("/chat/completions", b"body", (("X-Beta", "tools"), ("accept-encoding", "gzip"))))
        (visit,) = server.visits
    assert (visit.method, visit.target, visit.body) == ("POST", "/v1/chat/completions", b"body")
    assert visit.headers == {
        "host": server.url.removeprefix("http://"),
        "user-agent": "ai-bridge",
        "authorization": "Bearer secret",
        "content-type": "application/json",
        "x-beta": "tools",
        "accept-encoding": "identity",
        "content-length": "4",
    }


def test_get_sends_no_body(connect: Any) -> None:
    with serving(plays(answer(b"models"))) as server:
        found = connect(server.url + "/v1").get("/models")
        assert found.read_all(100, LIMIT_SECONDS) == b"models"
        found.close()
    assert (server.visits[0].method, server.visits[0].target, server.visits[0].body) == ("GET", "/v1/models", b"")


def test_headers_are_there_before_the_body_and_lower_case(connect: Any) -> None:
    more = Event()

    def play(visit: Visit) -> None:
        visit.send(b"HTTP/1.1 429 Slow\r\nContent-Length: 2\r\nRetry-After: 7\r\nX-A: 1\r\nx-a: 2\r\nEmpty:\r\n\r\n")
        more.wait(LIMIT_SECONDS)
        visit.send(b"hi")

    with serving(play) as server:
        found = connect(server.url).send(HELLO)
        assert found.status == 429
        assert found.headers == {"content-length": "2", "retry-after": "7", "x-a": "1, 2", "empty": ""}
        more.set()
        assert pieces(found) == [b"hi"]
        found.close()


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(answer(b"hello world"), id="length"),
        pytest.param(chunked(b"hello", b" ", b"world"), id="chunks"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\nhello world", id="until the end"),
        pytest.param(HINTS + answer(b"hello world"), id="hints"),
        pytest.param(chunked(b"hello world", end=False) + b"0\r\nTrailer: t\r\nTwo: t\r\n\r\n", id="trailer"),
    ],
)
@pytest.mark.parametrize("read_bytes", [1, 65536])
def test_a_body_is_the_same_however_it_is_framed_and_split(
    connect: Any, monkeypatch: pytest.MonkeyPatch, data: bytes, read_bytes: int
) -> None:
    monkeypatch.setattr(connections, "READ_BYTES", read_bytes)
    with serving(plays(data, keep=False)) as server:
        found = connect(server.url).send(HELLO)
        assert found.status == 200
        assert not {"link", "trailer"} & set(found.headers)
        assert b"".join(pieces(found)) == b"hello world"
        assert found.read_some(LIMIT_SECONDS) == b""
        found.close()


def test_a_large_body_arrives_whole_both_ways(connect: Any) -> None:
    sent, received = bytes(range(256)) * 2**15, bytes(range(255, -1, -1)) * 2**12
    with serving(plays(answer(received))) as server:
        assert read(connect(server.url), Outgoing("/x", sent)) == received
        assert hashlib.sha256(server.visits[0].body).digest() == hashlib.sha256(sent).digest()


def test_an_upstream_that_does_not_take_the_request_fails_in_time(connect: Any) -> None:
    with plain_socket.create_server(("127.0.0.1", 0)) as deaf:
        upstream = connect(f"http://127.0.0.1:{deaf.getsockname()[1]}", timeouts=Timeouts(LIMIT_SECONDS, SOON, SOON))
        with pytest.raises(AttemptFailed, match="does not take the request") as failure:
            upstream.send(Outgoing("/x", bytes(2**24)))
        assert failure.value.blame is Blame.UPSTREAM


def test_silence_is_none_and_the_answer_goes_on(connect: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "TICK_SECONDS", 1000.0)
    more = Event()

    def play(visit: Visit) -> None:
        visit.send(chunked(b"one", end=False))
        more.wait(LIMIT_SECONDS)
        visit.send(b"3\r\ntwo\r\n0\r\n\r\n")

    with serving(play) as server:
        found = connect(server.url).send(HELLO, timeouts=Timeouts(LIMIT_SECONDS, 1000, LIMIT_SECONDS))
        assert found.read_some(LIMIT_SECONDS) == b"one"
        with gevent.Timeout(LIMIT_SECONDS):  # the long wait before must not delay the end of a short one
            assert found.read_some(SOON) is None
            assert found.read_some(SOON) is None
        more.set()
        assert b"".join(pieces(found)) == b"two"
        found.close()


def test_half_a_chunk_header_is_silence_not_content(connect: Any) -> None:
    with serving(lambda visit: (visit.send(chunked(end=False) + b"3"), visit.wait_until_hung_up())) as server:
        found = connect(server.url).send(HELLO)
        assert found.read_some(SOON) is None
        found.close()


def test_an_upstream_that_says_nothing_fails_for_want_of_a_first_byte(connect: Any) -> None:
    with serving(lambda visit: visit.wait_until_hung_up()) as server:
        upstream = connect(server.url)
        with pytest.raises(AttemptFailed, match="no answer within") as failure:
            upstream.send(HELLO, timeouts=Timeouts(LIMIT_SECONDS, SOON, LIMIT_SECONDS))
        assert failure.value.blame is Blame.UPSTREAM
        server.wait_until_closed(1)


def test_read_all_gives_up_on_silence(connect: Any) -> None:
    with serving(lambda visit: (visit.send(answer(b"x" * 10)[:-5]), visit.wait_until_hung_up())) as server:
        found = connect(server.url).send(HELLO)
        with pytest.raises(AttemptFailed, match="silent"):
            found.read_all(100, SOON)
        found.close()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (chunked(b"part", end=False), "cut off"),
        (chunked(b"part", end=False) + b"4\r\nha", "cut off"),
        (answer(b"part")[:-1], "cut off"),
        (chunked(b"part", end=False) + b"rubbish\r\n", "not HTTP"),
    ],
)
def test_a_cut_or_broken_body_is_a_failure_after_what_arrived(connect: Any, data: bytes, reason: str) -> None:
    with serving(plays(data, keep=False)) as server:
        upstream = connect(server.url)
        found = upstream.send(HELLO)
        with pytest.raises(AttemptFailed, match=reason) as failure:
            found.read_all(100, LIMIT_SECONDS)
        assert failure.value.blame is Blame.UPSTREAM
        found.close()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "before an answer"),
        (b"HTTP/1.1 200 OK\r\nContent-", "before an answer"),
        (b"SSH-2.0-rubbish\r\n", "not HTTP"),
        (b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 2**20, "too large"),
    ],
)
def test_what_is_no_answer_is_a_failure_and_is_not_sent_again(connect: Any, data: bytes, reason: str) -> None:
    with serving(plays(data, keep=False)) as server:
        with pytest.raises(AttemptFailed, match=reason) as failure:
            connect(server.url).send(HELLO)
        assert failure.value.blame is Blame.UPSTREAM
        assert len(server.visits) == 1


@pytest.mark.parametrize("data", [answer(b"x" * 101)[:-101], chunked(b"x" * 60, b"x" * 60)])
def test_an_answer_above_the_limit_is_refused(connect: Any, data: bytes) -> None:
    with serving(plays(data)) as server:
        found = connect(server.url).send(HELLO)
        with pytest.raises(AttemptFailed, match="larger than 100 bytes"):
            found.read_all(100, LIMIT_SECONDS)
        found.close()


def test_a_redirect_comes_back_as_it_is(connect: Any) -> None:
    with serving(plays(answer(b"", "302 Found", "Location: /elsewhere\r\n"))) as server:
        found = connect(server.url).send(HELLO)
        assert (found.status, found.headers["location"]) == (302, "/elsewhere")
        found.close()
        assert len(server.visits) == 1


def test_cookies_are_not_kept(connect: Any) -> None:
    with serving(plays(answer(headers="Set-Cookie: a=b\r\n"))) as server:
        upstream = connect(server.url)
        read(upstream)
        read(upstream)
        assert ["cookie" in visit.headers for visit in server.visits] == [False, False]


def test_the_responses_library_can_play_the_upstream(connect: Any) -> None:
    with responses.RequestsMock(target="bridge.providers.wire.transport.GeventAdapter.send") as played:
        played.post("http://upstream.test/v1/chat/completions", body=b"hello", status=201, headers={"X-A": "b"})
        found = connect("http://upstream.test/v1", {"Authorization": "Bearer x"}).send(HELLO)
        assert (found.status, found.headers["x-a"]) == (201, "b")
        assert pieces(found) == [b"hello"]
        found.close()
        request = played.calls[0].request
        assert (request.body, request.headers["Authorization"]) == (HELLO.body, "Bearer x")


def test_a_failure_played_by_the_responses_library_is_an_attempt_that_failed(connect: Any) -> None:
    with (
        responses.RequestsMock(target="bridge.providers.wire.transport.GeventAdapter.send"),
        pytest.raises(AttemptFailed, match="ConnectionError"),
    ):
        connect("http://upstream.test/v1").send(HELLO)
