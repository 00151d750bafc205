"""An Idempotency-Key has one owner at a time, even if it changes hands during a look-up."""

from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from bridge.db import db
from bridge.ledger.idempotency import Claim, claim_key, free_key, keep_answer
from bridge.ledger.tables import IdempotencyKey
from bridge.telemetry import new_request_id
from tests.factories import Factories


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)  # SQLite lets nobody in between
def test_a_key_that_is_freed_while_it_is_looked_at_belongs_to_who_looks(app: Flask, make: Factories):
    account = make.make_account()
    first, second = (Claim(account.id, "order-1", new_request_id()) for _ in range(2))
    freed: list[str] = []

    def free_before_the_look(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        if statement.startswith("SELECT") and "idempotency_keys" in statement and not freed:
            freed.append(statement)
            free_key(first)

    with app.app_context():
        assert claim_key(first, "print", stream=False, seconds=60) is None
        sa.event.listen(db.engine, "before_cursor_execute", free_before_the_look)
        try:
            assert claim_key(second, "print", stream=False, seconds=60) is None
        finally:
            sa.event.remove(db.engine, "before_cursor_execute", free_before_the_look)
        assert freed
        assert keep_answer(second, "sealed")
        row = db.session.scalars(sa.select(IdempotencyKey).where(IdempotencyKey.account_id == account.id)).one()
        assert (row.request_id, row.sealed) == (second.request_id, "sealed")
