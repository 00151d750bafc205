"""A receipt as its page shows it: counts × unit price = amount, the sum, the hold, and the attempts in time."""

import dataclasses
import json
from typing import Any

from bridge.catalogue.frozen import thaw
from bridge.ledger.charge_rules import ChargeRule, find_rule
from bridge.ledger.tables import Entry, UsageRecord
from bridge.money import TOKENS_PER_MTOK

# The classes of prices in a customer's words.
CLASSES = {
    "input": "Prompt",
    "audio_input": "Prompt, sound",
    "image": "Prompt, pictures",
    "cached": "Prompt, from cache",
    "cached_audio": "Prompt, sound from cache",
    "cache_write": "Prompt, to cache",
    "cache_write_hour": "Prompt, to cache for an hour",
    "output": "Answer",
    "reasoning": "Answer, reasoning",
    "audio_output": "Answer, speech",
    "request": "Requests",
}
SHOWN_ALWAYS = ("input", "output")
ANSWERED, LEFT = "200", "client gone"  # how the relay ends an attempt that was served, and one that was left


@dataclasses.dataclass(frozen=True)
class Line:
    """One kind of token: its count, its price per million in nanos, and their product, rounded down. Of requests, the
    price is that of each."""

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
    ended: bool  # the answer came to its end
    left: bool  # the client did not wait for it, which is no failure
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
    """`difference_nanos` is what separates the lines' sum from the charge; `difference_name` says why. `charge_rule`
    is the rule that applied, `refund` is the entry that gave the charge back later."""

    record: UsageRecord
    lines: list[Line]
    difference_name: str
    difference_nanos: int
    attempts: list[Attempt]
    dropped: list[str]
    clamped: list[str]
    tokens_per_second: int | None
    answer_id: str
    above_tokens: int  # the tier that applied is that of prompts longer than this; 0: the ordinary one
    markup_bps: int
    markup_rule: str
    charge_rule: ChargeRule
    refund: Entry | None
    provider_counts: str  # as the provider counted, where that isn't what was charged

    @property
    def reasoning_apart(self) -> bool:
        """Reasoning has a line of its own, and is no part of the answer's."""
        return any(line.name == CLASSES["reasoning"] for line in self.lines)

    @property
    def failed_attempts(self) -> int:
        return sum(not attempt.ok and not attempt.left for attempt in self.attempts)


def make_receipt(record: UsageRecord, refund: Entry | None = None) -> Receipt:
    """Explain a request's charge, and what came back of it."""
    frozen = thaw(record)
    every = frozen.rates.lines(frozen.usage, frozen.calls)
    # a request's fee is only for one that was charged
    lines = [
        _line(name, count, nanos)
        for name, count, nanos in every
        if name in SHOWN_ALWAYS or (count and (name != "request" or record.state == "captured"))
    ]
    difference = record.charge_nanos - sum(line.amount_nanos for line in lines)
    adapted: dict[str, Any] = json.loads(record.adapted) if record.adapted else {}
    return Receipt(
        record=record,
        lines=lines,
        difference_name=_name_difference(record, difference, len(lines)),
        difference_nanos=difference,
        attempts=_list_attempts(record),
        dropped=[str(name) for name in adapted.get("dropped") or []],
        clamped=[str(name) for name in adapted.get("clamped") or []],
        tokens_per_second=_measure_speed(record),
        answer_id=record.request_id.replace("req_", "chatcmpl-", 1),
        above_tokens=frozen.rates.above_tokens,
        markup_bps=frozen.markup_bps,
        markup_rule=frozen.markup_rule,
        charge_rule=find_rule(record),
        refund=refund,
        provider_counts=_write_counts(record),
    )


COUNTED = {
    "prompt_tokens": "prompt",
    "cached_tokens": "of it from cache",
    "cache_write_tokens": "of it to cache",
    "completion_tokens": "answer",
    "reasoning_tokens": "of it reasoning",
}


def _write_counts(record: UsageRecord) -> str:
    """What the provider counted, in words; "" where it is what was charged."""
    if not record.provider_counts:
        return ""
    counts: dict[str, int | None] = json.loads(record.provider_counts)
    said = [(word, counts[name]) for name, word in COUNTED.items() if name in counts]
    return ", ".join(f"{word} {'not counted' if count is None else f'{count:,}'}" for word, count in said)


def _line(name: str, count: int, unit_nanos: int) -> Line:
    shown = unit_nanos // TOKENS_PER_MTOK if name == "request" else unit_nanos
    return Line(CLASSES[name], count, shown, count * unit_nanos // TOKENS_PER_MTOK)


def _name_difference(record: UsageRecord, difference: int, lines: int) -> str:
    """Each line is rounded down for display, the sum up once: they differ by no more than there are lines."""
    if not difference:
        return ""
    if record.loss_nanos and difference < 0:
        return "Beyond your hold and balance: we pay it"
    return "Rounded up, once" if 0 < difference <= lines else "Not charged"


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
        channel, ended, left = str(one.get("channel", "")), outcome == ANSWERED, outcome == LEFT
        attempts.append(Attempt(number, channel, ok, ended, left, name, started, waited, took - waited, charge))
    return attempts


def _measure_speed(record: UsageRecord) -> int | None:
    """Tokens a second after the first one; None where that is too short to mean anything."""
    if record.first_content_ms is None or record.total_ms - record.first_content_ms < 100:
        return None
    return record.completion_tokens * 1000 // (record.total_ms - record.first_content_ms)
