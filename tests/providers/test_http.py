"""The transport to upstreams, over real sockets: what arrives, what fails and how, and what is never sent twice."""

import socket as plain_socket
from collections.abc import Iterator
from typing import Any

import gevent
import pytest
import responses
from gevent.event import Event

from bridge.providers import connections, dial
from bridge.providers.base import AttemptFailed, Blame, Outgoing
from bridge.providers.http import Answer, Timeouts, Upstream, open_upstream
from tests.providers.socket_server import LIMIT_SECONDS, Visit, answer, chunked, serving

PATIENT = Timeouts(LIMIT_SECONDS, LIMIT_SECONDS, LIMIT_SECONDS)
HELLO = Outgoing("/chat/completions", b'{"model":"m"}')
HINTS = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
SOON = 0.02  # for silences that a test wants to see end


@pytest.fixture
def connect() -> Iterator[Any]:
    """Opens upstreams, private ones too unless told otherwise, and closes them."""
    opened: list[Upstream] = []

    def open_one(base_url: str, headers: dict[str, str] | None = None, **more: Any) -> Upstream:
        more.setdefault("private_allowed", True)
        opened.append(open_upstream(base_url, headers or {}, more.pop("timeouts", PATIENT), **more))
        return opened[-1]

    yield open_one
    for upstream in opened:
        upstream.close()


def plays(data: bytes, keep: bool = True) -> Any:
    """Answer every request with these bytes."""

    def play(visit: Visit) -> bool:
        visit.send(data)
        return keep

    return play


def read(upstream: Upstream, outgoing: Outgoing = HELLO) -> bytes:
    found = upstream.send(outgoing)
    try:
        return found.read_all(2**20, LIMIT_SECONDS)
    finally:
        found.close()


def pieces(found: Answer) -> list[bytes]:
    return list(iter(lambda: found.read_some(LIMIT_SECONDS) or b"", b""))


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
        pytest.param(chunked(b"hello world", end=False) + b"0\r\nTrailer: t\r\n\r\n", id="trailer"),
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
    body = bytes(range(256)) * 4 * 1024
    with serving(lambda visit: visit.send(answer(visit.body))) as server:
        assert read(connect(server.url), Outgoing("/x", body)) == body


def test_silence_is_none_and_the_answer_goes_on(connect: Any) -> None:
    more = Event()

    def play(visit: Visit) -> None:
        visit.send(chunked(b"one", end=False))
        more.wait(LIMIT_SECONDS)
        visit.send(b"3\r\ntwo\r\n0\r\n\r\n")

    with serving(play) as server:
        found = connect(server.url).send(HELLO)
        assert found.read_some(LIMIT_SECONDS) == b"one"
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


@pytest.mark.parametrize("data", [answer(b"x" * 101), chunked(b"x" * 60, b"x" * 60)])
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


def test_a_refused_connection_fails(connect: Any) -> None:
    with serving(plays(answer())) as server:
        url = server.url
    with pytest.raises(AttemptFailed, match="refused") as failure:
        connect(url).send(HELLO)
    assert failure.value.blame is Blame.UPSTREAM


def test_an_upstream_that_takes_no_connection_fails_in_time(connect: Any) -> None:
    with plain_socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [plain_socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(full.getsockname())
        with pytest.raises(AttemptFailed, match="no connection within") as failure:
            connect(f"http://127.0.0.1:{full.getsockname()[1]}", timeouts=Timeouts(SOON, SOON, SOON)).send(HELLO)
        assert failure.value.blame is Blame.UPSTREAM
        for each in waiting:
            each.close()


def test_a_name_that_is_not_found_fails(connect: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def find_nothing(*args: Any) -> Any:
        raise plain_socket.gaierror(plain_socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(dial.socket, "getaddrinfo", find_nothing)
    with pytest.raises(AttemptFailed, match="name was not found") as failure:
        connect("http://nowhere.test").send(HELLO)
    assert failure.value.blame is Blame.UPSTREAM


def test_the_next_address_is_tried_when_one_refuses(connect: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(plays(answer())) as closed:
        refusing = closed.port
    with serving(plays(answer(b"hi"))) as server:
        family = (plain_socket.AF_INET, plain_socket.SOCK_STREAM, 6, "")
        addresses = [(*family, ("127.0.0.1", port)) for port in (refusing, server.port)]
        monkeypatch.setattr(dial.socket, "getaddrinfo", lambda *_: addresses)
        assert read(connect("http://upstream.test")) == b"hi"
        assert server.visits[0].headers["host"] == "upstream.test"


@pytest.mark.parametrize(
    ("base_url", "headers"),
    [
        ("ftp://127.0.0.1/", {}),
        ("http://", {}),
        ("nonsense", {}),
        ("http://127.0.0.1:port/", {}),
        ("http://127.0.0.1:1/", {"Authorization": "Bearer secret\r\nX: y"}),
        ("http://127.0.0.1:1/", {"Authorization": "Bearer secret\u20ac"}),
    ],
)
def test_a_wrong_base_url_or_header_is_the_channels_fault_and_shows_no_secret(
    connect: Any, base_url: str, headers: dict[str, str]
) -> None:
    with pytest.raises(AttemptFailed) as failure:
        connect(base_url, headers).send(HELLO)
    assert failure.value.blame is Blame.SETUP
    assert "secret" not in failure.value.reason


def test_the_responses_library_can_play_the_upstream(connect: Any) -> None:
    with responses.RequestsMock(target="bridge.providers.transport.GeventAdapter.send") as played:
        played.post("http://upstream.test/v1/chat/completions", body=b"hello", status=201, headers={"X-A": "b"})
        found = connect("http://upstream.test/v1", {"Authorization": "Bearer x"}).send(HELLO)
        assert (found.status, found.headers["x-a"]) == (201, "b")
        assert pieces(found) == [b"hello"]
        found.close()
        request = played.calls[0].request
        assert (request.body, request.headers["Authorization"]) == (HELLO.body, "Bearer x")


def test_a_failure_played_by_the_responses_library_is_an_attempt_that_failed(connect: Any) -> None:
    with (
        responses.RequestsMock(target="bridge.providers.transport.GeventAdapter.send"),
        pytest.raises(AttemptFailed, match="ConnectionError"),
    ):
        connect("http://upstream.test/v1").send(HELLO)
