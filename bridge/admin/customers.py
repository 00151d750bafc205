"""What is done to a customer's money."""

import secrets
from typing import Any

from flask import flash, g, redirect, request, url_for

from bridge.accounts.customers import PAGE_SIZE, find_customer
from bridge.admin.approvals import ask_another, guard_alone
from bridge.admin.customer_page import render_page
from bridge.admin.door import admin, needs_right
from bridge.admin.refunds import refund_by_form
from bridge.errors import NotFound
from bridge.forms import FormReader
from bridge.languages import translate
from bridge.ledger.journal import is_credit, list_entries
from bridge.ledger.ledger import adjust, find_balance
from bridge.payments.approvals import BALANCE, NeedsAnother, Wish

MAX_ONCE_LENGTH = 64


@admin.get("/customers/<int:account_id>/money")
@needs_right("look")
def show_customer_money(account_id: int) -> str:
    return _render(account_id, FormReader({}))


def _render(account_id: int, form: FormReader) -> str:
    customer = find_customer(account_id)
    return render_page(
        account_id,
        "money",
        form,
        customer=customer,
        money=find_balance(account_id),
        entries=list_entries(account_id, PAGE_SIZE),
        is_credit=is_credit,
    )


@admin.post("/customers/<int:account_id>/balance")
@needs_right("balances")
def change_balance(account_id: int) -> Any:
    """Add or take away money, for a reason that the journal keeps. If the form is sent twice, it books once."""
    customer = find_customer(account_id)
    form = FormReader(request.form)
    amount = form.dollars("amount")
    note = form.require("note", translate("Say why: the journal keeps it."))
    if amount is None:
        why = translate("Give an amount in dollars; with a minus sign it is taken away.")
        form.errors.setdefault("amount", why)
    if amount is not None and not form.errors:
        with form.collect_errors():
            once = f"form:{form.text('once')[: MAX_ONCE_LENGTH - 5] or secrets.token_hex(16)}"
            page = url_for("admin.show_customer_money", account_id=account_id)
            terms: dict[str, Any] = {"note": note, "made_by": g.member.email, "external_id": once}
            try:
                booked = adjust(account_id, amount, **terms, guard=guard_alone(account_id))
            except NeedsAnother:
                return ask_another(Wish(BALANCE, amount, account_id, note=note), page, once=once)
            if booked:
                credited = translate("%(email)s is credited.", email=customer.email)
                flash(credited if amount > 0 else translate("%(email)s is adjusted.", email=customer.email))
            else:
                flash(translate("This form was sent before: nothing was changed a second time."), "warn")
            return redirect(page, 303)
    return _render(account_id, form), 400


@admin.post("/customers/<int:account_id>/refund")
@needs_right("refunds")
def refund(account_id: int) -> Any:
    """Give the charge of one of this customer's requests back, or a part of it, for a reason that they read."""
    customer = find_customer(account_id)
    form = FormReader(request.form)
    request_id = form.require("request", translate("Give the id of the request, or of its answer."))
    if not form.errors:
        page = url_for("admin.show_customer_money", account_id=account_id)
        try:
            answer = refund_by_form(form, request_id, page, customer.email or customer.name, account_id=account_id)
        except NotFound as error:
            answer, form.errors["request"] = None, error.message
        if answer is not None:
            return answer
    return _render(account_id, form), 400
