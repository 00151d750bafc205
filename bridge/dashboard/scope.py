"""What a member sees of their account: all of it, or what their own keys did. Every query of the customer's pages for
keys, requests, refusals and sums asks here."""

from flask import g, request
from flask_login import current_user

from bridge.accounts.key_search import ANYONE, KeyFilter, find_key
from bridge.accounts.tables import Key
from bridge.dashboard.account import find_account_state
from bridge.dashboard.door import dashboard
from bridge.ledger.journal import KeyBudget

OF_TEAM = "team"  # in a form or an address, in place of a member's id: the account's own keys


def find_seen_member() -> int | None:
    """The member of whose keys alone the signed-in one sees anything; None if all of the account."""
    member_id: int = current_user.id
    return None if current_user.may("usage") else member_id


def find_own_key(key_id: int) -> Key:
    """A key of the account that the signed-in member may see. Raises NotFound."""
    found: Key | None = g.pop("own_key", None)  # the door has just looked
    return found or find_key(current_user.account_id, key_id, find_seen_member())


def filter_keys(search: str = "", belongs_to: str = "") -> KeyFilter:
    """Which keys a list has: to those who don't see all, their own; otherwise a member's (by id), the
    team's, or all."""
    seen = find_seen_member()
    if seen is None:
        seen = None if belongs_to == OF_TEAM else read_member_id(belongs_to) or ANYONE
    return KeyFilter(current_user.account_id, search, seen)


def find_seen_actor() -> str | None:
    """The member of whose deeds alone the signed-in one reads; None if all of the account's."""
    return None if current_user.may("members") else str(current_user.email)


def list_near_budget() -> list[KeyBudget]:
    """The keys that have nearly spent a budget, as far as the signed-in member sees them."""
    seen = find_seen_member()
    return [each for each in find_account_state().near_budget if seen in (None, each.key.member_id)]


def read_member_id(text: str) -> int | None:
    """The id in a form's field or an address; None if there is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 18 else None


@dashboard.before_request
def require_own_key() -> None:
    """Answer every page and form of another member's key as that of a stranger's. Raises NotFound."""
    key_id = (request.view_args or {}).get("key_id")
    if key_id is not None and find_seen_member() is not None:
        g.own_key = find_own_key(key_id)
