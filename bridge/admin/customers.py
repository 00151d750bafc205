"""Customers: find one, see balance, keys and entries, change the balance or refund a request with a reason, suspend."""

import secrets
from typing import Any

from flask import current_app, flash, g, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from bridge.accounts.customers import (
    PAGE_SIZE,
    find_customer,
    list_customers,
    reactivate_account,
    set_account_group,
    set_account_limits,
    set_account_markup,
    suspend_account,
)
from bridge.accounts.key_limits import LIMITS, default_limits
from bridge.accounts.keys import list_all_keys
from bridge.admin.below_cost import asks_again, is_confirmed
from bridge.admin.door import admin, find_operator
from bridge.catalogue.below_cost import list_live_models, require_margin_at
from bridge.db import DEFAULT_GROUP, now_utc
from bridge.errors import NotFound
from bridge.forms import FormReader
from bridge.ledger import margins
from bridge.ledger.journal import is_credit, list_balances, list_entries, list_spend_by_key
from bridge.ledger.ledger import BalanceView, adjust, find_balance
from bridge.ledger.refunds import refund_request
from bridge.money import format_dollars, format_percent
from bridge.providers.faults import FAULTS

NO_MONEY = BalanceView(0, 0)
MAX_ONCE_LENGTH = 64


@admin.get("/customers")
def show_customers() -> str:
    """Accounts, the newest first; `q` searches names and addresses, `before` is the last id of the previous page."""
    search, before_id = request.args.get("q", "").strip()[:200], _read_id("before")
    found = list_customers(search, before_id=before_id, limit=PAGE_SIZE + 1)
    customers = found[:PAGE_SIZE]
    return render_template(
        "admin/customers.html",
        customers=customers,
        balances=list_balances(customer.account_id for customer in customers),
        margins=margins.sum_by_account(customer.account_id for customer in customers),
        nothing=margins.NOTHING,
        days=margins.DAYS,
        no_money=NO_MONEY,
        search=search,
        older=customers[-1].account_id if len(found) > PAGE_SIZE else None,
        first_page=before_id is None,
    )


@admin.get("/customers/<int:account_id>")
def show_customer(account_id: int) -> str:
    return render_customer(account_id, FormReader({}))


@admin.post("/customers/<int:account_id>/balance")
def change_balance(account_id: int) -> Any:
    """Add or take away money, for a reason that the journal keeps. If the form is sent twice, it books once."""
    customer = find_customer(account_id)
    form = FormReader(request.form)
    amount = form.dollars("amount")
    note = form.require("note", "Say why: the journal keeps it.")
    if amount is None:
        form.errors.setdefault("amount", "Give an amount in dollars; with a minus sign it is taken away.")
    if amount is not None and not form.errors:
        with form.collect_errors():
            once = f"form:{form.text('once')[:MAX_ONCE_LENGTH] or secrets.token_hex(16)}"
            if adjust(account_id, amount, note=note, made_by=g.member.email, external_id=once):
                flash(f"{customer.email} is {'credited' if amount > 0 else 'adjusted'}.")
            else:
                flash("This form was sent before: nothing was changed a second time.", "warn")
            return redirect(url_for("admin.show_customer", account_id=account_id), 303)
    return render_customer(account_id, form), 400


@admin.post("/customers/<int:account_id>/refund")
def refund(account_id: int) -> Any:
    """Give the charge of one of this customer's requests back, once, for a reason that the customer reads."""
    customer = find_customer(account_id)
    form = FormReader(request.form)
    request_id = form.require("request", "Give the id of the request, or of its answer.")
    reason = form.require("reason", "Say why: the customer reads it.")
    if not form.errors:
        with form.collect_errors():
            try:
                record = refund_request(request_id, reason=reason, made_by=g.member.email, account_id=account_id)
            except NotFound as error:
                form.errors["request"] = error.message
            else:
                amount = format_dollars(record.charge_nanos, 2)
                flash(f"{customer.email or customer.name} has ${amount} back for this request of {record.model_id}.")
                return redirect(url_for("admin.show_customer", account_id=account_id), 303)
    return render_customer(account_id, form), 400


