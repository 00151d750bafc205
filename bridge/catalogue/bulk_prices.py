"""Changes the markup or the prices of many models at once: worked out first, model by model, then carried out as it was
shown, all or none."""

import dataclasses
import datetime
import hashlib
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from bridge.acts import COMMAND, Actor, record_act, write_change
from bridge.catalogue.below_cost import (
    BelowCost,
    Shortfall,
    compare,
    dearest_share,
    find_costs,
    index_channels,
    is_known,
)
from bridge.catalogue.model_editing import MAX_PRICE_NANOS, describe_price
from bridge.catalogue.price_rows import list_prices_in_effect, list_prices_to_come, make_price, tiers_of, version_of
from bridge.catalogue.rates import FURTHER_CLASSES, PRICE_CLASSES, Rates
from bridge.catalogue.rules import ChannelIndex
from bridge.catalogue.tables import Model, Price
from bridge.db import db, now_utc, transaction
from bridge.errors import InvalidRequest
from bridge.languages import translate
from bridge.money import check_markup, format_percent
from bridge.versions import bump

MARKUP, PRICES = "markup", "prices"
FULL_BPS = 10_000


@dataclasses.dataclass(frozen=True, slots=True)
class PlannedChange:
    """What becomes of one model: its markups in hundredths of a percent, and its prices, with markup, of ordinary
    prompts. `tiers` and `costs` are those of the price to be entered; `coming` is when a price that was entered before
    replaces it."""

    model: Model
    price_id: int
    markup_before_bps: int
    markup_bps: int
    before: Rates
    after: Rates
    cost: Rates | None  # what the dearest channel pays for ordinary prompts; None: nobody knows
    tiers: tuple[Rates, ...]
    costs: Sequence[Rates] | None
    coming: datetime.datetime | None

    def margin_bps(self, rates: Rates) -> int | None:
        """What is left of input or output, whichever is less, in hundredths of a percent of its price."""
        pairs = [(getattr(rates, name), getattr(self.cost, name)) for name in ("input", "output") if self.cost]
        return min(((price - cost) * FULL_BPS // price for price, cost in pairs if price), default=None)

    @property
    def margin_before_bps(self) -> int | None:
        return self.margin_bps(self.before)

    @property
    def margin_after_bps(self) -> int | None:
        return self.margin_bps(self.after)


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """A change of many models. `percent_bps` is the new markup or, for prices, how much they change. `seen` stands for
    what it was worked out from."""

    kind: str
    percent_bps: int
    effective_at: datetime.datetime | None
    changes: tuple[PlannedChange, ...]
    shortfalls: tuple[Shortfall, ...]

    @property
    def seen(self) -> str:
        """Another text as soon as the change is another, or one of the models has another price or markup."""
        facts: list[object] = [self.kind, self.percent_bps, self.effective_at]
        facts += [(one.model.id, one.price_id, one.markup_before_bps, one.coming) for one in self.changes]
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def plan_change(
    kind: str, model_ids: Collection[str], percent_bps: int, effective_at: datetime.datetime | None = None
) -> Plan:
    """Work out what becomes of these models: with "markup" their markup is set, from now on; with "prices" their prices
    go up or down by so much, from now or from a moment to come. Models that would stay as they are are left out. Raises
    InvalidRequest naming the field."""
    _check(kind, percent_bps, effective_at)
    models = list(
        db.session.scalars(sa.select(Model).where(Model.id.in_(model_ids)).order_by(Model.provider, Model.id))
    )
    if not models:
        raise InvalidRequest(translate("Choose at least one model."), param="model")
    prices, coming, channels = (
        list_prices_in_effect(effective_at)[0],
        list_prices_to_come(effective_at),
        index_channels(),
    )
    changes: list[PlannedChange] = []
    shortfalls: list[Shortfall] = []
    for model in models:
        price = prices.get(model.id)
        if price is None:
            continue
        later = coming.get(model.id, [])
        change = _plan_one(kind, model, price, percent_bps, effective_at, later, channels)
        if kind == MARKUP and change.markup_bps == change.markup_before_bps:
            continue
        if kind == PRICES and change.tiers == tiers_of(price):
            continue
        changes.append(change)
        shortfalls += _find_shortfalls(kind, change, price, later, dearest_share(model, channels))
    return Plan(kind, percent_bps, effective_at, tuple(changes), tuple(dict.fromkeys(shortfalls)))


def _check(kind: str, percent_bps: int, effective_at: datetime.datetime | None) -> None:
    if kind not in (MARKUP, PRICES):
        raise InvalidRequest(translate("Change the markup or the prices."), param="kind")
    if kind == MARKUP:
        check_markup(percent_bps)
        if effective_at is not None:
            raise InvalidRequest(translate("A markup counts from now on. Leave the date empty."), param="effective_at")
    elif not -FULL_BPS < percent_bps <= 100 * FULL_BPS or not percent_bps:
        raise InvalidRequest(translate("Prices change by -99.99 to 10,000 percent, and not by 0."), param="percent")
    if effective_at is not None and effective_at <= now_utc():
        raise InvalidRequest(translate("That moment has passed. Leave it empty for now."), param="effective_at")


def _plan_one(  # noqa: PLR0913 - what a change is worked out from
    kind: str,
    model: Model,
    price: Price,
    percent_bps: int,
    effective_at: datetime.datetime | None,
    later: Sequence[Price],
    channels: ChannelIndex[Any],
) -> PlannedChange:
    before, markup_bps = tiers_of(price), percent_bps if kind == MARKUP else model.markup_bps
    tiers = tuple(rates.marked_up(percent_bps) for rates in before) if kind == PRICES else before
    day = (effective_at or now_utc()).date()
    known = version_of(price).costs if is_known(price) else find_costs(model, None, day)
    return PlannedChange(
        model=model,
        price_id=price.id,
        markup_before_bps=model.markup_bps,
        markup_bps=markup_bps,
        before=before[0].marked_up(model.markup_bps),
        after=tiers[0].marked_up(markup_bps),
        cost=known[0].marked_up(dearest_share(model, channels) - FULL_BPS) if known else None,
        tiers=tiers,
        costs=known,
        coming=later[0].effective_at if later and kind == PRICES else None,
    )


def _find_shortfalls(
    kind: str, change: PlannedChange, price: Price, later: Sequence[Price], share_bps: int
) -> Iterator[Shortfall]:
    """Where the change sells below cost; a markup does so at prices to come, too."""
    model_id, markup_bps = change.model.id, change.markup_bps
    if kind == PRICES or not is_known(price):
        if change.costs:
            marked_up = [rates.marked_up(markup_bps) for rates in change.tiers]
            yield from compare(model_id, marked_up, change.costs, share_bps)
        later = later if kind == MARKUP else ()
    else:
        later = (price, *later)
    for row in filter(is_known, later):
        marked_up = [rates.marked_up(markup_bps) for rates in tiers_of(row)]
        yield from compare(model_id, marked_up, version_of(row).costs, share_bps)


def carry_out(plan: Plan, *, below_cost: bool = False, actor: Actor = COMMAND) -> int:
    """Carry out what was worked out, all or none, from the next request on; each model gets a line in the audit log.
    Returns how many models were changed. Raises BelowCost unless `below_cost` confirms it, and InvalidRequest if one of
    the models has changed since, or a price would be absurd."""
    if plan.shortfalls and not below_cost:
        raise BelowCost(plan.shortfalls)
    with transaction() as session:
        ids = [one.model.id for one in plan.changes]
        again = plan_change(plan.kind, ids, plan.percent_bps, plan.effective_at) if ids else plan
        if again.seen != plan.seen:
            raise InvalidRequest(translate("A price or markup was changed meanwhile. Look at the new figures."))
        for change in again.changes:
            model = change.model
            if plan.kind == MARKUP:
                figures = (f"{format_percent(bps)}%" for bps in (model.markup_bps, change.markup_bps))
                detail = write_change("markup", *figures)
                model.markup_bps = change.markup_bps
            else:
                _require_sane(change)
                fields = {"effective_at": plan.effective_at, "source": "operator"}
                session.add(make_price(model.id, change.tiers, change.costs, **fields))
                since = f" from {plan.effective_at:%Y-%m-%d %H:%M} UTC" if plan.effective_at else ""
                sign = "+" if plan.percent_bps > 0 else ""
                detail = f"{describe_price(change.tiers)}{since}, {sign}{format_percent(plan.percent_bps)}%"
            record_act(session, None, "price", actor, f"{model.id}: {detail}")
        if again.changes:
            bump("catalogue")
    return len(plan.changes)


def _require_sane(change: PlannedChange) -> None:
    for rates in change.tiers:
        if any(getattr(rates, name) > MAX_PRICE_NANOS for name in (*PRICE_CLASSES, *FURTHER_CLASSES)):
            message = translate(
                "%(model)s: a price is at most 1,000,000 dollars per million tokens.", model=change.model.id
            )
            raise InvalidRequest(message, param="percent")
