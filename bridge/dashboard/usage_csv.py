"""The usage page's CSV files: requests with refusals, and the sums of a group."""

from collections.abc import Iterator

from bridge.catalogue.price_snapshot import read_snapshot
from bridge.conversation.labels import split_tags
from bridge.ledger.rollups import Sums
from bridge.ledger.tables import UsageRecord
from bridge.limits.refusals import Refused
from bridge.money import format_dollars

COLUMNS = (
    *("request_id", "created_at", "key", "endpoint", "model_asked", "model", "status", "outcome", "error_code"),
    *("prompt_tokens", "cached_tokens", "cache_write_tokens", "completion_tokens", "reasoning_tokens"),
    *("tokens_source", "cost_dollars", "price_version", "stream", "first_content_ms", "total_ms"),
    *("end_user", "tags", "stop_at_dollars", "requests", "message"),
    *("image_tokens", "image_output_tokens", "images"),  # behind the others, which spreadsheets may count
)
GROUP_COLUMNS = (
    *("requests", "failed", "refused", "prompt_tokens", "cached_tokens", "completion_tokens"),
    *("reasoning_tokens", "cost_dollars"),
)


def write_request(record: UsageRecord, key_names: dict[int, str]) -> list[object]:
    """A request's row."""
    usage = read_snapshot(record).usage  # what has no column of its own
    return [
        record.request_id,
        f"{record.created_at:%Y-%m-%dT%H:%M:%S.%f}Z",
        key_names.get(record.key_id, str(record.key_id)),
        record.endpoint,
        record.model_asked,
        record.model_id,
        record.status,
        record.outcome,
        record.error_code or "",
        record.prompt_tokens,
        record.cached_tokens,
        record.cache_write_tokens,
        record.completion_tokens,
        record.reasoning_tokens,
        record.tokens_source,
        format_dollars(record.charge_nanos),
        record.price_id,
        "true" if record.stream else "false",
        "" if record.first_content_ms is None else record.first_content_ms,
        record.total_ms,
        record.end_user or "",
        ", ".join(f"{name}={value}" for name, value in split_tags(record.tags).items()),
        "" if record.stop_at_nanos is None else format_dollars(record.stop_at_nanos),
        1,
        "",
        usage.image_tokens,
        usage.image_output_tokens,
        usage.pictures,
    ]


def write_refusal(refused: Refused, key_names: dict[int, str]) -> list[object]:
    """A key's refusals with one code: how many, and the last one's id, time, model and message."""
    row: dict[str, object] = {
        "request_id": refused.last_request_id,
        "created_at": f"{refused.last_at:%Y-%m-%dT%H:%M:%S.%f}Z",
        "key": key_names.get(refused.key_id, str(refused.key_id)),
        "model_asked": refused.last_model,
        "status": refused.status,
        "outcome": "refused",
        "error_code": refused.code,
        "cost_dollars": "0",
        "requests": refused.requests,
        "message": refused.last_message,
    }
    return [row.get(name, "") for name in COLUMNS]


def write_groups(
    groups: dict[str, Sums], names: dict[str, str], refused: dict[str, int] | None
) -> Iterator[list[object]]:
    """The rows of a group's sums. `names` are what the groups are called; `refused` is None where it isn't known."""
    for group, sums in groups.items():
        yield [
            names.get(group, group) or "(others)",
            sums.requests,
            sums.failed,
            "" if refused is None else refused.get(group, 0),
            sums.prompt_tokens,
            sums.cached_tokens,
            sums.completion_tokens,
            sums.reasoning_tokens,
            format_dollars(sums.charge_nanos),
        ]
