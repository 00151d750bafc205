"""What a usage row keeps of its price, so that its charge can be worked out again from the row alone."""

import dataclasses
import datetime
from typing import Any, Protocol

import msgspec

from bridge.catalogue.prices import PriceVersion
from bridge.catalogue.rates import PRICE_CLASSES, Line, Rates, make_rates, name_rates
from bridge.providers.base import Usage

# The columns that hold the counts, by Usage's names; what else it counts is in `pricing`.
COUNTS = (
    *("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens"),
    *("cache_write_tokens", "cache_write_hour_tokens"),
)
FURTHER_COUNTS = ("audio_tokens", "cached_audio_tokens", "audio_output_tokens", "image_tokens")


class Row(Protocol):
    """As much of a usage row, or of a settlement, as says what it cost."""

    pricing: Any


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    """The rates of the tier that applied, markup included; what was counted; by whose rule, and how much of one."""

    rates: Rates
    usage: Usage
    calls: int
    markup_bps: int
    markup_rule: str

    @property
    def lines(self) -> list[Line]:
        """Class, count and unit price of all that was used. Their products add up to the charge, times a million."""
        return [line for line in self.rates.lines(self.usage, self.calls) if line[1]]


def freeze(
    version: PriceVersion, usage: Usage, calls: int, budget_start: datetime.date | None = None
) -> dict[str, Any]:
    """The columns of a usage row that say what its tokens cost each, by name. `budget_start`: the period of its key's
    budget that paid for it, for a refund to give it back there."""
    rates = version.tier(usage.prompt_tokens, calls)
    found: dict[str, Any] = {}
    if rates.above_tokens:
        found["above_tokens"] = rates.above_tokens
    if version.markup_rule:
        found["markup_rule"], found["markup_bps"] = version.markup_rule, version.markup_bps
    if calls > 1:
        found["calls"] = calls
    if budget_start is not None:
        found["budget_start"] = budget_start.isoformat()
    if further := {name: nanos for name, nanos in name_rates_of(version, rates).items() if name not in PRICE_CLASSES}:
        found["rates"] = further
    for name in FURTHER_COUNTS:
        if count := getattr(usage, name):
            found[name] = count
    prices: dict[str, Any] = {f"{name}_nanos_per_mtok": getattr(rates, name) for name in PRICE_CLASSES}
    prices["pricing"] = msgspec.json.encode(found).decode() if found else None
    return prices


def name_rates_of(version: PriceVersion, rates: Rates) -> dict[str, int]:
    """The rates by class, remembered for as long as the version is."""
    found = version.names.get(rates.above_tokens)
    if found is None:
        found = version.names[rates.above_tokens] = name_rates(rates)
    return found


def thaw(row: Row) -> Frozen:
    """What the row says. Rows from before there were tiers say it by their columns alone."""
    found: dict[str, Any] = msgspec.json.decode(row.pricing) if row.pricing else {}
    prices = {name: getattr(row, f"{name}_nanos_per_mtok") for name in PRICE_CLASSES}
    rates = make_rates({**prices, **found.get("rates", {})}, found.get("above_tokens", 0))
    counts = {name: getattr(row, name) for name in COUNTS} | {name: found.get(name, 0) for name in FURTHER_COUNTS}
    return Frozen(
        rates, Usage(**counts), found.get("calls", 1), found.get("markup_bps", 0), found.get("markup_rule", "")
    )
