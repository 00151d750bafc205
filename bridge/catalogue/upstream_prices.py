"""What a channel's upstream asks for its models, by its own list: OpenRouter and other gateways tell prices there."""

import dataclasses
from collections.abc import Mapping

import msgspec

from bridge.catalogue.discovery import list_upstream_models
from bridge.catalogue.editing import find_channel
from bridge.catalogue.rates import Rates
from bridge.catalogue.upstream_models import list_served, means
from bridge.config import Settings
from bridge.db import db
from bridge.errors import InvalidRequest
from bridge.providers.base import FoundModel

# An upstream's list tells two prices. A class that costs what one of them does goes on costing that.
FOLLOWERS = {
    "input": ("cached", "cache_write", "cache_write_hour", "audio_input", "cached_audio", "image"),
    "output": ("reasoning", "audio_output", "image_output"),
}


@dataclasses.dataclass(frozen=True, slots=True)
class AskedPrices:
    """The models that a channel serves and whose prices its upstream tells, by our names, and what the source is
    called."""

    source: str
    models: Mapping[str, FoundModel]


def ask_for_prices(name: str, settings: Settings) -> AskedPrices:
    """Read the list of a channel's upstream. It may take 20 seconds. Raises NotFound, InvalidRequest naming `channel`
    where that list can't be read or tells no price of a model that the channel serves, and MisconfiguredError when no
    master key opens the channel's key."""
    channel = find_channel(name)
    served = list_served(channel)
    db.session.expunge(channel)
    db.session.commit()  # gives the connection back while the upstream takes its time
    try:
        found = [one for one in list_upstream_models(channel, settings) if _tells_price(one)]
    except InvalidRequest as error:
        raise InvalidRequest(error.message, param="channel") from None
    if not found:
        raise InvalidRequest(f"The list of {name}'s upstream tells no prices.", param="channel")
    exact = {one.id: one for one in found}
    meant = {
        public: exact.get(own) or next((one for one in found if means(own, one.id)), None)
        for public, own in served.items()
    }
    priced = {public: one for public, one in meant.items() if one is not None}
    if not priced:
        raise InvalidRequest(
            f"The list of {name}'s upstream tells no price of a model that it serves.", param="channel"
        )
    return AskedPrices(f"list of {name}", priced)


def _tells_price(found: FoundModel) -> bool:
    return found.input_price_nanos is not None or found.output_price_nanos is not None


def apply_asked(found: FoundModel, costs: tuple[Rates, ...]) -> tuple[Rates, ...]:
    """Our costs with what an upstream tells; the classes and tiers that it says nothing of stay."""
    base, told = costs[0], {"input": found.input_price_nanos, "output": found.output_price_nanos}
    moved = {
        name: nanos
        for told_name, nanos in told.items()
        if nanos is not None
        for name in (told_name, *FOLLOWERS[told_name])
        if getattr(base, name) == getattr(base, told_name)
    }
    return (msgspec.structs.replace(base, **moved), *costs[1:])
