"""The answer of /v1/quote."""

from collections.abc import Sequence
from typing import Annotated

from msgspec import Struct

from bridge.v1.schemas.facts import dollars, text, whole


class QuotedModel(Struct):
    asked: str
    served: str


class QuotedChannel(Struct):
    model: str
    channel: Annotated[str, text("Its name; null unless the operator shows customers channel names.")] | None
    upstream: Annotated[str, text("What the channel calls the model.")]


class QuotedTokens(Struct):
    prompt_at_most: Annotated[int, whole("No count of the prompt is above it.")]
    output_at_most: Annotated[int, whole("Of each choice: yours, or what the model and the balance allow.")]
    choices: Annotated[int, whole()]
    calls: Annotated[int, whole("Where choices are parallel calls, how many; each reads the prompt.")]


class LimitWindow(Struct):
    limit: Annotated[int, whole()]
    remaining: Annotated[int, whole()]
    reset: Annotated[str, text("Such as 6m0s or 120ms.")]


class QuotedLimits(Struct):
    """null is no limit."""

    requests: LimitWindow | None
    tokens: LimitWindow | None


class Quote(Struct, kw_only=True, tag_field="object", tag="quote"):
    model: QuotedModel
    route: Annotated[list[QuotedChannel], text("The channels in the order in which they would be tried now.")]
    max_cost: Annotated[str, dollars("The most that the answer can cost, in dollars.")]
    tokens: QuotedTokens
    hold: Annotated[str, dollars("What would be set aside, in dollars.")]
    available: Annotated[str, dollars("What the account could hold now, in dollars.")]
    budget_remaining: Annotated[str, dollars("The least that a budget of the key leaves; null without one.")] | None
    refusal: Annotated[str, text("The code with which the request would be refused now; null if it would run.")] | None
    limits: QuotedLimits
    dropped: Annotated[Sequence[str], text("Fields that would be left out.")]
    clamped: Annotated[Sequence[str], text("Values that would be brought into range.")]
