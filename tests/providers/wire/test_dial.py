"""How a connection to an upstream comes about: names, addresses, TLS, proxies, and what is refused."""

import socket as plain_socket
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent.server import StreamServer

from bridge.providers.base import AttemptFailed, Blame, Outgoing
from bridge.providers.wire import connections, dial
from bridge.providers.wire.http import Timeouts
from tests.providers.socket_server import (
    HELLO,
    LIMIT_SECONDS,
    SOON,
    answer,
    chunked,
    plays,
    read,
    serving,
)

Addresses = list[tuple[str, int]]


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Lets every name have these addresses; returns the list of names that were asked for."""

    def install(*addresses: tuple[str, int]) -> list[str]:
        asked: list[str] = []

        def getaddrinfo(host: str, *rest: object) -> list[Any]:
            asked.append(host)
            return [(plain_socket.AF_INET, plain_socket.SOCK_STREAM, 6, "", address) for address in addresses]

        monkeypatch.setattr(dial.socket, "getaddrinfo", getaddrinfo)
        return asked

    return install


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


def test_a_name_that_takes_too_long_fails_in_time(connect: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dial.socket, "getaddrinfo", lambda *_: gevent.sleep(LIMIT_SECONDS))
    with pytest.raises(AttemptFailed, match="no connection within"):
        connect("http://upstream.test", timeouts=Timeouts(SOON, SOON, SOON)).send(HELLO)


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


def test_tls_works_with_a_trusted_authority_and_is_reused(connect: Any, certificate: Path, tls: Any) -> None:
    body = bytes(range(256)) * 1024
    with serving(lambda visit: visit.send(answer(visit.body)) or True, tls) as server:
        upstream = connect(server.url, ca_bundle=str(certificate))
        assert [read(upstream, Outgoing("/x", body)) for _ in range(2)] == [body, body]
        assert [visit.connection for visit in server.visits] == [1, 1]


@pytest.mark.parametrize("read_bytes", [1, 65536])
def test_what_tls_has_decrypted_is_read_without_waiting_for_more(
    connect: Any, certificate: Path, tls: Any, monkeypatch: pytest.MonkeyPatch, read_bytes: int
) -> None:
    monkeypatch.setattr(connections, "READ_BYTES", read_bytes)
    with serving(plays(chunked(b"hello", b"world")), tls) as server:
        assert read(connect(server.url, ca_bundle=str(certificate))) == b"helloworld"


def test_an_idle_tls_connection_that_the_upstream_closed_is_replaced(connect: Any, certificate: Path, tls: Any) -> None:
    with serving(plays(answer(b"hi"), keep=False), tls) as server:
        upstream = connect(server.url, ca_bundle=str(certificate))
        read(upstream)
        server.wait_until_closed(1)
        assert read(upstream) == b"hi"


def test_a_certificate_that_nobody_vouches_for_is_refused(connect: Any, tls: Any) -> None:
    with serving(plays(answer()), tls) as server:
        with pytest.raises(AttemptFailed, match="TLS certificate is not trusted: self-signed") as failure:
            connect(server.url).send(HELLO)
        assert failure.value.blame is Blame.UPSTREAM
        assert server.visits == []


def test_a_certificate_for_another_name_is_refused(connect: Any, certificate: Path, tls: Any, resolve: Any) -> None:
    with serving(plays(answer()), tls) as server:
        resolve(("127.0.0.1", server.port))
        with pytest.raises(AttemptFailed, match="Hostname mismatch"):
            connect("https://other.test", ca_bundle=str(certificate)).send(HELLO)
        assert server.visits == []


def test_an_upstream_that_speaks_no_tls_fails(connect: Any) -> None:
    server = StreamServer(("127.0.0.1", 0), lambda sock, _: sock.sendall(b"rubbish\r\n"))
    server.start()
    with pytest.raises(AttemptFailed, match="TLS handshake failed") as failure:
        connect(f"https://127.0.0.1:{server.server_port}").send(HELLO)
    assert failure.value.blame is Blame.UPSTREAM
    server.stop()


def test_a_handshake_that_never_ends_fails_in_time(connect: Any) -> None:
    with plain_socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(AttemptFailed, match="no connection within|TLS handshake failed") as failure:
            connect(url, timeouts=Timeouts(SOON, SOON, SOON)).send(HELLO)
        assert failure.value.blame is Blame.UPSTREAM


def test_the_address_that_was_checked_is_the_one_connected_to_under_the_upstreams_name(
    connect: Any, certificate: Path, tls: Any, resolve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[str] = []
    spoken: list[str | None] = []
    monkeypatch.setattr(dial, "is_public", lambda address: not checked.append(address))
    tls.sni_callback = lambda _, name, __: spoken.append(name)
    with serving(plays(answer(b"hi")), tls) as server:
        asked = resolve(("127.0.0.1", server.port))
        upstream = connect("https://upstream.test", private_allowed=False, ca_bundle=str(certificate))
        assert read(upstream) == b"hi"
        assert (asked, checked, spoken) == (["upstream.test"], ["127.0.0.1"], ["upstream.test"])
        assert server.visits[0].headers["host"] == "upstream.test"


@pytest.mark.parametrize("others", [[], [("93.184.216.34", 443)]])
def test_a_name_with_a_private_address_is_refused_before_anything_is_sent(
    connect: Any, certificate: Path, tls: Any, resolve: Any, others: Addresses
) -> None:
    with serving(plays(answer()), tls) as server:
        resolve(*others, ("127.0.0.1", server.port))
        with pytest.raises(AttemptFailed, match="not public") as failure:
            connect("https://upstream.test", private_allowed=False, ca_bundle=str(certificate)).send(HELLO)
        assert failure.value.blame is Blame.SETUP
        assert server.connections == 0


def test_plain_http_is_refused_unless_private_upstreams_are_allowed(connect: Any) -> None:
    with serving(plays(answer())) as server:
        with pytest.raises(AttemptFailed, match="plain http") as failure:
            connect(server.url, private_allowed=False).send(HELLO)
        assert failure.value.blame is Blame.SETUP
        assert server.connections == 0


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:4700::1111", "64:ff9b::5db8:d822", "::ffff:8.8.8.8"])
def test_addresses_of_the_open_internet_are_public(address: str) -> None:
    assert dial.is_public(address)


@pytest.mark.parametrize(
    "addresses",
    [
        pytest.param(["10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "fc00::1", "fec0::1"], id="private"),
        pytest.param(["127.0.0.1", "0.0.0.0", "::1", "::"], id="this machine"),
        pytest.param(["169.254.169.254", "fe80::1", "fe80::1%lo"], id="this link"),
        pytest.param(["224.0.0.1", "ff02::1", "255.255.255.255", "240.0.0.1"], id="many or none"),
        pytest.param(["::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::a00:1", "2002:a00:1::"], id="private inside IPv6"),
    ],
)
def test_all_other_addresses_are_not(addresses: list[str]) -> None:
    assert [address for address in addresses if dial.is_public(address)] == []
