"""Plans on the billing page: subscribe, take another one, end it or keep it, and go to Stripe's portal."""

from collections.abc import Callable
from typing import Any

import structlog
from flask import flash, g, redirect, request, url_for

from bridge.dashboard.billing import render_billing
from bridge.dashboard.door import dashboard, needs, suspended_may_too
from bridge.dashboard.snippets import site_url
from bridge.dashboard.visitor import chosen_settings, find_actor
from bridge.dates import LONG_DAY, write_date
from bridge.extensions import limiter, needs_proof
from bridge.forms import FormReader
from bridge.languages import to_translate, translate
from bridge.payments.checkout import StripeAway, StripeRefused
from bridge.payments.subscribe import change_plan, is_waiting, open_portal, open_subscription, set_ending

AWAY = to_translate("Stripe isn't responding. You were not charged. Try again in a few minutes.")
log = structlog.get_logger()


def _account() -> str:
    return f"account:{g.account_id}"


def _page() -> str:
    return f"{site_url()}{url_for('dashboard.show_billing')}"


def _carry_out(act: Callable[[FormReader], str]) -> Any:
    """Do something that asks Stripe, and go to the address that it returns; a refusal is said on the billing page."""
    form = FormReader(request.form)
    if not chosen_settings().top_ups_open:
        return redirect(url_for("dashboard.show_billing"), 303)
    try:
        with form.collect_errors(plan=""):
            return redirect(act(form), 303)
    except (StripeAway, StripeRefused) as error:
        log.error("plan_failed", account_id=g.account_id, error=str(error), cause=str(error.__cause__)[:200])
        form.errors[""] = translate(AWAY)
        return render_billing(plan=form), 503
    return render_billing(plan=form), 400


@dashboard.post("/billing/plan")
@needs("billing")
@needs_proof
@limiter.limit("30 per hour", key_func=_account)
def subscribe() -> Any:
    """Redirect to Stripe's page for the chosen plan."""

    def act(form: FormReader) -> str:
        code, email = form.text("plan")[:16], g.member.email
        return open_subscription(chosen_settings(), g.account_id, code, email=email, return_url=_page())

    return _carry_out(act)


@dashboard.post("/billing/plan/change")
@needs("billing")
@needs_proof
@limiter.limit("30 per hour", key_func=_account)
def change_own_plan() -> Any:
    """Take another plan from the next period on."""

    def act(form: FormReader) -> str:
        plan = change_plan(chosen_settings(), g.account_id, form.text("plan")[:16], find_actor())
        flash(translate("Your plan is %(plan)s from the next period on.", plan=plan.name))
        return url_for("dashboard.show_billing") + "#plan"

    return _carry_out(act)


@dashboard.post("/billing/plan/end")
@needs("billing")
@needs_proof
@suspended_may_too
@limiter.limit("30 per hour", key_func=_account)
def end_own_plan() -> Any:
    """End the plan with its period."""

    def act(_form: FormReader) -> str:
        ends_at = set_ending(chosen_settings(), g.account_id, find_actor(), ends=True)
        if ends_at:
            day = write_date(ends_at, LONG_DAY)
            flash(translate("Your plan ends on %(day)s. Nothing more is charged for it.", day=day))
        else:
            flash(translate("Your plan ends. Nothing more is charged for it."))
        return url_for("dashboard.show_billing") + "#plan"

    return _carry_out(act)


@dashboard.post("/billing/plan/keep")
@needs("billing")
@needs_proof
@limiter.limit("30 per hour", key_func=_account)
def keep_own_plan() -> Any:
    """Let the plan go on after all."""

    def act(_form: FormReader) -> str:
        set_ending(chosen_settings(), g.account_id, find_actor(), ends=False)
        flash(translate("Your plan goes on."))
        return url_for("dashboard.show_billing") + "#plan"

    return _carry_out(act)


@dashboard.post("/billing/plan/portal")
@needs("billing")
@needs_proof
@suspended_may_too
@limiter.limit("30 per hour", key_func=_account)
def open_own_portal() -> Any:
    """Redirect to Stripe's page for cards and invoices."""
    return _carry_out(lambda _form: open_portal(chosen_settings(), g.account_id, f"{_page()}#plan"))


@dashboard.get("/billing/plan/state")
@needs("billing")
def poll_plan() -> tuple[str, int]:
    """For the billing page, which waits for a plan to begin: 204 while it does, then 205."""
    return "", 204 if is_waiting(g.account_id, request.args.get("started", "")) else 205
