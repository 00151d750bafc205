"""API keys: the list; creating a key and showing it once; changing, disabling and revoking it."""

import dataclasses
import datetime
from collections.abc import Callable
from typing import Any

from flask import flash, g, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from bridge.accounts.customers import find_terms
from bridge.accounts.key_limits import find_account_limits
from bridge.accounts.key_terms import PLAIN_LIMITS, TERMS, KeyTerms, Kind
from bridge.accounts.keys import (
    IssuedKey,
    disable_key,
    enable_key,
    end_old_secret,
    find_key,
    issue_key,
    list_keys,
    revoke_key,
    rotate_key,
    update_key,
)
from bridge.accounts.tables import Key
from bridge.catalogue.listing import ListedModel, list_models
from bridge.dashboard.banner import find_money
from bridge.dashboard.door import dashboard, suspended_may_too
from bridge.dashboard.refused import find_remedy
from bridge.dashboard.snippets import DOCUMENTED_MODEL, quick_start
from bridge.db import now_utc
from bridge.extensions import limiter, needs_proof
from bridge.forms import FormReader
from bridge.ledger.journal import list_budget_spend, list_spend_by_key
from bridge.ledger.rollups import sum_all
from bridge.ledger.usage import UsageFilter, find_first_request, list_requests
from bridge.limits.refusals import RefusalFilter, find_last_refusal, list_refusals, sum_refusals
from bridge.money import format_dollars
from bridge.providers import is_trial_model, stands_in

PERIODS = [("day", "a day"), ("week", "a week"), ("month", "a month"), ("total", "in all")]
PAGE_SIZE = 100
OVERLAPS = {"24": "24 hours", "1": "1 hour", "168": "7 days", "0": "no time: stop it now"}  # hours
DEFAULT_OVERLAP_HOURS = 24
REFUSALS_SHOWN_DAYS = 7
MINUTE = "%Y-%m-%dT%H:%M"


def _account() -> str:
    return f"account:{g.account_id}"


@dashboard.get("/keys")
def show_keys() -> str:
    """The account's keys, the newest first; `before` is the last id of the previous page."""
    before = request.args.get("before", "")
    before_id = int(before) if before.isascii() and before.isdigit() and len(before) < 18 else None
    found = list_keys(g.account_id, before_id=before_id, limit=PAGE_SIZE + 1)
    keys = found[:PAGE_SIZE]
    month = now_utc().replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    spent = list_budget_spend((key.id, key.budget_period) for key in keys if key.budget_nanos is not None)
    this_month = list_spend_by_key(g.account_id, month) if keys else {}
    return render_template(
        "dashboard/keys.html",
        keys=keys,
        older=keys[-1].id if len(found) > PAGE_SIZE else None,
        first_page=before_id is None,
        states={key.id: find_state(key, spent.get(key.id, 0)) for key in keys},
        spent=spent,
        this_month=this_month,
        account_limits=find_account_limits(g.account_id),
        money=find_money(),
    )


@dashboard.get("/keys/new")
@needs_proof
def show_new_key() -> str:
    return _render_form(FormReader({"budget_period": "month"}))


@dashboard.post("/keys")
@needs_proof
@limiter.limit("60 per hour", key_func=_account)
def create_key() -> Any:
    """Make the key and show it in this answer, for nobody can read it again."""
    form = FormReader(request.form)
    terms = _read_terms(form)
    if not form.errors:
        with form.collect_errors():
            return _show_secret(issue_key(g.account_id, terms))
    return _render_form(form), 400


def _show_secret(issued: IssuedKey, *, is_new: bool = True) -> str:
    """The page that shows a key's secret, once, with code to paste that is answered. A new key's waits for its first
    call."""
    models, money = list_models(*find_terms(g.account_id)), find_money()
    first = choose_first_model(models, issued.key.models, has_credit=money.available_nanos > 0)
    return render_template(
        "dashboard/key_created.html",
        key=issued.key,
        secret=issued.secret,
        is_new=is_new,
        snippets=quick_start(issued.secret, first or DOCUMENTED_MODEL),
        first=first,
        money=money,
        account_limits=find_account_limits(g.account_id),
        limits=PLAIN_LIMITS,
        model_count=sum(model.status != "retired" for model in models),
    )


