"""What the tests of accounts share."""

import dataclasses
from collections.abc import Iterator

import pytest
from flask import Flask

from bridge import versions
from bridge.accounts import keys
from bridge.accounts.tables import Account
from bridge.config import Settings
from bridge.db import db, transaction
from tests.members import add_owner
from tests.rooms import close_rooms, open_rooms


@pytest.fixture
def app(settings: Settings) -> Iterator[Flask]:
    """The rooms alone, in a process that watches the versions as a worker does."""
    app = open_rooms(dataclasses.replace(settings, default_rpm=7))
    with app.app_context():
        versions.poll(db.engine)
        yield app
    close_rooms(app)
    keys.forget_callers()


@pytest.fixture
def account_id(app: Flask) -> int:
    return make_account("mira@example.com")


def make_account(email: str, **fields: int | None) -> int:
    """An account with its owner."""
    with transaction() as session:
        account = Account(name=email.partition("@")[0], **fields)
        session.add(account)
        session.flush()
        add_owner(session, account.id, email)
    return account.id
