"""Settled requests for tests of their readers."""

import datetime
import json
from typing import Any

from bridge.db import now_utc, transaction
from bridge.ledger.tables import UsageRecord
from bridge.telemetry import new_request_id


def record_fields(ago: datetime.timedelta | None = None, **changes: Any) -> dict[str, Any]:
    """The fields of one complete request of gpt-4o: 1,000 tokens in (400 cached), 100 out, $0.003. `ago` is its age."""
    moment = now_utc() - (ago or datetime.timedelta())
    return {
        "created_at": moment,
        "request_id": new_request_id(),
        "state": "captured",
        "outcome": "complete",
        "status": 200,
        "endpoint": "chat",
        "model_asked": "gpt-4o",
        "model_id": "gpt-4o",
        "upstream_id": "gpt-4o-2024-11-20",
        "channel_name": "openai-main",
        "stream": True,
        "finish_reason": "stop",
        "prompt_tokens": 1_000,
        "cached_tokens": 400,
        "cache_write_tokens": 0,
        "cache_write_hour_tokens": 0,
        "completion_tokens": 100,
        "reasoning_tokens": 0,
        "tokens_source": "provider",
        "price_id": 37,
        "input_nanos_per_mtok": 2_500_000_000,
        "cached_nanos_per_mtok": 1_250_000_000,
        "cache_write_nanos_per_mtok": 2_500_000_000,
        "cache_write_hour_nanos_per_mtok": 2_500_000_000,
        "output_nanos_per_mtok": 10_000_000_000,
        "hold_nanos": 50_000_000,
        "charge_nanos": 3_000_000,
        "loss_nanos": 0,
        "cost_nanos": changes.get("charge_nanos", 3_000_000),
        "output_cap_tokens": 4_096,
        "attempts": json.dumps([{"channel": "openai-main", "started_ms": 2, "took_ms": 1_998, "outcome": "200"}]),
        "first_content_ms": 400,
        "total_ms": 2_000,
        "settled_at": moment,
        **changes,
    }


def make_record(
    account_id: int, *, key_id: int = 1, ago: datetime.timedelta | None = None, **changes: Any
) -> UsageRecord:
    """A settled request with these fields."""
    return UsageRecord(account_id=account_id, key_id=key_id, **record_fields(ago, **changes))


def add_record(account_id: int, **changes: Any) -> UsageRecord:
    """A settled request with these fields, committed."""
    record = make_record(account_id, **changes)
    with transaction() as session:
        session.add(record)
    return record


def add_failure(account_id: int, **changes: Any) -> UsageRecord:
    """A request that no channel served: 503, nothing charged."""
    nothing = dict.fromkeys(("prompt_tokens", "cached_tokens", "completion_tokens", "charge_nanos"), 0)
    attempts = json.dumps([{"channel": "openai-main", "started_ms": 2, "took_ms": 410, "outcome": "529, overloaded"}])
    ending = {"state": "released", "outcome": "failed", "status": 503, "error_code": "upstream_error"}
    return add_record(
        account_id,
        **{**nothing, **ending, "tokens_source": "none", "attempts": attempts, "first_content_ms": None, **changes},
    )