@dashboard.get("/keys/<int:key_id>")
def show_key(key_id: int) -> str:
    key = find_key(g.account_id, key_id)
    return _render_form(FormReader(_write_fields(key)), key)


@dashboard.post("/keys/<int:key_id>")
@needs_proof
def change_key(key_id: int) -> Any:
    key = find_key(g.account_id, key_id)
    form = FormReader(request.form)
    terms = _read_terms(form)
    if key.expires_at and form.text("expires_at") == key.expires_at.strftime(MINUTE):
        terms = dataclasses.replace(terms, expires_at=key.expires_at)  # the field has minutes only
    if not form.errors:
        with form.collect_errors():
            key = update_key(g.account_id, key_id, terms)
            flash(f"Key {key.name} is changed. Every request from now on goes by it.")
            return redirect(url_for("dashboard.show_keys"), 303)
    return _render_form(form, key), 400


@dashboard.post("/keys/<int:key_id>/disable")
@suspended_may_too
def switch_key_off(key_id: int) -> Response:
    key = disable_key(g.account_id, key_id)
    flash(f"Key {key.name} is disabled. Programs that use it are refused until you enable it.")
    return redirect(url_for("dashboard.show_keys"), 303)


@dashboard.post("/keys/<int:key_id>/enable")
@needs_proof
def switch_key_on(key_id: int) -> Response:
    key = enable_key(g.account_id, key_id)
    flash(f"Key {key.name} is enabled. It works within a second.")
    return redirect(url_for("dashboard.show_keys"), 303)


@dashboard.post("/keys/<int:key_id>/rotate")
@needs_proof
@limiter.limit("60 per hour", key_func=_account)
def renew_key(key_id: int) -> str:
    """Give the key a new secret and show it in this answer. The one before it works for as long as was chosen."""
    chosen = request.form.get("overlap", "")
    hours = int(chosen) if chosen in OVERLAPS else DEFAULT_OVERLAP_HOURS
    return _show_secret(rotate_key(g.account_id, key_id, datetime.timedelta(hours=hours)), is_new=False)


@dashboard.post("/keys/<int:key_id>/end-old")
@suspended_may_too
def end_old_key(key_id: int) -> Response:
    """End the secret that a rotated key had before."""
    key = end_old_secret(g.account_id, key_id)
    flash(f"The old secret of {key.name} is refused from now on.")
    return redirect(url_for("dashboard.show_key", key_id=key_id), 303)


@dashboard.post("/keys/<int:key_id>/revoke")
@suspended_may_too
def end_key(key_id: int) -> Any:
    """Revoke the key, if its name was typed."""
    key = find_key(g.account_id, key_id)
    if request.form.get("confirm", "").strip() != key.name:
        form = FormReader(_write_fields(key))
        form.errors["confirm"] = f"Nothing was revoked: type {key.name} to confirm."
        return _render_form(form, key), 400
    revoke_key(g.account_id, key_id)
    flash(f"Key {key.name} is revoked. Programs that use it are refused.")
    return redirect(url_for("dashboard.show_keys"), 303)


@dashboard.get("/keys/<int:key_id>/first-request")
def show_first_request(key_id: int) -> Any:
    """What became of the new key's first request, for which its page polls: 200 with a link to it; 202 with the last
    refusal, while there is nothing better; 204 while there is neither."""
    key = find_key(g.account_id, key_id)
    record = find_first_request(g.account_id, key_id=key.id)
    if record is not None:
        return render_template("dashboard/first_request.html", record=record)
    refused = find_last_refusal(g.account_id, key.id)
    if refused is None:
        return "", 204
    offers_free = bool(request.args.get("free"))  # the page's code asks for a model that costs nothing
    remedy, money = find_remedy(refused), find_money()
    page = render_template(
        "dashboard/first_refused.html", refused=refused, remedy=remedy, money=money, offers_free=offers_free
    )
    return page, 202


