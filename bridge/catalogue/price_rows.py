"""Converts rows of prices to rates and back, and finds which rows are in effect."""

import datetime
from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from bridge.catalogue.prices import PriceVersion
from bridge.catalogue.rates import PRICE_CLASSES, Rates, make_rates, name_rates
from bridge.catalogue.tables import Price
from bridge.db import db, now_utc, read_plain

MOST_LISTED = 50


def list_prices_in_effect(
    moment: datetime.datetime | None = None,
) -> tuple[dict[str, Price], datetime.datetime | None]:
    """Each model's price in effect at a moment (now), read-only, and when the next price of any model takes effect, if
    one does."""
    moment = moment or now_utc()
    starts = sa.func.coalesce(Price.effective_at, Price.created_at)
    newest = (
        sa.select(
            Price.id,
            sa.func.row_number()
            .over(partition_by=Price.model_id, order_by=(starts.desc(), Price.id.desc()))
            .label("n"),
        )
        .where(sa.or_(Price.effective_at.is_(None), Price.effective_at <= moment))
        .subquery()
    )
    rows = read_plain(Price, where=Price.id.in_(sa.select(newest.c.id).where(newest.c.n == 1)))
    prices: dict[str, Price] = {price.model_id: price for price in rows}
    changes_at = db.session.scalar(sa.select(sa.func.min(Price.effective_at)).where(Price.effective_at > moment))
    return prices, changes_at


def list_prices_to_come(moment: datetime.datetime | None = None) -> dict[str, list[Price]]:
    """Model id -> its prices that take effect after a moment (now), read-only, the next first. Of several that begin at
    once only the one that will count."""
    after = Price.effective_at > (moment or now_utc())
    found: dict[str, dict[datetime.datetime, Price]] = {}
    for price in read_plain(Price, Price.effective_at, Price.id, where=after):
        found.setdefault(price.model_id, {})[price.effective_at] = price
    return {model_id: list(by_start.values()) for model_id, by_start in found.items()}


def list_prices(model_id: str) -> list[Price]:
    """A model's prices, the one that takes effect last first; at most the newest fifty."""
    starts = sa.func.coalesce(Price.effective_at, Price.created_at)
    query = sa.select(Price).where(Price.model_id == model_id).order_by(starts.desc(), Price.id.desc())
    return list(db.session.scalars(query.limit(MOST_LISTED)))


def find_version(price_id: int) -> PriceVersion | None:
    """The price with this id, without markup; None if its row is gone."""
    price = db.session.get(Price, price_id)
    return None if price is None else version_of(price)


def version_of(price: Price, markup_bps: int = 0) -> PriceVersion:
    """The price as hold and charge use it, with the model's markup."""
    tiers = tiers_of(price)
    costs = read_tiers(price.costs) if price.costs else tiers
    return PriceVersion(price.id, tiers, costs, markup_bps, "model" if markup_bps else "")


def tiers_of(price: Price) -> tuple[Rates, ...]:
    """The row's rates, the lowest tier first."""
    if price.tiers:
        return read_tiers(price.tiers)
    return (make_rates({name: getattr(price, f"{name}_nanos_per_mtok") for name in PRICE_CLASSES}),)


def make_price(model_id: str, tiers: Sequence[Rates], costs: Sequence[Rates] | None = None, **fields: object) -> Price:
    """A row with these rates. `tiers` and `costs` stay empty where the columns say everything."""
    base, more = tiers[0], write_tiers(tiers)
    if len(tiers) == 1 and set(more[0]) == set(PRICE_CLASSES):
        more = []
    columns = {f"{name}_nanos_per_mtok": getattr(base, name) for name in PRICE_CLASSES}
    own_costs = write_tiers(costs) if costs and tuple(costs) != tuple(tiers) else None
    return Price(model_id=model_id, tiers=more or None, costs=own_costs, **columns, **fields)


def read_tiers(rows: Iterable[dict[str, int]]) -> tuple[Rates, ...]:
    """Rates from what `write_tiers` wrote."""
    return tuple(
        make_rates({name: nanos for name, nanos in row.items() if name != "above_tokens"}, row.get("above_tokens", 0))
        for row in rows
    )


def write_tiers(tiers: Iterable[Rates]) -> list[dict[str, int]]:
    """Rates in the form in which a column stores them."""
    return [name_rates(rates) | ({"above_tokens": rates.above_tokens} if rates.above_tokens else {}) for rates in tiers]
