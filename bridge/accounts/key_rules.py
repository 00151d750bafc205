"""What a key may be set to: each field is checked here, whether it comes from a page or a command."""

import datetime
from collections.abc import Callable, Collection
from typing import Any

from bridge.accounts.key_terms import TERMS, KeyTerms, Kind
from bridge.addresses import Network, read_network
from bridge.catalogue.names import find_model_ids
from bridge.db import now_utc
from bridge.errors import InvalidRequest
from bridge.money import MAX_NANOS

MAX_NAME_LENGTH = 100
MAX_LIMIT = 10**12
MAX_LIST_LENGTH = 200
BUDGET_PERIODS = ("day", "week", "month", "total")


def check_key(terms: KeyTerms) -> dict[str, Any]:
    """The columns of a key. Raises InvalidRequest with the wrong field in `param`."""
    return {term.field: CHECKS[term.kind](term.form_name, getattr(terms, term.field)) for term in TERMS}


def _check_name(field: str, name: str) -> str:
    name = " ".join(name.split()) or "Untitled"
    if len(name) > MAX_NAME_LENGTH:
        raise InvalidRequest(f"A name has at most {MAX_NAME_LENGTH} characters.", param=field)
    if not name.isprintable():
        raise InvalidRequest("A name is made of printable characters.", param=field)
    return name


def check_limit(field: str, value: int | None, otherwise: str = "the account's") -> int | None:
    """A limit of a key or an account, checked. Raises InvalidRequest with the field in `param`."""
    if value is not None and not 0 <= value <= MAX_LIMIT:
        raise InvalidRequest(f"Give a whole number, 0 for no limit, or nothing for {otherwise}.", param=field)
    return value


def _check_dollars(field: str, value: int | None) -> int | None:
    if value is not None and not 0 <= value <= MAX_NANOS:
        raise InvalidRequest(f"A {field} is an amount of dollars, zero or more.", param=field)
    return value


def _check_period(field: str, value: str) -> str:
    if value not in BUDGET_PERIODS:
        raise InvalidRequest(f"A budget's period is one of {', '.join(BUDGET_PERIODS)}.", param=field)
    return value


def _find_models(field: str, names: Collection[str] | None) -> list[str] | None:
    """The model ids behind the names, sorted, each once. An empty list becomes None, since a key for no model is of no
    use."""
    if not names:
        return None
    if len(names) > MAX_LIST_LENGTH:
        raise InvalidRequest(f"Name at most {MAX_LIST_LENGTH} models.", param=field)
    known = find_model_ids(names)
    for name in names:
        if name not in known:
            raise InvalidRequest(f"There is no model {name!r}.", param=field)
    return list(dict.fromkeys(known[name] for name in names))


def _check_addresses(field: str, addresses: Collection[str | Network] | None) -> list[str] | None:
    if not addresses:
        return None
    if len(addresses) > MAX_LIST_LENGTH:
        raise InvalidRequest(f"Give at most {MAX_LIST_LENGTH} addresses or networks.", param=field)
    try:
        return list(dict.fromkeys(str(read_network(str(text))) for text in addresses))
    except ValueError as error:
        message = f"Give an address or a network such as 203.0.113.0/24: {error}."
        raise InvalidRequest(message, param=field) from None


def _check_expiry(field: str, moment: datetime.datetime | None) -> datetime.datetime | None:
    if moment is None:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    if moment <= now_utc():
        raise InvalidRequest("The expiry must be in the future.", param=field)
    return moment


CHECKS: dict[Kind, Callable[[str, Any], Any]] = {
    "name": _check_name,
    "count": check_limit,
    "dollars": _check_dollars,
    "period": _check_period,
    "models": _find_models,
    "networks": _check_addresses,
    "moment": _check_expiry,
}
