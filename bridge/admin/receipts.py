"""A request as its operator sees it: charge, cost and margin, attempts, what upstreams answered; and its refund."""

import json
from typing import Any

from flask import abort, render_template, request, url_for

from bridge.accounts.customers import name_accounts, name_all_keys
from bridge.admin.door import admin, needs_right
from bridge.admin.refunds import refund_by_form
from bridge.errors import InvalidRequest, NotFound
from bridge.forms import FormReader
from bridge.languages import translate
from bridge.ledger.attempt_errors import list_errors
from bridge.ledger.cost_lines import list_costs
from bridge.ledger.receipt import make_receipt
from bridge.ledger.refunds import find_refundable, list_refunds
from bridge.ledger.request_log import find_any_request, find_any_running
from bridge.ledger.tables import Hold, UsageRecord


@admin.get("/requests/<request_id>")
@needs_right("look")
def show_request(request_id: str) -> Any:
    """One request of any account; while it runs, its hold."""
    return _render(request_id, FormReader({}))


@admin.post("/requests/<request_id>/refund")
@needs_right("refunds")
def refund_here(request_id: str) -> Any:
    """Give its charge back, or a part of it, for a reason that the customer reads."""
    form = FormReader(request.form)
    try:
        record = find_refundable(request_id)
    except InvalidRequest as error:
        form.errors[""] = error.message
    else:
        page = url_for("admin.show_request", request_id=record.request_id)
        answer = refund_by_form(form, record.request_id, page, _name_account(record.account_id))
        if answer is not None:
            return answer
    return _render(request_id, form), 400


def _render(request_id: str, form: FormReader) -> str:
    try:
        record, hold = find_any_request(request_id), None
        if record is None:
            hold = find_any_running(request_id)
    except NotFound:
        abort(404)
    if record is not None:
        return _render_settled(record, form)
    if hold is None:
        abort(404)
    return _render_running(hold)


def _render_settled(record: UsageRecord, form: FormReader) -> str:
    key = name_all_keys([record.key_id]).get(record.key_id)
    receipt = make_receipt(record, list_refunds(record.account_id, record.request_id))
    return render_template(
        "admin/request.html",
        receipt=receipt,
        paid=_say_of_customer(translate(receipt.charge_rule.paid)),
        costs=list_costs(record),
        errors_said=list_errors(record.request_id),
        counts=json.loads(record.provider_counts) if record.provider_counts else {},
        key=key,
        account=key.account if key else _name_account(record.account_id),
        errors=form.errors,
        values=form.values,
    )


def _say_of_customer(paid: str) -> str:
    """What customers read of their own charge, as of someone else."""
    return paid.replace("You were", "The customer was").replace("You ", "The customer ")


def _render_running(hold: Hold) -> str:
    key = name_all_keys([hold.key_id]).get(hold.key_id)
    return render_template(
        "admin/request_running.html",
        hold=hold,
        details=json.loads(hold.details),
        key=key,
        account=key.account if key else _name_account(hold.account_id),
    )


def _name_account(account_id: int) -> str:
    return name_accounts([account_id]).get(account_id, translate("account %(id)s", id=account_id))
