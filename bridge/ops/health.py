"""GET /livez and /health: whether this process answers; they check nothing. GET /readyz: whether the database is there
and as new as the code, and most requests of the last minute succeeded."""

import functools

import gevent
import sqlalchemy as sa
import structlog
from alembic.script import ScriptDirectory
from flask import Blueprint, Flask, current_app, jsonify
from flask.wrappers import Response
from sqlalchemy.exc import SQLAlchemyError

from bridge.config import Settings
from bridge.db import db
from bridge.extensions import anyone_may_enter, migrate

health = Blueprint("health", __name__)
log = structlog.get_logger()


def register(app: Flask) -> None:
    """Add both routes."""
    app.register_blueprint(health)


@health.get("/livez")
@health.get("/health")
@anyone_may_enter
def show_livez() -> Response:
    """200 as long as the process serves."""
    return jsonify(status="ok")


@health.get("/readyz")
@anyone_may_enter
def show_readyz() -> tuple[Response, int]:
    """200 when a paid request could be served, and most were; otherwise 503, naming what is missing. Redis doesn't
    matter here, since limits give way without it, nor do upstreams."""
    services = current_app.extensions["bridge_services"]
    if services.draining:
        return jsonify(status="unavailable", process="stops"), 503
    found = read_migration()
    if found is None:
        log.warning("not_ready", reason="the database is unreachable, read-only or not migrated")
        return jsonify(status="unavailable", database="unreachable, read-only or not migrated"), 503
    if found != newest_migration():
        return jsonify(status="unavailable", database="ok", migrations="behind"), 503
    if not services.writer.may_commit():
        log.warning("not_ready", reason="the ledger can't be written")
        return jsonify(status="unavailable", database="can't be written", migrations="ok"), 503
    if services.last_minute.fails():
        log.warning("not_ready", reason="most requests of the last minute failed here")
        return jsonify(status="unavailable", database="ok", migrations="ok", requests="most fail"), 503
    return jsonify(status="ok", database="ok", migrations="ok"), 200


def read_migration() -> str | None:
    """The number of the last migration that the database has had; None without a writable database, or before the
    first."""
    settings: Settings = current_app.config["BRIDGE"]
    try:
        with gevent.Timeout(settings.database_wait_seconds), db.engine.connect() as connection:
            if connection.dialect.name != "sqlite" and connection.scalar(sa.text("SHOW transaction_read_only")) == "on":
                connection.invalidate()  # the next session may be writable
                return None
            number: str | None = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    except (SQLAlchemyError, gevent.Timeout):
        return None
    return number


@functools.cache
def newest_migration() -> str | None:
    """The number of the last script in migrations/."""
    return ScriptDirectory(migrate.directory).get_current_head()
