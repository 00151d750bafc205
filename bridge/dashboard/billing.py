"""Billing: top-ups, the rule for automatic ones, payments with their receipts, and the month's statement."""

import datetime
from typing import Any

import structlog
from flask import flash, g, redirect, render_template, request, url_for

from bridge.accounts.profile import BILLING_LENGTHS, set_billing_details
from bridge.config import Settings
from bridge.dashboard.account import find_account_state, find_money
from bridge.dashboard.banner import USED_DAYS, count_days_left, keep_used_lately
from bridge.dashboard.door import dashboard, needs, suspended_may_too
from bridge.dashboard.snippets import site_url
from bridge.dashboard.statement import list_issuer, name_entry, name_receipts, read_month
from bridge.dashboard.visitor import chosen_settings, find_actor
from bridge.db import db, now_utc
from bridge.extensions import limiter, needs_proof
from bridge.forms import FormReader
from bridge.languages import translate
from bridge.ledger.statement import next_month, read_statement
from bridge.ledger.usage import UsageFilter, sum_spans
from bridge.money import format_dollars
from bridge.payments.amounts import (
    MINOR_PER_UNIT,
    NANOS_PER_MINOR,
    check_amount,
    describe_bonus,
    format_amount,
    say_bounds,
    to_bonus,
    to_credit,
    whole_cents,
)
from bridge.payments.auto import find_rule, forget_card, set_rule, switch_rule_off
from bridge.payments.checkout import StripeAway, StripeRefused
from bridge.payments.plans import describe_gains, find_plan, list_offers
from bridge.payments.referrals import find_referral_figures, make_referral_code
from bridge.payments.subscribe import is_waiting
from bridge.payments.tables import OPEN_STATES, AutoTopUp, Payment
from bridge.payments.top_up import find_payment, list_payments, open_top_up

PRESETS = (10, 25, 50, 100)  # whole units of the currency
PROPOSED_UNITS = 25  # what is chosen at first, and proposed for automatic top-ups
MOST_DAYS = 10  # of the statement; its own page has all
WATCH_SECONDS, WATCH_EVERY_SECONDS = 900, 3
log = structlog.get_logger()


def _account() -> str:
    return f"account:{g.account_id}"


@dashboard.get("/billing")
@needs("billing")
def show_billing() -> str:
    return render_billing()


@dashboard.post("/billing/details")
@needs("billing")
@limiter.limit("60 per hour", key_func=_account)
def save_billing_details() -> Any:
    """Change whom statements and receipts are made out to."""
    form = FormReader(request.form)
    with form.collect_errors():
        set_billing_details(g.account_id, find_actor(), **{name: form.text(name) for name in BILLING_LENGTHS})
    if form.errors:
        return render_billing(details=form), 400
    flash(translate("Statements and receipts are made out to these details."))
    return redirect(url_for("dashboard.show_billing"), 303)


@dashboard.post("/billing/referral")
@needs("billing")
@limiter.limit("60 per hour", key_func=_account)
def make_referral_link() -> Any:
    """Make the account's link for those whom it invites."""
    if chosen_settings().referral_credit_nanos:
        make_referral_code(g.account_id)
    return redirect(url_for("dashboard.show_billing") + "#referral", 303)


@dashboard.post("/billing/top-up")
@needs("billing")
@needs_proof
@limiter.limit("30 per hour", key_func=_account)
def top_up() -> Any:
    """Redirect to Stripe's page, for the amount given, otherwise the preset chosen."""
    settings, form = chosen_settings(), FormReader(request.form)
    if not settings.top_ups_open:
        return redirect(url_for("dashboard.show_billing"), 303)
    asked = form.dollars("amount" if form.text("amount") else "preset")
    with form.collect_errors():
        amount = check_amount(settings, asked, "amount")
    if form.errors:
        return render_billing(top_up=form), 400
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
        form.errors[""] = translate("Stripe isn't responding. You were not charged. Try again in a few minutes.")
        return render_billing(top_up=form), 503
    return redirect(address, 303)


