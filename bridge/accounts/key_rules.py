"""What a key may be set to: each field is checked here, whether it comes from a page or a command."""

import datetime
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from bridge.addresses import read_network
from bridge.db import db, now_utc
from bridge.errors import InvalidRequest
from bridge.money import MAX_NANOS

MAX_NAME_LENGTH = 100
MAX_LIMIT = 10**12
MAX_LIST_LENGTH = 200
BUDGET_PERIODS = ("day", "week", "month", "total")
# the catalogue's names, without importing that room: a key only needs to know that a name exists
_models = sa.table("models", sa.column("id", sa.String))
_aliases = sa.table("aliases", sa.column("name", sa.String), sa.column("model_id", sa.String))


def check_key(
    *,
    name: str,
    rpm: int | None,
    tpm: int | None,
    concurrency: int | None,
    budget_nanos: int | None,
    budget_period: str,
    models: Sequence[str] | None,
    addresses: Sequence[str] | None,
    expires_at: datetime.datetime | None,
) -> dict[str, Any]:
    """The columns of a key. Raises InvalidRequest naming the field that can't be so in `param`."""
    return {
        "name": _check_name(name),
        "rpm": check_limit("rpm", rpm),
        "tpm": check_limit("tpm", tpm),
        "concurrency": check_limit("concurrency", concurrency),
        "budget_nanos": _check_budget(budget_nanos),
        "budget_period": _check_period(budget_period),
        "models": _find_models(models),
        "addresses": _check_addresses(addresses),
        "expires_at": _check_expiry(expires_at),
    }


def _check_name(name: str) -> str:
    name = " ".join(name.split()) or "Untitled"
    if len(name) > MAX_NAME_LENGTH:
        raise InvalidRequest(f"A name has at most {MAX_NAME_LENGTH} characters.", param="name")
    if not name.isprintable():
        raise InvalidRequest("A name is made of printable characters.", param="name")
    return name


def check_limit(field: str, value: int | None, otherwise: str = "the account's") -> int | None:
    """A limit of a key or an account as it may be kept. Raises InvalidRequest naming the field in `param`."""
    if value is not None and not 0 <= value <= MAX_LIMIT:
        raise InvalidRequest(f"Give a whole number, 0 for no limit, or nothing for {otherwise}.", param=field)
    return value


def _check_budget(value: int | None) -> int | None:
    if value is not None and not 0 <= value <= MAX_NANOS:
        raise InvalidRequest("A budget is an amount of dollars, zero or more.", param="budget")
    return value


def _check_period(value: str) -> str:
    if value not in BUDGET_PERIODS:
        raise InvalidRequest(f"A budget's period is one of {', '.join(BUDGET_PERIODS)}.", param="budget_period")
    return value


def _find_models(names: Sequence[str] | None) -> list[str] | None:
    """Canonical ids of the names, in order and once each; an empty list would be a key for nothing, so it is None."""
    if not names:
        return None
    if len(names) > MAX_LIST_LENGTH:
        raise InvalidRequest(f"Name at most {MAX_LIST_LENGTH} models.", param="models")
    known = {id_: id_ for id_ in db.session.scalars(sa.select(_models.c.id).where(_models.c.id.in_(names)))}
    aliases = sa.select(_aliases.c.name, _aliases.c.model_id).where(_aliases.c.name.in_(names))
    known.update({row.name: row.model_id for row in db.session.execute(aliases)})
    for name in names:
        if name not in known:
            raise InvalidRequest(f"There is no model {name!r}.", param="models")
    return list(dict.fromkeys(known[name] for name in names))


def _check_addresses(addresses: Sequence[str] | None) -> list[str] | None:
    if not addresses:
        return None
    if len(addresses) > MAX_LIST_LENGTH:
        raise InvalidRequest(f"Give at most {MAX_LIST_LENGTH} addresses or networks.", param="addresses")
    try:
        return list(dict.fromkeys(str(read_network(text)) for text in addresses))
    except ValueError as error:
        message = f"Give an address or a network such as 203.0.113.0/24: {error}."
        raise InvalidRequest(message, param="addresses") from None


def _check_expiry(moment: datetime.datetime | None) -> datetime.datetime | None:
    if moment is None:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    if moment <= now_utc():
        raise InvalidRequest("The expiry must be in the future.", param="expires_at")
    return moment
