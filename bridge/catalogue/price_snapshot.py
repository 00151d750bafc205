"""The snapshot of its price that a usage row keeps, so that its charge can be recomputed from the row alone."""

import dataclasses
import datetime
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from bridge.catalogue.prices import PriceVersion
from bridge.catalogue.rates import PRICE_CLASSES, Line, Rates, make_rates, name_rates
from bridge.conversation.usage import Usage

# The columns of counts, by Usage's names; its other counts are in `pricing`.
COUNTS = (
    *("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens"),
    *("cache_write_tokens", "cache_write_hour_tokens"),
)
FURTHER_COUNTS = (
    *("audio_tokens", "cached_audio_tokens", "audio_output_tokens"),
    *("image_tokens", "image_output_tokens"),
    *("pictures", "low_pictures", "medium_pictures"),
)


class Row(Protocol):
    """The part of a usage row, or of a settlement, that says what it cost."""

    pricing: Any


@dataclasses.dataclass(frozen=True, slots=True)
class PriceSnapshot:
    """The rates of the tier that applied, with markup; the counts; how much markup there was, and whose."""

    rates: Rates
    usage: Usage
    calls: int
    markup_bps: int
    markup_rule: str

    @property
    def lines(self) -> list[Line]:
        """Class, count and unit price of everything that was used. The products add up to the charge times a
        million."""
        return [line for line in self.rates.lines(self.usage, self.calls) if line[1]]


def snapshot_price(
    version: PriceVersion, usage: Usage, calls: int, budgets: Sequence[tuple[str, datetime.date, bool | str]] = ()
) -> dict[str, Any]:
    """The columns of a usage row that say what each class of tokens costs, by name. `budgets`: those of
    the key that paid, so that a refund goes back to them: period, its start, and whose: its end user's (True), the
    key's own (False), or "account"."""
    rates = version.tier(usage.prompt_tokens, calls)
    found: dict[str, Any] = {}
    if rates.above_tokens:
        found["above_tokens"] = rates.above_tokens
    if version.markup_rule:
        found["markup_rule"], found["markup_bps"] = version.markup_rule, version.markup_bps
    if calls > 1:
        found["calls"] = calls
    if budgets:
        found["budgets"] = budgets
    columns, further = version.columns.get(rates.above_tokens) or _name_columns(version, rates)
    if further:
        found["rates"] = further
    if usage.has_further_parts:
        found |= {name: count for name in FURTHER_COUNTS if (count := getattr(usage, name))}
    return {**columns, "pricing": msgspec.json.encode(found).decode() if found else None}


def _name_columns(version: PriceVersion, rates: Rates) -> tuple[dict[str, int], dict[str, int]]:
    """The rates that have a column each, and the other rates by class. The version remembers them."""
    columns = {f"{name}_nanos_per_mtok": getattr(rates, name) for name in PRICE_CLASSES}
    further = {name: nanos for name, nanos in name_rates(rates).items() if name not in PRICE_CLASSES}
    version.columns[rates.above_tokens] = columns, further
    return columns, further


def read_snapshot(row: Row) -> PriceSnapshot:
    """The snapshot in a row. Rows older than tiers have it in their columns alone."""
    found: dict[str, Any] = msgspec.json.decode(row.pricing) if row.pricing else {}
    prices = {name: getattr(row, f"{name}_nanos_per_mtok") for name in PRICE_CLASSES}
    rates = make_rates({**prices, **found.get("rates", {})}, found.get("above_tokens", 0))
    counts = {name: getattr(row, name) for name in COUNTS} | {name: found.get(name, 0) for name in FURTHER_COUNTS}
    return PriceSnapshot(
        rates, Usage(**counts), found.get("calls", 1), found.get("markup_bps", 0), found.get("markup_rule", "")
    )
