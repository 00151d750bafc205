"""A new installation in a real browser: from an empty PostgreSQL and Redis, by the Procfile's commands alone, to the
first served request."""

import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest
import requests

from tests.admin.test_setup_page import offers
from tests.browser.test_pages import pytestmark  # noqa: F401 - a browser is needed here too
from tests.browser.test_people import run_browser
from tests.gateway import START_SECONDS, STOP_SECONDS, as_environment
from tests.rooms import make_settings
from tests.services import Databases
from tests.upstream import ScriptedUpstream, free_port
from tests.warm import ROOT

EMAIL = "ops@example.com"
PROCFILE = dict(line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines())


@dataclasses.dataclass(frozen=True)
class Installation:
    """A running web process of the Procfile, with what it printed."""

    site: str
    log: Path


@pytest.fixture
def installation(databases: Databases, redis_url: str, tmp_path: Path) -> Iterator[Installation]:
    """What a host does with the Procfile: the release command once, then the web process, two workers of it."""
    stores = {"database_url": databases.open_empty("postgresql"), "redis_url": redis_url}
    settings = make_settings(tmp_path, **stores, web_concurrency=2, port=free_port())
    environ = as_environment(settings)
    environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environ['PATH']}"
    subprocess.run(PROCFILE["release"], shell=True, cwd=ROOT, env=environ, check=True, capture_output=True)  # noqa: S602
    log = tmp_path / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(PROCFILE["web"].split(), cwd=ROOT, env=environ, stdout=out, stderr=out)
    site = f"http://127.0.0.1:{settings.port}"
    try:
        with gevent.Timeout(START_SECONDS), requests.Session() as session:
            session.trust_env = False
            while not is_ready(session, site):
                gevent.sleep(0.1)
        yield Installation(site, log)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(STOP_SECONDS)


def is_ready(session: requests.Session, site: str) -> bool:
    try:
        return session.get(f"{site}/readyz", timeout=START_SECONDS).status_code == 200
    except requests.ConnectionError:
        return False


def test_a_new_installation_serves_its_first_request(installation: Installation, upstream: ScriptedUpstream):
    upstream.plays(offers("gpt-4o", "gpt-4o-mini", "gpt-9-preview", says_first="Real"))
    found = run_browser("set_up", installation.site, installation.log, EMAIL, upstream.base_url)
    assert "No provider is connected yet." in found["landed"]
    assert "OpenAI accepts this key. It has 3 models." in found["offered"]
    assert "2 in the catalogue, 1 new" in found["offered"]
    assert "openai-main serves 2 models" in found["done"]
    assert found["call"] == 200
    print(f"From the link to the first served request: {found['seconds']:.0f} s")  # three minutes are promised
    assert "gpt-4o" in found["receipt"]
    assert "Needs attention" in found["home"]
    assert found["again"] == "This link no longer works"
    assert {request.path for request in upstream.requests} == {"/v1/models", "/v1/chat/completions"}
