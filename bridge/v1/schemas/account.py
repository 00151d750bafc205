"""The answers of /v1/key, /v1/credits and the two billing routes. A key's limits are the terms that have a name in the
API."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from bridge.accounts.key_terms import PLAIN_LIMITS, Term
from bridge.v1.schemas.facts import STAMP, dollars, text, whole


def _type_of(term: Term) -> Any:
    return Annotated[str, dollars()] | None if term.kind == "dollars" else Annotated[int, whole()] | None


KeyLimits = msgspec.defstruct(
    "KeyLimits",
    [(term.api_name, _type_of(term)) for term in PLAIN_LIMITS],
    namespace={"__doc__": "null is no limit."},
    module=__name__,
)


class KeyBudget(Struct):
    amount: Annotated[str, dollars("With the raise, while it lasts.")]
    period: Annotated[str, text("day, week, month or total.")]
    remaining: Annotated[str, dollars()]
    starts_again_at: Annotated[str, STAMP] | None


class BudgetRaise(Struct):
    amount: Annotated[str, dollars("What each budget of the key is raised by.")]
    until: Annotated[str, STAMP]


class EndUserBudget(Struct):
    amount: Annotated[str, dollars("What each end user of the key may spend.")]
    period: Annotated[str, text("day, week, month or total.")]


class KeyUsage(Struct):
    today: Annotated[str, dollars()]
    week: Annotated[str, dollars()]
    month: Annotated[str, dollars()]


class Key(Struct, kw_only=True, tag_field="object", tag="key"):
    label: Annotated[str, text("The key's name.")]
    limits: KeyLimits  # type: ignore[valid-type]  # made from the terms' fields
    budget: Annotated[KeyBudget, text("The one of which the least is left.")] | None
    budgets: Annotated[list[KeyBudget], text("All of them: each has to pay for a request.")]
    member_budget: Annotated[KeyBudget, text("What all keys of the key's member may spend a month.")] | None
    account_budget: Annotated[KeyBudget, text("What the operator lets all keys of the account spend a day.")] | None
    budget_raise: Annotated[BudgetRaise, text("While it lasts.")] | None
    end_user_budget: EndUserBudget | None
    models: Annotated[list[str], text("The models it may use; null is all of them.")] | None
    usage: KeyUsage
    expires_at: Annotated[str, STAMP] | None


class Credits(Struct, kw_only=True, tag_field="object", tag="credits"):
    balance: Annotated[str, dollars("All that was credited, less all that was used.")]
    held: Annotated[str, dollars("Set aside for requests that run.")]
    available: Annotated[str, dollars("The balance less what is held.")]
    total_credited: Annotated[str, dollars()]
    total_used: Annotated[str, dollars()]


class BillingSubscription(Struct, kw_only=True, tag_field="object", tag="billing_subscription"):
    has_payment_method: Annotated[bool, text("Always: the prepaid balance.")]
    soft_limit_usd: Annotated[float, Meta(ge=0)]
    hard_limit_usd: Annotated[
        float,
        Meta(
            ge=0,
            description="What was used and what is left together, in dollars, with exact digits: of the account, or of "
            "the key's budget of which the least is left.",
        ),
    ]
    system_hard_limit_usd: Annotated[float, Meta(ge=0)]
    access_until: Annotated[int, whole("When the key expires, in Unix seconds; 2100-01-01 if it doesn't.")]


class BillingUsage(Struct, kw_only=True, tag_field="object", tag="list"):
    total_usage: Annotated[
        float, Meta(ge=0, description="What was used, in cents, with exact digits. Dates don't narrow it.")
    ]
