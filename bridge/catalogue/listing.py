"""The catalogue as pages, commands and GET /v1/models show it: every model with its price, aliases and status."""

import dataclasses
import datetime
import weakref
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import select

from bridge import versions
from bridge.catalogue.channel_state import UNAVAILABLE, find_availability
from bridge.catalogue.price_rows import list_prices_in_effect, list_prices_to_come, version_of
from bridge.catalogue.price_terms import LIST_PRICES, PriceTerms
from bridge.catalogue.prices import PriceVersion
from bridge.catalogue.rules import ChannelIndex
from bridge.catalogue.seed import find_label
from bridge.catalogue.tables import Alias, Channel, Model, Price
from bridge.db import db, now_utc, read_plain
from bridge.languages import to_translate
from bridge.providers import STAND_INS, stands_in

TOPIC = "catalogue"
MOST_TERMS = 16  # whose lists are kept
FAILING = "failing"  # shown of a model whose channels all fail
# a model's dot and word, by its `shown_status`
SHOWN_STATUSES = {
    "live": ("ok", to_translate("Live")),
    "degraded": ("warn", to_translate("Degraded")),
    UNAVAILABLE: ("off", to_translate("Unavailable")),
    FAILING: ("bad", to_translate("Unavailable")),
    "retired": ("off", to_translate("Retired")),
}
NEEDS_OPERATOR = (Channel.health == "out") | Channel.refused_models.is_not(None)


@dataclasses.dataclass(frozen=True, slots=True)
class PriceToCome:
    """A price that takes effect at a known moment, with markup, as far as nobody changes it until then."""

    starts_at: datetime.datetime
    price: PriceVersion
    source: str
    checked_on: datetime.date | None


@dataclasses.dataclass(frozen=True, slots=True)
class ListedModel:
    """A model as everyone, or one account, may see it. Prices are nano-dollars per million tokens of ordinary prompts,
    with markup; `price` has the other tiers and classes, and `to_come` those that are known already, the next first.
    Status is retired, or what `find_availability` says of its channels."""

    id: str
    name: str
    provider: str
    provider_label: str
    context_tokens: int
    max_output_tokens: int
    input_modalities: tuple[str, ...]
    kinds: tuple[str, ...]  # of the requests that it takes
    aliases: tuple[str, ...]
    status: str
    note: str | None
    price_id: int
    input_nanos_per_mtok: int
    cached_nanos_per_mtok: int
    cache_write_nanos_per_mtok: int
    cache_write_hour_nanos_per_mtok: int
    output_nanos_per_mtok: int
    source: str
    checked_on: datetime.date | None
    created_at: datetime.datetime
    price: PriceVersion
    markup_bps: int  # the model's; an account's own replaces it
    route_order: str
    openai_wire: str | None  # by which of its dialects OpenAI is asked; None: as its name there says
    added_tokens: int  # the most that its upstream adds to a prompt
    patience_seconds: int | None  # how long its first content may take; None: the setting's value
    image_tokens: int  # the dearest picture; 0: the whole window
    thinks: bool
    upstream_id: str  # its name at its provider
    to_come: tuple[PriceToCome, ...]
    is_connected: bool = True  # whether any channel serves it, well or not

    @property
    def shown_status(self) -> str:
        """The status, or `failing` for a model whose channels all fail: there is one, and so there is hope."""
        return FAILING if self.status == UNAVAILABLE and self.is_connected else self.status


@dataclasses.dataclass(frozen=True, slots=True)
class Sold:
    """What is sold: all models in order, each model's price in effect, those to come and its aliases; and until when
    that is so, if nobody changes it. `listed` are the models as they were shown last, by whose terms and by id."""

    models: list[Model]
    prices: dict[str, Price]
    to_come: dict[str, list[Price]]
    aliases: dict[str, tuple[str, ...]]
    changes_at: datetime.datetime | None
    listed: dict[PriceTerms, dict[str, "ListedModel"]] = dataclasses.field(default_factory=dict)

    def recall(self, terms: PriceTerms) -> dict[str, "ListedModel"]:
        """The models as accounts with these terms were shown them last."""
        if terms not in self.listed and len(self.listed) >= MOST_TERMS:
            self.listed.clear()
        return self.listed.setdefault(terms, {})


class _Kept:
    """What was read last for a page, and of which database and catalogue number that is true."""

    sold: Sold | None = None
    engine: "weakref.ref[sa.Engine] | None" = None
    number = -1

    @classmethod
    def forget(cls) -> None:
        if versions.number(TOPIC) != cls.number:  # a page may have read the new one before the worker saw the change
            cls.sold = None


versions.on_change(TOPIC, _Kept.forget)


def read_sold(number: int | None) -> Sold:
    """What is sold. With the number that the catalogue has just now, memory's, if it has that of this number."""
    kept, engine = _Kept.sold, db.engine
    is_same = number == _Kept.number and _Kept.engine is not None and _Kept.engine() is engine
    if kept is not None and is_same and (kept.changes_at is None or now_utc() < kept.changes_at):
        return kept
    prices, changes_at = list_prices_in_effect()
    to_come = list_prices_to_come() if changes_at else {}
    sold = Sold(list(read_plain(Model, Model.provider, Model.id)), prices, to_come, list_aliases(), changes_at)
    if number is not None:
        _Kept.sold, _Kept.engine, _Kept.number = sold, weakref.ref(engine), number
    return sold


