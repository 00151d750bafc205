"""Migration 0039 with rows in place, on both engines: models that are there take conversations, as before."""

import flask_migrate
import pytest

from bridge.catalogue.tables import Model
from bridge.db import db
from tests.test_migration_0005 import MOMENT, insert, rooms

__all__ = ["rooms"]  # the fixture


@pytest.mark.usefixtures("rooms")
def test_models_that_are_there_take_conversations():
    flask_migrate.upgrade(revision="0038")
    insert(
        "models",
        {
            "id": "gpt-4o",
            "name": "GPT-4o",
            "provider": "openai",
            "upstream_id": "gpt-4o",
            "context_tokens": 128_000,
            "max_output_tokens": 16_384,
            "image_tokens": 0,
            "input_modalities": "[]",
            "thinks": False,
            "markup_bps": 0,
            "route_order": "weight",
            "status": "live",
            "created_at": MOMENT,
        },
    )
    flask_migrate.upgrade(revision="0039")
    assert db.session.get_one(Model, "gpt-4o").kinds == ["chat"]
    db.session.rollback()
    flask_migrate.downgrade(revision="0038")
