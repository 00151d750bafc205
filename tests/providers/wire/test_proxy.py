"""Proxies: tunnels for https, forwarding for plain http, SOCKS5, and what a proxy may do wrong."""

import dataclasses
import socket as plain_socket
from pathlib import Path
from typing import Any

import pytest

from bridge.catalogue.discovery import Candidate
from bridge.catalogue.upstreams import open_channel
from bridge.config import Settings
from bridge.providers.base import AttemptFailed, Blame
from bridge.providers.sandbox import SandboxUpstream
from bridge.providers.wire import dial
from bridge.settings_rules import read_certificates
from tests.providers.socket_server import HELLO, PATIENT, answer, plays, read, serving, splice
from tests.socks import SocksServer


def test_https_goes_through_a_proxys_tunnel_and_stays_verified(connect: Any, certificate: Path, tls: Any) -> None:
    with serving(plays(answer(b"hi")), tls) as far, serving(lambda visit: splice(visit, far.port)) as proxy:
        through = f"http://name:pass%20word@127.0.0.1:{proxy.port}"
        upstream = connect(
            "https://upstream.test/v1", {"Authorization": "x"}, proxy=through, ca_bundle=str(certificate)
        )
        assert [read(upstream), read(upstream)] == [b"hi", b"hi"]
        (tunnel,) = proxy.visits
        assert (tunnel.method, tunnel.target) == ("CONNECT", "upstream.test:443")
        assert tunnel.headers == {"host": "upstream.test:443", "proxy-authorization": "Basic bmFtZTpwYXNzIHdvcmQ="}
        assert "proxy-authorization" not in far.visits[0].headers
        with pytest.raises(AttemptFailed, match="not trusted"):
            connect("https://upstream.test", proxy=through).send(HELLO)
        upstream.close()


def test_plain_http_is_forwarded_by_the_proxy(connect: Any) -> None:
    with serving(plays(answer(b"hi"))) as proxy:
        upstream = connect("http://upstream.test:81/v1", proxy=f"http://a:b@127.0.0.1:{proxy.port}")
        assert read(upstream) == b"hi"
        (visit,) = proxy.visits
        assert (visit.method, visit.target) == ("POST", "http://upstream.test:81/v1/chat/completions")
        assert (visit.headers["host"], visit.headers["proxy-authorization"]) == ("upstream.test:81", "Basic YTpi")


def test_an_upstream_given_as_a_private_address_is_refused_behind_a_proxy_too(connect: Any) -> None:
    with serving(plays(answer())) as proxy:
        upstream = connect("https://10.0.0.1", private_allowed=False, proxy=proxy.url)
        with pytest.raises(AttemptFailed, match="not public") as failure:
            upstream.send(HELLO)
        assert failure.value.blame is Blame.SETUP
        assert proxy.connections == 0


@pytest.mark.parametrize("said", [b"HTTP/1.1 407 Who\r\n\r\n", b"", b"rubbish"])
def test_a_proxy_that_refuses_fails_the_attempt(connect: Any, said: bytes) -> None:
    with serving(plays(said, keep=False)) as proxy:
        with pytest.raises(AttemptFailed, match="the proxy refused") as failure:
            connect("https://upstream.test", proxy=proxy.url).send(HELLO)
        assert failure.value.blame is Blame.UPSTREAM


@pytest.mark.parametrize("proxy", ["https://127.0.0.1:1", "socks4://127.0.0.1:1", "nonsense"])
def test_a_proxy_of_another_kind_is_the_operators_fault(connect: Any, proxy: str) -> None:
    with pytest.raises(AttemptFailed, match="the proxy is") as failure:
        connect("http://127.0.0.1:1", proxy=proxy).send(HELLO)
    assert failure.value.blame is Blame.SETUP


def test_socks_leads_to_the_upstream_under_its_own_certificate(connect: Any, certificate: Path, tls: Any) -> None:
    with serving(plays(answer(b"hi")), tls) as far, SocksServer(far.port, ("name", "pass word")) as proxy:
        through = f"socks5h://name:pass%20word@{proxy.address}"
        upstream = connect("https://upstream.test/v1", proxy=through, ca_bundle=str(certificate))
        assert [read(upstream), read(upstream)] == [b"hi", b"hi"]
        assert proxy.asked == [("upstream.test", 443)]  # whom the proxy looks up; and one connection for both
        assert proxy.logins == [("name", "pass word")]
        with pytest.raises(AttemptFailed, match="not trusted"):
            connect("https://upstream.test", proxy=through).send(HELLO)


