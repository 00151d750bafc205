"""The catalogue as pages, commands and GET /v1/models show it: every model with its price, aliases and status."""

import dataclasses
import datetime
import weakref
from typing import Any

import sqlalchemy as sa
from sqlalchemy import select

from bridge import versions
from bridge.catalogue.price_rows import list_prices_in_effect, version_of
from bridge.catalogue.prices import PriceVersion
from bridge.catalogue.rules import ChannelIndex
from bridge.catalogue.seed import find_label
from bridge.catalogue.tables import Alias, Channel, Model, Price
from bridge.db import db, now_utc, read_plain
from bridge.providers import STAND_INS, stands_in

TOPIC = "catalogue"
NEEDS_OPERATOR = (Channel.health == "out") | Channel.refused_models.is_not(None)


@dataclasses.dataclass(frozen=True, slots=True)
class ListedModel:
    """A model as everyone, or one account, may see it. Prices are nano-dollars per million tokens of ordinary prompts,
    with markup; `price` has the other tiers and classes. Status is live, degraded (all its channels are out or cooling
    down), unavailable (no channel serves it) or retired."""

    id: str
    name: str
    provider: str
    provider_label: str
    context_tokens: int
    max_output_tokens: int
    input_modalities: tuple[str, ...]
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


@dataclasses.dataclass(frozen=True, slots=True)
class _Sold:
    """What is sold: all models in order, each model's price in effect and its aliases; and until when that is so, if
    nobody changes it."""

    models: list[Model]
    prices: dict[str, Price]
    aliases: dict[str, tuple[str, ...]]
    changes_at: datetime.datetime | None


class _Kept:
    """What was read last for a page, and of which database and catalogue number that is true."""

    sold: _Sold | None = None
    engine: "weakref.ref[sa.Engine] | None" = None
    number = -1

    @classmethod
    def forget(cls) -> None:
        cls.sold = None


versions.on_change(TOPIC, _Kept.forget)


def _read_sold(number: int | None) -> _Sold:
    """What is sold. With the number that the catalogue has just now, memory's, if it has that of this number."""
    kept, engine = _Kept.sold, db.engine
    is_same = number == _Kept.number and _Kept.engine is not None and _Kept.engine() is engine
    if kept is not None and is_same and (kept.changes_at is None or now_utc() < kept.changes_at):
        return kept
    prices, changes_at = list_prices_in_effect()
    sold = _Sold(list(read_plain(Model, Model.provider, Model.id)), prices, list_aliases(), changes_at)
    if number is not None:
        _Kept.sold, _Kept.engine, _Kept.number = sold, weakref.ref(engine), number
    return sold


def list_models(
    account_markup_bps: int | None = None, group: str | None = None, *, number: int | None = None
) -> list[ListedModel]:
    """All models that have a price, by provider and id, including retired ones. The sandbox's own models are listed
    only while a sandbox channel is enabled. Prices are those of an account with this markup (None: with none of its
    own); the status is the one that its group has (None: that of any group). `number` is the catalogue's, just read:
    then only the channels' states are read again."""
    channels, sold = list(read_plain(Channel)), _read_sold(number)
    index = ChannelIndex(channels)
    rehearsing = any(stands_in(channel.provider) and channel.enabled for channel in channels)
    moment = now_utc()
    return [
        _list_model(
            model,
            sold.prices[model.id],
            account_markup_bps,
            sold.aliases.get(model.id, ()),
            _find_status(model, index, moment, group),
        )
        for model in sold.models
        if model.id in sold.prices and (rehearsing or not stands_in(model.provider))
    ]


def list_priced_ids(number: int) -> list[str]:
    """The ids of the models that may be compared by price, by provider. `number` as for `list_models`."""
    sold = _read_sold(number)
    return [
        model.id
        for model in sold.models
        if model.status != "retired" and model.id in sold.prices and not stands_in(model.provider)
    ]


def newest_prices() -> dict[str, Price]:
    """Each model's price in effect."""
    return list_prices_in_effect()[0]


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


def _find_status(model: Model, index: ChannelIndex[Any], moment: datetime.datetime, group: str | None) -> str:
    if model.status == "retired":
        return "retired"
    serving = index.of(model, group)
    if not serving:
        return "unavailable"
    return "degraded" if all(_is_resting(channel, upstream_id, moment) for channel, upstream_id in serving) else "live"


def _is_resting(channel: Channel, upstream_id: str, moment: datetime.datetime) -> bool:
    """Whether the channel is out, lacks this model, or is cooling down. Out and lacking last until an answer came; a
    cooldown that has passed no longer counts, even if nobody has tried since."""
    if channel.health == "out" or upstream_id in (channel.refused_models or ()):
        return True
    return channel.health == "cooling" and (channel.cooling_until is None or channel.cooling_until > moment)


def _list_model(
    model: Model, price: Price, account_markup_bps: int | None, aliases: tuple[str, ...], status: str
) -> ListedModel:
    version = version_of(price, model.markup_bps).for_account(account_markup_bps)
    base = version.base
    return ListedModel(
        id=model.id,
        name=model.name,
        provider=model.provider,
        provider_label=find_label(model.provider),
        context_tokens=model.context_tokens,
        max_output_tokens=model.max_output_tokens,
        input_modalities=tuple(model.input_modalities),
        aliases=aliases,
        status=status,
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
    )
