"""The form of a price: its tiers, further classes, what the provider charges, and when it takes effect; converts fields
to rates and back.

The fields of ordinary prompts are `input_price` and so on; those of longer prompts are `tier1_input_price` with
`tier1_above`; what the provider charges is `cost_input_price` and `tier1_cost_input_price`."""

import datetime
from collections.abc import Sequence
from typing import NamedTuple

from bridge.catalogue.model_editing import check_rates
from bridge.catalogue.price_rows import tiers_of, version_of
from bridge.catalogue.rates import FURTHER_CLASSES, PRICE_CLASSES, Rates, name_rates
from bridge.catalogue.tables import Price
from bridge.forms import FormReader
from bridge.languages import translate
from bridge.money import format_dollars

MAX_TIERS = 5
REQUIRED = ("input", "cached", "output")
FOLLOWS = {"cache_write": "input", "cache_write_hour": "cache_write"}  # if empty, they cost what these cost


class Entered(NamedTuple):
    """The form's content, if it has no errors."""

    tiers: list[Rates]
    costs: list[Rates] | None
    effective_at: datetime.datetime | None
    source: str


def read_price(form: FormReader) -> Entered | None:
    """The entered price; None if something is wrong, and then the form has the errors."""
    tiers = _read_tiers(form, "", required=True)
    costs = _read_tiers(form, "cost_", required=False)
    effective_at, source = form.moment("effective_at"), form.text("source") or "operator"
    return None if form.errors else Entered(tiers, costs or None, effective_at, source)


def write_price(price: Price) -> dict[str, str]:
    """The fields of a price. A class that follows another is empty, and so are the costs if they equal the price."""
    found = _write_tiers(tiers_of(price), "")
    if price.costs:
        found |= _write_tiers(version_of(price).costs, "cost_")
    return found


def count_tiers(values: dict[str, str]) -> int:
    """How many tiers the form shows beside the ordinary one: the existing ones, and an empty one."""
    used = [number for number in range(1, MAX_TIERS) if values.get(f"tier{number}_above")]
    return min(max(used, default=0) + 1, MAX_TIERS - 1)


def _read_tiers(form: FormReader, kind: str, *, required: bool) -> list[Rates]:
    found: list[Rates] = []
    for number in range(MAX_TIERS):
        prefix = f"tier{number}_{kind}" if number else kind
        prices = {name: form.dollars(f"{prefix}{name}_price") for name in (*PRICE_CLASSES, *FURTHER_CLASSES)}
        above = form.number(f"tier{number}_above") if number else 0
        given = any(nanos is not None for nanos in prices.values())
        if not given and (not required or (number and not above)):
            continue
        if above is None or (number and above == 0):
            form.errors.setdefault(f"tier{number}_above", translate("Give the tokens above which these prices apply."))
            continue
        for name in REQUIRED if required else ("input", "output"):
            if prices[name] is None:
                form.errors.setdefault(
                    f"{prefix}{name}_price", translate("Give dollars per million tokens; 0 is free.")
                )
        if not form.errors:
            with form.collect_errors():
                found.append(check_rates(prices, above, f"{prefix}{{}}_price"))
    return found


def _write_tiers(tiers: Sequence[Rates], kind: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, rates in enumerate(tiers):
        prefix = f"tier{number}_{kind}" if number else kind
        for name, nanos in name_rates(rates).items():
            if name in FOLLOWS and nanos == getattr(rates, FOLLOWS[name]):
                continue
            found[f"{prefix}{name}_price"] = format_dollars(nanos, 2)
        if number:
            found[f"tier{number}_above"] = str(rates.above_tokens)
    return found
