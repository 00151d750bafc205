"""Health: /livez asks nothing, /readyz says whether a paid request could be served."""

from collections.abc import Callable
from pathlib import Path

import gevent
import pytest
import requests
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from app import create_app
from bridge.db import db
from bridge.inference.last_minute import LEAST_FAILED
from bridge.ops.health import newest_migration
from tests.gateway import Gateway
from tests.rooms import close_rooms, make_settings
from tests.served import Served
from tests.upstream import ScriptedUpstream, fails


def test_ready_with_database_and_migrations(client: FlaskClient):
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json) == (200, {"status": "ok", "database": "ok", "migrations": "ok"})


def test_not_ready_while_migrations_are_behind(app: Flask, client: FlaskClient):
    with app.app_context(), db.engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '0001'"))
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json["migrations"]) == (503, "behind")
    with app.app_context(), db.engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = :newest"), {"newest": newest_migration()})


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_not_ready_before_the_first_migration(empty_database_url: str, tmp_path: Path):
    app = create_app(make_settings(tmp_path, database_url=empty_database_url))
    assert app.test_client().get("/readyz").status_code == 503
    close_rooms(app)


def test_alive_but_not_ready_without_a_database(tmp_path: Path):
    app = create_app(make_settings(tmp_path, database_url="postgresql://nobody@127.0.0.1:1/nothing"))
    client = app.test_client()
    assert client.get("/livez").status_code == 200
    assert client.get("/readyz").status_code == 503
    close_rooms(app)


@pytest.fixture
def broken(start_gateway: Callable[..., Gateway], upstream: ScriptedUpstream) -> Served:
    return Served(start_gateway("postgresql", sweep_seconds=60), upstream.base_url)


def ready(served: Served) -> tuple[int, dict]:
    answer = requests.get(f"{served.gateway.site_url}/readyz", timeout=60)
    return answer.status_code, answer.json()


def await_ready(served: Served) -> None:
    """Wait until it is ready, without a request that proves it."""
    with gevent.Timeout(60):
        while ready(served)[0] != 200:
            gevent.sleep(0.05)


def rename(served: Served, table: str, name: str) -> None:
    with served.gateway.make.app.app_context(), db.engine.begin() as connection:
        connection.execute(sa.text(f"ALTER TABLE {table} RENAME TO {name}"))


@pytest.mark.parametrize("table", ["keys", "holds"])
def test_a_database_that_answers_and_fails_most_requests_is_not_ready_and_recovers_by_itself(
    broken: Served, table: str
):
    """As behind a pooler that answers SELECT 1, but not prepared statements."""
    served = broken
    keys = [served.gateway.make.make_key() for _ in range(LEAST_FAILED + 1)]
    assert served.post().status_code == 200
    rename(served, table, f"{table}_away")
    for served.key in keys:
        assert served.post().status_code == 503
    status, said = ready(served)
    assert (status, said["database"]) == (503, "ok" if table == "keys" else "can't be written")
    assert requests.get(f"{served.gateway.site_url}/livez", timeout=60).status_code == 200
    rename(served, f"{table}_away", table)
    await_ready(served)
    assert served.post().status_code == 200


def test_providers_that_all_fail_leave_a_worker_ready(broken: Served, upstream: ScriptedUpstream):
    upstream.plays(fails(500))
    for _ in range(3 * LEAST_FAILED):
        answer = broken.post()
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "upstream_error")
    assert ready(broken)[0] == 200
