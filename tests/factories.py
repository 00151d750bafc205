"""Accounts, keys, models and channels for tests, made through the rooms, and a look at the money afterwards."""

import dataclasses
import functools
import itertools
import time
from typing import Any
from unittest import mock

import gevent
import sqlalchemy as sa
from flask import Flask

from bridge.accounts.key_terms import KeyTerms
from bridge.accounts.keys import issue_key, revoke_key
from bridge.accounts.memberships import add_member
from bridge.accounts.operators import set_operator
from bridge.accounts.tables import Member
from bridge.catalogue.editing import add_channel, list_channels, remove_channel, set_channel_enabled
from bridge.catalogue.model_editing import add_model
from bridge.db import db, transaction
from bridge.ledger import opening
from bridge.ledger.check import check_ledger
from bridge.ledger.ledger import credit, find_balance
from bridge.ledger.opening import create_account
from bridge.ledger.tables import Hold, UsageRecord
from bridge.money import NANOS_PER_DOLLAR
from bridge.versions import MARGIN_SECONDS

PASSWORD = "correct horse battery staple"
DOLLAR = NANOS_PER_DOLLAR
_numbers = itertools.count(1)
# it takes a twentieth of a second on purpose, and most tests make accounts, all with the same password
_hash_once = functools.cache(opening.hash_password)


@dataclasses.dataclass(frozen=True)
class MadeAccount:
    """An account and its owner."""

    id: int
    email: str
    password: str = PASSWORD


@dataclasses.dataclass(frozen=True)
class MadeKey:
    """A key with its secret."""

    id: int
    account_id: int
    secret: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.secret}"}


class Factories:
    """Makes what a test needs in one database. Every name is new, so that tests can share a gateway. If a gateway runs
    on the database, it knows every change when the call returns."""

    def __init__(self, app: Flask, gateway_runs: bool = False):
        self.app = app
        self._gateway_runs = gateway_runs
        self._seen_at = 0.0  # when the gateway has seen all changes

    def make_account(self, balance_nanos: int = 10 * DOLLAR, *, is_operator: bool = False) -> MadeAccount:
        """An account with its owner and this balance."""
        email = f"member-{next(_numbers)}@example.com"
        with self.app.app_context(), mock.patch.object(opening, "hash_password", _hash_once):
            account_id = create_account(email, PASSWORD, is_operator=is_operator).account_id
            if balance_nanos:
                credit(account_id, balance_nanos, source="operator", made_by="a test")
        return MadeAccount(account_id, email)

    def make_member(self, account: MadeAccount, role: str, budget_month_nanos: int | None = None) -> MadeAccount:
        """Somebody new who belongs to this account alone, with this role."""
        email = f"member-{next(_numbers)}@example.com"
        with self.app.app_context():
            password_hash = _hash_once(PASSWORD)
            with transaction() as session:
                member = Member(account_id=account.id, email=email, password_hash=password_hash)
                session.add(member)
                session.flush()
                add_member(session, account.id, member.id, role, budget_month_nanos)
        return MadeAccount(account.id, email)

    def make_operator(self, role: str) -> MadeAccount:
        """An account whose owner is an operator of this role."""
        account = self.make_account(0)
        with self.app.app_context():
            set_operator(db.session.scalars(sa.select(Member.id).where(Member.email == account.email)).one(), role)
        return account

    def make_key(self, account: MadeAccount | None = None, **limits: Any) -> MadeKey:
        """A key, of a new account unless one is given; `limits` as in KeyTerms."""
        account = account or self.make_account()
        with self.app.app_context():
            issued = issue_key(account.id, KeyTerms(**{"name": f"key {next(_numbers)}", **limits}))
            return MadeKey(issued.key.id, account.id, issued.secret)

    def revoke_key(self, key: MadeKey) -> None:
        with self.app.app_context():
            revoke_key(key.account_id, key.id)
            self.wait_for_gateway()

    def make_model(self, *, input_price: int = DOLLAR, output_price: int = 2 * DOLLAR, **fields: Any) -> str:
        """A model that only channels made for it serve; prices in nano-dollars per million tokens. Its name."""
        name = fields.pop("id_", f"model-{next(_numbers)}")
        fields = {"provider": "local", "context_tokens": 32_768, "max_output_tokens": 4096, **fields}
        with self.app.app_context():
            add_model(name, input_price_nanos=input_price, output_price_nanos=output_price, **fields)
        self.note_change()  # nobody serves it yet: whoever makes its channel waits
        return name

    def make_channel(
        self, base_url: str, *models: str, provider: str = "openai", waits: bool = True, **fields: Any
    ) -> str:
        """A channel to an upstream that serves these models under their own names; without any, all of the provider's.
        Its name. Unless it `waits`, a request finds it whose address is asked for afterwards."""
        name = f"channel-{next(_numbers)}"
        # a key of its own: channels that share one, at a port that is used again, would share its fate
        fields = {"api_key": f"sk-Zq83hTr0-{name}", "models": {model: model for model in models}, **fields}
        with self.app.app_context():
            add_channel(name, provider, base_url=base_url, **fields)
        self.note_change()
        if waits:
            self.wait_until_seen()
        return name

    def remove_channel(self, name: str) -> None:
        with self.app.app_context():
            remove_channel(name)
            self.wait_for_gateway()

    def disable_channels(self, model: str) -> None:
        """Switch off every channel that names this model."""
        with self.app.app_context():
            for channel in list_channels():
                if channel.models and model in channel.models:
                    set_channel_enabled(channel.name, False)
            self.wait_for_gateway()

    def find_money(self, account_id: int) -> tuple[int, int]:
        """Balance and held, in nano-dollars."""
        with self.app.app_context():
            balance = find_balance(account_id)
        return balance.balance_nanos, balance.held_nanos

    def list_usage(self, account_id: int) -> list[UsageRecord]:
        """The account's settled requests, the oldest first."""
        with self.app.app_context():
            rows = db.session.scalars(sa.select(UsageRecord).where(UsageRecord.account_id == account_id))
            return sorted(rows, key=lambda row: row.request_id)

    def count_holds(self, account_id: int) -> int:
        """Requests of the account that still run."""
        with self.app.app_context():
            return db.session.scalar(sa.select(sa.func.count()).where(Hold.account_id == account_id)) or 0

    def list_hold_details(self, account_id: int) -> list[str]:
        """What the holds of its running requests carry."""
        with self.app.app_context():
            return list(db.session.scalars(sa.select(Hold.details).where(Hold.account_id == account_id)))

    def check_ledger(self) -> list[str]:
        """Whatever does not add up."""
        with self.app.app_context():
            return list(check_ledger())

    def note_change(self) -> None:
        """A running gateway has to see what has just changed."""
        if self._gateway_runs:  # wait_until_seen would believe that this process, which may look too, is the only one
            self._seen_at = time.monotonic() + self.app.config["BRIDGE"].version_poll_seconds + MARGIN_SECONDS

    def wait_until_seen(self) -> None:
        """Wait until a running gateway has seen all changes."""
        if (seconds := self._seen_at - time.monotonic()) > 0:
            gevent.sleep(seconds)

    def wait_for_gateway(self) -> None:
        """Wait until a running gateway knows what has just changed."""
        self.note_change()
        self.wait_until_seen()
