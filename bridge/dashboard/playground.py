"""The playground: a conversation with any model, by a key of its own. The page's script asks here, with the session and
a form's token; the API in this process answers, and no secret reaches the browser."""

from typing import Any

import msgspec
from flask import Response, current_app, flash, g, redirect, render_template, request, url_for

from bridge.accounts.keys import Caller, find_caller_of
from bridge.accounts.playground_key import DAY_BUDGET_NANOS, KEY_NAME, find_playground_key, issue_playground_key
from bridge.accounts.tables import Key
from bridge.body_time import passes_body_on
from bridge.catalogue.listing import ListedModel
from bridge.catalogue.parameters import list_parameters
from bridge.conversation.kinds import CHAT
from bridge.dashboard.account import find_account_state, find_money, list_own_models
from bridge.dashboard.door import dashboard, needs
from bridge.dashboard.keys import choose_first_model
from bridge.dashboard.scope import find_seen_member
from bridge.dashboard.visitor import chosen_settings, find_actor
from bridge.db import db, now_utc
from bridge.errors import BridgeError, InvalidApiKey, NotFound
from bridge.extensions import limiter, needs_proof
from bridge.inference.own_page import ask_api
from bridge.inference.services import Services
from bridge.languages import to_translate, translate
from bridge.ledger.budgets import list_key_windows
from bridge.ledger.journal import BudgetState, list_key_budgets
from bridge.ledger.usage import find_request, find_running_request
from bridge.money import format_dollars

# what the page has a field for, of all that a request can say
FIELDS = frozenset(
    ("temperature", "top_p", "max_tokens", "reasoning_effort", "seed", "stop", "tools", "response_format")
)
QUOTES = "120 per minute"  # the page asks for one whenever somebody stops typing
MOST_IMAGE_BYTES = 5 * 2**20
# a title, what is asked, and what it is asked about
EXAMPLES = (
    (
        to_translate("Extract fields as JSON"),
        to_translate("Extract supplier, date and total as JSON:"),
        "Invoice 2291 of 3 March 2026, Ortiz Supplies, total $222.00.",
    ),
    (
        to_translate("Explain a stack trace"),
        to_translate("Explain this error in two sentences:"),
        'psycopg.errors.NotNullViolation: column "region" of relation "orders" contains null values',
    ),
    (
        to_translate("Write a polite reminder"),
        to_translate("Write a friendly reminder, three sentences long, that invoice 2291 was due last week."),
        "",
    ),
)
# why the key of the playground is refused
KEY_OFF = {
    "revoked": to_translate("The key %(name)s is revoked, so nothing was sent."),
    "disabled": to_translate("The key %(name)s is disabled, so nothing was sent."),
    "expired": to_translate("The key %(name)s is expired, so nothing was sent."),
}


class PlaygroundKeyOff(InvalidApiKey):
    """The playground has no key that may be used."""

    status, code = 403, "playground_key_off"


def _account() -> str:
    return f"account:{g.account_id}"


@dashboard.get("/playground")
@needs("own_keys")
def show_playground() -> str:
    key, money = find_playground_key(g.account_id, g.member.id), find_money()
    models = _list_models(key)
    names = None if key is None or key.models is None else list(key.models)
    budgets = [] if key is None else list_key_budgets(key.id, list_key_windows(key, now_utc()), None, 0)[0]
    asked = request.args.get("model", "")  # by a model's own page
    if asked not in {model.id for model in models}:
        asked = ""
    chosen = asked or choose_first_model(models, names, has_credit=money.available_nanos > 0)
    return render_template(
        "dashboard/playground.html",
        models=models,
        takes=_find_fields(models),
        first=chosen or (models and models[0].id),
        asked=asked,
        key=key,
        key_name=KEY_NAME,
        trouble=_find_trouble(key, budgets),
        budget=max(budgets, key=lambda budget: budget.percent, default=None),
        day_budget_nanos=DAY_BUDGET_NANOS,
        money=money,
        examples=[(translate(title), f"{translate(asked)} {about}".strip()) for title, asked, about in EXAMPLES],
        owner=g.member.id,
        most_image_bytes=MOST_IMAGE_BYTES,
        most_body_bytes=chosen_settings().max_body_bytes,
    )


