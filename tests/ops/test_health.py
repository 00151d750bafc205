"""Health: /livez asks nothing, /readyz says whether a paid request could be served."""

from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from app import create_app
from bridge.db import db
from bridge.ops.health import newest_migration
from tests.rooms import close_rooms, make_settings


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
