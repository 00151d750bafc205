"""`flask catalogue sync` and `diff`: adds models that are missing, compares our prices with a list's, and takes those
over where an operator says so. The list is our own file with genai-prices, or a file that an operator names."""

import dataclasses
import datetime
from collections.abc import Collection, Mapping
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from bridge.acts import COMMAND, Actor, record_act
from bridge.catalogue.below_cost import BelowCost, require_margin
from bridge.catalogue.connect import LOCAL_PROVIDER, connect_environment
from bridge.catalogue.listing import read_sold
from bridge.catalogue.price_file import SeedModel, SeedProvider, SourcedPrice, read_price_file, read_price_text
from bridge.catalogue.price_list import find_listed_price
from bridge.catalogue.price_rows import list_prices_in_effect, make_price, tiers_of, version_of
from bridge.catalogue.prices import PRICE_CLASSES
from bridge.catalogue.rates import Rates
from bridge.catalogue.seed import load_seed
from bridge.catalogue.tables import Alias, Model
from bridge.catalogue.upstream_prices import AskedPrices, apply_asked
from bridge.config import Settings
from bridge.conversation.kinds import writes_tokens
from bridge.db import db, now_utc, transaction
from bridge.errors import InvalidRequest
from bridge.money import format_dollars
from bridge.providers import PROVIDERS, stands_in
from bridge.turns import in_slices
from bridge.versions import bump

PASTED = "your price file"  # the source of prices whose list came as a text


@dataclasses.dataclass(frozen=True, slots=True)
class Difference:
    """A model for which our price of the provider differs from the list's, by tiers: today's, or that of a day to
    come."""

    model_id: str
    our_tiers: tuple[Rates, ...]
    our_source: str
    listed_tiers: tuple[Rates, ...]
    listed_source: str
    starts_on: datetime.date | None = None
    checked_on: datetime.date | None = None  # when the list's price was read at its source

    @property
    def row(self) -> str:
        """What forms and commands call this difference: the model and the day, `gpt-4o@2027-01-01`."""
        return f"{self.model_id}@{self.starts_on or ''}"

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


def sync_catalogue(
    settings: Settings, below_cost: bool = False, *, file: Path | None = None, adopt: bool = False
) -> list[str]:
    """Add the models of the list that are missing, with price and aliases, and connect the environment's channels.

    Existing rows never change. With `adopt`, models whose price differs from the list's get a new version of it; a
    price of an operator's own stays, and has the list's as its cost. Returns what it did, a line each; a second run
    does nothing. What would sell below cost is left as it is unless `below_cost` is set. Raises InvalidRequest for a
    file that can't be read."""
    providers = _read_list(file)
    try:
        done = _add_missing(settings, providers, below_cost)
    except IntegrityError:  # another process has just done the same
        done = _add_missing(settings, providers, below_cost)
    if adopt:
        done += _adopt(providers if file else None, below_cost)
    return done + connect_environment(settings)


def list_differences(
    on: datetime.date | None = None,
    file: Path | str | None = None,
    asked: AskedPrices | None = None,
    number: int | None = None,
) -> list[Difference]:
    """The models for which the list's price of a day (today), or one that it announces for later, differs from what we
    believe the provider charges then. `file` is an operator's list, or the text of one; `asked` is an upstream's, which
    tells today's prices alone. `number` is the catalogue's, just read: then memory's prices are compared. Raises
    InvalidRequest for a file that can't be read."""
    if asked is not None:
        return _compare_asked(asked)
    return _compare(_read_list(file) if file else None, on or now_utc().date(), number)


def list_missing(settings: Settings, file: Path | None = None) -> list[str]:
    """The ids of the list's models that the catalogue lacks. Raises InvalidRequest for a file that can't be read."""
    return [model.id for model in _list_missing(db.session(), settings, _read_list(file))]


def list_renamed(file: Path | None = None) -> list[tuple[SeedModel, str]]:
    """The list's models that we ask for by another name than it says, each with ours: mostly, their makers have retired
    that one. Raises InvalidRequest for a file that can't be read."""
    ours = {(model.id, model.provider): model.upstream_id for model in db.session.scalars(select(Model))}
    listed = [model for provider in _read_list(file).values() for model in provider.models]
    named = ((model, ours.get((model.id, model.provider), model.upstream_id)) for model in listed)
    return [(model, upstream_id) for model, upstream_id in named if upstream_id != model.upstream_id]


