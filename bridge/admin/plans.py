"""Plans: make one, change how it is sold, and see and end the subscriptions to it."""

from typing import Any

import structlog
from flask import current_app, flash, g, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from bridge.accounts.customers import name_accounts
from bridge.admin.door import admin, find_operator, needs_right
from bridge.config import Settings
from bridge.errors import InvalidRequest
from bridge.forms import FormReader
from bridge.languages import translate
from bridge.payments.amounts import format_amount, whole_cents
from bridge.payments.plans import (
    PAGE_SIZE,
    QUOTAS,
    Offer,
    change_sale,
    create_plan,
    describe_gains,
    find_plan,
    is_on_sale,
    list_plans,
    list_subscriptions,
)
from bridge.payments.subscriptions import end_plan

log = structlog.get_logger()


def _settings() -> Settings:
    settings: Settings = current_app.config["BRIDGE"]
    return settings


@admin.get("/plans")
@needs_right("look")
def show_plans() -> str:
    return _render_list(FormReader({}))


@admin.post("/plans")
@needs_right("prices")
def make_plan() -> Any:
    """Make a plan. If the form is sent twice, the second finds its name taken."""
    form = FormReader(request.form)
    fee, credit = form.dollars("fee"), form.dollars("credit")
    quotas = {name: form.number(name) for name in QUOTAS}
    sold_until = form.moment("sold_until")
    if not form.errors:
        with form.collect_errors():
            offer = Offer(
                name=form.text("name"),
                fee_minor=whole_cents(fee or 0, "fee"),
                credit_nanos=credit or 0,
                group_name=form.text("group") or None,
                description=form.text("description"),
                is_listed=not form.text("hidden"),
                sold_until=sold_until,
                **quotas,
            )
            plan = create_plan(_settings(), offer, find_operator())
            log.info("plan_made", plan_id=plan.id, member_id=g.member.id)
            by_link = translate("%(plan)s is on sale by its link.", plan=plan.name)
            flash(translate("%(plan)s is on sale.", plan=plan.name) if plan.is_listed else by_link)
            return redirect(url_for("admin.show_plan", plan_id=plan.id), 303)
    return _render_list(form), 400


@admin.get("/plans/<int:plan_id>")
@needs_right("look")
def show_plan(plan_id: int) -> str:
    return _render_plan(plan_id, None)


@admin.post("/plans/<int:plan_id>/sale")
@needs_right("prices")
def change_plan_sale(plan_id: int) -> Any:
    """Change how a plan is sold."""
    form = FormReader(request.form)
    sold_until = form.moment("sold_until")
    if not form.errors:
        with form.collect_errors():
            change_sale(
                plan_id,
                description=form.text("description"),
                is_listed=not form.text("hidden"),
                sold_until=sold_until,
                actor=find_operator(),
            )
            flash(translate("Saved."))
            return redirect(url_for("admin.show_plan", plan_id=plan_id), 303)
    return _render_plan(plan_id, form), 400


@admin.post("/plans/<int:plan_id>/subscriptions/<subscription_id>/end")
@needs_right("payments")
def end_subscription(plan_id: int, subscription_id: str) -> Response:
    """End a subscription at once. What was paid is refunded at Stripe, or not."""
    if subscription_id not in (row.id for row in list_subscriptions(plan_id, only=subscription_id)):
        raise InvalidRequest(translate("This plan has no such subscription that goes on."))
    end_plan(subscription_id, find_operator(), "the operator ended it")
    log.info("subscription_ended", id=subscription_id, member_id=g.member.id)
    flash(translate("The subscription has ended. Refund its fee at Stripe if it is owed."), "warn")
    return redirect(url_for("admin.show_plan", plan_id=plan_id), 303)


def _render_list(form: FormReader) -> str:
    plans = list_plans()
    return render_template(
        "admin/plans.html",
        plans=plans,
        gains={listed.plan.id: describe_gains(listed.plan, for_operators=True) for listed in plans},
        is_on_sale=is_on_sale,
        amount=format_amount,
        currency=_settings().top_up_currency,
        top_ups_open=_settings().top_ups_open,
        values=form.values,
        errors=form.errors,
    )


def _render_plan(plan_id: int, form: FormReader | None) -> str:
    plan = find_plan(plan_id)
    until = f"{plan.sold_until:%Y-%m-%dT%H:%M}" if plan.sold_until else ""
    sale = {"description": plan.description, "hidden": "" if plan.is_listed else "1", "sold_until": until}
    found = list_subscriptions(plan_id, before_id=request.args.get("before", "")[:36], limit=PAGE_SIZE + 1)
    shown = found[:PAGE_SIZE]
    return render_template(
        "admin/plan.html",
        plan=plan,
        gains=describe_gains(plan, for_operators=True),
        is_on_sale=is_on_sale,
        subscriptions=shown,
        older=shown[-1].id if len(found) > PAGE_SIZE else "",
        newest="before" not in request.args,
        names=name_accounts(row.account_id for row in shown),
        amount=format_amount,
        link=f"{_settings().site_url}{url_for('dashboard.show_billing', plan=plan.code)}#plan",
        values=form.values if form else sale,
        errors=form.errors if form else {},
    )
