"""UPSTREAM_PROXY: tunnels for https, forwarding for plain http, and what a proxy may do wrong."""

from pathlib import Path
from typing import Any

import pytest

from bridge.providers.base import AttemptFailed, Blame
from tests.providers.socket_server import HELLO, answer, plays, read, serving, splice


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


@pytest.mark.parametrize("proxy", ["https://127.0.0.1:1", "socks5://127.0.0.1:1", "nonsense"])
def test_a_proxy_of_another_kind_is_the_operators_fault(connect: Any, proxy: str) -> None:
    with pytest.raises(AttemptFailed, match="UPSTREAM_PROXY") as failure:
        connect("http://127.0.0.1:1", proxy=proxy).send(HELLO)
    assert failure.value.blame is Blame.SETUP
