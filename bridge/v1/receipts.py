"""GET /v1/requests/{id}: the receipt of one request, by its id or by its answer's."""

from collections.abc import Sequence
from typing import Any

import msgspec
from flask import Response

from bridge.catalogue.price_snapshot import read_snapshot
from bridge.conversation.labels import split_tags
from bridge.dialects import answer_id
from bridge.json_types import JsonObject
from bridge.ledger.charge_rules import find_rule
from bridge.ledger.refunds import list_refunds, sum_refunds
from bridge.ledger.tables import Entry, UsageRecord
from bridge.ledger.usage import find_request
from bridge.money import TOKENS_PER_MTOK, format_dollars, format_exact_sum, format_percent
from bridge.v1.door import count
from bridge.v1.list_models import NAMES
from bridge.v1.schemas import receipt as schemas
from bridge.v1.schemas.chat import ProviderCounts
from bridge.v1.visit import Visit

# the unit prices of what is no token
PIECES = {
    "request": "per_request",
    "picture": "per_picture",
    "picture_low": "per_picture",
    "picture_medium": "per_picture",
}


def show_receipt(visit: Visit, request_id: str) -> Response:
    """The receipt. Raises NotFound for another account's request, a running one, and one that never had a hold."""
    count(visit)
    return answer_receipt(visit, request_id)


def answer_receipt(visit: Visit, request_id: str) -> Response:
    """The receipt of a request that was counted already. Raises NotFound as `show_receipt` does."""
    assert visit.caller is not None
    usage = find_request(visit.caller.account_id, request_id, visit.caller.seen_member_id)
    refunds = list_refunds(usage.account_id, usage.request_id)
    visit.leave()
    return visit.answer(
        msgspec.json.encode(describe(usage, refunds, with_channels=visit.services.settings.show_channel_names))
    )


def describe(usage: UsageRecord, refunds: Sequence[Entry] = (), *, with_channels: bool = False) -> schemas.Receipt:
    """The receipt as JSON: dollars are decimal strings, times milliseconds since the request came in."""
    rule = find_rule(usage)
    adapted = msgspec.json.decode(usage.adapted) if usage.adapted else {"dropped": [], "clamped": []}
    return schemas.Receipt(
        id=usage.request_id,
        answer_id=answer_id(usage.endpoint, usage.request_id),
        created_at=usage.created_at.isoformat(),
        settled_at=usage.settled_at.isoformat(),
        endpoint=usage.endpoint,
        stream=usage.stream,
        model=schemas.ReceiptModel(asked=usage.model_asked, served=usage.model_id, upstream=usage.upstream_id),
        outcome=usage.outcome,
        state=usage.state,
        status=usage.status,
        error_code=usage.error_code,
        finish_reason=usage.finish_reason,
        attempts=_list_attempts(usage, with_channels),
        tokens=schemas.ReceiptTokens(
            prompt=usage.prompt_tokens,
            cached=usage.cached_tokens,
            cache_write=usage.cache_write_tokens,
            cache_write_hour=usage.cache_write_hour_tokens,
            completion=usage.completion_tokens,
            reasoning=usage.reasoning_tokens,
            source=usage.tokens_source,
        ),
        provider_counts=_describe_counts(usage),
        prices_per_million=schemas.ReceiptUnitPrices(
            prompt=format_dollars(usage.input_nanos_per_mtok),
            cached=format_dollars(usage.cached_nanos_per_mtok),
            cache_write=format_dollars(usage.cache_write_nanos_per_mtok),
            cache_write_hour=format_dollars(usage.cache_write_hour_nanos_per_mtok),
            completion=format_dollars(usage.output_nanos_per_mtok),
            version=usage.price_id,
        ),
        price=_describe_price(usage),
        hold=format_dollars(usage.hold_nanos),
        charge=format_dollars(usage.charge_nanos),
        not_charged=format_dollars(usage.loss_nanos),
        released=format_dollars(max(0, usage.hold_nanos - usage.charge_nanos)),
        rule=schemas.ReceiptRule(name=rule.name, text=rule.text),
        balance_after=None if usage.balance_after_nanos is None else format_dollars(usage.balance_after_nanos),
        refund=_describe_refunds(refunds),
        output_cap_tokens=usage.output_cap_tokens,
        dropped=adapted["dropped"],
        clamped=adapted["clamped"],
        first_content_ms=usage.first_content_ms,
        total_ms=usage.total_ms,
        end_user=usage.end_user,
        tags=split_tags(usage.tags),
        stop_at=None if usage.stop_at_nanos is None else format_dollars(usage.stop_at_nanos),
    )


def _list_attempts(usage: UsageRecord, with_channels: bool) -> list[schemas.ReceiptAttempt]:
    """The attempts without what only operators see of them: the upstream's own id of the request."""
    found: list[dict[str, Any]] = msgspec.json.decode(usage.attempts)
    return [
        schemas.ReceiptAttempt(
            channel=str(one.get("channel", "")) if with_channels else None,
            upstream_id=str(one.get("upstream_id", "")),
            started_ms=int(one.get("started_ms", 0)),
            took_ms=int(one.get("took_ms", 0)),
            outcome=str(one.get("outcome", "")),
        )
        for one in found
    ]


def _describe_price(usage: UsageRecord) -> schemas.ReceiptPrice:
    """What each class of tokens cost: lines that add up to the charge."""
    snapshot = read_snapshot(usage)
    lines = snapshot.lines if usage.state == "captured" else []
    return schemas.ReceiptPrice(
        version=usage.price_id,
        above_prompt_tokens=snapshot.rates.above_tokens,
        markup_percent=format_percent(snapshot.markup_bps),
        markup_rule=snapshot.markup_rule or "none",
        lines=[
            schemas.ReceiptLine(
                price_class=NAMES[name], count=count, **_unit(name, nanos), amount=format_exact_sum(count * nanos)
            )
            for name, count, nanos in lines
        ],
        sum=format_exact_sum(sum(count * nanos for _, count, nanos in lines)),
    )


def _describe_counts(usage: UsageRecord) -> ProviderCounts | None:
    """The provider's counts, and how much of them was not charged; None if they are those charged."""
    if not usage.provider_counts:
        return None
    counts: JsonObject = msgspec.json.decode(usage.provider_counts)
    return ProviderCounts(
        **counts, not_charged_tokens=usage.uncharged_tokens, not_charged=format_dollars(usage.uncharged_nanos)
    )


def _describe_refunds(refunds: Sequence[Entry]) -> schemas.ReceiptRefund | None:
    """All of them as one: their sum, each reason once, and the last one's moment."""
    if not refunds:
        return None
    return schemas.ReceiptRefund(
        amount=format_dollars(sum_refunds(refunds)),
        reason="; ".join(dict.fromkeys(each.note for each in refunds if each.note)),
        created_at=refunds[-1].created_at.isoformat(),
    )


def _unit(name: str, nanos: int) -> dict[str, str]:
    """The unit price of a line, in dollars."""
    if name in PIECES:
        return {PIECES[name]: format_dollars(nanos // TOKENS_PER_MTOK)}
    return {"per_million": format_dollars(nanos)}
