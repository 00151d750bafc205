"""Fixtures of the catalogue's tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from bridge.config import Settings
from tests.catalogue.small_app import drop_app, make_app


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    """An empty catalogue, in development."""
    app = make_app(tmp_path)
    with app.app_context():
        yield app
    drop_app(app)


@pytest.fixture
def production(tmp_path: Path) -> Iterator[Flask]:
    """An empty catalogue, in production."""
    app = make_app(tmp_path, bridge_env="production")
    with app.app_context():
        yield app
    drop_app(app)


@pytest.fixture
def settings(app: Flask) -> Settings:
    """The app's settings."""
    settings: Settings = app.config["BRIDGE"]
    return settings