def _read_list(file: Path | str | None) -> dict[str, SeedProvider]:
    if file is None:
        return load_seed()
    providers = {*PROVIDERS, LOCAL_PROVIDER}
    return read_price_text(file, PASTED, providers) if isinstance(file, str) else read_price_file(file, providers)


def _compare(
    providers: Mapping[str, SeedProvider] | None, on: datetime.date, number: int | None = None
) -> list[Difference]:
    """Our prices against those of these providers' models; None: against the price list."""
    named = {model.id: model for provider in (providers or {}).values() for model in provider.models}
    sold, found = read_sold(number), []
    for model in in_slices(sorted(sold.models, key=lambda each: each.id)):
        listed = _find_listed(model, named.get(model.id), on) if providers is None or model.id in named else None
        if listed is None:
            continue
        # also the days of our own that the list may have given up
        days = {one.starts_on for one in listed.later}
        to_come = sold.to_come.get(model.id, ())
        days |= {one.effective_at.date() for one in to_come if one.effective_at and one.checked_on}
        for day in (None, *sorted(days)):
            begun = [one for one in to_come if day and one.effective_at and one.effective_at <= _begin(day)]
            ours, tiers = begun[-1] if begun else sold.prices.get(model.id), listed.on(day or on).tiers
            costs = version_of(ours).costs if ours else ()
            if ours and costs != tiers:
                found.append(Difference(model.id, costs, ours.source, tiers, listed.source, day, listed.checked_on))
    return found


def _compare_asked(asked: AskedPrices) -> list[Difference]:
    """Our prices against those that an upstream's own list tells."""
    in_effect, today, found = list_prices_in_effect()[0], now_utc().date(), []
    for id_ in in_slices(sorted(asked.models)):
        ours = in_effect.get(id_)
        if ours is None:
            continue
        costs = version_of(ours).costs
        tiers = apply_asked(asked.models[id_], costs)
        if costs != tiers:
            found.append(Difference(id_, costs, ours.source, tiers, asked.source, None, today))
    return found


def _begin(day: datetime.date) -> datetime.datetime:
    return datetime.datetime.combine(day, datetime.time(), datetime.UTC)


def _find_listed(model: Model, named: SeedModel | None, on: datetime.date) -> SourcedPrice | None:
    if named is not None and named.price is not None:
        return named.price.on(on)
    upstream_id = named.upstream_id if named else model.upstream_id
    return find_listed_price(model.provider, upstream_id, on, has_output=writes_tokens(model.kinds))


def _add_missing(settings: Settings, providers: Mapping[str, SeedProvider], below_cost: bool) -> list[str]:
    today = now_utc().date()
    done = []
    with transaction() as session:
        for seed in _list_missing(session, settings, providers):
            has_output = writes_tokens(seed.kinds)
            price = (
                seed.price.on(today)
                if seed.price
                else find_listed_price(seed.provider, seed.upstream_id, today, has_output=has_output)
            )
            if price is None:
                done.append(f"Model {seed.id} is left out: no price is known for it.")
                continue
            model = _make_model(seed)
            try:
                if not below_cost:
                    for tiers in (price.tiers, *(one.tiers for one in price.later)):
                        require_margin(model, tiers, tiers)
            except BelowCost as refused:
                done.append(f"Model {seed.id} is left out. {refused.message} If that is meant, add --below-cost.")
                continue
            _add_model(session, seed, model, price, today)
            done.append(f"Model {seed.id} is added.")
        if done:
            record_act(session, None, "catalogue", COMMAND, " ".join(done))
            bump("catalogue")
    return done


def _list_missing(session: Session, settings: Settings, providers: Mapping[str, SeedProvider]) -> list[SeedModel]:
    """Models of the list whose id is not in use yet, neither by a model nor by an alias."""
    taken = set(session.scalars(select(Model.id))) | set(session.scalars(select(Alias.name)))
    return [
        model
        for provider, seed in providers.items()
        if settings.development or not stands_in(provider)
        for model in seed.models
        if model.id not in taken
    ]


