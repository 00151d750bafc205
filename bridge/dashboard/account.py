"""The signed-in account, as its pages need it: its state, read once for a page, and the models as it sees them."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from flask import g, url_for
from flask_login import current_user

from bridge.accounts.key_limits import read_account_limits
from bridge.accounts.own_prices import find_price_terms
from bridge.catalogue.listing import ListedModel, list_models
from bridge.catalogue.price_terms import PriceTerms
from bridge.catalogue.tables import Channel
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


def list_own_models(channels: Sequence[Channel] | None = None) -> list[ListedModel]:
    """All models, at the account's prices, each with the status that it has for the account. `channels` are all of
    them, where they were just read."""
    state = find_account_state()
    account = state.account
    terms = PriceTerms(account.markup_bps)
    if state.has_own_prices:
        terms = find_price_terms(account.id, account.group, account.markup_bps)
    return list_models(terms, account.group, number=state.catalogue_number, channels=channels)
