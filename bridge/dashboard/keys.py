"""API keys: the list; creating a key and showing it once; changing, disabling and revoking it."""

import dataclasses
import datetime
from collections.abc import Callable, Collection, Sequence
from typing import Any

from flask import flash, g, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from bridge.accounts.key_rules import find_errors
from bridge.accounts.key_terms import PLAIN_LIMITS, TERMS, KeyTerms, Kind
from bridge.accounts.keys import (
    IssuedKey,
    disable_key,
    enable_key,
    end_old_secret,
    issue_key,
    revoke_key,
    rotate_key,
    update_key,
)
from bridge.accounts.tables import Key
from bridge.catalogue.listing import ListedModel
from bridge.conversation.kinds import CHAT
from bridge.dashboard.account import find_money, find_own_limits, list_own_models
from bridge.dashboard.door import dashboard, needs, suspended_may_too
from bridge.dashboard.key_ease import Ease, ease, find_ease
from bridge.dashboard.key_now import draw_calls, list_in_use
from bridge.dashboard.key_owner import find_shared_budget, list_owners, read_owner
from bridge.dashboard.refused import Remedy, find_remedy
from bridge.dashboard.scope import OF_TEAM, find_own_key
from bridge.dashboard.snippets import DOCUMENTED_MODEL, quick_start
from bridge.dashboard.visitor import find_actor
from bridge.dates import SHORT_DAY, write_date
from bridge.db import now_utc
from bridge.extensions import limiter, needs_proof
from bridge.forms import FormReader
from bridge.languages import to_translate, translate
from bridge.ledger.budgets import PERIOD_WORDS, find_raise, find_user_window, list_key_windows
from bridge.ledger.journal import NEAR_PERCENT, BudgetState, list_key_budgets
from bridge.ledger.rollups import sum_all, sum_by
from bridge.ledger.usage import UsageFilter, find_first_request, list_requests
from bridge.limits.refusals import RefusalFilter, Refusals, Refused, find_last_refusal, read_refusals
from bridge.money import format_dollars
from bridge.providers import is_trial_model, stands_in

PERIODS = list(PERIOD_WORDS.items())
# in the note above the form, where no heading stands beside the label
FULL_LABELS = {
    "budget_day": to_translate("Budget a day"),
    "budget_week": to_translate("Budget a week"),
    "budget_month": to_translate("Budget a month"),
    "budget_total": to_translate("Budget in all"),
    "budget_raise": to_translate("Raise"),
    "budget_raise_until": to_translate("Raise until"),
    "budget_user": to_translate("Budget of each end user"),
}
# what the form doesn't fold away comes first
ON_TOP = ("name", *(f"budget_{period}" for period, _ in PERIODS), "models")
USERS_SHOWN = 5
OVERLAPS = {  # hours
    "24": to_translate("24 hours"),
    "1": to_translate("1 hour"),
    "168": to_translate("7 days"),
    "0": to_translate("no time: stop it now"),
}
DEFAULT_OVERLAP_HOURS = 24
REFUSALS_SHOWN_DAYS = 7
MINUTE = "%Y-%m-%dT%H:%M"


def _account() -> str:
    return f"account:{g.account_id}"


@dashboard.get("/keys/new")
@needs("own_keys")
@needs_proof
def show_new_key() -> str:
    return _render_form(FormReader({}), [])


@dashboard.post("/keys")
@needs("own_keys")
@needs_proof
@limiter.limit("60 per hour", key_func=_account)
def create_key() -> Any:
    """Make the key and show it in this answer, for nobody can read it again."""
    form = FormReader(request.form)
    terms = _read_terms(form)
    if not form.errors:
        with form.collect_errors():
            member_id = read_owner(form.text("belongs_to"))
            return _show_secret(issue_key(g.account_id, terms, member_id=member_id, actor=find_actor()))
    return _render_form(form, _list_chosen("models")), 400


def _show_secret(issued: IssuedKey, *, is_new: bool = True) -> str:
    """The page that shows a key's secret, once, with code to paste that is answered. A new key's waits for its first
    call."""
    models, money = list_own_models(), find_money()
    first = choose_first_model(models, issued.key.models, has_credit=money.available_nanos > 0)
    return render_template(
        "dashboard/key_created.html",
        key=issued.key,
        secret=issued.secret,
        windows=list_key_windows(issued.key, now_utc()),
        is_new=is_new,
        snippets=quick_start(issued.secret, first or DOCUMENTED_MODEL),
        first=first,
        money=money,
        account_limits=find_own_limits(),
        limits=PLAIN_LIMITS,
        model_count=sum(model.status != "retired" for model in models),
    )


@dashboard.get("/keys/<int:key_id>")
@needs("own_keys")
def show_key(key_id: int) -> str:
    key = find_own_key(key_id)
    return _render_form(FormReader(_write_fields(key)), key.models or [], key)


