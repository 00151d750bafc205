"""`flask catalogue sync` and `diff`: adds the seed's models to the tables, and compares our prices with the list's."""

import dataclasses
import datetime

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from bridge.acts import COMMAND, record_act
from bridge.catalogue.below_cost import BelowCost, require_margin
from bridge.catalogue.connect import connect_environment
from bridge.catalogue.listing import newest_prices
from bridge.catalogue.price_list import find_listed_price
from bridge.catalogue.price_rows import make_price, version_of
from bridge.catalogue.prices import PRICE_CLASSES
from bridge.catalogue.rates import Rates
from bridge.catalogue.seed import SeedModel, SourcedPrice, load_seed
from bridge.catalogue.tables import Alias, Model
from bridge.config import Settings
from bridge.db import db, now_utc, transaction
from bridge.providers import stands_in
from bridge.versions import bump


@dataclasses.dataclass(frozen=True, slots=True)
class Difference:
    """A model for which our price of the provider differs from the list's; by tiers."""

    model_id: str
    our_tiers: tuple[Rates, ...]
    our_source: str
    listed_tiers: tuple[Rates, ...]
    listed_source: str

    @property
    def ours(self) -> tuple[int, ...]:
        """Nano-dollars per million tokens of ordinary prompts, by PRICE_CLASSES."""
        return figures(self.our_tiers[0])

    @property
    def listed(self) -> tuple[int, ...]:
        """The list's price, in the same form."""
        return figures(self.listed_tiers[0])


def figures(rates: Rates) -> tuple[int, ...]:
    """Nano-dollars per million tokens, by PRICE_CLASSES."""
    return tuple(getattr(rates, name) for name in PRICE_CLASSES)


def sync_catalogue(settings: Settings, below_cost: bool = False) -> list[str]:
    """Add the seed's models that are missing, with price and aliases, and connect the environment's channels.

    Existing rows never change. Returns what it did, a line each; a second run does nothing. A model whose price is
    below cost (its channel pays more than the list says) is left out unless `below_cost` is set."""
    try:
        done = _add_missing(settings, below_cost)
    except IntegrityError:  # another process has just done the same
        done = _add_missing(settings, below_cost)
    return done + connect_environment(settings)


def list_differences(on: datetime.date | None = None) -> list[Difference]:
    """The models for which the price list's price of a day (today) differs from what we believe the provider
    charges."""
    on = on or now_utc().date()
    prices = newest_prices()
    found = []
    for model in db.session.scalars(select(Model).order_by(Model.id)):
        ours, listed = prices.get(model.id), find_listed_price(model.provider, model.upstream_id, on)
        costs = version_of(ours).costs if ours else ()
        if ours and listed and costs != listed.tiers:
            found.append(Difference(model.id, costs, ours.source, listed.tiers, listed.source))
    return found


def _add_missing(settings: Settings, below_cost: bool) -> list[str]:
    today = now_utc().date()
    done = []
    with transaction() as session:
        for seed in _list_missing(session, settings):
            price = seed.price or find_listed_price(seed.provider, seed.upstream_id, today)
            if price is None:
                done.append(f"Model {seed.id} is left out: no price is known for it.")
                continue
            model = _make_model(seed)
            try:
                if not below_cost:
                    require_margin(model, price.tiers, price.tiers)
            except BelowCost as refused:
                done.append(f"Model {seed.id} is left out. {refused.message} If that is meant, add --below-cost.")
                continue
            _add_model(session, seed, model, price, today)
            done.append(f"Model {seed.id} is added.")
        if done:
            record_act(session, None, "catalogue", COMMAND, " ".join(done))
            bump("catalogue")
    return done


def _list_missing(session: Session, settings: Settings) -> list[SeedModel]:
    """Seed models whose id is not in use yet, neither by a model nor by an alias."""
    taken = set(session.scalars(select(Model.id))) | set(session.scalars(select(Alias.name)))
    return [
        model
        for provider, seed in load_seed().items()
        if settings.development or not stands_in(provider)
        for model in seed.models
        if model.id not in taken
    ]


def _make_model(seed: SeedModel) -> Model:
    fields = {field.name: getattr(seed, field.name) for field in dataclasses.fields(seed)}
    del fields["price"], fields["aliases"]
    return Model(**{**fields, "input_modalities": list(seed.input_modalities)})


def _add_model(session: Session, seed: SeedModel, model: Model, price: SourcedPrice, today: datetime.date) -> None:
    """Add a model with its price and aliases. An alias that an operator removed later is not added again."""
    session.add(model)
    session.flush()  # the rows below refer to it
    session.add(make_price(seed.id, price.tiers, source=price.source, checked_on=today))
    for name in seed.aliases:
        if session.get(Alias, name) is None and session.get(Model, name) is None:
            session.add(Alias(name=name, model_id=seed.id))
