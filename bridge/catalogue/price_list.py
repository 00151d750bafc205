"""The price list: what a model costs by our own file or, where that says nothing, by genai-prices, in our units. The
latter's import takes half a second, so only this file imports it, and only when needed."""

import datetime
import functools
from collections.abc import Iterator
from decimal import Decimal
from importlib import metadata
from typing import Any

from bridge.catalogue.price_file import LaterPrice, SourcedPrice
from bridge.catalogue.rates import FURTHER_CLASSES, PRICE_CLASSES, Rates, make_rates
from bridge.catalogue.seed import load_seed
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
    "image_output": "output_image_mtok",
}
LISTED_PER_THOUSAND = "requests_kcount"
LISTED_PRICES_KEPT = 4096  # of the list, which is part of the program: a page that compares all asks for each


@functools.lru_cache(maxsize=LISTED_PRICES_KEPT)
def find_listed_price(
    provider: str, upstream_id: str, on: datetime.date, *, has_output: bool = True
) -> SourcedPrice | None:
    """The price in force on a day, and those that the list announces for later; None if the list has none for this
    provider's model of exactly that name. A model without output costs nothing for it; of any other the list has to say
    what output costs.

    Its tiers are those by prompt length. Where prices depend on the hour, the dearest of each class counts, so that
    nothing is sold below its cost at that hour; `source` says so."""
    seed = load_seed().get(provider)
    if seed is None:
        return None
    stated = next((model.price for model in seed.models if model.price and model.upstream_id == upstream_id), None)
    if stated is not None:
        return stated.on(on)
    if seed.price_list is None:
        return None
    model = _find_listed_model(seed.price_list, upstream_id)
    tiers = _list_tiers_on(model.prices, on, provider, has_output) if model else ()
    if not tiers:
        return None
    later: list[LaterPrice] = []
    for day in _list_later_days(model.prices, on):
        coming = _list_tiers_on(model.prices, day, provider, has_output)
        if coming and coming != (later[-1].tiers if later else tiers):
            later.append(LaterPrice(day, coming))
    hours = ", dearest hours" if len(list(_in_force(model.prices, on))) > 1 else ""
    return SourcedPrice(tiers, f"genai-prices {metadata.version('genai-prices')}{hours}", on, tuple(later))


def load_list() -> None:
    """Load the list, so that no later question waits for it: half a second of CPU."""
    from genai_prices.data_snapshot import get_snapshot

    get_snapshot()


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


def _list_later_days(prices: Any, on: datetime.date) -> list[datetime.date]:
    """The days after this one from which another price is announced, the next first."""
    if not isinstance(prices, list):
        return []
    starts = {item.constraint.start_date for item in prices if hasattr(item.constraint, "start_date")}
    return sorted(day for day in starts if day > on)


def _list_tiers_on(prices: Any, on: datetime.date, provider: str, has_output: bool) -> tuple[Rates, ...]:
    """The rates of a day, the lowest tier first; () if this is no chat model."""
    found = list(_in_force(prices, on))
    if any(one.input_mtok is None or (has_output and one.output_mtok is None) for one in found):
        return ()
    starts = sorted({0, *(tier.start for one in found for tier in _list_thresholds(one))})
    return tuple(_find_dearest([_rates_above(one, start, provider) for one in found]) for start in starts)


def _list_thresholds(prices: Any) -> Iterator[Any]:
    for name in LISTED_CLASSES.values():
        yield from getattr(getattr(prices, name, None), "tiers", ())


def _rates_above(prices: Any, start: int, provider: str) -> Rates:
    """The rates of prompts longer than `start` tokens."""
    found = {name: _to_nanos(getattr(prices, listed, None), start) for name, listed in LISTED_CLASSES.items()}
    times = PROVIDERS[provider].hour_write_times_input if provider in PROVIDERS else None
    input_ = found["input"]
    if found["cache_write_hour"] is None and times is not None and input_ is not None:
        found["cache_write_hour"] = times * input_
    if found["output"] is None:  # it has none, as whoever asks knows
        found["output"] = 0
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
