"""RPM, TPM and concurrency in effect: an account's own or the gateway's, and a key's within its account's."""

import sqlalchemy as sa
from flask import current_app

from bridge.accounts.tables import Account
from bridge.config import Settings
from bridge.db import db

LIMITS = ("rpm", "tpm", "concurrency")


def limit_account(own: int | None, default: int) -> int:
    """An account's limit: its own figure, else the gateway's default. 0 is no limit."""
    return default if own is None else own


def limit_key(own: int | None, account: int) -> int:
    """A key's limit: the smaller of its own figure and its account's, which no figure of a key lifts. 0 is no limit."""
    return min(own, account) if own and account else own or account


def default_limits() -> dict[str, int]:
    """The limits of an account that was given none. 0 is no limit."""
    settings: Settings = current_app.config["BRIDGE"]
    return {name: getattr(settings, f"default_{name}") for name in LIMITS}


def find_account_limits(account_id: int) -> dict[str, int]:
    """The limits of an account over all of its keys, by name. 0 is no limit."""
    own = db.session.execute(sa.select(*(getattr(Account, name) for name in LIMITS)).where(Account.id == account_id))
    return {
        name: limit_account(figure, default)
        for (name, default), figure in zip(default_limits().items(), own.one(), strict=True)
    }
