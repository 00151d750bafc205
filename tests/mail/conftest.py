"""Mail servers on loopback, and settings that point to them."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bridge.config import Settings
from tests.mail.server import MailServer
from tests.providers.conftest import certificate  # noqa: F401 - a fixture


@pytest.fixture
def start_server() -> Iterator[Callable[..., MailServer]]:
    """`start_server(certificate, implicit_tls=True)`."""
    started: list[MailServer] = []

    def start(trusted_by: Path | None = None, **options: Any) -> MailServer:
        started.append(MailServer(trusted_by, **options))
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.fixture
def server(start_server: Callable[..., MailServer]) -> MailServer:
    """One without TLS: on this machine that is enough."""
    return start_server()


@pytest.fixture
def mailing(settings: Settings, server: MailServer) -> Settings:
    """A gateway's settings whose mails go to `server`."""
    url = f"smtp://127.0.0.1:{server.port}"
    return dataclasses.replace(settings, smtp_url=url, smtp_from="AI Bridge <no-reply@gateway.test>")
