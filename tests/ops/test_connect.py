"""A provider's key in the environment becomes a channel even if the database starts after the gateway."""

import signal
from collections.abc import Callable
from urllib.parse import urlsplit, urlunsplit

import gevent
import pytest
import sqlalchemy as sa

from bridge.catalogue.tables import Channel
from bridge.db import db
from tests.gateway import STOP_SECONDS, Gateway
from tests.proxy import Proxy
from tests.served import Served
from tests.services import Databases
from tests.upstream import ScriptedUpstream


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"], indirect=True)
def test_the_channel_of_the_environment_appears_once_the_database_is_there(
    start_gateway: Callable[..., Gateway], databases: Databases, engine: str, monkeypatch: pytest.MonkeyPatch
):
    waited: list[Gateway] = []
    wait = Gateway._wait_until_ready

    def migrate_meanwhile(gateway: Gateway) -> None:
        waited.append(gateway)
        with gevent.Timeout(60):
            while not gateway.log_lines("started_without_database"):
                gevent.sleep(0.05)
        for command in (("db", "upgrade"), ("catalogue", "sync")):
            assert gateway.run_flask(*command).returncode == 0
        wait(gateway)

    monkeypatch.setattr(Gateway, "_wait_until_ready", migrate_meanwhile)
    environ = {"OPENAI_API_KEY": "sk-from-the-environment"}
    gateway = start_gateway(engine, database_url=databases.open_empty(engine), environ=environ)
    assert waited == [gateway]
    with gateway.make.app.app_context(), gevent.Timeout(60):
        while "openai-env" not in db.session.scalars(sa.select(Channel.name)).all():
            db.session.rollback()
            gevent.sleep(0.05)


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_a_key_that_was_changed_counts_although_the_database_came_after_the_restart(
    start_gateway: Callable[..., Gateway],
    databases: Databases,
    upstream: ScriptedUpstream,
    engine: str,
    monkeypatch: pytest.MonkeyPatch,
):
    url = urlsplit(databases.open(engine))
    proxy = Proxy(url.port or 5432)
    through = urlunsplit(url._replace(netloc=f"{url.username or ''}@127.0.0.1:{proxy.port}"))
    environ = {"OPENAI_API_KEY": "sk-old", "OPENAI_BASE_URL": upstream.base_url}
    gateway = start_gateway(engine, database_url=through, environ=environ)
    served = Served(gateway)
    served.model = "gpt-4o"
    assert served.post().status_code == 200
    gateway.process.send_signal(signal.SIGTERM)
    gateway.process.wait(STOP_SECONDS)
    gateway.environ["OPENAI_API_KEY"] = "sk-new"
    proxy.freeze()
    wait = Gateway._wait_until_ready

    def come_back(gateway: Gateway) -> None:
        with gevent.Timeout(60):
            while not gateway.log_lines("started_without_database"):
                gevent.sleep(0.05)
        proxy.thaw()
        wait(gateway)

    monkeypatch.setattr(Gateway, "_wait_until_ready", come_back)
    gateway._start()
    with gevent.Timeout(60):
        while upstream.requests[-1].headers["authorization"] != "Bearer sk-new":
            served.post()
            gevent.sleep(0.05)
    proxy.close()
