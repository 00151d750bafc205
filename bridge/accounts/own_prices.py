"""Prices of single models for one account or for a group: read with the account, and listed."""

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from bridge.accounts.tables import Account, OwnPrice
from bridge.catalogue.price_terms import OF_ACCOUNT, OF_GROUP, PriceTerms, make_terms
from bridge.catalogue.prices import OwnRate
from bridge.catalogue.rates import make_rates
from bridge.db import db


def read_own(row: OwnPrice | Any) -> OwnRate:
    """What a row says, as prices are worked out by it."""
    rule = OF_GROUP if row.account_id is None else OF_ACCOUNT
    return OwnRate(rule, row.markup_bps, None if row.rates is None else make_rates(row.rates))


def has_own_prices(account_id: Any, group: Any) -> sa.Exists:
    """Whether there is any price for an account or its group (columns): so that those without cost no further trip."""
    return sa.exists().where((OwnPrice.account_id == account_id) | (OwnPrice.group_name == group))


def list_own_prices(account_id: int | None, group: str | None) -> list[OwnPrice]:
    """The prices of an account, then those of its group, by model."""
    query = sa.select(OwnPrice).where((OwnPrice.account_id == account_id) | (OwnPrice.group_name == group))
    return list(db.session.scalars(query.order_by(OwnPrice.account_id.is_(None), OwnPrice.model_id)))


def find_price_terms(account_id: int, group: str, markup_bps: int | None) -> PriceTerms:
    """What an account pays, in one statement."""
    return make_terms(markup_bps, ((row.model_id, read_own(row)) for row in list_own_prices(account_id, group)))


def read_price_terms(
    connection: sa.Connection, accounts: Iterable[tuple[int, str, int | None]]
) -> dict[int, PriceTerms]:
    """The same of several accounts, each with its group and its markup, on a connection."""
    asked = list(accounts)
    ours = OwnPrice.account_id.in_([account_id for account_id, _, _ in asked])
    groups = OwnPrice.group_name.in_([group for _, group, _ in asked])
    columns = OwnPrice.account_id, OwnPrice.group_name, OwnPrice.model_id, OwnPrice.markup_bps, OwnPrice.rates
    rows: Sequence[Any] = connection.execute(sa.select(*columns).where(ours | groups)).all()
    return {
        account_id: make_terms(
            markup_bps,
            [(row.model_id, read_own(row)) for row in rows if account_id == row.account_id or group == row.group_name],
        )
        for account_id, group, markup_bps in asked
    }


def list_own_rates() -> dict[str, list[tuple[OwnRate, str]]]:
    """Model id -> the prices that active accounts and groups have for it, and whose each is."""
    query = sa.select(OwnPrice, Account.name).outerjoin(Account, Account.id == OwnPrice.account_id)
    query = query.where(OwnPrice.account_id.is_(None) | (Account.status == "active")).order_by(OwnPrice.id)
    found: dict[str, list[tuple[OwnRate, str]]] = {}
    for row, name in db.session.execute(query):
        who = f"the group {row.group_name}" if row.account_id is None else f"{name} (account {row.account_id})"
        found.setdefault(row.model_id, []).append((read_own(row), who))
    return found
