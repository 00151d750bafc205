"""One small app on each engine for a whole process: the webhook over a database, in which every test has accounts and
payments of its own."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from bridge import webhooks
from bridge.accounts.tables import Account
from bridge.config import Settings
from bridge.db import db, transaction
from bridge.extensions import csrf, limiter
from bridge.ledger.check import check_ledger
from bridge.ledger.ledger import credit, find_balance
from bridge.ledger.tables import Balance, Entry
from bridge.payments.amounts import to_credit
from bridge.payments.check import check_payments
from bridge.payments.rows import new_payment_id
from bridge.payments.tables import AutoTopUp, Payment
from tests.payments.stripe_side import SECRET, send
from tests.rooms import close_rooms, make_settings, open_rooms
from tests.services import Databases

CENT = 10_000_000
KEY = "sk_test_" + "k" * 24


@dataclasses.dataclass
class Till:
    """The app, and what tests read from its books."""

    app: Flask
    settings: Settings

    @property
    def client(self) -> FlaskClient:
        return self.app.test_client()

    def send(self, event: dict[str, Any]) -> TestResponse:
        """Deliver an event."""
        return send(self.client, event)

    def open_account(self, balance_nanos: int = 0) -> int:
        with self.app.app_context():
            with transaction() as session:
                account = Account(name="test")
                session.add(account)
            if balance_nanos:
                credit(account.id, balance_nanos, source="operator", made_by="a test")
            return account.id

    def open_payment(self, account_id: int, amount: int = 2000, **fields: Any) -> str:
        """Store a requested payment; returns its id."""
        values = {"id": new_payment_id(), "kind": "checkout", "currency": "usd", **fields}
        values["credit_nanos"] = to_credit(self.settings, amount)
        with self.app.app_context(), transaction() as session:
            session.add(Payment(account_id=account_id, amount_minor=amount, **values))
        return str(values["id"])

    def keep_card(self, account_id: int, **fields: Any) -> None:
        """A rule for automatic top-ups that is on: $20 when less than $5 is left, $100 a month."""
        values = {"enabled": True, "threshold_nanos": 500 * CENT, "amount_minor": 2000, "monthly_cap_minor": 10_000}
        card = {"customer": "cus_1", "payment_method": "pm_1", "card": "Visa …4242", "currency": "usd"}
        with self.app.app_context(), transaction() as session:
            session.add(AutoTopUp(account_id=account_id, **{**values, **card, **fields}))

    def find_rule(self, account_id: int) -> AutoTopUp:
        with self.app.app_context():
            return db.session.get_one(AutoTopUp, account_id)

    def find_payment(self, payment_id: str) -> Payment:
        with self.app.app_context():
            return db.session.get_one(Payment, payment_id)

    def list_payments(self, account_id: int) -> list[Payment]:
        with self.app.app_context():
            found = sa.select(Payment).where(Payment.account_id == account_id).order_by(Payment.id)
            return list(db.session.scalars(found))

    def balance(self, account_id: int) -> int:
        """In cents."""
        with self.app.app_context():
            nanos = find_balance(account_id).balance_nanos
        assert nanos % CENT == 0
        return nanos // CENT

    def debt(self, account_id: int) -> int:
        """How far below zero the account was taken, in cents."""
        with self.app.app_context():
            found = db.session.scalar(sa.select(Balance.debt_nanos).where(Balance.account_id == account_id))
        return (found or 0) // CENT

    def entries(self, account_id: int) -> list[tuple[str, str | None, int]]:
        """Source, external id and signed cents of each, the oldest first."""
        with self.app.app_context():
            found = db.session.scalars(sa.select(Entry).where(Entry.account_id == account_id).order_by(Entry.id))
            signs = [(entry, 1 if entry.credit == "customer" else -1) for entry in found]
        return [(entry.source, entry.external_id, sign * entry.amount_nanos // CENT) for entry, sign in signs]

    def check(self) -> list[str]:
        """All differences in the ledger and among the payments."""
        with self.app.app_context():
            return [*check_ledger(), *check_payments()]


def open_till(settings: Settings) -> Till:
    """The webhook and the rooms, without pages and API."""
    app = open_rooms(settings)
    app.config.update(SECRET_KEY=settings.secret_key, RATELIMIT_STORAGE_URI="memory://")
    csrf.init_app(app)
    limiter.init_app(app)
    webhooks.register(app, settings)
    return Till(app, settings)


@pytest.fixture(scope="session")
def find_till(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Till]]:
    """`find_till("sqlite")`, opened when first asked for."""
    opened: dict[str, Till] = {}

    def find(engine: str) -> Till:
        if engine not in opened:
            folder = tmp_path_factory.mktemp(f"till-{engine}")
            settings = make_settings(
                folder,
                database_url=databases.open(engine),
                stripe_secret_key=KEY,
                stripe_webhook_secret=SECRET,
                public_base_url="https://gateway.example",
            )
            opened[engine] = open_till(settings)
        return opened[engine]

    yield find
    for till in opened.values():
        close_rooms(till.app)


@pytest.fixture
def till(engine: str, find_till: Callable[[str], Till]) -> Iterator[Till]:
    """The till. It must add up after every test."""
    till = find_till(engine)
    yield till
    assert [line for line in till.check() if "look at it" not in line] == []
