"""Says what a refusal means, and what to do about it: for the pages that show refused calls."""

import dataclasses

from flask import url_for

from bridge.dashboard.account import path_of
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
    key, errors = url_for("dashboard.show_key", key_id=refused.key_id), "/docs/errors"
    billing, models = path_of("dashboard.show_billing"), "/models"
    asked = f" It asked for {refused.last_model}." if refused.last_model else ""
    known = {
        "rate_limit_exceeded": Remedy(
            "Over the rate limit", "Raise the limit", key, "Or retry after the seconds in retry-after."
        ),
        "key_budget_exceeded": Remedy(
            "A budget of the key is used up", "See its budgets", key, "Or wait until its period starts again."
        ),
        "spend_limit_exceeded": Remedy(
            "The account has spent what it may in a day",
            "See the account's limits",
            path_of("dashboard.show_settings"),
            "It starts again at 00:00 UTC. Ask the operator for more.",
        ),
        "insufficient_balance": Remedy("Not enough credit", "Add credit", billing, "Or lower max_tokens."),
        "max_cost_exceeded": Remedy(
            "Over the request's own cost cap", "How caps work", "/docs/costs#cap", "Raise x-bridge-max-cost."
        ),
        "model_not_allowed": Remedy("Model not allowed for this key", "Allow it", key, asked.strip()),
        "model_not_found": Remedy("No such model", "See the models", models, asked.strip()),
        "ip_not_allowed": Remedy("Address not allowed for this key", "Change its addresses", key),
        "account_suspended": Remedy("The account is suspended", "Read why", path_of("dashboard.show_overview")),
        "context_length_exceeded": Remedy("The prompt is too long", "See each model's window", models),
    }
    if found := known.get(refused.code):
        return found
    if refused.status >= 500:
        return Remedy(
            "The gateway or its providers were unavailable", "What 503 means", errors, "Retry: nothing was charged."
        )
    if refused.status == 409:
        return Remedy("The same Idempotency-Key was still running", "How retries work", "/docs/idempotency")
    return Remedy("The request was malformed", "What the error means", errors, "The last message names the field.")