@dashboard.post("/playground/chat")
@needs("own_keys")
@passes_body_on
def ask_playground() -> Response:
    """A chat completion, as the API answers it."""
    return _ask("/v1/chat/completions")


@dashboard.post("/playground/quote")
@needs("own_keys")
@passes_body_on
@limiter.limit(QUOTES, key_func=_account)
def quote_playground() -> Response:
    """What such a completion can cost at most, as the API says."""
    return _ask("/v1/quote")


@dashboard.post("/playground/key")
@needs("own_keys")
@needs_proof  # otherwise a stolen session could begin one budget after the other
@limiter.limit("60 per hour", key_func=_account)
def renew_playground_key() -> Any:
    """Make another key in the place of one that was revoked."""
    issue_playground_key(g.account_id, g.member.id, find_actor())
    budget = f"${format_dollars(DAY_BUDGET_NANOS, 2)}"
    flash(translate("The playground has a new key, with a budget of %(budget)s a day.", budget=budget))
    return redirect(url_for("dashboard.show_playground"), 303)


@dashboard.get("/playground/receipts/<request_id>")
@needs("own_keys")
def show_playground_receipt(request_id: str) -> Response:
    """What became of a request whose answer the page did not hear to its end; 204 while it runs. Raises NotFound."""
    try:
        record = find_request(g.account_id, request_id, find_seen_member())
    except NotFound:
        find_running_request(g.account_id, request_id, find_seen_member())
        return Response(status=204)
    said = {
        "outcome": record.outcome,
        "cost": format_dollars(record.charge_nanos),
        "prompt_tokens": record.prompt_tokens,
        "completion_tokens": record.completion_tokens,
        "attempts": len(msgspec.json.decode(record.attempts)) if record.attempts else 0,
    }
    return Response(msgspec.json.encode(said), content_type="application/json")


def _ask(path: str) -> Response:
    try:
        caller = _find_caller()
    except BridgeError as error:
        return Response(error.body(), error.status, content_type="application/json")
    db.session.remove()  # no connection is held while an upstream is waited for
    status, headers, pieces = ask_api(current_app.wsgi_app, request.environ, path, caller)
    answer = Response(pieces, status, direct_passthrough=True)  # which the server closes
    answer.headers.clear()
    # only pages of this site ask here, so no other origin is let in
    answer.headers.extend((name, value) for name, value in headers if not name.lower().startswith("access-control-"))
    return answer


def _find_caller() -> Caller:
    """The member as the key of their playground, which is made at the first call. Raises PlaygroundKeyOff."""
    member_id = g.member.id
    key = find_playground_key(g.account_id, member_id) or issue_playground_key(g.account_id, member_id, find_actor())
    caller = find_caller_of(key)
    if caller is None:
        raise PlaygroundKeyOff(translate(KEY_OFF[_find_state(key) or "disabled"], name=KEY_NAME))
    return caller


def _find_state(key: Key) -> str:
    """Why a key is refused, in a word; "" if it isn't."""
    if key.revoked_at is not None:
        return "revoked"
    if key.disabled_at is not None:
        return "disabled"
    return "expired" if key.expires_at is not None and key.expires_at <= now_utc() else ""


def _find_trouble(key: Key | None, budgets: list[BudgetState]) -> str:
    """What is wrong with the key, in a word: revoked, disabled, expired, spent; "" if nothing is."""
    if key is None:
        return ""
    return _find_state(key) or ("spent" if any(budget.percent >= 100 for budget in budgets) else "")


def _list_models(key: Key | None) -> list[ListedModel]:
    """The models that can be asked now, as far as the key may."""
    allowed = None if key is None or key.models is None else set(key.models)
    return [
        model
        for model in list_own_models()
        if CHAT in model.kinds and model.status in ("live", "degraded") and (allowed is None or model.id in allowed)
    ]


def _find_fields(models: list[ListedModel]) -> dict[str, str]:
    """Model id -> those of FIELDS that it takes."""
    services: Services = current_app.extensions["bridge_services"]
    served = services.catalogue.for_group(find_account_state().account.group).models
    return {
        model.id: " ".join(name for name in list_parameters(served[model.id]) if name in FIELDS)
        for model in models
        if model.id in served
    }
