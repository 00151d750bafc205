"""API keys: the list, creating one and showing it once, changing it, switching it off, revoking it."""

from typing import Any

from flask import flash, g, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from bridge.accounts.key_limits import find_account_limits
from bridge.accounts.keys import (
    disable_key,
    enable_key,
    find_key,
    issue_key,
    list_keys,
    revoke_key,
    update_key,
)
from bridge.accounts.tables import Key
from bridge.catalogue.listing import list_models
from bridge.dashboard.door import dashboard, suspended_may_too
from bridge.dashboard.snippets import quick_start
from bridge.db import now_utc
from bridge.extensions import limiter
from bridge.forms import FormReader
from bridge.ledger.journal import list_budget_spend, list_spend_by_key
from bridge.ledger.ledger import find_balance
from bridge.ledger.usage import find_first_request
from bridge.money import format_dollars

PERIODS = [("day", "a day"), ("week", "a week"), ("month", "a month"), ("total", "in all")]
PAGE_SIZE = 100
MINUTE = "%Y-%m-%dT%H:%M"


def _account() -> str:
    return f"account:{g.account_id}"


@dashboard.get("/keys")
def show_keys() -> str:
    """The account's keys, the newest first; `before` is the last id of the page before."""
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
        money=find_balance(g.account_id),
    )


@dashboard.get("/keys/new")
def show_new_key() -> str:
    return _render_form(FormReader({"budget_period": "month"}))


@dashboard.post("/keys")
@limiter.limit("60 per hour", key_func=_account)
def create_key() -> Any:
    """Make the key and show it in this answer, for nobody can read it again."""
    form = FormReader(request.form)
    fields = _read_fields(form)
    if not form.errors:
        with form.complaints():
            issued = issue_key(g.account_id, **fields)
            return render_template(
                "dashboard/key_created.html",
                key=issued.key,
                secret=issued.secret,
                snippets=quick_start(issued.secret),
                account_limits=find_account_limits(g.account_id),
                model_count=sum(model.status != "retired" for model in list_models()),
            )
    return _render_form(form), 400


@dashboard.get("/keys/<int:key_id>")
def show_key(key_id: int) -> str:
    key = find_key(g.account_id, key_id)
    return _render_form(FormReader(_write_fields(key)), key)


@dashboard.post("/keys/<int:key_id>")
def change_key(key_id: int) -> Any:
    key = find_key(g.account_id, key_id)
    form = FormReader(request.form)
    fields = _read_fields(form)
    if key.expires_at and form.text("expires_at") == key.expires_at.strftime(MINUTE):
        fields["expires_at"] = key.expires_at  # the field knows minutes only
    if not form.errors:
        with form.complaints():
            key = update_key(g.account_id, key_id, **fields)
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
def switch_key_on(key_id: int) -> Response:
    key = enable_key(g.account_id, key_id)
    flash(f"Key {key.name} is enabled. It works within a second.")
    return redirect(url_for("dashboard.show_keys"), 303)


@dashboard.post("/keys/<int:key_id>/revoke")
@suspended_may_too
def end_key(key_id: int) -> Any:
    """Revoke, once the key's name was typed."""
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
    """What the page of a new key waits for: a link to the key's first request, or 204 while there is none."""
    key = find_key(g.account_id, key_id)
    record = find_first_request(g.account_id, key_id=key.id)
    if record is None:
        return "", 204
    return render_template("dashboard/first_request.html", record=record)


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


def _read_fields(form: FormReader) -> dict[str, Any]:
    return {
        "name": form.require("name", "Give the key a name: the program or person that uses it."),
        "rpm": form.number("rpm"),
        "tpm": form.number("tpm"),
        "concurrency": form.number("concurrency"),
        "budget_nanos": form.dollars("budget"),
        "budget_period": form.text("budget_period") or "total",
        "models": form.names("models"),
        "addresses": form.names("addresses"),
        "expires_at": form.moment("expires_at"),
    }


def _write_fields(key: Key) -> dict[str, str]:
    """The key as its form shows it."""
    numbers = {name: getattr(key, name) for name in ("rpm", "tpm", "concurrency")}
    return {
        **{name: "" if value is None else str(value) for name, value in numbers.items()},
        "name": key.name,
        "budget": "" if key.budget_nanos is None else format_dollars(key.budget_nanos, 2),
        "budget_period": key.budget_period,
        "models": "\n".join(key.models or []),
        "addresses": "\n".join(key.addresses or []),
        "expires_at": key.expires_at.strftime(MINUTE) if key.expires_at else "",
    }


def _render_form(form: FormReader, key: Key | None = None) -> str:
    spent = list_budget_spend([(key.id, key.budget_period)]) if key else {}
    return render_template(
        "dashboard/key_form.html",
        key=key,
        values=form.values,
        errors=form.errors,
        periods=PERIODS,
        models=[model.id for model in list_models() if model.status != "retired"],
        account_limits=find_account_limits(g.account_id),
        state=find_state(key, spent.get(key.id, 0)) if key else None,
    )
