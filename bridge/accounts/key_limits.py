"""The RPM, TPM and concurrency in effect. An account has its own or the gateway's; a key has at most its account's."""

from typing import Any

import sqlalchemy as sa
from flask import current_app

from bridge.accounts.tables import Account
from bridge.config import Settings
from bridge.db import db

LIMITS = ("rpm", "tpm", "concurrency")


def limit_account(own: int | None, default: int) -> int:
    """An account's limit: its own figure, otherwise the gateway's default. 0 is no limit."""
    return default if own is None else own


def limit_key(own: int | None, account: int) -> int:
    """A key's limit: its own figure or its account's, whichever is smaller. 0 is no limit."""
    return min(own, account) if own and account else own or account


def default_limits(settings: Settings) -> dict[str, int]:
    """The limits of an account that has none of its own. 0 is no limit."""
    return {"rpm": settings.default_rpm, "tpm": settings.default_tpm, "concurrency": settings.default_concurrency}


def find_account_limits(account_id: int) -> dict[str, int]:
    """The limits of an account over all of its keys, by name. 0 is no limit."""
    own = db.session.execute(sa.select(*(getattr(Account, name) for name in LIMITS)).where(Account.id == account_id))
    return read_account_limits(own.one())


def read_account_limits(account: Any) -> dict[str, int]:
    """The same from the account's row, or what of it has these columns."""
    settings: Settings = current_app.config["BRIDGE"]
    return {name: limit_account(getattr(account, name), default) for name, default in default_limits(settings).items()}
