"""The answers of /v1/key and /v1/credits. A key's limits are the terms that have a name in the API."""

from typing import Annotated, Any

import msgspec
from msgspec import Struct

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
    amount: Annotated[str, dollars()]
    period: str
    remaining: Annotated[str, dollars()]


class KeyUsage(Struct):
    today: Annotated[str, dollars()]
    week: Annotated[str, dollars()]
    month: Annotated[str, dollars()]


class Key(Struct, kw_only=True, tag_field="object", tag="key"):
    label: Annotated[str, text("The key's name.")]
    limits: KeyLimits  # type: ignore[valid-type]  # made from the terms' fields
    budget: KeyBudget | None
    models: Annotated[list[str], text("The models it may use; null is all of them.")] | None
    usage: KeyUsage
    expires_at: Annotated[str, STAMP] | None


class Credits(Struct, kw_only=True, tag_field="object", tag="credits"):
    balance: Annotated[str, dollars("All that was credited, less all that was used.")]
    held: Annotated[str, dollars("Set aside for requests that run.")]
    available: Annotated[str, dollars("The balance less what is held.")]
    total_credited: Annotated[str, dollars()]
    total_used: Annotated[str, dollars()]
