"""The answer of /v1/requests/{id}."""

from typing import Annotated

import msgspec
from msgspec import UNSET, Struct, UnsetType

from bridge.dialects import ANSWER_PREFIXES
from bridge.ledger.charge_rules import RULES
from bridge.v1.schemas.chat import ProviderCounts
from bridge.v1.schemas.facts import STAMP, dollars, one_of, text, whole

ANSWER_ID = f"^({'|'.join(ANSWER_PREFIXES.values())})"


class ReceiptModel(Struct):
    asked: str
    served: str
    upstream: str | None


class ReceiptAttempt(Struct):
    channel: Annotated[str, text("Its name; null unless the operator shows customers channel names.")] | None
    upstream_id: Annotated[str, text("The model's name there.")]
    started_ms: Annotated[int, whole("Since the request came in.")]
    took_ms: Annotated[int, whole()]
    outcome: str


class ReceiptTokens(Struct):
    prompt: Annotated[int, whole("All of the prompt.")]
    cached: Annotated[int, whole("Of the prompt: read from the provider's cache.")]
    cache_write: Annotated[int, whole("Of the prompt: written to it.")]
    cache_write_hour: Annotated[int, whole("Of the written: to be kept for an hour.")]
    completion: Annotated[int, whole()]
    reasoning: Annotated[int, whole()]
    source: Annotated[str, one_of("provider", "estimate", "mixed", "none", description="Who counted.")]


class ReceiptUnitPrices(Struct):
    prompt: Annotated[str, dollars()]
    cached: Annotated[str, dollars()]
    cache_write: Annotated[str, dollars()]
    cache_write_hour: Annotated[str, dollars()]
    completion: Annotated[str, dollars()]
    version: Annotated[int, whole()]


class ReceiptLine(Struct, kw_only=True):
    price_class: Annotated[str, text(example="prompt")] = msgspec.field(name="class")
    count: Annotated[
        int,
        whole("Tokens; of the class request, calls, and of the classes image, image_low and image_medium pictures."),
    ]
    per_million: Annotated[str, dollars("The unit price of tokens.")] | UnsetType = UNSET
    per_request: Annotated[str, dollars("The unit price of calls.")] | UnsetType = UNSET
    per_picture: Annotated[str, dollars("The unit price of pictures.")] | UnsetType = UNSET
    amount: Annotated[str, dollars("Count × unit price, exactly.", places=15)]


class ReceiptPrice(Struct):
    version: Annotated[int, whole("The price's version, frozen when the request was admitted.")]
    above_prompt_tokens: Annotated[int, whole("The tier that applied is that of longer prompts; 0 is the ordinary.")]
    markup_percent: Annotated[str, text("Included in the unit prices.", example="12.5")]
    markup_rule: Annotated[
        str,
        one_of(
            *("none", "model", "account", "account_model", "group_model"),
            description="Whose markup it is. The last two are prices of this model for the account, or for its group.",
        ),
    ]
    lines: list[ReceiptLine]
    sum: Annotated[str, dollars("Of the amounts, exactly: rounded up once, it is charge plus not_charged.", places=15)]


class ReceiptRule(Struct):
    name: Annotated[str, one_of(*(rule.name for rule in RULES), description="The rule that it was charged by.")]
    text: Annotated[str, text("The same in words.")]


class ReceiptRefund(Struct):
    amount: Annotated[str, dollars("What was given back later, in all: the charge or a part of it.")]
    reason: str
    created_at: Annotated[str, STAMP]


class Receipt(Struct, kw_only=True, tag_field="object", tag="request"):
    id: Annotated[str, text("The answer's x-request-id.", pattern="^req_")]
    answer_id: Annotated[str, text("The answer's own id.", pattern=ANSWER_ID)]
    created_at: Annotated[str, STAMP]
    settled_at: Annotated[str, STAMP]
    endpoint: str
    stream: bool
    model: ReceiptModel
    outcome: Annotated[str, one_of("complete", "cut", "client_gone", "client_slow", "failed", "worker_lost")]
    state: Annotated[str, one_of("captured", "released", description="captured is charged, released is not.")]
    status: Annotated[int, whole("The HTTP status; 499 where the client had left.")]
    error_code: str | None
    finish_reason: str | None
    attempts: list[ReceiptAttempt]
    tokens: ReceiptTokens
    provider_counts: ProviderCounts | None
    prices_per_million: ReceiptUnitPrices
    price: ReceiptPrice
    hold: Annotated[str, dollars("Set aside before the call: the most it could cost.")]
    charge: Annotated[str, dollars("What was paid.")]
    not_charged: Annotated[str, dollars("What the answer cost beyond hold and balance: we pay it.")]
    released: Annotated[str, dollars("What was given back.")]
    rule: ReceiptRule
    balance_after: (
        Annotated[str, dollars("What the account had right after this was settled; null where that was not kept yet.")]
        | None
    )
    refund: ReceiptRefund | None
    output_cap_tokens: Annotated[int, whole()]
    dropped: Annotated[list[str], text("Fields that the provider has no equal for.")]
    clamped: Annotated[list[str], text("Values that were brought into range.")]
    first_content_ms: Annotated[int, whole()] | None
    total_ms: Annotated[int, whole()]
    end_user: Annotated[str, text("The request's `user` or `safety_identifier`, as it was sent.")] | None
    tags: Annotated[dict[str, str], text("Its x-bridge-tags.")]
    stop_at: Annotated[str, dollars("Its x-bridge-stop-at: what the answer was to end before.")] | None
