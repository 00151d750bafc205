"""What genai-prices says a model costs, in our units. Its import takes half a second, so only here and only late."""

import dataclasses
import datetime
from decimal import Decimal
from importlib import metadata
from typing import Any

from bridge.catalogue.seed import load_seed
from bridge.money import NANOS_PER_DOLLAR

# What a provider charges for writing to its cache for an hour, as a multiple of the input's price: the list knows the
# ordinary write alone. Anthropic: "1-hour cache write tokens are 2 times the base input tokens price".
HOUR_WRITE_TIMES_INPUT = {"anthropic": 2}


@dataclasses.dataclass(frozen=True, slots=True)
class ListedPrice:
    """Nano-dollars per million tokens. `source` names the list's version, and what of it one price can't express."""

    input_nanos_per_mtok: int
    cached_nanos_per_mtok: int
    cache_write_nanos_per_mtok: int
    cache_write_hour_nanos_per_mtok: int
    output_nanos_per_mtok: int
    source: str


def find_listed_price(provider: str, upstream_id: str, on: datetime.date) -> ListedPrice | None:
    """The price in force on a day, or None where the list has none for this provider's model of exactly that name.

    Our tables hold one price a model: of tiers by prompt length this is the lowest, of prices by hour the ordinary one,
    and `source` says so."""
    seed = load_seed().get(provider)
    if seed is None or seed.price_list is None:
        return None
    model = _find_listed_model(seed.price_list, upstream_id)
    if model is None:
        return None
    prices, by_hour = _in_force(model.prices, on)
    input_, cached, output = prices.input_mtok, prices.cache_read_mtok, prices.output_mtok
    if input_ is None or output is None:  # no chat model
        return None
    cached = input_ if cached is None else cached  # no discount for what is cached
    write = input_ if prices.cache_write_mtok is None else prices.cache_write_mtok
    figures = _to_nanos(input_), _to_nanos(cached), _to_nanos(write)
    times = HOUR_WRITE_TIMES_INPUT.get(provider)
    write_hour = figures[2] if times is None else times * figures[0]
    source = f"genai-prices {metadata.version('genai-prices')}"
    source += ", first tier" if any(hasattr(price, "tiers") for price in (input_, cached, write, output)) else ""
    source += ", off-peak hours" if by_hour else ""
    return ListedPrice(*figures, write_hour, _to_nanos(output), source)


def _find_listed_model(price_list: str, upstream_id: str) -> Any:
    from genai_prices.data_snapshot import get_snapshot

    try:
        _, model = get_snapshot().find_provider_model(upstream_id, None, price_list, None)
    except LookupError:
        return None
    return model


def _in_force(prices: Any, on: datetime.date) -> tuple[Any, bool]:
    """The prices of that day, and whether some hours of it cost otherwise. Later conditions win, as in the list."""
    if not isinstance(prices, list):
        return prices, False
    noon = datetime.datetime.combine(on, datetime.time(12), datetime.UTC)
    by_hour = any(hasattr(item.constraint, "start_time") for item in prices)
    for item in reversed(prices):
        if item.constraint is None:
            return item.prices, by_hour
        if not hasattr(item.constraint, "start_time") and item.constraint.active(noon):
            return item.prices, by_hour
    return prices[0].prices, by_hour


def _to_nanos(price: Any) -> int:
    """Dollars as a Decimal, or tiers of them, exactly. Raises ValueError for what is finer than a nano-dollar."""
    dollars: Decimal = getattr(price, "base", price)
    nanos = int(dollars * NANOS_PER_DOLLAR)
    if nanos != dollars * NANOS_PER_DOLLAR:
        raise ValueError(f"{dollars} dollars per million tokens is no whole number of nano-dollars")
    return nanos