@dashboard.post("/billing/auto")
@needs("billing")
@needs_proof
@suspended_may_too  # to switch them off; switching on is refused below
@limiter.limit("60 per hour", key_func=_account)
def change_rule() -> Any:
    """Turn automatic top-ups on, change them, or turn them off."""
    settings, form = chosen_settings(), FormReader(request.form)
    rule = find_rule(g.account_id)
    if form.text("do") == "forget":
        forget_card(g.account_id)
        flash(translate("The card is removed, here and at Stripe. Nothing is charged automatically."))
    elif form.text("do") == "off" and rule is not None and rule.amount_minor:
        switch_rule_off(g.account_id)
        flash(translate("Automatic top-ups are off."))
    else:
        with form.collect_errors():
            _save_rule(settings, form)
        if form.errors:
            return render_billing(rule=form), 400
        flash(translate("Automatic top-ups are on."))
    return redirect(url_for("dashboard.show_billing"), 303)


def _save_rule(settings: Settings, form: FormReader) -> None:
    threshold, cap = form.dollars("threshold"), form.dollars("cap")
    amount = check_amount(settings, form.dollars("auto_amount"), "auto_amount")
    if threshold is None or threshold < 0:
        form.errors.setdefault("threshold", translate("Give the dollars below which to top up."))
    if cap is None or cap < 0:
        form.errors.setdefault("cap", translate("Give the most that may be charged in a month."))
    if threshold is None or cap is None or form.errors:
        return
    set_rule(
        settings,
        g.account_id,
        threshold_nanos=threshold,
        amount_minor=amount,
        monthly_cap_minor=whole_cents(cap, "cap"),
    )


@dashboard.get("/billing/payments")
@needs("billing")
def poll_payments() -> tuple[str, int]:
    """For the billing page, which has seen this many payments under way: 204 while there are as many, then 205."""
    seen = request.args.get("waiting", "")
    return "", 204 if seen == str(_count_watched(list_payments(g.account_id))) else 205


@dashboard.get("/billing/payments/<payment_id>")
@needs("billing")
def show_payment(payment_id: str) -> str:
    """The state of a payment and, once paid, its receipt. Until Stripe reports, the page looks again by itself."""
    payment = find_payment(g.account_id, payment_id)
    left = "left" in request.args and payment.state == "open"
    plan = find_plan(payment.plan_id) if payment.plan_id is not None else None
    return render_template(
        "dashboard/billing_receipt.html",
        payment=payment,
        left=left,
        is_watched=payment.state == "open" and not left and _is_watched(payment),
        is_news=payment.paid_at is not None and (now_utc() - payment.paid_at).total_seconds() < WATCH_SECONDS,
        every_seconds=WATCH_EVERY_SECONDS,
        money=find_money(),
        amount=format_amount,
        account=find_account_state().account,
        plan=plan,
        product=plan.name if plan else chosen_settings().receipt_product,
        issuer=list_issuer(),
    )


@dashboard.get("/billing/payments/<payment_id>/state")
@needs("billing")
def poll_payment(payment_id: str) -> tuple[str, int]:
    """For the page of a payment that isn't paid yet: 204 while that is so, then 205."""
    payment = find_payment(g.account_id, payment_id)
    return "", 204 if payment.state == "open" and _is_watched(payment) else 205


def _write_rule(rule: AutoTopUp | None) -> dict[str, str]:
    """The rule's form fields; a proposal if there is no rule in the current currency."""
    if rule is None or not rule.amount_minor or rule.currency != chosen_settings().top_up_currency:
        smallest, largest = chosen_settings().top_up_bounds
        amount = min(max(PROPOSED_UNITS * MINOR_PER_UNIT * NANOS_PER_MINOR, smallest), largest)
        proposed = {"auto_amount": format_dollars(amount, 2), "cap": format_dollars(4 * amount, 2)}
        return {"threshold": "5.00", **proposed}
    return {
        "threshold": format_dollars(rule.threshold_nanos, 2),
        "auto_amount": format_dollars(rule.amount_minor * NANOS_PER_MINOR, 2),
        "cap": format_dollars(rule.monthly_cap_minor * NANOS_PER_MINOR, 2),
    }


