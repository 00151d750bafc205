"""Output items are kept for an hour, sealed, each account's for itself."""

import datetime
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from flask import Flask

from bridge.db import db, now_utc
from bridge.reasoning.items import KEPT_FOR, MAX_KEPT_BYTES, forget_items, keep_items, recall_items
from bridge.reasoning.tables import KeptItem

ITEM = {"id": "msg_1", "type": "message", "content": [{"type": "output_text", "text": "Secret"}]}


@pytest.fixture(autouse=True)
def _context(app: Flask) -> Iterator[None]:
    with app.app_context():
        yield


def test_an_item_is_found_by_its_id_and_its_account():
    keep_items(1, [ITEM, {"type": "message"}])
    assert recall_items(1, ["msg_1", "msg_2"]) == {"msg_1": ITEM}
    assert recall_items(2, ["msg_1"]) == {}
    assert recall_items(1, []) == {}


def test_kept_again_the_newer_counts():
    keep_items(1, [ITEM, {**ITEM, "content": []}])
    keep_items(1, [{**ITEM, "content": ["new"]}])
    assert recall_items(1, ["msg_1"])["msg_1"]["content"] == ["new"]


def test_nothing_readable_is_stored():
    keep_items(1, [ITEM])
    row = db.session.execute(sa.select(KeptItem.key, KeptItem.sealed)).one()
    assert "msg_1" not in row.key
    assert "Secret" not in row.sealed


def test_after_an_hour_it_is_not_found_and_deleted():
    keep_items(1, [ITEM])
    old = now_utc() - KEPT_FOR - datetime.timedelta(minutes=1)
    db.session.execute(sa.update(KeptItem).values(created_at=old))
    db.session.commit()
    keep_items(1, [{**ITEM, "id": "msg_2"}])
    assert recall_items(1, ["msg_1"]) == {}
    forget_items()
    assert db.session.scalar(sa.select(sa.func.count()).select_from(KeptItem)) == 1


def test_what_is_absurdly_long_is_not_kept():
    keep_items(1, [{**ITEM, "content": "a" * MAX_KEPT_BYTES}])
    assert recall_items(1, ["msg_1"]) == {}


def test_a_database_that_is_away_costs_the_items_and_nothing_else():
    KeptItem.__table__.drop(db.engine)
    try:
        keep_items(1, [ITEM])
    finally:
        KeptItem.__table__.create(db.engine)  # others use the same database
