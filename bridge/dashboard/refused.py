"""Says what a refusal means, and what to do about it: for the pages that show refused calls."""

import dataclasses

from flask import g, url_for

from bridge.dashboard.account import path_of
from bridge.languages import translate
from bridge.limits.refusals import Refused


@dataclasses.dataclass(frozen=True)
class Remedy:
    """Why calls were refused, in a few words, and one action: its text and where it leads. `advice` follows it, for
    the program."""

    title: str
    action: str
    url: str
    advice: str = ""


def find_remedy(refused: Refused) -> Remedy:
    """The remedy of a key's refusals with one code."""
    if found := _list_known(refused).get(refused.code):
        return found if _may_follow(found) else dataclasses.replace(found, **_explain())
    if refused.status >= 500:
        return Remedy(
            translate("The gateway or its providers were unavailable"),
            translate("What 503 means"),
            "/docs/errors",
            translate("Retry: nothing was charged."),
        )
    if refused.status == 409:
        return Remedy(
            translate("The same Idempotency-Key was still running"), translate("How retries work"), "/docs/idempotency"
        )
    return Remedy(
        translate("The request was malformed"), **_explain(), advice=translate("The last message names the field.")
    )


def _may_follow(remedy: Remedy) -> bool:
    """Whether the remedy's page is open to the signed-in member: some see refusals of keys, but no keys."""
    for endpoint, right in (("dashboard.show_billing", "billing"), ("dashboard.show_keys", "own_keys")):
        if remedy.url.startswith(path_of(endpoint)):
            return "member" not in g or bool(g.member.may(right))
    return True


def _explain() -> dict[str, str]:
    return {"action": translate("What the error means"), "url": "/docs/errors"}


def _list_known(refused: Refused) -> dict[str, Remedy]:
    """The remedy of each code of which one is known."""
    key = url_for("dashboard.show_key", key_id=refused.key_id)
    billing, models = path_of("dashboard.show_billing"), "/models"
    asked = translate("It asked for %(model)s.", model=refused.last_model) if refused.last_model else ""
    return {
        "rate_limit_exceeded": Remedy(
            translate("Over the rate limit"),
            translate("Raise the limit"),
            key,
            translate("Or retry after the seconds in retry-after."),
        ),
        "key_budget_exceeded": Remedy(
            translate("The key's budget is used up"),
            translate("Raise the budget"),
            key,
            translate("Or wait until its period starts again."),
        ),
        "spend_limit_exceeded": Remedy(
            translate("The account has spent what it may in a day"),
            translate("See the account's limits"),
            path_of("dashboard.show_settings"),
            translate("It starts again at 00:00 UTC. Ask the operator for more."),
        ),
        "insufficient_balance": Remedy(
            translate("Not enough credit"), translate("Add credit"), billing, translate("Or lower max_tokens.")
        ),
        "max_cost_exceeded": Remedy(
            translate("Over the request's own cost cap"),
            translate("How caps work"),
            "/docs/costs#cap",
            translate("Raise x-bridge-max-cost."),
        ),
        "model_not_allowed": Remedy(translate("Model not allowed for this key"), translate("Allow it"), key, asked),
        "model_not_found": Remedy(translate("No such model"), translate("See the models"), models, asked),
        "ip_not_allowed": Remedy(translate("Address not allowed for this key"), translate("Change its addresses"), key),
        "account_suspended": Remedy(
            translate("The account is suspended"), translate("Read why"), path_of("dashboard.show_overview")
        ),
        "context_length_exceeded": Remedy(
            translate("The prompt is too long"), translate("See each model's window"), models
        ),
    }
