"""Whose a key is, on the pages of keys: what a form offers, what it says, and the form that changes it."""

from flask import flash, g, redirect, request, url_for
from werkzeug.wrappers import Response

from bridge.accounts.keys import give_key
from bridge.accounts.tables import Key
from bridge.dashboard.account import once
from bridge.dashboard.door import dashboard, needs
from bridge.dashboard.scope import OF_TEAM, find_seen_member, read_member_id
from bridge.dashboard.visitor import find_actor
from bridge.extensions import needs_proof
from bridge.languages import translate
from bridge.ledger.journal import BudgetState
from bridge.ledger.member_budgets import KeyOwner, list_key_owners


@dashboard.post("/keys/<int:key_id>/owner")
@needs("keys")
@needs_proof
def change_owner(key_id: int) -> Response:
    """Make the key another member's, or the team's."""
    key = give_key(g.account_id, key_id, read_owner(request.form.get("belongs_to", "")), find_actor())
    flash(translate("Key %(name)s has another owner. What it spends from now on counts there.", name=key.name))
    return redirect(url_for("dashboard.show_key", key_id=key_id), 303)


def read_owner(chosen: str) -> int | None:
    """Whose a key is to be, as a form says: the signed-in member's, unless they may choose another's, or the team's."""
    if not chosen or not g.member.may("keys"):
        return int(g.member.id)
    return None if chosen == OF_TEAM else read_member_id(chosen) or 0  # 0 is nobody, which the room refuses


def list_owners() -> dict[str, str]:
    """Whose a key can be, as a form or a filter offers it: value -> name. Empty where there is nothing to choose."""
    if not g.member.may("keys"):
        return {}
    members = {str(each): owner.name for each, owner in _read_owners().items() if owner.may_have}
    mine = {own: translate("You")} if (own := str(g.member.id)) in members else {}
    return {
        **mine,
        **{each: name for each, name in members.items() if each not in mine},
        OF_TEAM: translate("The team"),
    }


def name_owners() -> dict[int, str]:
    """Member id -> name, of all who may have keys, for those who see all of these; otherwise empty."""
    if find_seen_member() is not None:
        return {}
    return {member_id: owner.name for member_id, owner in _read_owners().items() if owner.may_have}


def find_shared_budget(key: Key | None) -> tuple[str, BudgetState] | None:
    """The budget that the key shares with the member's others, with whose it is: "" for the reader's own. None without
    one."""
    owner = _read_owners().get(key.member_id) if key and key.member_id is not None else None
    if key is None or owner is None or owner.budget is None:
        return None
    return ("" if key.member_id == g.member.id else owner.name), owner.budget


def _read_owners() -> dict[int, KeyOwner]:
    """The members of the account; the signed-in one alone, if they don't see the others' keys. Read once for a page."""
    return once("key_owners", _find_owners)


def _find_owners() -> dict[int, KeyOwner]:
    me = g.member
    if me.members == 1 and me.membership is not None and me.membership.budget_month_nanos is None:
        return {me.id: KeyOwner(me.member.name or me.email, me.may("own_keys"), None)}
    return list_key_owners(g.account_id, find_seen_member())