def list_models(
    terms: PriceTerms = LIST_PRICES,
    group: str | None = None,
    *,
    number: int | None = None,
    channels: Sequence[Channel] | None = None,
    only: str | None = None,
) -> list[ListedModel]:
    """All models that have a price, by provider and id, including retired ones. The sandbox's own models are listed
    only while a sandbox channel is enabled. Prices are those of an account with these terms; the status is the one that
    its group has (None: that of any group). `number` is the catalogue's, just read: then only the channels' states are
    read again, unless `channels` are all of them, just read. `only`: no model but the one with this id."""
    channels, sold = list(read_plain(Channel)) if channels is None else channels, read_sold(number)
    index = ChannelIndex(channels)
    rehearsing = any(stands_in(channel.provider) and channel.enabled for channel in channels)
    moment, listed = now_utc(), sold.recall(terms)
    found = []
    for model in sold.models:
        if model.id not in sold.prices or (stands_in(model.provider) and not rehearsing):
            continue
        if only is not None and model.id != only:
            continue
        status, is_connected = _find_status(model, index, moment, group)
        known = listed.get(model.id)
        if known is None or known.status != status or known.is_connected != is_connected:
            price, to_come = sold.prices[model.id], sold.to_come.get(model.id, ())
            names = sold.aliases.get(model.id, ())
            known = listed[model.id] = _list_model(model, price, to_come, terms, names, status, is_connected)
        found.append(known)
    return found


def find_number() -> int:
    """The catalogue's number just now: whoever gives it to the functions here spares them what memory has already."""
    return db.session.scalar(versions.select_number(TOPIC)) or 0


def list_serving(model: ListedModel) -> list[tuple[Channel, str]]:
    """The enabled channels that serve a model, read-only, in the order in which they are asked, each with its
    upstream's name of the model."""
    return ChannelIndex(list(read_plain(Channel))).of(model)


def list_priced_ids(number: int) -> list[str]:
    """The ids of the models that may be compared by price, by provider. `number` as for `list_models`."""
    sold = read_sold(number)
    return [
        model.id
        for model in sold.models
        if model.status != "retired" and model.id in sold.prices and not stands_in(model.provider)
    ]


def newest_prices(number: int | None = None) -> dict[str, Price]:
    """Each model's price in effect. `number` as for `list_models`."""
    return list_prices_in_effect()[0] if number is None else read_sold(number).prices


def list_aliases() -> dict[str, tuple[str, ...]]:
    """Model id -> its other names, in order."""
    found: dict[str, list[str]] = {}
    for alias in read_plain(Alias, Alias.name):
        found.setdefault(alias.model_id, []).append(alias.name)
    return {model_id: tuple(names) for model_id, names in found.items()}


def sandbox_serves() -> bool:
    """Whether the sandbox alone answers some real model: pages then say that its answers are made up."""
    made_up = select(Channel.id).where(Channel.enabled, Channel.provider.in_(STAND_INS)).limit(1)
    if db.session.scalar(made_up) is None:
        return False
    index = ChannelIndex(list(read_plain(Channel)))
    for model in read_plain(Model):
        serving = index.of(model) if not stands_in(model.provider) and model.status == "live" else ()
        if serving and all(stands_in(channel.provider) for channel, _ in serving):
            return True
    return False


def list_channels_needing_operator() -> list[Channel]:
    """Enabled channels that only an operator can repair: their key is refused, or their upstream lacks a model."""
    return list(db.session.scalars(select(Channel).where(Channel.enabled, NEEDS_OPERATOR).order_by(Channel.name)))


def _find_status(
    model: Model, index: ChannelIndex[Any], moment: datetime.datetime, group: str | None
) -> tuple[str, bool]:
    """The model's status, and whether any channel serves it."""
    serving = index.of(model, group)
    return "retired" if model.status == "retired" else find_availability(serving, moment), bool(serving)


def _list_model(  # noqa: PLR0913 - what a listing is made of
    model: Model,
    price: Price,
    to_come: Iterable[Price],
    terms: PriceTerms,
    aliases: tuple[str, ...],
    status: str,
    is_connected: bool,
) -> ListedModel:
    def sell(row: Price) -> PriceVersion:
        return terms.price(model.id, version_of(row, model.markup_bps))

    version = sell(price)
    base = version.base
    return ListedModel(
        id=model.id,
        name=model.name,
        provider=model.provider,
        provider_label=find_label(model.provider),
        context_tokens=model.context_tokens,
        max_output_tokens=model.max_output_tokens,
        input_modalities=tuple(model.input_modalities),
        kinds=tuple(model.kinds),
        aliases=aliases,
        status=status,
        is_connected=is_connected,
        note=model.note,
        price_id=price.id,
        input_nanos_per_mtok=base.input,
        cached_nanos_per_mtok=base.cached,
        cache_write_nanos_per_mtok=base.cache_write,
        cache_write_hour_nanos_per_mtok=base.cache_write_hour,
        output_nanos_per_mtok=base.output,
        source=price.source,
        checked_on=price.checked_on,
        created_at=model.created_at,
        price=version,
        markup_bps=model.markup_bps,
        route_order=model.route_order,
        openai_wire=model.openai_wire,
        added_tokens=model.added_tokens,
        patience_seconds=model.first_content_timeout_seconds,
        image_tokens=model.image_tokens,
        thinks=model.thinks,
        upstream_id=model.upstream_id,
        to_come=tuple(
            PriceToCome(row.effective_at, sell(row), row.source, row.checked_on) for row in to_come if row.effective_at
        ),
    )
