"""Limits in effect: an account has its own or the gateway's, and a key has at most its account's."""

from typing import Any

import sqlalchemy as sa
from flask import current_app

from bridge.accounts.tables import Account, Key
from bridge.config import Settings
from bridge.db import db
from bridge.errors import InvalidRequest
from bridge.languages import translate_plural

LIMITS = ("rpm", "tpm", "concurrency")  # of keys and of accounts
OF_ACCOUNT = (*LIMITS, "spend_day_nanos", "max_keys")  # of accounts
OF_PLAN = {name: f"plan_{name}" for name in LIMITS}  # limit -> the account's column of what its plan gives


def limit_account(own: int | None, default: int, plan: int | None = None) -> int:
    """An account's limit: its own figure, otherwise the gateway's default; its plan's where that allows more. 0 is no
    limit."""
    limit = default if own is None else own
    if plan is None:
        return limit
    return max(limit, plan) if limit and plan else 0


def limit_key(own: int | None, account: int) -> int:
    """A key's limit: its own figure or its account's, whichever is smaller. 0 is no limit."""
    return min(own, account) if own and account else own or account


def default_limits(settings: Settings) -> dict[str, int]:
    """The limits of an account that has none of its own. 0 is no limit."""
    return {
        "rpm": settings.default_rpm,
        "tpm": settings.default_tpm,
        "concurrency": settings.default_concurrency,
        "spend_day_nanos": settings.default_spend_day_nanos,
        "max_keys": settings.default_keys,
    }


def find_account_limits(account_id: int) -> dict[str, int]:
    """The limits of an account over all of its keys, by name. 0 is no limit."""
    columns = (*OF_ACCOUNT, *OF_PLAN.values())
    own = db.session.execute(sa.select(*(getattr(Account, name) for name in columns)).where(Account.id == account_id))
    return read_account_limits(own.one())


def read_account_limits(account: Any) -> dict[str, int]:
    """The same from the account's row, or what of it has these columns."""
    settings: Settings = current_app.config["BRIDGE"]
    return {
        name: limit_account(getattr(account, name), default, getattr(account, OF_PLAN.get(name, ""), None))
        for name, default in default_limits(settings).items()
    }


def require_room(account_id: int) -> None:
    """Raises InvalidRequest where the account has as many keys as it may; revoked ones don't count. Its caller comes
    alone, so that of two keys that are made at once the second finds the first."""
    own = db.session.scalar(sa.select(Account.max_keys).where(Account.id == account_id))
    most = limit_account(own, current_app.config["BRIDGE"].default_keys)
    mine = sa.select(sa.func.count()).where(Key.account_id == account_id, Key.revoked_at.is_(None), ~Key.is_drill)
    if most and (db.session.scalar(mine) or 0) >= most:
        raise InvalidRequest(
            translate_plural(
                "This account may have %(num)s key, and has as many. Revoke one, or ask the operator for more.",
                "This account may have %(num)s keys, and has as many. Revoke one, or ask the operator for more.",
                most,
            )
        )
