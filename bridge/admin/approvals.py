"""Approvals: what is above the set amount, as another operator approves or refuses it."""

import base64
from typing import Any

from flask import current_app, flash, g, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from bridge.accounts.customers import name_accounts
from bridge.admin.door import admin, find_operator, needs_right
from bridge.errors import InvalidRequest, NotFound
from bridge.forms import FormReader
from bridge.languages import translate
from bridge.ledger.ledger import Guard
from bridge.payments.approvals import (
    Wish,
    approve,
    ask_for_approval,
    bound,
    find_approval,
    list_decided_approvals,
    list_waiting_approvals,
    refuse,
)
from bridge.payments.codes import write_csv


def guard_alone(account_id: int | None) -> Guard:
    """What lets the signed-in operator book on this account (None: codes) as much as they may move alone, and raises
    NeedsAnother beyond."""
    return bound(current_app.config["BRIDGE"], g.member.email, account_id)


def ask_another(wish: Wish, page: str, *, once: str | None = None) -> Response:
    """Let what the operator may not move alone wait for another, say so, and go to this page. Raises InvalidRequest."""
    if ask_for_approval(wish, find_operator(), once=once):
        flash(translate("Nothing was booked yet: another operator has to approve this amount. See Approvals."), "warn")
    else:
        flash(translate("This form was sent before: it waits under Approvals."), "warn")
    return redirect(page, 303)


@admin.get("/approvals")
@needs_right("look")
def show_approvals() -> str:
    return _render(FormReader({}))


@admin.post("/approvals/<int:approval_id>/approve")
@needs_right("approvals")
def approve_one(approval_id: int) -> Any:
    """Book it. The codes of a batch are shown in this answer, for nobody can read them again."""
    asked = find_approval(approval_id)
    try:
        made = approve(current_app.config["BRIDGE"], approval_id, find_operator())
    except (InvalidRequest, NotFound) as error:
        flash(error.message, "bad")
        return _back()
    if made is not None:
        csv = base64.b64encode(write_csv(made).encode()).decode()
        page = render_template("admin/codes_created.html", made=made, note=asked.note, csv=csv)
        return page, 200, {"Cache-Control": "no-store"}
    flash(translate("Approved and booked."))
    return _back()


@admin.post("/approvals/<int:approval_id>/refuse")
@needs_right("approvals")
def refuse_one(approval_id: int) -> Any:
    form = FormReader(request.form)
    with form.collect_errors():
        refuse(approval_id, find_operator(), form.text("reason"))
        flash(translate("Refused. Nothing was booked."))
        return _back()
    return _render(form, approval_id), 400


def _back() -> Response:
    return redirect(url_for("admin.show_approvals"), 303)


def _render(form: FormReader, wrong_id: int | None = None) -> str:
    waiting, decided = list_waiting_approvals(), list_decided_approvals()
    shown = (*waiting, *decided)
    ids = {id_ for one in shown for id_ in (one.of_account, one.into_id) if id_ is not None}
    return render_template(
        "admin/approvals.html",
        waiting=waiting,
        decided=decided,
        names=name_accounts(ids),
        limit_nanos=current_app.config["BRIDGE"].four_eyes_nanos,
        me=g.member.email,
        wrong_id=wrong_id,
        values=form.values,
        errors=form.errors,
    )
