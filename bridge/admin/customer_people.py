"""Who may enter a customer's account: members, sessions, reset links; suspending and restoring it; operators' notes."""

from typing import Any

from flask import current_app, flash, g, redirect, request, url_for
from werkzeug.wrappers import Response

from bridge.accounts.customers import (
    find_account_id,
    find_customer,
    has_operators,
    reactivate_account,
    suspend_account,
)
from bridge.accounts.memberships import find_membership
from bridge.accounts.operator_notes import add_note, delete_note
from bridge.accounts.people import find_person, list_people, send_reset_link
from bridge.accounts.roles import ROLES, name_role
from bridge.accounts.sessions import sign_out_everywhere
from bridge.accounts.tables import Member
from bridge.admin.approvals import ask_another, guard_alone
from bridge.admin.customer_page import render_overview, render_page
from bridge.admin.door import admin, find_operator, may, needs_right
from bridge.db import DEFAULT_GROUP
from bridge.forms import FormReader
from bridge.languages import translate
from bridge.ledger.ledger import find_balance
from bridge.payments.approvals import MERGE, NeedsAnother, Wish
from bridge.payments.merging import merge_accounts


@admin.get("/customers/<int:account_id>/members")
@needs_right("look")
def show_customer_members(account_id: int) -> str:
    return render_members(account_id, FormReader({}))


def render_members(account_id: int, form: FormReader) -> str:
    """The members' page, with the errors of a form."""
    roles = {role: name_role(role) for role in ROLES}
    return render_page(account_id, "members", form, people=list_people(account_id), roles=roles)


def _back(account_id: int, text: str, kind: str = "ok", page: str = "admin.show_customer_members") -> Response:
    flash(text, kind)
    return redirect(url_for(page, account_id=account_id), 303)


def is_out_of_reach(account_id: int) -> bool:
    """Whether it is the account of an operator, and the asking one may not change operators."""
    return find_customer(account_id).is_operator and not may("operators")


def is_own_account(account_id: int) -> bool:
    """Whether the signed-in operator belongs to this account, also while they look at another."""
    return find_membership(account_id, g.member.id) is not None


def refuses_price(account_id: int, group: str | None = None) -> str:
    """Why the signed-in operator may not set what this account, or this group, pays; "" if they may. A low price is
    money: an operator's account gets one from an owner alone and, where FOUR_EYES_DOLLARS is set, nobody sets their
    own. The default group is everybody's."""
    if group == DEFAULT_GROUP:
        return ""
    if is_out_of_reach(account_id) if group is None else has_operators(group) and not may("operators"):
        return translate("This is an operator's account: only an owner can change its prices.")
    is_own = is_own_account(account_id) and (group is None or find_customer(account_id).group == group)
    if is_own and current_app.config["BRIDGE"].four_eyes_nanos is not None:
        return translate("This is your own account: another owner, or a command, can change its prices.")
    return ""


def _is_above(member: Member) -> bool:
    """Whether it is an operator, in a customer's team, and the asking one may not change operators."""
    return member.is_operator and not may("operators")


@admin.post("/customers/<int:account_id>/suspend")
@needs_right("customers")
def suspend_customer(account_id: int) -> Any:
    """Suspend the account, for a reason that its members read; the note beside it is for operators alone."""
    form = FormReader(request.form)
    if is_own_account(account_id):
        why = translate("This is your own account: another operator, or a command, can suspend it.")
        return _back(account_id, why, "bad")
    if is_out_of_reach(account_id):
        return _back(account_id, translate("This is an operator's account: only an owner can suspend it."), "bad")
    with form.collect_errors():
        suspend_account(account_id, find_operator(), form.text("suspend_reason"))
        if note := form.text("note_text"):
            add_note(account_id, note, find_operator())
        told = translate("Suspended. Requests with this customer's keys answer 403, and their sessions have ended.")
        return _back(account_id, told, "warn", "admin.show_customer")
    return render_members(account_id, form), 400