def render_billing(**forms: FormReader) -> str:
    """The page, with those of its forms that were sent and refused: top_up, rule, details, code, plan."""
    settings, state = chosen_settings(), find_account_state()
    money, rule = state.money, state.rule
    today = now_utc().date()
    month = read_month(request.args.get("month", "")) or today.replace(day=1)
    smallest, largest = settings.top_up_bounds
    statement, empty = read_statement(g.account_id, month), FormReader({})
    details = {name: getattr(state.account, name) for name in BILLING_LENGTHS}
    errors = [form.errors[name] for form in forms.values() for name in ("", "enabled") if name in form.errors]
    payments = list_payments(g.account_id)
    page = render_template(
        "dashboard/billing.html",
        top_ups_open=settings.top_ups_open,
        money=money,
        spending=_sum_spending(money.available_nanos, today),
        alert=state.alert,
        currency=settings.top_up_currency,
        rate=settings.top_up_rate,
        bounds=say_bounds(settings),
        presets=[unit for unit in PRESETS if smallest <= unit * 100 * NANOS_PER_MINOR <= largest],
        bonuses={unit: _find_bonus(settings, unit * MINOR_PER_UNIT) for unit in PRESETS},
        bonus=describe_bonus(settings),
        preset=PROPOSED_UNITS,
        referral=find_referral_figures(g.account_id) if settings.referral_credit_nanos else None,
        referral_nanos=(settings.referral_credit_nanos, settings.referral_cap_nanos),
        site_url=site_url(),
        top_up=forms.get("top_up", empty),
        rule=rule,
        card_is_over=bool(rule and rule.card_until and rule.card_until < today),
        charged_this_month=rule.month_minor if rule and rule.month == today.replace(day=1) else 0,
        rule_form=forms.get("rule") or FormReader(_write_rule(rule)),
        details=forms.get("details") or FormReader(details),
        code=forms.get("code", empty),
        **_read_plan(settings),
        error=errors[0] if errors else "",
        payments=payments,
        amount=format_amount,
        waiting=_count_watched(payments),
        statement=statement,
        days=statement.list_days(),
        most_days=MOST_DAYS,
        receipts=name_receipts(statement),
        name_entry=name_entry,
        older=month - datetime.timedelta(days=1) if statement.has_older else None,
        newer=next_month(month) if month < today.replace(day=1) else None,
    )
    db.session.commit()
    return page


def _read_plan(settings: Settings) -> dict[str, Any]:
    """The account's plan, those on sale, and the one that was begun a moment ago and is yet to be confirmed."""
    own, started = find_account_state().subscription, request.args.get("started", "")
    waits = bool(started) and own is None and is_waiting(g.account_id, started)
    return {
        "own_plan_row": own,
        "offers": list_offers(settings, request.args.get("plan", "")) if settings.top_ups_open else [],
        "plan_waits": started if waits else "",
        "describe_gains": describe_gains,
    }


def _find_bonus(settings: Settings, amount_minor: int) -> int:
    return to_bonus(settings, amount_minor, to_credit(settings, amount_minor))


def _count_watched(payments: list[Payment]) -> int:
    return sum(map(_is_watched, payments))


def _is_watched(payment: Payment) -> bool:
    """Whether its state may change while somebody looks."""
    return payment.state in OPEN_STATES and (now_utc() - payment.created_at).total_seconds() < WATCH_SECONDS


def _sum_spending(available_nanos: int, today: datetime.date) -> dict[str, Any]:
    """What was spent in this month and the one before, and how long the balance lasts at the last days' rate."""
    month = today.replace(day=1)
    before = (month - datetime.timedelta(days=1)).replace(day=1)
    since = datetime.datetime.combine(before, datetime.time(), datetime.UTC)
    spans = sum_spans(UsageFilter(g.account_id, since=since))
    keep_used_lately(spans, since)
    week = sum(span.charge_nanos for span in spans if (today - span.start.date()).days < USED_DAYS)
    return {
        "this_month": sum(span.charge_nanos for span in spans if span.start.date() >= month),
        "last_month": sum(span.charge_nanos for span in spans if span.start.date() < month),
        "months": (month, before),
        "a_day": week // USED_DAYS,
        "days_left": count_days_left(available_nanos, week, USED_DAYS),
    }
