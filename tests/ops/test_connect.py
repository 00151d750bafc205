"""A provider's key in the environment becomes a channel also where the database comes up after the gateway."""

from collections.abc import Callable

import gevent
import pytest
import sqlalchemy as sa

from bridge.catalogue.tables import Channel
from bridge.db import db
from tests.gateway import Gateway
from tests.services import Databases


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
    with gateway.make.app.app_context(), gevent.Timeout(30):
        while "openai-env" not in db.session.scalars(sa.select(Channel.name)).all():
            db.session.rollback()
            gevent.sleep(0.05)
