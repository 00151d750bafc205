"""The signed-in account, as its pages need it: its state, read once for a page, and the models as it sees them."""

from collections.abc import Callable
from typing import TypeVar

from flask import g, url_for
from flask_login import current_user

from bridge.accounts.key_limits import read_account_limits
from bridge.catalogue.listing import ListedModel, list_models
from bridge.ledger.ledger import BalanceView
from bridge.payments.account_state import AccountState, find_state

Found = TypeVar("Found")


def once(name: str, find: Callable[[], Found]) -> Found:
    """What `find` returns, read once for a page."""
    if name not in g:
        setattr(g, name, find())
    found: Found = g.get(name)
    return found


def path_of(endpoint: str) -> str:
    """The path of a page without parameters: each row of a list may need it, and Flask writes it slowly."""
    return once(f"path of {endpoint}", lambda: url_for(endpoint))


def find_account_state() -> AccountState:
    """The account's state."""
    return once("account_state", lambda: find_state(current_user.account_id))


def find_money() -> BalanceView:
    """The account's money."""
    return find_account_state().money


def find_own_limits() -> dict[str, int]:
    """The limits over all of the account's keys, by name. 0 is no limit."""
    return read_account_limits(find_account_state().account)


def list_own_models() -> list[ListedModel]:
    """All models, at the account's prices, each with the status that it has for the account."""
    state = find_account_state()
    return list_models(state.account.markup_bps, state.account.group_name, number=state.catalogue_number)
