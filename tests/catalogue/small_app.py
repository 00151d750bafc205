"""The database and the settings without any door, for tests of rooms and commands."""

import dataclasses
from pathlib import Path

from flask import Flask

from bridge import vault, versions
from bridge.config import Settings
from bridge.db import db, engine_options, prepare_engine
from tests.rooms import FERNET_KEY


def make_app(folder: Path, **changes: object) -> Flask:
    """A Flask app over a fresh SQLite file, in development unless told otherwise."""
    settings = Settings(
        bridge_env="development",
        data_dir=str(folder),
        secret_key="0123456789abcdef" * 4,
        fernet_keys=FERNET_KEY,
    )
    settings = dataclasses.replace(settings, **changes)  # type: ignore[arg-type]
    vault.open_vault(settings.fernet_key_list)
    app = Flask("small")
    app.config.update(
        BRIDGE=settings,
        SQLALCHEMY_DATABASE_URI=settings.sqlalchemy_url,
        SQLALCHEMY_ENGINE_OPTIONS=engine_options(settings),
    )
    db.init_app(app)
    with app.app_context():
        prepare_engine(db.engine)
        db.create_all()
        versions.watch_versions(settings)
        versions.poll(db.engine)  # so that a change need not wait for other workers: there are none
    return app


def drop_app(app: Flask) -> None:
    """Close what make_app opened."""
    with app.app_context():
        db.session.remove()
        db.engine.dispose()
