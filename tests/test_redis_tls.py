"""Redis by TLS: a certificate is verified, against an authority of the operator's too, unless a setting says not to."""

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest
import redis

from bridge.settings_rules import find_problem
from tests.audit.stores import find_program
from tests.certificate import write_certificate
from tests.gateway import Gateway
from tests.served import Served
from tests.test_settings import list_problems
from tests.upstream import ScriptedUpstream, free_port

START_SECONDS = 60


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return write_certificate(tmp_path)


@pytest.fixture
def secure_url(tmp_path: Path, certificate: Path) -> Iterator[str]:
    """A Redis that speaks TLS alone, with a certificate that no machine trusts."""
    port = free_port()
    options = {"port": "0", "bind": "127.0.0.1", "save": "", "tls-port": str(port), "tls-auth-clients": "no"}
    options |= dict.fromkeys(("tls-cert-file", "tls-key-file", "tls-ca-cert-file"), str(certificate))
    command = [
        find_program("redis-server"),
        *(word for name, value in options.items() for word in (f"--{name}", value)),
    ]
    server = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL)
    with redis.Redis(port=port, ssl=True, ssl_cert_reqs="none") as client, gevent.Timeout(START_SECONDS):
        while True:
            with contextlib.suppress(redis.ConnectionError):
                client.ping()
                break
            gevent.sleep(0.05)
    yield f"rediss://127.0.0.1:{port}/0"
    server.terminate()
    server.wait()


def count_keys(url: str) -> int:
    with redis.Redis.from_url(url, ssl_cert_reqs="none") as client:
        return len(client.keys("bridge:*:rpm"))


def serve(gateway: Gateway, upstream: ScriptedUpstream) -> None:
    served = Served(gateway, upstream.base_url)
    served.key = gateway.make.make_key(rpm=5)
    assert served.post().status_code == 200


@pytest.mark.parametrize("how", ["file", "text", "one line"])
def test_a_private_authority_is_trusted_by_a_setting(
    start_gateway: Callable[..., Gateway], upstream: ScriptedUpstream, secure_url: str, certificate: Path, how: str
):
    text = certificate.read_text().partition("-----BEGIN PRIVATE")[0].strip()
    value = {"file": str(certificate), "text": text, "one line": text.replace("\n", "\\n")}[how]
    gateway = start_gateway(redis_url=secure_url, redis_ca_cert=value)
    serve(gateway, upstream)
    assert count_keys(secure_url) == 1
    assert "certificate" not in gateway.log()


@pytest.mark.parametrize("how", ["setting", "url"])
def test_a_certificate_is_left_unverified_by_choice_alone_and_that_is_said(
    start_gateway: Callable[..., Gateway], upstream: ScriptedUpstream, secure_url: str, how: str
):
    by_url = {"redis_url": f"{secure_url}?ssl_cert_reqs=none"}
    gateway = start_gateway(**({"redis_url": secure_url, "redis_tls_verify": False} if how == "setting" else by_url))
    serve(gateway, upstream)
    assert count_keys(secure_url) == 1
    assert gateway.log().count("is not verified, since REDIS_TLS_VERIFY or REDIS_URL says so") == 1


def test_a_certificate_that_nobody_vouches_for_is_refused_and_the_start_says_what_to_set(
    start_gateway: Callable[..., Gateway], upstream: ScriptedUpstream, secure_url: str
):
    gateway = start_gateway(redis_url=secure_url)
    serve(gateway, upstream)
    assert count_keys(secure_url) == 0
    said = [line["event"] for line in gateway.log_lines() if "can't be verified" in line["event"]]
    assert len(said) == 1
    assert "REDIS_CA_CERT" in said[0]
    assert "REDIS_TLS_VERIFY=false" in said[0]
    assert "REDIS_CA_CERT" in gateway.log_lines("redis_away")[0]["remedy"]


@pytest.mark.parametrize("value", ["/nowhere/ca.pem", "-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----"])
def test_what_is_no_certificate_is_named_at_start(value: str):
    assert find_problem("redis_ca_cert", value)
    assert len(list_problems(REDIS_CA_CERT=value)) == 1
