"""Adding a customer by hand: an account whose owner chooses a password by an invitation, with a group and a credit."""

import secrets
from typing import Any

from flask import current_app, flash, redirect, render_template, request, url_for

from bridge.accounts.own_price_editing import list_groups
from bridge.accounts.password_reset import invite_member
from bridge.accounts.sign_in import AddressTaken
from bridge.admin.approvals import ask_another, guard_alone
from bridge.admin.door import admin, find_operator, may, needs_right
from bridge.db import DEFAULT_GROUP
from bridge.forms import FormReader
from bridge.languages import translate
from bridge.ledger.ledger import adjust
from bridge.ledger.opening import create_account
from bridge.payments.approvals import BALANCE, NeedsAnother, Wish

NOTE = "Opening credit"


@admin.get("/customers/new")
@needs_right("customers")
def show_new_customer() -> str:
    return _render(FormReader({"group": DEFAULT_GROUP}))


@admin.post("/customers")
@needs_right("customers")
def add_customer() -> Any:
    """Open the account and invite its owner: by mail or, where no mail goes out, by a link that this answer shows."""
    form = FormReader(request.form)
    email = form.require("email", translate("Give the address with which the customer signs in."))
    credit = form.dollars("credit") if may("balances") else None
    if credit is not None and credit < 0:
        form.errors["credit"] = translate("An opening credit is more than zero. Leave it empty for none.")
    if form.errors:
        return _render(form), 400
    with form.collect_errors():
        try:
            group = form.text("group") or DEFAULT_GROUP
            member = create_account(email, None, name=form.text("name"), group=group, actor=find_operator())
        except (AddressTaken, ValueError) as error:
            form.errors["email"] = str(error)
        else:
            return _invite(member.account_id, member.id, member.email, credit or 0)
    return _render(form), 400


def _invite(account_id: int, member_id: int, email: str, credit: int) -> Any:
    page = url_for("admin.show_customer", account_id=account_id)
    link = invite_member(current_app.config["BRIDGE"], member_id)
    if credit:
        terms: dict[str, Any] = {"note": NOTE, "made_by": find_operator().by, "external_id": secrets.token_hex(16)}
        try:
            adjust(account_id, credit, **terms, guard=guard_alone(account_id))
        except NeedsAnother:
            ask_another(Wish(BALANCE, credit, account_id, note=NOTE), page)
    if link:
        shown = render_template("admin/customer_created.html", email=email, link=link, page=page)
        return shown, 200, {"Cache-Control": "no-store"}
    flash(
        translate(
            "%(email)s has an account, and gets a mail with a link that sets a password, within a minute.", email=email
        )
    )
    return redirect(page, 303)


def _render(form: FormReader) -> str:
    groups = [name for name, _, _ in list_groups()]
    return render_template("admin/customer_new.html", values=form.values, errors=form.errors, groups=groups)
