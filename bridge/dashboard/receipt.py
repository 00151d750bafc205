"""A receipt as its page shows it: counts × unit price = amount, the sum, the hold, and the attempts in time."""

import dataclasses
import json
from typing import Any

from bridge.ledger.tables import UsageRecord
from bridge.money import TOKENS_PER_MTOK

ROUNDING_NANOS = 6  # each line is rounded down for display, the sum up once: they differ by less than this
ANSWERED = "200"  # how the relay ends an attempt that was served


@dataclasses.dataclass(frozen=True)
class Line:
    """One kind of token: its count, its price per million in nanos, and their product, rounded down."""

    name: str
    count: int
    unit_nanos: int
    amount_nanos: int


@dataclasses.dataclass(frozen=True)
class Attempt:
    """One call to one channel, on the scale of the whole request in milliseconds."""

    number: int
    channel: str
    ok: bool
    outcome: str
    started_ms: int
    waited_ms: int
    streamed_ms: int
    charge_nanos: int

    @property
    def took_ms(self) -> int:
        return self.waited_ms + self.streamed_ms


@dataclasses.dataclass(frozen=True)
class Receipt:
    """`difference_nanos` is what separates the lines' sum from the charge; `difference_name` says why."""

    record: UsageRecord
    lines: list[Line]
    difference_name: str
    difference_nanos: int
    attempts: list[Attempt]
    dropped: list[str]
    clamped: list[str]
    tokens_per_second: int | None
    answer_id: str

    @property
    def failed_attempts(self) -> int:
        return sum(not attempt.ok for attempt in self.attempts)


def make_receipt(record: UsageRecord) -> Receipt:
    """Explain a request's charge."""
    fresh = record.prompt_tokens - record.cached_tokens - record.cache_write_tokens
    for_an_hour = record.cache_write_hour_tokens
    for_minutes = record.cache_write_tokens - for_an_hour
    parts = [
        _line("Prompt, from cache", record.cached_tokens, record.cached_nanos_per_mtok),
        _line("Prompt, to cache", for_minutes, record.cache_write_nanos_per_mtok),
        _line("Prompt, to cache for an hour", for_an_hour, record.cache_write_hour_nanos_per_mtok),
    ]
    lines = [
        _line("Prompt", fresh, record.input_nanos_per_mtok),
        *(line for line in parts if line.count),
        _line("Answer", record.completion_tokens, record.output_nanos_per_mtok),
    ]
    difference = record.charge_nanos - sum(line.amount_nanos for line in lines)
    adapted: dict[str, Any] = json.loads(record.adapted) if record.adapted else {}
    return Receipt(
        record=record,
        lines=lines,
        difference_name=_name_difference(record, difference),
        difference_nanos=difference,
        attempts=_list_attempts(record),
        dropped=[str(name) for name in adapted.get("dropped") or []],
        clamped=[str(name) for name in adapted.get("clamped") or []],
        tokens_per_second=_measure_speed(record),
        answer_id=record.request_id.replace("req_", "chatcmpl-", 1),
    )


def _line(name: str, count: int, unit_nanos: int) -> Line:
    return Line(name, count, unit_nanos, count * unit_nanos // TOKENS_PER_MTOK)


def _name_difference(record: UsageRecord, difference: int) -> str:
    if not difference:
        return ""
    if record.loss_nanos and difference < 0:
        return "Beyond your hold and balance: we pay it"
    return "Rounded up, once" if 0 < difference < ROUNDING_NANOS else "Not charged"


def _list_attempts(record: UsageRecord) -> list[Attempt]:
    found: list[dict[str, Any]] = json.loads(record.attempts)
    attempts = []
    for number, one in enumerate(found, 1):
        last = number == len(found)
        outcome, started, took = str(one.get("outcome", "")), int(one.get("started_ms", 0)), int(one.get("took_ms", 0))
        answered = last and record.first_content_ms is not None
        ok = last and (answered or outcome == ANSWERED)
        waited = min(took, max(0, (record.first_content_ms or 0) - started)) if ok else took
        name = "Answered" if outcome == ANSWERED else outcome or "unfinished"
        charge = record.charge_nanos if last else 0
        attempts.append(Attempt(number, str(one.get("channel", "")), ok, name, started, waited, took - waited, charge))
    return attempts


def _measure_speed(record: UsageRecord) -> int | None:
    """Tokens a second after the first one; None where that is too short to mean anything."""
    if record.first_content_ms is None or record.total_ms - record.first_content_ms < 100:
        return None
    return record.completion_tokens * 1000 // (record.total_ms - record.first_content_ms)
