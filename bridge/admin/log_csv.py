"""The operator's log as CSV."""

from collections.abc import Iterator

from bridge.accounts.customers import NamedKey, name_all_keys
from bridge.admin.log_filter import Asked
from bridge.conversation.labels import split_tags
from bridge.ledger.request_log import export_log
from bridge.ledger.tables import UsageRecord
from bridge.ledger.usage import EXPORT_ROWS
from bridge.limits.refusal_log import list_all_refusals
from bridge.limits.tables import Refusal
from bridge.money import format_dollars

MOST_REFUSALS = 5_000
COLUMNS = (
    *("request_id", "created_at", "account_id", "account", "key_id", "key", "endpoint", "model_asked", "model"),
    *("channel", "upstream_model", "attempts", "status", "outcome", "error_code", "first_content_ms", "total_ms"),
    *("prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens", "tokens_source"),
    *("charge_dollars", "cost_dollars", "margin_dollars", "unpaid_dollars", "end_user", "tags"),
    *("requests", "message"),
)


def write_log(asked: Asked) -> Iterator[list[object]]:
    """The rows of a filter: its refusals, then its settled requests, read in pieces as they go out."""
    keys: dict[int, NamedKey] = {}
    for refusal in list_all_refusals(asked.refused, MOST_REFUSALS) if asked.refused else ():
        _learn(keys, [refusal.key_id])
        yield _write_refusal(refusal, keys.get(refusal.key_id))
    if asked.asks_for_rows:
        for record in export_log(asked.wanted, EXPORT_ROWS):
            _learn(keys, [record.key_id])
            yield _write_record(record, keys.get(record.key_id))


def _learn(keys: dict[int, NamedKey], key_ids: list[int]) -> None:
    if unknown := [key_id for key_id in key_ids if key_id not in keys]:
        keys.update(name_all_keys(unknown))


def _write_record(record: UsageRecord, key: NamedKey | None) -> list[object]:
    return [
        record.request_id,
        f"{record.created_at:%Y-%m-%dT%H:%M:%S.%f}Z",
        record.account_id,
        key.account if key else "",
        record.key_id,
        key.name if key else "",
        record.endpoint,
        record.model_asked,
        record.model_id,
        record.channel_name or "",
        record.upstream_id or "",
        record.attempts.count('"outcome"'),
        record.status,
        record.outcome,
        record.error_code or "",
        "" if record.first_content_ms is None else record.first_content_ms,
        record.total_ms,
        record.prompt_tokens,
        record.cached_tokens,
        record.completion_tokens,
        record.reasoning_tokens,
        record.tokens_source,
        format_dollars(record.charge_nanos),
        format_dollars(record.cost_nanos),
        format_dollars(record.charge_nanos - record.cost_nanos),
        format_dollars(record.loss_nanos),
        record.end_user or "",
        ", ".join(f"{name}={value}" for name, value in split_tags(record.tags).items()),
        1,
        "",
    ]


def _write_refusal(refusal: Refusal, key: NamedKey | None) -> list[object]:
    row: dict[str, object] = {
        "request_id": refusal.last_request_id,
        "created_at": f"{refusal.last_at:%Y-%m-%dT%H:%M:%S.%f}Z",
        "account_id": refusal.account_id,
        "account": key.account if key else "",
        "key_id": refusal.key_id,
        "key": key.name if key else "",
        "model_asked": refusal.last_model,
        "status": refusal.status,
        "outcome": "refused",
        "error_code": refusal.code,
        "charge_dollars": "0",
        "requests": refusal.requests,
        "message": refusal.last_message,
    }
    return [row.get(name, "") for name in COLUMNS]
