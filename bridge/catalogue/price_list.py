"""The price list: what genai-prices says a model costs, in our units. Its import takes half a second, so only this file
imports it, and only when needed."""

import datetime
from collections.abc import Iterator
from decimal import Decimal
from importlib import metadata
from typing import Any

from bridge.catalogue.rates import FURTHER_CLASSES, PRICE_CLASSES, Rates, make_rates
from bridge.catalogue.seed import SourcedPrice, load_seed
from bridge.money import NANOS_PER_DOLLAR
from bridge.providers import PROVIDERS

# Our price classes by the list's names.
LISTED_CLASSES = {
    "input": "input_mtok",
    "cached": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "cache_write_hour": "cache_write_1h_mtok",
    "output": "output_mtok",
    "audio_input": "input_audio_mtok",
    "cached_audio": "cache_audio_read_mtok",
    "audio_output": "output_audio_mtok",
    "image": "input_image_mtok",
}
LISTED_PER_THOUSAND = "requests_kcount"


def find_listed_price(provider: str, upstream_id: str, on: datetime.date) -> SourcedPrice | None:
    """The price in force on a day, or None if the list has none for this provider's model of exactly that name.

    Its tiers are those by prompt length. Where prices depend on the hour, the dearest of each class counts, so that
    nothing is sold below its cost at that hour; `source` says so."""
    seed = load_seed().get(provider)
    if seed is None or seed.price_list is None:
        return None
    model = _find_listed_model(seed.price_list, upstream_id)
    if model is None:
        return None
    found = list(_in_force(model.prices, on))
    if any(prices.input_mtok is None or prices.output_mtok is None for prices in found):  # no chat model
        return None
    source = f"genai-prices {metadata.version('genai-prices')}{', dearest hours' if len(found) > 1 else ''}"
    starts = sorted({0, *(tier.start for prices in found for tier in _list_tiers(prices))})
    return SourcedPrice(
        tuple(_find_dearest([_rates_above(prices, start, provider) for prices in found]) for start in starts), source
    )


def _find_listed_model(price_list: str, upstream_id: str) -> Any:
    from genai_prices.data_snapshot import get_snapshot

    try:
        _, model = get_snapshot().find_provider_model(upstream_id, None, price_list, None)
    except LookupError:
        return None
    return model


def _in_force(prices: Any, on: datetime.date) -> Iterator[Any]:
    """The prices of that day: the ordinary ones and those of certain hours. Later conditions win, as in the list."""
    if not isinstance(prices, list):
        yield prices
        return
    noon = datetime.datetime.combine(on, datetime.time(12), datetime.UTC)
    yield from (item.prices for item in prices if hasattr(item.constraint, "start_time"))
    for item in reversed(prices):
        if item.constraint is None or (not hasattr(item.constraint, "start_time") and item.constraint.active(noon)):
            yield item.prices
            return


def _list_tiers(prices: Any) -> Iterator[Any]:
    for name in LISTED_CLASSES.values():
        yield from getattr(getattr(prices, name, None), "tiers", ())


def _rates_above(prices: Any, start: int, provider: str) -> Rates:
    """The rates of prompts longer than `start` tokens."""
    found = {name: _to_nanos(getattr(prices, listed, None), start) for name, listed in LISTED_CLASSES.items()}
    times = PROVIDERS[provider].hour_write_times_input if provider in PROVIDERS else None
    input_ = found["input"]
    if found["cache_write_hour"] is None and times is not None and input_ is not None:
        found["cache_write_hour"] = times * input_
    thousand = _to_nanos(getattr(prices, LISTED_PER_THOUSAND, None), start)
    return make_rates({**found, "request": None if thousand is None else -(-thousand // 1000)}, start)


def _find_dearest(several: list[Rates]) -> Rates:
    classes = (*PRICE_CLASSES, *FURTHER_CLASSES)
    dearest = {name: max(getattr(rates, name) for rates in several) for name in classes}
    return Rates(**dearest, above_tokens=several[0].above_tokens)


def _to_nanos(price: Any, start: int) -> int | None:
    """Nano-dollars for dollars as a Decimal, or for tiers of them, exactly. Raises ValueError for fractions of a
    nano-dollar."""
    if price is None:
        return None
    dollars: Decimal = getattr(price, "base", price)
    for tier in getattr(price, "tiers", ()):
        dollars = tier.price if tier.start <= start else dollars
    nanos = int(dollars * NANOS_PER_DOLLAR)
    if nanos != dollars * NANOS_PER_DOLLAR:
        raise ValueError(f"{dollars} dollars per million tokens is no whole number of nano-dollars")
    return nanos