def choose_first_model(models: list[ListedModel], allowed: list[str] | None, *, has_credit: bool) -> str | None:
    """The model for a key's first call, chosen so that the call is answered: the documented model if the key may use it
    (`allowed`; None: all), otherwise another; without credit, one that costs nothing. None if there is none."""
    names = {}
    for model in models:
        tries = is_trial_model(model.provider, model.id)
        free = not (model.input_nanos_per_mtok or model.output_nanos_per_mtok or model.price.base.request)
        if model.status in ("live", "degraded") and tries and (has_credit or free):
            name = next((name for name in (model.id, *model.aliases) if allowed is None or name in allowed), None)
            if name:
                names[name] = stands_in(model.provider)
    return DOCUMENTED_MODEL if DOCUMENTED_MODEL in names else min(names, key=lambda name: names[name], default=None)


def find_state(key: Key, spent_nanos: int) -> tuple[str, str]:
    """A key's state as a dot and a word."""
    if key.expires_at is not None and key.expires_at <= now_utc():
        return "off", f"Expired {key.expires_at.day} {key.expires_at:%b}"
    if key.disabled_at is not None:
        return "off", "Disabled"
    if key.budget_nanos is not None:
        if spent_nanos >= key.budget_nanos:
            return "bad", "Budget used up"
        percent = 100 * spent_nanos // key.budget_nanos
        if percent >= 80:
            return "warn", f"{percent}% of budget"
    return "ok", "Active"


def _read_terms(form: FormReader) -> KeyTerms:
    read: dict[Kind, Callable[[str], Any]] = {
        "name": lambda name: form.require(name, "Give the key a name: the program or person that uses it."),
        "count": form.number,
        "dollars": form.dollars,
        "period": lambda name: form.text(name) or "total",
        "models": form.names,
        "networks": form.names,
        "moment": form.moment,
    }
    return KeyTerms(**{term.field: read[term.kind](term.form_name) for term in TERMS})


def _write_fields(key: Key) -> dict[str, str]:
    """The key as its form shows it."""
    return {term.form_name: _write_term(term.kind, getattr(key, term.field)) for term in TERMS}


def _write_term(kind: Kind, value: Any) -> str:
    if value is None:
        return ""
    if kind == "dollars":
        return format_dollars(value, 2)
    if kind == "moment":
        return str(value.strftime(MINUTE))
    return "\n".join(value) if kind in ("models", "networks") else str(value)


def _render_form(form: FormReader, key: Key | None = None) -> str:
    models = sum(model.status != "retired" for model in list_models())
    spent = list_budget_spend([(key.id, key.budget_period)]) if key else {}
    return render_template(
        "dashboard/key_form.html",
        key=key,
        values=form.values,
        errors=form.errors,
        periods=PERIODS,
        terms=TERMS,
        hints={"models": f"Ids or aliases, one a line. Empty: all {models}."},
        account_limits=find_account_limits(g.account_id),
        state=find_state(key, spent.get(key.id, 0)) if key else None,
        activity=_find_activity(key, spent.get(key.id, 0)) if key else None,
        overlaps=OVERLAPS,
        now=now_utc(),
    )


def _find_activity(key: Key, spent_nanos: int) -> dict[str, Any]:
    """What became of the key's calls lately: for its page."""
    now = now_utc()
    day = now.replace(minute=0, second=0, microsecond=0) - datetime.timedelta(hours=23)
    refused = list_refusals(
        RefusalFilter(g.account_id, now - datetime.timedelta(days=REFUSALS_SHOWN_DAYS), key_id=key.id)
    )
    last = list_requests(UsageFilter(g.account_id, key_id=key.id), limit=1).records
    return {
        "spent_nanos": spent_nanos,
        "requests": sum_all(span="hour", since=day, account_id=g.account_id, key_id=key.id).requests,
        "refused": sum_refusals(RefusalFilter(g.account_id, day, key_id=key.id)),
        "last": last[0] if last else None,
        "refusals": [(each, find_remedy(each)) for each in refused],
    }
