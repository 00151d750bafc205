"""Billing: top-ups, the rule for automatic ones, payments with their receipts, and the month's statement."""

import datetime
from typing import Any

import structlog
from flask import current_app, flash, g, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from bridge.config import Settings
from bridge.dashboard.door import dashboard, suspended_may_too
from bridge.dashboard.snippets import site_url
from bridge.db import db, now_utc
from bridge.extensions import limiter, needs_proof
from bridge.forms import FormReader
from bridge.ledger.alerts import find_alert
from bridge.ledger.ledger import find_balance
from bridge.ledger.statement import find_first_month, next_month, read_statement
from bridge.money import format_dollars
from bridge.payments.amounts import (
    MINOR_PER_UNIT,
    NANOS_PER_MINOR,
    check_amount,
    describe_bounds,
    format_amount,
    whole_cents,
)
from bridge.payments.auto import find_rule, forget_card, set_rule, switch_rule_off
from bridge.payments.checkout import StripeAway, StripeRefused
from bridge.payments.top_up import find_payment, list_payments, name_payments, open_top_up

PRESETS = (10, 25, 50, 100)  # whole units of the currency
PROPOSED_UNITS = 25  # proposed for automatic top-ups
WATCH_SECONDS, WATCH_EVERY_SECONDS = 900, 3
log = structlog.get_logger()


def _settings() -> Settings:
    settings: Settings = current_app.config["BRIDGE"]
    return settings


def _account() -> str:
    return f"account:{g.account_id}"


@dashboard.get("/billing")
def show_billing() -> str:
    return _render(FormReader({}), FormReader(_write_rule()))


@dashboard.post("/billing/top-up")
@needs_proof
@limiter.limit("30 per hour", key_func=_account)
def top_up() -> Any:
    """Redirect to Stripe's page, for one of the presets or a chosen amount."""
    settings, form = _settings(), FormReader(request.form)
    if not settings.top_ups_open:
        return redirect(url_for("dashboard.show_billing"), 303)
    asked = form.dollars("preset" if form.text("preset") else "amount")
    with form.collect_errors():
        amount = check_amount(settings, asked, "amount")
    if form.errors:
        return _render(form, FormReader(_write_rule())), 400
    try:
        address = open_top_up(
            settings,
            g.account_id,
            amount_minor=amount,
            email=g.member.email,
            keeps_card=bool(form.text("keeps_card")),
            site_url=site_url(),
        )
    except (StripeAway, StripeRefused) as error:
        log.error("top_up_failed", account_id=g.account_id, error=str(error), cause=str(error.__cause__)[:200])
        form.errors[""] = "Stripe does not answer as it should. Nothing was paid; try again in a while."
        return _render(form, FormReader(_write_rule())), 503
    return redirect(address, 303)


@dashboard.post("/billing/auto")
@needs_proof
@suspended_may_too  # to switch them off; switching on is refused below
@limiter.limit("60 per hour", key_func=_account)
def change_rule() -> Any:
    """Switch automatic top-ups on, change them, or switch them off."""
    settings, form = _settings(), FormReader(request.form)
    rule = find_rule(g.account_id)
    if form.text("do") == "forget":
        forget_card(g.account_id)
        flash("The card is forgotten. Nothing is charged automatically, and Stripe is told to remove it.")
    elif form.text("do") == "off" and rule is not None and rule.amount_minor:
        switch_rule_off(g.account_id)
        flash("Automatic top-ups are off.")
    else:
        with form.collect_errors():
            _save_rule(settings, form)
        if form.errors:
            return _render(FormReader({}), form), 400
        flash("Automatic top-ups are on.")
    return redirect(url_for("dashboard.show_billing"), 303)