@admin.post("/customers/<int:account_id>/reactivate")
@needs_right("customers")
def reactivate_customer(account_id: int) -> Any:
    """Let the customer in again."""
    form = FormReader(request.form)
    if is_out_of_reach(account_id):
        return _back(account_id, translate("This is an operator's account: only an owner can restore it."), "bad")
    with form.collect_errors():
        reactivate_account(account_id, find_operator())
        told = translate("Restored. The keys work again within a second.")
        return _back(account_id, told, page="admin.show_customer")
    return render_members(account_id, form), 400


@admin.post("/customers/<int:account_id>/members/<int:member_id>/sign-out")
@needs_right("customers")
def sign_member_out(account_id: int, member_id: int) -> Response:
    """End all sessions of one member."""
    member = find_person(account_id, member_id)
    if is_out_of_reach(account_id) or _is_above(member):
        return _back(
            account_id, translate("This is an operator's account: only an owner can sign its members out."), "bad"
        )
    sign_out_everywhere(member, find_operator())
    return _back(account_id, translate("%(email)s is signed out everywhere.", email=member.email))


@admin.post("/customers/<int:account_id>/members/<int:member_id>/reset-link")
@needs_right("customers")
def mail_reset_link(account_id: int, member_id: int) -> Response:
    """Mail one member the link that sets a new password."""
    member = find_person(account_id, member_id)
    if is_out_of_reach(account_id) or _is_above(member):
        return _back(
            account_id, translate("This is an operator's account: only an owner can reset its passwords."), "bad"
        )
    send_reset_link(member, find_operator())
    told = translate("%(email)s gets a mail with a link that sets a new password, within a minute.", email=member.email)
    return _back(account_id, told)


@admin.post("/customers/<int:account_id>/merge")
@needs_right("balances")
def merge_customer(account_id: int) -> Any:
    """Merge this account into another, named by its id or by a member's address."""
    customer, form = find_customer(account_id), FormReader(request.form)
    if is_out_of_reach(account_id):
        return _back(account_id, translate("This is an operator's account: only an owner can merge it."), "bad")
    into = form.require("into", translate("Give the id of the account that stays, or a member's address."))
    if form.text("confirm") != (customer.email or customer.name):
        form.errors.setdefault("confirm", translate("Type the address above, to confirm."))
    into_id = find_account_id(into) if into else None
    if into and into_id is None:
        form.errors["into"] = translate("There is no such customer.")
    if into_id is not None and not form.errors:
        with form.collect_errors():
            settings, guard = current_app.config["BRIDGE"], guard_alone(into_id)
            try:
                merge_accounts(settings, account_id, into_id, find_operator(), guard=guard)
            except NeedsAnother:
                moves = find_balance(account_id).available_nanos
                page = url_for("admin.show_customer_members", account_id=account_id)
                return ask_another(Wish(MERGE, moves, account_id, into_id=into_id), page)
            flash(translate("%(name)s is merged into this account.", name=customer.email or customer.name))
            return redirect(url_for("admin.show_customer", account_id=into_id), 303)
    return render_members(account_id, form), 400


@admin.post("/customers/<int:account_id>/notes")
@needs_right("customers")
def write_note(account_id: int) -> Any:
    """Note something for other operators."""
    find_customer(account_id)
    form = FormReader(request.form)
    with form.collect_errors():
        add_note(account_id, form.text("note_text"), find_operator())
        return _back(account_id, translate("Noted. Only operators see it."), page="admin.show_customer")
    return render_overview(account_id, form), 400


@admin.post("/customers/<int:account_id>/notes/<int:note_id>/delete")
@needs_right("customers")
def drop_note(account_id: int, note_id: int) -> Response:
    """Delete one note."""
    delete_note(account_id, note_id, find_operator())
    return _back(account_id, translate("The note is deleted."), page="admin.show_customer")