@admin.post("/customers/<int:account_id>/markup")
def change_account_markup(account_id: int) -> Any:
    """Set the account's own markup on every model, or (left empty) return to the models' own."""
    customer = find_customer(account_id)
    form = FormReader(request.form)
    basis_points = form.percent("markup")
    if not form.errors:
        with form.collect_errors(), asks_again(form):
            if basis_points is not None and not is_confirmed(form):
                require_margin_at(basis_points, list_live_models(), "this customer")
            set_account_markup(account_id, basis_points, find_operator())
            what = "the models' own markups" if basis_points is None else "a markup of their own"
            flash(f"{customer.email or customer.name} pays {what} from now on.")
            return redirect(url_for("admin.show_customer", account_id=account_id), 303)
    return render_customer(account_id, form), 400


@admin.post("/customers/<int:account_id>/group")
def change_account_group(account_id: int) -> Any:
    """Set the account's group: channels of that group and channels for all groups serve it."""
    customer = find_customer(account_id)
    form = FormReader(request.form)
    with form.collect_errors():
        set_account_group(account_id, form.text("group") or DEFAULT_GROUP, find_operator())
        flash(f"{customer.email or customer.name} is in another group from now on.")
        return redirect(url_for("admin.show_customer", account_id=account_id), 303)
    return render_customer(account_id, form), 400


@admin.post("/customers/<int:account_id>/limits")
def change_account_limits(account_id: int) -> Any:
    """Set the limits of all keys of the account together; an empty field means the gateway's default."""
    customer = find_customer(account_id)
    form = FormReader(request.form)
    limits = {name: form.number(name) for name in LIMITS}
    if not form.errors:
        with form.collect_errors():
            set_account_limits(account_id, limits, find_operator())
            flash(f"{customer.email or customer.name} has other limits from now on.")
            return redirect(url_for("admin.show_customer", account_id=account_id), 303)
    return render_customer(account_id, form), 400


@admin.post("/customers/<int:account_id>/suspend")
def suspend_customer(account_id: int) -> Response:
    if account_id == g.member.account_id:
        flash("This is your own account: another operator, or a command, can suspend it.", "bad")
    else:
        suspend_account(account_id, find_operator())
        flash("Suspended. Requests with this customer's keys answer 403, and their sessions have ended.", "warn")
    return redirect(url_for("admin.show_customer", account_id=account_id), 303)


@admin.post("/customers/<int:account_id>/reactivate")
def reactivate_customer(account_id: int) -> Response:
    reactivate_account(account_id, find_operator())
    flash("Reactivated. The keys work again within a second.")
    return redirect(url_for("admin.show_customer", account_id=account_id), 303)


def render_customer(account_id: int, form: FormReader) -> str:
    """The customer's page, with the errors of a form; `keys_before` is the last key of the previous page."""
    customer, before_id = find_customer(account_id), _read_id("keys_before")
    keys = list_all_keys(account_id, before_id=before_id, limit=PAGE_SIZE + 1)
    month = now_utc().replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return render_template(
        "admin/customer.html",
        customer=customer,
        money=find_balance(account_id),
        keys=keys[:PAGE_SIZE],
        older_keys=keys[PAGE_SIZE - 1].id if len(keys) > PAGE_SIZE else None,
        newest_keys=before_id is None,
        spent=list_spend_by_key(account_id, month),
        entries=list_entries(account_id),
        is_credit=is_credit,
        now=now_utc(),
        faults=FAULTS,
        default_limits=default_limits(current_app.config["BRIDGE"]),
        values={
            "markup": "" if customer.markup_bps is None else format_percent(customer.markup_bps),
            "group": customer.group,
            **{name: "" if (own := getattr(customer, name)) is None else str(own) for name in LIMITS},
            **form.values,
        },
        margin=margins.sum_by_account([account_id]).get(account_id, margins.NOTHING),
        days=margins.DAYS,
        errors=form.errors,
        once=form.text("once") or secrets.token_hex(16),
    )


def _read_id(name: str) -> int | None:
    """The id in this query parameter, if it is one."""
    text = request.args.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 18 else None