def _save_rule(settings: Settings, form: FormReader) -> None:
    threshold, cap = form.dollars("threshold"), form.dollars("cap")
    amount = check_amount(settings, form.dollars("auto_amount"), "auto_amount")
    if threshold is None or threshold < 0:
        form.errors.setdefault("threshold", "Give the dollars below which to top up.")
    if cap is None or cap < 0:
        form.errors.setdefault("cap", "Give the most that may be charged in a month.")
    if threshold is None or cap is None or form.errors:
        return
    set_rule(
        settings,
        g.account_id,
        threshold_nanos=threshold,
        amount_minor=amount,
        monthly_cap_minor=whole_cents(cap, "cap"),
    )


@dashboard.get("/billing/payments/<payment_id>")
def show_payment(payment_id: str) -> Response:
    """The state of a payment and, once paid, its receipt. Until Stripe reports, the page reloads by itself."""
    payment = find_payment(g.account_id, payment_id)
    left = "left" in request.args and payment.state == "open"
    page = make_response(
        render_template(
            "dashboard/billing_receipt.html",
            payment=payment,
            left=left,
            amount=format_amount,
            member=g.member,
            product=_settings().receipt_product,
            issuer=[line.strip() for line in _settings().receipt_issuer.split(";") if line.strip()],
        )
    )
    if payment.state == "open" and not left and (now_utc() - payment.created_at).total_seconds() < WATCH_SECONDS:
        page.headers["Refresh"] = str(WATCH_EVERY_SECONDS)
    return page


def _write_rule() -> dict[str, str]:
    """The rule's form fields; a proposal if there is no rule in the current currency."""
    rule = find_rule(g.account_id)
    if rule is None or not rule.amount_minor or rule.currency != _settings().top_up_currency:
        smallest, largest = _settings().top_up_bounds
        amount = min(max(PROPOSED_UNITS * MINOR_PER_UNIT * NANOS_PER_MINOR, smallest), largest)
        proposed = {"auto_amount": format_dollars(amount, 2), "cap": format_dollars(4 * amount, 2)}
        return {"threshold": "5.00", **proposed}
    return {
        "threshold": format_dollars(rule.threshold_nanos, 2),
        "auto_amount": format_dollars(rule.amount_minor * NANOS_PER_MINOR, 2),
        "cap": format_dollars(rule.monthly_cap_minor * NANOS_PER_MINOR, 2),
    }


def _read_month() -> datetime.date:
    """The month in the URL, otherwise the current one; never a later one."""
    today = now_utc().date().replace(day=1)
    try:
        asked = datetime.date.fromisoformat(request.args.get("month", "")[:7] + "-01")
    except ValueError:
        return today
    return min(asked, today) if asked.year >= 2000 else today


def _render(form: FormReader, rule_form: FormReader) -> str:
    settings, month = _settings(), _read_month()
    smallest, largest = settings.top_up_bounds
    statement = read_statement(g.account_id, month)
    first = find_first_month(g.account_id)
    rule = find_rule(g.account_id)
    this_month = now_utc().date().replace(day=1)
    page = render_template(
        "dashboard/billing.html",
        top_ups_open=settings.top_ups_open,
        money=find_balance(g.account_id),
        alert=find_alert(g.account_id),
        currency=settings.top_up_currency,
        rate=settings.top_up_rate,
        amount=format_amount,
        bounds=describe_bounds(settings),
        presets=[unit for unit in PRESETS if smallest <= unit * 100 * NANOS_PER_MINOR <= largest],
        values=form.values,
        errors=form.errors,
        rule=rule,
        charged_this_month=rule.month_minor if rule and rule.month == this_month else 0,
        rule_values=rule_form.values,
        rule_errors=rule_form.errors,
        payments=list_payments(g.account_id),
        statement=statement,
        receipts=name_payments(line.entry for line in statement.lines if line.entry),
        older=(month - datetime.timedelta(days=1)).strftime("%Y-%m") if first and first < month else "",
        newer=next_month(month).strftime("%Y-%m") if month < this_month else "",
    )
    db.session.commit()
    return page
