"""Payments: the list of those to review, and one payment with its actions: settle, link, close, each for a reason."""

from typing import Any

from flask import current_app, flash, g, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from bridge.accounts.customers import name_accounts
from bridge.admin.door import admin, needs_right
from bridge.config import Settings
from bridge.errors import ServiceUnavailable
from bridge.forms import FormReader
from bridge.languages import to_translate, translate
from bridge.ledger.journal import is_credit
from bridge.payments.amounts import format_amount
from bridge.payments.review import close_payment, link_payment, settle_payment
from bridge.payments.review_listing import PAGE_SIZE, list_payments_to_review, view_payment

NO_REASON = to_translate("Give a reason. It is kept with the payment.")
MAX_ID_LENGTH = 120


def _settings() -> Settings:
    settings: Settings = current_app.config["BRIDGE"]
    return settings


@admin.get("/payments")
@needs_right("look")
def show_payments() -> str:
    """Payments to review, or all with `show=all`; `q` is an id, `before` is the last one of the previous page."""
    everything, search = request.args.get("show") == "all", request.args.get("q", "").strip()[:MAX_ID_LENGTH]
    before = request.args.get("before", "")[:36]
    found = list_payments_to_review(everything=everything, search=search, before_id=before, limit=PAGE_SIZE + 1)
    payments = found[:PAGE_SIZE]
    return render_template(
        "admin/payments.html",
        payments=payments,
        names=name_accounts(payment.account_id for payment in payments),
        amount=format_amount,
        everything=everything,
        search=search,
        older=payments[-1].id if len(found) > PAGE_SIZE else "",
        first_page=not before,
        top_ups_open=_settings().top_ups_open,
    )


@admin.get("/payments/<payment_id>")
@needs_right("look")
def show_payment(payment_id: str) -> str:
    return _render(payment_id, FormReader({}))


@admin.post("/payments/<payment_id>/settle")
@needs_right("payments")
def settle(payment_id: str) -> Any:
    """Credit what came. If the form is sent twice, it credits once."""
    form = FormReader(request.form)
    dollars, reason = form.dollars("dollars"), form.require("settle_reason", translate(NO_REASON))
    if not form.errors:
        with form.collect_errors(reason="settle_reason"):
            try:
                done = settle_payment(
                    _settings(), payment_id, reason=reason, made_by=g.member.email, dollars_nanos=dollars
                )
            except ServiceUnavailable as error:
                return _refuse(payment_id, form, error)
            return _back(payment_id, translate("The payment is credited.") if done else "")
    return _render(payment_id, form), 400


@admin.post("/payments/<payment_id>/link")
@needs_right("payments")
def link(payment_id: str) -> Any:
    """Link the payment to the payment intent that paid it; it is credited if it fits."""
    form = FormReader(request.form)
    intent = form.require("payment_intent", translate("Give the payment intent's id, as Stripe shows it."))[
        :MAX_ID_LENGTH
    ]
    reason = form.require("link_reason", translate(NO_REASON))
    if not form.errors:
        with form.collect_errors(reason="link_reason"):
            try:
                payment = link_payment(_settings(), payment_id, intent, reason=reason, made_by=g.member.email)
            except ServiceUnavailable as error:
                return _refuse(payment_id, form, error)
            fits = payment.state == "paid"
            said = (
                translate("Linked, and credited.")
                if fits
                else translate("Linked, but another amount was paid than was requested. Settle or close it.")
            )
            return _back(payment_id, said)
    return _render(payment_id, form), 400


@admin.post("/payments/<payment_id>/close")
@needs_right("payments")
def close(payment_id: str) -> Any:
    """Close the payment without a credit, or end what was wrong with a credited one."""
    form = FormReader(request.form)
    reason = form.require("close_reason", translate(NO_REASON))
    if not form.errors:
        with form.collect_errors(reason="close_reason"):
            done = close_payment(payment_id, reason=reason, made_by=g.member.email)
            return _back(payment_id, translate("The payment is closed.") if done else "")
    return _render(payment_id, form), 400


def _back(payment_id: str, said: str) -> Response:
    """Back to the payment's page; an empty `said` means that it was done before."""
    flash(said or translate("This was already done. Nothing was changed."), "message" if said else "warn")
    return redirect(url_for("admin.show_payment", payment_id=payment_id), 303)


def _refuse(payment_id: str, form: FormReader, error: ServiceUnavailable) -> tuple[str, int]:
    form.errors[""] = error.message
    return _render(payment_id, form), 503


def _render(payment_id: str, form: FormReader) -> str:
    """The payment's page, with the errors of a form."""
    view = view_payment(payment_id)
    return render_template(
        "admin/payment.html",
        view=view,
        payment=view.payment,
        name=name_accounts([view.payment.account_id]).get(view.payment.account_id, ""),
        amount=format_amount,
        is_credit=is_credit,
        values=form.values,
        errors=form.errors,
    )
