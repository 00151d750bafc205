"""The rooms without any door: settings for tests, and a bare Flask app over a database, to prepare and read it."""

import dataclasses
from pathlib import Path
from typing import Any

from flask import Flask

from bridge import vault, versions
from bridge.config import Settings
from bridge.db import db, engine_options, prepare_engine
from bridge.shared_redis import SharedRedis

# the same for the whole run, so that a gateway in a process of its own opens what a test has sealed
FERNET_KEY = "dGVzdHMtc2VhbC13aXRoLXRoaXMta2V5LW9mLTMyLWI="
SECRET_KEY = "tests-sign-their-sessions-with-this-0123456789"


def make_settings(folder: Path, **changes: Any) -> Settings:
    """A development gateway's settings, with its data in the folder and short times."""
    settings = Settings(
        bridge_env="development",
        signup_work_bits=0,  # programs sign up too
        data_dir=str(folder),
        secret_key=SECRET_KEY,
        fernet_keys=FERNET_KEY,
        connect_timeout_seconds=30,
        first_content_timeout_seconds=60,
        answer_timeout_seconds=60,
        idle_timeout_seconds=60,
        total_timeout_seconds=60,
        hold_grace_seconds=1,
        sweep_seconds=2,
        drain_seconds=2,
        version_poll_seconds=0.25,
        probe_seconds=0,  # channels of tests that are over would be asked again and again
        retry_backoff_seconds=0.01,
        database_wait_seconds=60,  # nobody is refused because the machine is slow
        database_connections=7,  # PostgreSQL has a hundred, and gateways run in each test process
        retries_always=1000,  # otherwise a gateway of many tests soon has none left
        show_channel_names=True,  # whoever tests failover reads them on receipts
    )
    return dataclasses.replace(settings, **changes)


def share_redis(url: str, prefix: str = "bridge:tests:") -> SharedRedis:
    """A Redis in which the gateway's keys have this prefix, without a database that says so."""
    shared = SharedRedis(Settings(redis_url=url))
    shared.prefix = prefix
    return shared


def open_rooms(settings: Settings) -> Flask:
    """A Flask app with the database and nothing else."""
    vault.open_vault(settings.fernet_key_list)
    versions.watch_versions(settings)
    app = Flask("rooms")
    app.config.update(
        BRIDGE=settings,
        SQLALCHEMY_DATABASE_URI=settings.sqlalchemy_url,
        SQLALCHEMY_ENGINE_OPTIONS=engine_options(settings),
    )
    db.init_app(app)
    with app.app_context():
        prepare_engine(db.engine)
    return app


def close_rooms(app: Flask) -> None:
    """Close the app's connections; of the whole product's app, those of both its apps and of the ledger."""
    if services := app.extensions.get("bridge_services"):
        services.writer.close()
        services.spool.close()
    for each in filter(None, (app, app.extensions.get("bridge_api"))):
        with each.app_context():
            db.session.remove()
            db.engine.dispose()
