"""Whose a key is, on the pages of keys: what a form offers, what it says, and the form that changes it."""

from flask import flash, g, redirect, request, url_for
from werkzeug.wrappers import Response

from bridge.accounts.key_owners import list_key_owners
from bridge.accounts.keys import give_key
from bridge.accounts.tables import Key
from bridge.dashboard.door import dashboard, needs
from bridge.dashboard.scope import OF_TEAM, read_member_id
from bridge.dashboard.visitor import find_actor
from bridge.extensions import needs_proof
from bridge.ledger.journal import BudgetState
from bridge.ledger.member_budgets import find_member_budget


@dashboard.post("/keys/<int:key_id>/owner")
@needs("keys")
@needs_proof
def change_owner(key_id: int) -> Response:
    """Make the key another member's, or the team's."""
    key = give_key(g.account_id, key_id, read_owner(request.form.get("belongs_to", "")), find_actor())
    flash(f"Key {key.name} has another owner. What it spends from now on counts there.")
    return redirect(url_for("dashboard.show_key", key_id=key_id), 303)


def read_owner(chosen: str) -> int | None:
    """Whose a key is to be, as a form says: the signed-in member's, unless they may choose another's, or the team's."""
    if not chosen or not g.member.may("keys"):
        return int(g.member.id)
    return None if chosen == OF_TEAM else read_member_id(chosen) or 0  # 0 is nobody, which the room refuses


def list_owners() -> dict[str, str]:
    """Whose a key can be, as a form offers it: value -> name. Empty where there is nothing to choose."""
    if not g.member.may("keys"):
        return {}
    members = {str(each): name for each, name in list_key_owners(g.account_id).items()}
    mine = {own: "You"} if (own := str(g.member.id)) in members else {}
    return {**mine, **{each: name for each, name in members.items() if each not in mine}, OF_TEAM: "The team"}


def find_shared_budget(key: Key | None, owners: dict[str, str]) -> tuple[str, BudgetState] | None:
    """The budget that the key shares with the member's others, with what that is called; None without one."""
    if key is None or key.member_id is None:
        return None
    state = find_member_budget(g.account_id, key.member_id)
    name = "Your" if key.member_id == g.member.id else f"{owners.get(str(key.member_id), 'Its member')}’s"
    return None if state is None else (name, state)