@dashboard.post("/keys/<int:key_id>")
@needs("own_keys")
@needs_proof
def change_key(key_id: int) -> Any:
    key = find_own_key(key_id)
    form = FormReader(request.form)
    terms = _read_terms(form, key)
    if not form.errors:
        with form.collect_errors():
            key = update_key(g.account_id, key_id, terms, find_actor())
            flash(translate("Key %(name)s is updated. The new limits apply from the next request.", name=key.name))
            return redirect(url_for("dashboard.show_keys"), 303)
    return _render_form(form, _list_chosen("models"), key), 400


@dashboard.post("/keys/<int:key_id>/ease")
@needs("own_keys")
@needs_proof
def ease_rule(key_id: int) -> Any:
    """Do what the page offers beside a refusal. What it offers no longer changes nothing."""
    key = find_own_key(key_id)
    wanted = request.form.get("field"), request.form.get("value")
    offers = [each for _, _, each in _list_refusals(key, _read_refused(key), list_own_models()) if each is not None]
    chosen = next((each for each in offers if (each.field, each.value) == wanted), None)
    if chosen is not None:
        key = update_key(g.account_id, key_id, ease(key, chosen.field, chosen.value), find_actor())
        flash(translate("Key %(name)s is updated. The new limits apply from the next request.", name=key.name))
    return redirect(url_for("dashboard.show_key", key_id=key_id), 303)


@dashboard.post("/keys/<int:key_id>/disable")
@needs("own_keys")
@suspended_may_too
def switch_key_off(key_id: int) -> Response:
    key = disable_key(g.account_id, key_id, find_actor())
    flash(translate("Key %(name)s is disabled. Programs that use it are refused until you enable it.", name=key.name))
    return redirect(url_for("dashboard.show_keys"), 303)


@dashboard.post("/keys/<int:key_id>/enable")
@needs("own_keys")
@needs_proof
def switch_key_on(key_id: int) -> Response:
    key = enable_key(g.account_id, key_id, find_actor())
    flash(translate("Key %(name)s is enabled. It works within a second.", name=key.name))
    return redirect(url_for("dashboard.show_keys"), 303)


@dashboard.post("/keys/<int:key_id>/rotate")
@needs("own_keys")
@needs_proof
@limiter.limit("60 per hour", key_func=_account)
def renew_key(key_id: int) -> str:
    """Give the key a new secret and show it in this answer. The one before it works for as long as was chosen."""
    chosen = request.form.get("overlap", "")
    hours = int(chosen) if chosen in OVERLAPS else DEFAULT_OVERLAP_HOURS
    issued = rotate_key(g.account_id, key_id, datetime.timedelta(hours=hours), find_actor())
    return _show_secret(issued, is_new=False)


@dashboard.post("/keys/<int:key_id>/end-old")
@needs("own_keys")
@suspended_may_too
def end_old_key(key_id: int) -> Response:
    """End the secret that a rotated key had before."""
    key = end_old_secret(g.account_id, key_id, find_actor())
    flash(translate("The old secret of %(name)s is refused from now on.", name=key.name))
    return redirect(url_for("dashboard.show_key", key_id=key_id), 303)


@dashboard.post("/keys/<int:key_id>/revoke")
@needs("own_keys")
@suspended_may_too
def end_key(key_id: int) -> Any:
    """Revoke the key, if its name was typed."""
    key = find_own_key(key_id)
    if request.form.get("confirm", "").strip() != key.name:
        form = FormReader(_write_fields(key))
        form.errors["confirm"] = translate("Nothing was revoked: type %(name)s to confirm.", name=key.name)
        return _render_form(form, key.models or [], key), 400
    revoke_key(g.account_id, key_id, actor=find_actor())
    flash(translate("Key %(name)s is revoked. Programs that use it are refused.", name=key.name))
    return redirect(url_for("dashboard.show_keys"), 303)


@dashboard.get("/keys/<int:key_id>/first-request")
@needs("own_keys")
def show_first_request(key_id: int) -> Any:
    """What became of the new key's first request, for which its page polls: 200 with a link to it; 202 with the last
    refusal, while there is nothing better; 204 while there is neither."""
    key = find_own_key(key_id)
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
        tries = is_trial_model(model.provider, model.id) and CHAT in model.kinds
        free = not (model.input_nanos_per_mtok or model.output_nanos_per_mtok or model.price.base.request)
        if model.status in ("live", "degraded") and tries and (has_credit or free):
            name = next((name for name in (model.id, *model.aliases) if allowed is None or name in allowed), None)
            if name:
                names[name] = stands_in(model.provider)
    return DOCUMENTED_MODEL if DOCUMENTED_MODEL in names else min(names, key=lambda name: names[name], default=None)


def find_state(key: Key, budgets: Sequence[BudgetState]) -> tuple[str, str]:
    """A key's state as a dot and a word."""
    if key.expires_at is not None and key.expires_at <= now_utc():
        return "off", translate("Expired %(day)s", day=write_date(key.expires_at, SHORT_DAY))
    if key.disabled_at is not None:
        return "off", translate("Disabled")
    percent = max((budget.percent for budget in budgets), default=0)
    if percent >= 100:
        return "bad", translate("Budget used up")
    if percent >= NEAR_PERCENT:
        return "warn", translate("%(percent)s%% of budget", percent=percent)
    return "ok", translate("Active")


