"""The pages alone, without /v1: a small app over its own database, and forms sent as a browser would."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from bridge import dashboard, vault
from bridge.accounts import tables as accounts_tables  # noqa: F401 - so that create_all() knows them
from bridge.catalogue import tables as catalogue_tables  # noqa: F401
from bridge.config import Settings
from bridge.cookies import session_cookie
from bridge.db import db, engine_options, prepare_engine
from bridge.extensions import csrf, limiter, login_manager
from bridge.ledger import tables as ledger_tables  # noqa: F401
from bridge.mail import tables as mail_tables  # noqa: F401
from tests.rooms import FERNET_KEY

ROOT = Path(__file__).parent.parent.parent
EMAIL, PASSWORD = "mira@example.com", "correct horse battery"


@contextmanager
def make_pages(folder: Path, **settings: Any) -> Iterator[Flask]:
    """The app with the given settings; its tables are empty."""
    defaults = {
        "bridge_env": "development",
        "signup_work_bits": 0,
        "secret_key": "s" * 40,
        "database_url": f"sqlite:///{folder}/pages.db",
    }
    chosen = Settings(**{**defaults, **settings})
    vault.open_vault([FERNET_KEY])
    app = Flask("pages", root_path=str(ROOT))
    app.config.update(
        BRIDGE=chosen,
        SECRET_KEY=chosen.secret_key,
        SQLALCHEMY_DATABASE_URI=chosen.sqlalchemy_url,
        SQLALCHEMY_ENGINE_OPTIONS=engine_options(chosen),
        RATELIMIT_STORAGE_URI="memory://",
        **session_cookie(chosen),
    )
    db.init_app(app)
    csrf.init_app(app)
    limiter.init_app(app)
    login_manager.init_app(app)
    dashboard.register(app)
    with app.app_context():
        prepare_engine(db.engine)
        db.create_all()
    limiter.reset()
    yield app
    with app.app_context():
        db.session.remove()
        db.engine.dispose()


def post(client: FlaskClient, path: str, page: str = "/", **fields: str) -> TestResponse:
    """Send a form as a browser would: open the page it is on, then post it with that page's token."""
    token = re.search(r'name="csrf_token" value="([^"]+)"', client.get(page).text)
    assert token, f"{page} has no form"
    return client.post(path, data={**fields, "csrf_token": token[1]})


def sign_up(client: FlaskClient, email: str = EMAIL, password: str = PASSWORD, **fields: str) -> TestResponse:
    return post(client, "/sign-up", "/sign-up", email=email, password=password, **fields)


def sign_in(client: FlaskClient, email: str = EMAIL, password: str = PASSWORD, **fields: str) -> TestResponse:
    return post(client, "/sign-in", "/sign-in", email=email, password=password, **fields)
