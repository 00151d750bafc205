"""What a key may be set to: each field is checked here, whether it comes from a page or a command."""

import datetime
from collections.abc import Callable, Collection, Iterator
from typing import Any

from bridge.accounts.key_terms import TERMS, KeyTerms, Kind
from bridge.accounts.tables import Key
from bridge.addresses import Network, read_network
from bridge.catalogue.names import find_model_ids
from bridge.db import now_utc
from bridge.errors import InvalidRequest
from bridge.languages import to_translate, translate
from bridge.money import MAX_NANOS

MAX_NAME_LENGTH = 100
MAX_LIMIT = 10**12
MAX_LIST_LENGTH = 200
LIMIT_OF_KEY = to_translate("Give a whole number, 0 for no limit, or nothing for the account's.")
BUDGET_PERIODS = ("day", "week", "month", "total")


def check_key(terms: KeyTerms, before: Key | None = None) -> dict[str, Any]:
    """The columns of a key; `before` is the key as it is, whose moments may stay though they have passed. Raises
    InvalidRequest with the first wrong field in `param`."""
    columns, errors = _check_all(terms, before)
    for field, message in errors.items():
        raise InvalidRequest(message, param=field)
    return columns


def find_errors(terms: KeyTerms, before: Key | None = None) -> dict[str, str]:
    """What is wrong with each of the fields, by their names in the form: for who fills in a form, all in one round."""
    return _check_all(terms, before)[1]


def _check_all(terms: KeyTerms, before: Key | None) -> tuple[dict[str, Any], dict[str, str]]:
    columns: dict[str, Any] = {}
    errors: dict[str, str] = {}
    for term in TERMS:
        value = getattr(terms, term.field)
        try:
            is_kept = term.kind == "moment" and before is not None and value == getattr(before, term.field)
            columns[term.field] = value if is_kept else CHECKS[term.kind](term.form_name, value)
        except InvalidRequest as error:
            errors[term.form_name] = error.message
    for field, message in _check_raise(terms):
        errors.setdefault(field, message)
    return columns, errors


def _check_raise(terms: KeyTerms) -> Iterator[tuple[str, str]]:
    own = (terms.budget_day_nanos, terms.budget_week_nanos, terms.budget_month_nanos, terms.budget_total_nanos)
    if terms.budget_raise_nanos is not None and terms.budget_raise_until is None:
        yield "budget_raise_until", translate("Say until when: a raise ends by itself.")
    elif terms.budget_raise_nanos is None and terms.budget_raise_until is not None:
        yield "budget_raise", translate("Give the dollars to raise by, such as 20.00.")
    elif terms.budget_raise_nanos is not None and own == (None,) * len(own):
        yield "budget_raise", translate("There is no budget to raise. Give one, or leave this empty.")


def _check_name(field: str, name: str) -> str:
    name = " ".join(name.split()) or "Untitled"
    if len(name) > MAX_NAME_LENGTH:
        raise InvalidRequest(translate("A name has at most %(most)s characters.", most=MAX_NAME_LENGTH), param=field)
    if not name.isprintable():
        raise InvalidRequest(translate("A name is made of printable characters."), param=field)
    return name


def check_limit(field: str, value: int | None, otherwise: str = LIMIT_OF_KEY) -> int | None:
    """A limit of a key or an account, checked. Raises InvalidRequest with the field in `param`; `otherwise` is what it
    says, with what an empty field means."""
    if value is not None and not 0 <= value <= MAX_LIMIT:
        raise InvalidRequest(translate(otherwise), param=field)
    return value


def check_spend_day(value: int | None) -> int | None:
    """What an account may spend a day, checked. Raises InvalidRequest with the field in `param`."""
    if value is not None and not 0 <= value <= MAX_NANOS:
        raise InvalidRequest(
            translate("Give an amount of dollars, 0 for no limit, or nothing for the gateway's default."),
            param="spend_day",
        )
    return value


def _check_dollars(field: str, value: int | None) -> int | None:
    if value is not None and not 0 <= value <= MAX_NANOS:
        raise InvalidRequest(translate("Give an amount of dollars, zero or more."), param=field)
    return value


def _check_period(field: str, value: str) -> str:
    if value not in BUDGET_PERIODS:
        said = translate("A budget's period is one of %(periods)s.", periods=", ".join(BUDGET_PERIODS))
        raise InvalidRequest(said, param=field)
    return value


def _find_models(field: str, names: Collection[str] | None) -> list[str] | None:
    """The model ids behind the names, sorted, each once. An empty list becomes None, since a key for no model is of no
    use."""
    if not names:
        return None
    if len(names) > MAX_LIST_LENGTH:
        raise InvalidRequest(translate("Name at most %(most)s models.", most=MAX_LIST_LENGTH), param=field)
    known = find_model_ids(names)
    for name in names:
        if name not in known:
            raise InvalidRequest(translate("There is no model %(name)s.", name=repr(name)), param=field)
    return list(dict.fromkeys(known[name] for name in names))


def _check_addresses(field: str, addresses: Collection[str | Network] | None) -> list[str] | None:
    if not addresses:
        return None
    if len(addresses) > MAX_LIST_LENGTH:
        said = translate("Give at most %(most)s addresses or networks.", most=MAX_LIST_LENGTH)
        raise InvalidRequest(said, param=field)
    try:
        return list(dict.fromkeys(str(read_network(str(text))) for text in addresses))
    except ValueError as error:
        message = translate("Give an address or a network such as 203.0.113.0/24: %(error)s.", error=error)
        raise InvalidRequest(message, param=field) from None


def _check_moment(field: str, moment: datetime.datetime | None) -> datetime.datetime | None:
    if moment is None:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    if moment <= now_utc():
        raise InvalidRequest(translate("Give a moment in the future."), param=field)
    return moment


CHECKS: dict[Kind, Callable[[str, Any], Any]] = {
    "name": _check_name,
    "count": check_limit,
    "dollars": _check_dollars,
    "period": _check_period,
    "models": _find_models,
    "networks": _check_addresses,
    "moment": _check_moment,
}
