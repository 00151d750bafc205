"""What the tests of accounts share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from bridge.accounts import keys
from bridge.accounts.tables import Account, Member
from bridge.catalogue.tables import Alias, Model
from bridge.db import transaction
from tests.catalogue.small_app import drop_app, make_app


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    """The database and the settings; this process is the one worker."""
    app = make_app(tmp_path, default_rpm=7)
    with app.app_context():
        yield app
    drop_app(app)
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
        session.add(Member(account_id=account.id, email=email, password_hash="none"))
    return account.id


@pytest.fixture
def models(app: Flask) -> None:
    with transaction() as session:
        for id_ in ("gpt-4o", "claude-3-5-sonnet-20241022"):
            session.add(
                Model(
                    id=id_,
                    name=id_,
                    provider="openai",
                    upstream_id=id_,
                    context_tokens=128_000,
                    max_output_tokens=4_096,
                )
            )
        session.flush()
        session.add(Alias(name="claude-3-5-sonnet", model_id="claude-3-5-sonnet-20241022"))