def test_socks_takes_plain_requests_as_a_server_would(connect: Any) -> None:
    with serving(plays(answer(b"hi"))) as far, SocksServer(far.port) as proxy:
        assert read(connect("http://upstream.test:81/v1", proxy=f"socks5h://{proxy.address}")) == b"hi"
        (visit,) = far.visits
        assert (visit.target, visit.headers["host"]) == ("/v1/chat/completions", "upstream.test:81")
        assert proxy.asked == [("upstream.test", 81)]


def test_behind_socks5_the_upstreams_name_is_looked_up_and_checked_here(
    connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {"inside.test": "10.0.0.1", "outside.test": "93.184.215.14"}
    ask = plain_socket.getaddrinfo
    monkeypatch.setattr(dial.socket, "getaddrinfo", lambda host, *rest: ask(found.get(host, host), *rest))
    with serving(plays(answer(b"hi"))) as far, SocksServer(far.port, says=b"\5\5\0\1\0\0\0\0\0\0") as proxy:
        for host, match in (("inside.test", "not public"), ("outside.test", "connection was refused")):
            upstream = connect(f"https://{host}", private_allowed=False, proxy=f"socks5://{proxy.address}")
            with pytest.raises(AttemptFailed, match=match):
                upstream.send(HELLO)
        assert proxy.asked == [("93.184.215.14", 443)]


@pytest.mark.parametrize("login", ["", "name:wrong@"])
def test_a_socks_proxy_that_lets_nobody_in_fails_the_attempt(connect: Any, login: str) -> None:
    with SocksServer(login=("name", "right")) as proxy:
        with pytest.raises(AttemptFailed, match="name and password") as failure:
            connect("https://upstream.test", proxy=f"socks5h://{login}{proxy.address}").send(HELLO)
        assert failure.value.blame is Blame.UPSTREAM
        assert "right" not in failure.value.reason
        assert not proxy.asked


def test_a_channels_own_proxy_is_checked_as_its_upstream_is(connect: Any) -> None:
    with serving(plays(answer())) as proxy:
        upstream = connect("https://93.184.215.14", private_allowed=False, proxy=proxy.url, proxy_private_allowed=False)
        with pytest.raises(AttemptFailed, match="the proxy's address is not public") as failure:
            upstream.send(HELLO)
        assert failure.value.blame is Blame.SETUP
        assert proxy.connections == 0


def test_an_authority_of_ones_own_stands_beside_the_machines(connect: Any, certificate: Path, tls: Any) -> None:
    with serving(plays(answer(b"hi")), tls) as far:
        url = f"https://127.0.0.1:{far.port}"
        with pytest.raises(AttemptFailed, match="not trusted"):
            connect(url).send(HELLO)
        text = read_certificates(str(certificate))
        with serving(lambda visit: splice(visit, far.port)) as proxy:
            assert read(connect("https://upstream.test", more_cas=text, proxy=proxy.url)) == b"hi"
        assert dial._tls_context(None, text).cert_store_stats()["x509"] > 1


def test_every_channel_trusts_the_settings_authority_and_takes_its_proxy(certificate: Path, tls: Any) -> None:
    channel = Candidate("openai", "https://upstream.test/v1")
    with serving(plays(answer(b"hi")), tls) as far, SocksServer(far.port) as proxy:
        settings = Settings(upstream_ca_cert=str(certificate), upstream_proxy=f"socks5h://{proxy.address}")
        upstream = open_channel(channel, settings)
        assert not isinstance(upstream, SandboxUpstream)
        assert read(upstream) == b"hi"
        upstream.close()
        with pytest.raises(AttemptFailed, match="not trusted"):
            open_channel(channel, dataclasses.replace(settings, upstream_ca_cert="")).send(HELLO, timeouts=PATIENT)