def _read_terms(form: FormReader, key: Key | None = None) -> KeyTerms:
    """The terms in the form; all that is wrong with them is in its errors afterwards."""
    read: dict[Kind, Callable[[str], Any]] = {
        "name": lambda name: form.require(name, translate("A key needs a name.")),
        "count": form.number,
        "dollars": form.dollars,
        "period": lambda name: form.text(name) or "day",
        "models": _list_chosen,
        "networks": form.names,
        "moment": form.moment,
    }
    terms = KeyTerms(**{term.field: read[term.kind](term.form_name) for term in TERMS})
    for term in TERMS if key else ():
        before = getattr(key, term.field)
        if term.kind == "moment" and before and form.text(term.form_name) == before.strftime(MINUTE):
            terms = dataclasses.replace(terms, **{term.field: before})  # the field has minutes only
    form.errors = find_errors(terms, key) | form.errors
    return terms


def _list_chosen(name: str) -> list[str]:
    """The names in all fields of this name, each once."""
    return list(dict.fromkeys(one for text in request.form.getlist(name) for one in text.replace(",", " ").split()))


def _write_fields(key: Key) -> dict[str, str]:
    """The key as its form shows it; a raise that is over is not shown."""
    fields = {term.form_name: _write_term(term.kind, getattr(key, term.field)) for term in TERMS}
    if not find_raise(key, now_utc()):
        fields["budget_raise"] = fields["budget_raise_until"] = ""
    return fields


def _write_term(kind: Kind, value: Any) -> str:
    if value is None:
        return ""
    if kind == "dollars":
        return format_dollars(value, 2)
    if kind == "moment":
        return str(value.strftime(MINUTE))
    return "\n".join(value) if kind in ("models", "networks") else str(value)


def _render_form(form: FormReader, chosen: Collection[str], key: Key | None = None) -> str:
    now = now_utc()
    budgets, users = _list_budgets(key, now) if key else ([], [])
    account_limits, models = find_own_limits(), list_own_models()
    return render_template(
        "dashboard/key_form.html",
        key=key,
        values=form.values,
        errors=form.errors,
        labels={
            term.form_name: translate(FULL_LABELS.get(term.form_name, term.label))
            for term in sorted(TERMS, key=lambda term: term.form_name not in ON_TOP)
        },
        terms={term.form_name: term for term in TERMS},
        periods=[(period, translate(words)) for period, words in PERIODS],
        models=models,
        chosen=chosen,
        account_limits=account_limits,
        in_use=list_in_use(key, account_limits) if key else [],
        money=find_money(),
        state=find_state(key, budgets) if key else None,
        budgets=budgets,
        users=users,
        raised=find_raise(key, now) if key else 0,
        activity=_find_activity(key, models) if key else None,
        overlaps=OVERLAPS,
        owners=list_owners(),
        owner=OF_TEAM if key and key.member_id is None else str(key.member_id if key else g.member.id),
        member_budget=find_shared_budget(key),
        now=now,
    )


def _list_budgets(key: Key, now: datetime.datetime) -> tuple[list[BudgetState], list[BudgetState]]:
    """The key's budgets, and the end users of it that have spent most of theirs."""
    user_window = None if key.budget_user_nanos is None else find_user_window(key, None, now)
    return list_key_budgets(key.id, list_key_windows(key, now), user_window, USERS_SHOWN)


def _find_activity(key: Key, models: list[ListedModel]) -> dict[str, Any]:
    """What became of the key's calls lately: for its page."""
    now = now_utc()
    day = now.replace(minute=0, second=0, microsecond=0) - datetime.timedelta(hours=23)
    month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    refused = _read_refused(key)
    last = list_requests(UsageFilter(g.account_id, key_id=key.id), limit=1).records
    by_hour = sum_by("start", span="hour", since=day, account_id=g.account_id, key_id=key.id)
    answered = {start: sums for (start,), sums in by_hour.items()}
    refused_by_hour = {hour: requests for hour, requests in refused.by_hour.items() if hour >= day}
    return {
        "spent_nanos": sum_all(since=month, account_id=g.account_id, key_id=key.id).charge_nanos,
        "requests": sum(sums.requests for sums in answered.values()),
        "refused": sum(refused_by_hour.values()),
        "chart": draw_calls(key.id, day, answered, refused_by_hour),
        "last": last[0] if last else None,
        "refusals": _list_refusals(key, refused, models),
    }


def _read_refused(key: Key) -> Refusals:
    since = now_utc() - datetime.timedelta(days=REFUSALS_SHOWN_DAYS)
    return read_refusals(RefusalFilter(g.account_id, since, key_id=key.id))


def _list_refusals(key: Key, refused: Refusals, models: list[ListedModel]) -> list[tuple[Refused, Remedy, Ease | None]]:
    """Each kind of refusal with its remedy, and what one press would do about it."""
    offered = {name for model in models for name in (model.id, *model.aliases)}
    limits = find_own_limits()
    return [(each, find_remedy(each), find_ease(key, each, limits, offered)) for each in refused.kinds]
