"""A receipt as its page shows it: counts × unit price = amount, the sum, the hold, and the attempts in time."""

import dataclasses
import json
from collections.abc import Iterable
from typing import Any

from bridge.catalogue.price_snapshot import read_snapshot
from bridge.catalogue.rates import BY_THE_PIECE
from bridge.conversation.labels import split_tags
from bridge.dialects import answer_id
from bridge.languages import to_translate, translate
from bridge.ledger.charge_rules import ChargeRule, find_rule
from bridge.ledger.refunds import sum_refunds
from bridge.ledger.tables import Entry, UsageRecord
from bridge.money import TOKENS_PER_MTOK

# Price classes by the names that customers see.
CLASSES = {
    "input": to_translate("Prompt"),
    "audio_input": to_translate("Prompt, sound"),
    "image": to_translate("Prompt, pictures"),
    "cached": to_translate("Prompt, from cache"),
    "cached_audio": to_translate("Prompt, sound from cache"),
    "cache_write": to_translate("Prompt, to cache"),
    "cache_write_hour": to_translate("Prompt, to cache for an hour"),
    "output": to_translate("Answer"),
    "reasoning": to_translate("Answer, reasoning"),
    "audio_output": to_translate("Answer, speech"),
    "image_output": to_translate("Answer, pictures"),
    "request": to_translate("Requests"),
    "picture": to_translate("Pictures"),
    "picture_low": to_translate("Pictures, low quality"),
    "picture_medium": to_translate("Pictures, medium quality"),
}
SHOWN_ALWAYS = ("input", "output")
ANSWERED, LEFT = "200", "client gone"  # an attempt's outcome when it was served, and when the client left


@dataclasses.dataclass(frozen=True)
class Line:
    """One class of tokens: its count, its price per million in nanos, and their product, rounded down. For requests
    and pictures, the price is per piece."""

    name: str
    count: int
    unit_nanos: int
    amount_nanos: int


@dataclasses.dataclass(frozen=True)
class Attempt:
    """One call to one channel, in milliseconds since the request began."""

    number: int
    channel: str
    ok: bool
    ended: bool  # the answer came to its end
    left: bool  # the client left, which is not a failure
    outcome: str
    started_ms: int
    waited_ms: int
    streamed_ms: int
    charge_nanos: int
    upstream_id: str = ""  # the model's name there
    reference: str = ""  # the upstream's own id of the request, for operators

    @property
    def took_ms(self) -> int:
        return self.waited_ms + self.streamed_ms


@dataclasses.dataclass(frozen=True)
class Receipt:
    """A receipt. `difference_nanos` is the charge less the lines' sum; `difference_name` explains it. `charge_rule` is
    the rule that applied; `refunds` are the entries that gave the charge back later, or parts of it."""

    record: UsageRecord
    lines: list[Line]
    difference_name: str
    difference_nanos: int
    attempts: list[Attempt]
    dropped: list[str]
    clamped: list[str]
    tags: dict[str, str]
    tokens_per_second: int | None
    answer_id: str
    above_tokens: int  # the applied tier is for prompts longer than this; 0: the ordinary one
    markup_bps: int
    markup_rule: str
    charge_rule: ChargeRule
    refunds: list[Entry]
    provider_counts: str  # the provider's counts, if they aren't those charged

    @property
    def reasoning_apart(self) -> bool:
        """Whether reasoning has a line of its own, outside the answer's."""
        return any(line.name == CLASSES["reasoning"] for line in self.lines)

    @property
    def refunded_nanos(self) -> int:
        """What was given back later, in all."""
        return sum_refunds(self.refunds)

    @property
    def left_nanos(self) -> int:
        """What of the charge isn't refunded."""
        return self.record.charge_nanos - self.refunded_nanos

    @property
    def failed_attempts(self) -> int:
        return sum(not attempt.ok and not attempt.left for attempt in self.attempts)


def make_receipt(record: UsageRecord, refunds: Iterable[Entry] = ()) -> Receipt:
    """Explain a request's charge and its refunds."""
    snapshot = read_snapshot(record)
    every = snapshot.rates.lines(snapshot.usage, snapshot.calls)
    # only a charged request has a fee
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
        tags=split_tags(record.tags),
        tokens_per_second=_measure_speed(record),
        answer_id=answer_id(record.endpoint, record.request_id),
        above_tokens=snapshot.rates.above_tokens,
        markup_bps=snapshot.markup_bps,
        markup_rule=snapshot.markup_rule,
        charge_rule=find_rule(record),
        refunds=list(refunds),
        provider_counts=_write_counts(record),
    )


COUNTED = {
    "prompt_tokens": to_translate("prompt %(count)s"),
    "cached_tokens": to_translate("of it from cache %(count)s"),
    "cache_write_tokens": to_translate("of it to cache %(count)s"),
    "completion_tokens": to_translate("answer %(count)s"),
    "reasoning_tokens": to_translate("of it reasoning %(count)s"),
}


def _write_counts(record: UsageRecord) -> str:
    """The provider's counts in words; "" if they are those charged."""
    if not record.provider_counts:
        return ""
    counts: dict[str, int | None] = json.loads(record.provider_counts)
    said = [(words, counts[name]) for name, words in COUNTED.items() if name in counts]
    return ", ".join(
        translate(words, count=translate("not counted") if count is None else f"{count:,}") for words, count in said
    )


def _line(name: str, count: int, unit_nanos: int) -> Line:
    shown = unit_nanos // TOKENS_PER_MTOK if name in BY_THE_PIECE else unit_nanos
    return Line(CLASSES[name], count, shown, count * unit_nanos // TOKENS_PER_MTOK)


def _name_difference(record: UsageRecord, difference: int, lines: int) -> str:
    """Explain the difference. Each line is rounded down for display, and the sum up once, so they differ by less than a
    nano-dollar per line."""
    if not difference:
        return ""
    if record.loss_nanos and difference < 0:
        return to_translate("Beyond your hold and balance: we pay it")
    return to_translate("Rounded up, once") if 0 < difference <= lines else to_translate("Not charged")


def _list_attempts(record: UsageRecord) -> list[Attempt]:
    found: list[dict[str, Any]] = json.loads(record.attempts)
    attempts = []
    for number, one in enumerate(found, 1):
        last = number == len(found)
        outcome, started, took = str(one.get("outcome", "")), int(one.get("started_ms", 0)), int(one.get("took_ms", 0))
        answered = last and record.first_content_ms is not None
        ok = last and (answered or outcome == ANSWERED)
        waited = min(took, max(0, (record.first_content_ms or 0) - started)) if ok else took
        name = to_translate("Answered") if outcome == ANSWERED else outcome or to_translate("unfinished")
        charge = record.charge_nanos if last else 0
        channel, ended, left = str(one.get("channel", "")), outcome == ANSWERED, outcome == LEFT
        ids = str(one.get("upstream_id", "")), str(one.get("reference", ""))
        attempts.append(Attempt(number, channel, ok, ended, left, name, started, waited, took - waited, charge, *ids))
    return attempts


def _measure_speed(record: UsageRecord) -> int | None:
    """Tokens per second after the first one; None if the time is too short to mean anything."""
    if record.first_content_ms is None or record.total_ms - record.first_content_ms < 100:
        return None
    return record.completion_tokens * 1000 // (record.total_ms - record.first_content_ms)
