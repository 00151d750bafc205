"""What the tests of the transport share."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gevent import ssl

from bridge.providers.wire.http import Upstream, open_upstream
from tests.certificate import write_certificate
from tests.providers.socket_server import PATIENT


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


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate and its key, in one file."""
    return write_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def tls(certificate: Path) -> Any:
    """The server's side."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context