def _make_model(seed: SeedModel) -> Model:
    fields = {field.name: getattr(seed, field.name) for field in dataclasses.fields(seed)}
    del fields["price"], fields["aliases"]
    lists = {"input_modalities": list(seed.input_modalities), "kinds": list(seed.kinds)}
    return Model(**{**fields, **lists})


def _add_model(session: Session, seed: SeedModel, model: Model, price: SourcedPrice, today: datetime.date) -> None:
    """Add a model with its prices and aliases. An alias that an operator removed later is not added again."""
    session.add(model)
    session.flush()  # the rows below refer to it
    checked_on = price.checked_on or today
    session.add(make_price(seed.id, price.tiers, source=price.source, checked_on=checked_on))
    for later in price.later:
        fields = {"source": price.source, "checked_on": checked_on, "effective_at": later.starts_at}
        session.add(make_price(seed.id, later.tiers, None, **fields))
    for name in seed.aliases:
        if session.get(Alias, name) is None and session.get(Model, name) is None:
            session.add(Alias(name=name, model_id=seed.id))


def adopt_differences(
    rows: Collection[str] | None,
    *,
    file: str | None = None,
    asked: AskedPrices | None = None,
    below_cost: bool = False,
    effective_at: datetime.datetime | None = None,
    actor: Actor = COMMAND,
) -> list[str]:
    """Take over the list's prices for these differences, by `Difference.row` (None: for all), from now on or from a
    moment to come; those that the list announces for a day begin on that day. `file` is the text of an operator's list,
    `asked` an upstream's. Returns what was done and left, a line each. Raises InvalidRequest for a moment that has
    passed, and if there are no such differences."""
    if effective_at is not None and effective_at <= now_utc():
        raise InvalidRequest("That moment has passed. Leave it empty for now.", param="effective_at")
    lines = _adopt(_read_list(file) if file else None, below_cost, rows, effective_at, actor, asked)
    if not lines:
        raise InvalidRequest("These prices are the list's already.", param="row")
    return lines


def _adopt(
    providers: Mapping[str, SeedProvider] | None,
    below_cost: bool,
    rows: Collection[str] | None = None,
    effective_at: datetime.datetime | None = None,
    actor: Actor = COMMAND,
    asked: AskedPrices | None = None,
) -> list[str]:
    """New versions of the prices that differ. Returns a line each."""
    done, left = [], []
    with transaction() as session:
        for found in _compare(providers, now_utc().date()) if asked is None else _compare_asked(asked):
            if rows is not None and found.row not in rows:
                continue
            try:
                done.append(_adopt_one(session, found, below_cost, effective_at))
            except BelowCost as refused:
                message = f"{refused.message} If that is meant, add --below-cost."
                left.append(f"Model {found.model_id} keeps its price{_since(found)}. {message}")
        if done:
            record_act(session, None, "catalogue", actor, " ".join(done))
            bump("catalogue")
    return done + left


def _adopt_one(
    session: Session, found: Difference, below_cost: bool, effective_at: datetime.datetime | None = None
) -> str:
    """A price that came from a list follows it; one of the operator's own stays, and has the list's as its cost."""
    model, since = session.get_one(Model, found.model_id), _begin(found.starts_on) if found.starts_on else effective_at
    ours = list_prices_in_effect(since)[0][model.id]
    follows = ours.checked_on is not None and not ours.costs
    tiers = found.listed_tiers if follows else tiers_of(ours)
    if not below_cost:
        require_margin(model, tiers, found.listed_tiers)
    source = found.listed_source if follows else ours.source
    checked_on = (found.checked_on or now_utc().date()) if follows else None
    session.add(
        make_price(model.id, tiers, found.listed_tiers, source=source, checked_on=checked_on, effective_at=since)
    )
    when = f" from {since:%Y-%m-%d}" if since else ""
    change = f"{_describe(found.our_tiers)} becomes {_describe(found.listed_tiers)}{when}"
    return f"Model {model.id}{'' if follows else ' keeps its price, its cost'}: {change}, by {found.listed_source}."


def _since(found: Difference) -> str:
    return f" from {found.starts_on}" if found.starts_on else ""


def _describe(tiers: tuple[Rates, ...]) -> str:
    """What an ordinary prompt and its answer cost; the table of `diff` has the rest."""
    return " in, ".join(f"${format_dollars(nanos, 2)}" for nanos in (tiers[0].input, tiers[0].output)) + " out"
