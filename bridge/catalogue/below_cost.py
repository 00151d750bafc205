"""Prices below what the provider charges: found when they are entered, and among those in effect.

All classes and tiers are compared, with the markup, and with what the dearest channel pays of the provider's price."""

import dataclasses
import datetime
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import sqlalchemy as sa
from gevent import get_hub
from sqlalchemy import select

from bridge.catalogue.listing import Sold, read_sold
from bridge.catalogue.price_list import find_listed_price
from bridge.catalogue.price_rows import list_prices, list_prices_in_effect, tiers_of, version_of
from bridge.catalogue.prices import OwnRate
from bridge.catalogue.rates import FURTHER_CLASSES, PRICE_CLASSES, Rates
from bridge.catalogue.rules import ChannelIndex
from bridge.catalogue.tables import Channel, Model, Price
from bridge.conversation.kinds import writes_tokens
from bridge.db import now_utc, read_in_slices, read_plain
from bridge.errors import InvalidRequest
from bridge.money import format_dollars
from bridge.providers import stands_in
from bridge.turns import in_slices

FULL_SHARE_BPS = 10_000
MOST_SHOWN = 6  # lines of an error; a page and `flask price list` have the rest
WORDS = {
    "cached": "cached input",
    "cache_write": "cache write",
    "cache_write_hour": "cache write for an hour",
    "audio_input": "sound",
    "cached_audio": "cached sound",
    "audio_output": "speech",
    "image": "pictures",
    "image_output": "pictures drawn",
    "request": "a request",
    "picture": "a picture",
    "picture_low": "a picture of low quality",
    "picture_medium": "a picture of medium quality",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Shortfall:
    """A class of tokens that is sold for less than it costs. `who` names the accounts that pay so little; it is empty
    if all do. Prices are nano-dollars per million tokens, or per request."""

    model_id: str
    class_: str
    above_tokens: int
    price_nanos: int
    cost_nanos: int
    who: str = ""

    @property
    def text(self) -> str:
        """Both prices as a sentence."""
        above = f" above {self.above_tokens:,} tokens" if self.above_tokens else ""
        price, cost = format_dollars(self.price_nanos, 2), format_dollars(self.cost_nanos, 2)
        pays = f"{self.who} pays" if self.who else "customers pay"
        return f"{self.model_id}, {WORDS.get(self.class_, self.class_)}{above}: {pays} ${price}, it costs ${cost}"


class BelowCost(InvalidRequest):
    """The entered price sells below cost, and the operator has not confirmed it."""

    code = "below_cost"

    def __init__(self, shortfalls: Sequence[Shortfall]):
        self.lines = [shortfall.text for shortfall in shortfalls]
        more = f"; and {len(self.lines) - MOST_SHOWN} more" if len(self.lines) > MOST_SHOWN else ""
        super().__init__(f"This sells below cost. {'; '.join(self.lines[:MOST_SHOWN])}{more}.", param="below_cost")


def compare(
    model_id: str, prices: Sequence[Rates], costs: Sequence[Rates], share_bps: int = FULL_SHARE_BPS, who: str = ""
) -> Iterator[Shortfall]:
    """Where these tiers of prices are below those of costs. A class without a price of its own is reported with the
    class that it follows."""
    for above in sorted({rates.above_tokens for rates in (*prices, *costs)}):
        price, cost = _tier_above(prices, above), _tier_above(costs, above)
        said: dict[str, tuple[int, int]] = {}
        for name in (*PRICE_CLASSES, *FURTHER_CLASSES):
            paid, taken = getattr(price, name), -(-getattr(cost, name) * share_bps // FULL_SHARE_BPS)
            if paid < taken and said.get(_leader(name)) != (paid, taken):
                yield Shortfall(model_id, name, above, paid, taken, who)
            said[name] = (paid, taken)


def _tier_above(tiers: Sequence[Rates], above_tokens: int) -> Rates:
    return max((rates for rates in tiers if rates.above_tokens <= above_tokens), key=lambda rates: rates.above_tokens)


def _leader(name: str) -> str:
    """The class whose price this one takes when it has none of its own."""
    follows = {"cached": "input", "cache_write": "input", "cache_write_hour": "cache_write", "cached_audio": "cached"}
    return follows.get(name) or FURTHER_CLASSES.get(name, "")


def find_costs(model: Model, costs: Sequence[Rates] | None, on: datetime.date) -> Sequence[Rates] | None:
    """What the provider charges: the entered costs, otherwise those of the price list. None: nobody knows."""
    if costs:
        return costs
    # in a thread: the list's import takes half a second
    asked, more = (model.provider, model.upstream_id, on), {"has_output": writes_tokens(model.kinds)}
    listed = get_hub().threadpool.apply(find_listed_price, asked, more)
    return listed.tiers if listed else None


def dearest_share(model: Model, channels: ChannelIndex[Any]) -> int:
    """What a model's dearest channel pays, in hundredths of a percent of the provider's price."""
    shares = [channel.cost_bps for channel, _ in channels.of(model) if not stands_in(channel.provider)]
    return max(shares, default=FULL_SHARE_BPS)


def index_channels() -> ChannelIndex[Any]:
    """The index of all channels that `dearest_share` needs."""
    return ChannelIndex(read_plain(Channel))


def require_margin(model: Model, prices: Sequence[Rates], costs: Sequence[Rates] | None) -> None:
    """Raises BelowCost for a price that is below cost, the model's markup included. Where nobody knows the cost, no
    price is."""
    if costs:
        marked_up = [rates.marked_up(model.markup_bps or 0) for rates in prices]
        if found := list(compare(model.id, marked_up, costs, dearest_share(model, index_channels()))):
            raise BelowCost(found)


def require_margin_at(markup_bps: int, models: Iterable[Model], who: str = "") -> None:
    """Raises BelowCost if this markup sells one of the models below cost, now or at a price to come. A model is skipped
    if nobody entered its cost and its price is not from the list."""
    channels, moment = index_channels(), now_utc()
    current, _ = list_prices_in_effect()
    found: list[Shortfall] = []
    for model in in_slices(models):
        coming = [price for price in list_prices(model.id) if price.effective_at and price.effective_at > moment]
        for price in (current.get(model.id), *coming):
            if price is not None and is_known(price):
                tiers = [rates.marked_up(markup_bps) for rates in tiers_of(price)]
                found += compare(model.id, tiers, version_of(price).costs, dearest_share(model, channels), who)
    if found:
        raise BelowCost(list(dict.fromkeys(found)))


def require_own_margin(model: Model, own: OwnRate, who: str) -> None:
    """Raises BelowCost if this price of an account or a group sells the model below cost, now or at a price to come."""
    moment, (current, _) = now_utc(), list_prices_in_effect()
    coming = [price for price in list_prices(model.id) if price.effective_at and price.effective_at > moment]
    share, found = dearest_share(model, index_channels()), list[Shortfall]()
    for price in (current.get(model.id), *coming):
        if price is not None and (is_known(price) or own.rates is not None):
            version = version_of(price).for_own(own)
            found += compare(model.id, version.tiers, version.costs, share, who)
    if found:
        raise BelowCost(list(dict.fromkeys(found)))


def is_known(price: Price) -> bool:
    """Whether what the provider takes at this price was entered, or read from a list."""
    return bool(price.costs) or price.checked_on is not None


def list_live_models() -> list[Model]:
    """All models that are not retired."""
    return list(read_in_slices(select(Model).where(Model.status == "live").order_by(Model.id)))


class _Kept:
    """What was found last, and of which catalogue, markups and prices of accounts that is true."""

    sold: Sold | None = None
    terms: tuple[object, object] | None = None
    found: ClassVar[dict[str, list[Shortfall]]] = {}


def list_losing(
    account_markups: Mapping[int, int],
    own: Mapping[str, Sequence[tuple[OwnRate, str]]] | None = None,
    number: int | None = None,
) -> dict[str, list[Shortfall]]:
    """The models that lose money at the price in effect, and where: for everybody, and for accounts with their own
    markup or price. `account_markups` says how many accounts have each markup, `own` what accounts and groups pay for a
    model, each with its name. `number` is the catalogue's, just read: then nothing is compared again that is as it
    was. What is returned is read-only."""
    sold, terms = read_sold(number), (account_markups, own)
    if _Kept.sold is sold and _Kept.terms == terms:
        return _Kept.found
    found = _compare_all(sold, account_markups, own or {})
    if number is not None:
        _Kept.sold, _Kept.terms, _Kept.found = sold, terms, found
    return found


def _compare_all(
    sold: Sold, account_markups: Mapping[int, int], own: Mapping[str, Sequence[tuple[OwnRate, str]]]
) -> dict[str, list[Shortfall]]:
    channels = index_channels()
    found: dict[str, list[Shortfall]] = {}
    for model in in_slices(sorted(sold.models, key=lambda each: each.id)):
        if model.id not in sold.prices or model.status != "live":
            continue
        version, share = version_of(sold.prices[model.id], model.markup_bps), dearest_share(model, channels)
        losses = list(compare(model.id, version.tiers, version.costs, share))
        for markup_bps, accounts in sorted(account_markups.items()):
            who = f"{'an account' if accounts == 1 else f'each of {accounts} accounts'} with its own markup"
            losses += compare(model.id, version.for_account(markup_bps).tiers, version.costs, share, who)
        for rate, who in own.get(model.id, ()):
            losses += compare(model.id, version.for_own(rate).tiers, version.costs, share, who)
        if losses:
            found[model.id] = losses
    return found


def select_known_losing() -> sa.Select[str]:
    """A query for the models that the job has found to lose money at the price in effect, separated by commas."""
    return sa.select(sa.func.aggregate_strings(Model.id, ",")).where(Model.told_below_cost_at.is_not(None))
