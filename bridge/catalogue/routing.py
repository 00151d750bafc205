"""Which model a name means and which channels serve it: a read-only snapshot in memory, swapped whole."""

import dataclasses
import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from bridge.catalogue.breaker_states import NOBODY
from bridge.catalogue.channel_wire import place_model
from bridge.catalogue.health import Health
from bridge.catalogue.key_health import read_keys
from bridge.catalogue.other_names import list_meant_names, list_near_names
from bridge.catalogue.price_rows import list_prices_in_effect, version_of
from bridge.catalogue.prices import PriceVersion
from bridge.catalogue.rules import ChannelIndex, is_open_to
from bridge.catalogue.tables import Alias, Channel, ChannelKey, Model, Price
from bridge.catalogue.upstreams import Credentials, name_credentials
from bridge.conversation.kinds import CHAT
from bridge.db import db, read_plain
from bridge.errors import ModelNotFound
from bridge.providers import STAND_INS
from bridge.turns import in_slices

FULL_COST_BPS = 10_000
MOST_CHARACTERS = 128  # of a model's name
ONLY_CHAT = frozenset({CHAT})
REMEASURED_SHARE = 0.02  # of the requests for a model whose quickest channel comes first


class Route(msgspec.Struct, frozen=True, gc=False):
    """One way to serve a model: a channel, one of its keys, and what its upstream calls the model. The key stays
    sealed.

    There may be a hundred thousand: the collector, which would take a tenth of a second for them, leaves them alone."""

    channel_id: int
    channel_name: str
    provider: str
    base_url: str | None
    sealed_key: str | None
    priority: int
    weight: int
    upstream_id: str
    cost_bps: int = FULL_COST_BPS  # of what the model's price says that providers take
    groups: frozenset[str] | None = None  # of accounts; None: everyone's
    pass_fields: frozenset[str] = frozenset()  # which the operator lets through beside those that the provider takes
    rpm: int = 0  # the operator's own limits of the channel; 0 is none
    tpm: int = 0
    concurrency: int = 0
    resets: int = 0  # how often the channel's health began afresh
    wire: str = ""  # by which of its dialects OpenAI is asked for the model; "": as its name says
    credential: str = ""  # the same for channels with the same key at the same address; "" without a key
    key_id: int = 0  # which of the channel's keys this is; 0: its only one
    sealed_wire: str | None = None  # the channel's own headers, query and proxy
    always_on: bool = False  # never left by itself, however often it fails

    def __repr__(self) -> str:
        return f"Route({self.channel_name!r}, {self.upstream_id!r})"

    @property
    def made_up(self) -> bool:
        """Whether nobody's model answers: it costs nothing, and its failures say nothing of any channel."""
        return self.provider in STAND_INS

    @property
    def limited(self) -> bool:
        return bool(self.rpm or self.tpm or self.concurrency)


Terms = dict[str, Any]  # some fields of a Route
Measure = Callable[[Route], float]


@dataclasses.dataclass(frozen=True, slots=True)
class ServedModel:
    """A model as the hot path needs it. Without routes no provider is connected; without a price nobody may use it."""

    id: str
    provider: str
    context_tokens: int
    max_output_tokens: int
    image_tokens: int
    input_modalities: frozenset[str]
    thinks: bool
    retired: bool
    first_content_timeout_seconds: float | None
    price: PriceVersion | None
    routes: tuple[Route, ...]
    route_order: str = "weight"
    added_tokens: int = 0  # at most, that its upstream adds to a prompt: its template, a system prompt
    kinds: frozenset[str] = ONLY_CHAT  # of the requests that it takes
    keyed: bool = False  # a channel of it has several keys, and so as many routes


@dataclasses.dataclass(frozen=True, slots=True)
class Catalogue:
    """All models by id, and every alias. At `changes_at`, in seconds since 1970, another price takes effect.
    `grouped`: some channels serve some groups of accounts only. `size`: its models and all their routes."""

    models: dict[str, ServedModel]
    aliases: dict[str, str]
    changes_at: float = math.inf
    grouped: bool = False
    size: int = 0
    _by_group: dict[str, "Catalogue"] = dataclasses.field(default_factory=dict, compare=False, repr=False)

    def for_group(self, group: str) -> "Catalogue":
        """The same as accounts of this group see it: without the channels that serve other groups only."""
        if not self.grouped:
            return self
        found = self._by_group.get(group)
        if found is None:
            models = {id_: _narrow(model, group) for id_, model in in_slices(self.models.items())}
            found = self._by_group[group] = Catalogue(models, self.aliases, self.changes_at)
        return found

    def resolve(self, name: str, param: str = "model") -> ServedModel:
        """The model that this id or alias means. Raises ModelNotFound, which names the nearest one."""
        model = self.models.get(name) or self.models.get(self.aliases.get(name, ""))
        if model is None:
            known = self.find_name(name)
            model = self.models.get(known) or self.models.get(self.aliases.get(known, ""))
        if model is None or model.retired:
            raise ModelNotFound(self._missing(name), param=param)
        return model

    def find_name(self, name: str) -> str:
        """The id or alias that is meant by a name of a coding agent's; any other name is itself."""
        if name in self.models or name in self.aliases:
            return name
        on_sale = (model.id for model in self.models.values() if not model.retired and model.price is not None)
        meant = list_meant_names(name, on_sale)
        return next((each for each in meant if each in self.models or each in self.aliases), name)

    def _missing(self, name: str) -> str:
        known = [*(model.id for model in self.models.values() if not model.retired), *self.aliases]
        near = next(iter(list_near_names(name[:MOST_CHARACTERS], known)), None)
        hint = f" Did you mean {near!r}?" if near else " GET /v1/models lists what there is."
        return f"The model {name[:MOST_CHARACTERS]!r} does not exist.{hint}"


def count_rows() -> int:
    """How many models and channels there are to read."""
    models = sa.select(sa.func.count()).select_from(Model).scalar_subquery()
    channels = sa.select(sa.func.count()).select_from(Channel).scalar_subquery()
    return int(db.session.scalar(sa.select(models + channels)) or 0)


def load_catalogue() -> Catalogue:
    """Read models, prices in effect, aliases and channels from the database. However many they are, others run in
    between, and the time that it takes grows with their number alone."""
    prices, changes_at = list_prices_in_effect()
    channels, keys = list(read_plain(Channel)), read_keys()
    credentials = name_credentials(channels, keys)
    index = ChannelIndex(channels)
    terms = {channel.id: _list_terms(channel, keys.get(channel.id, ()), credentials) for channel in channels}
    models = {model.id: _serve(model, prices.get(model.id), index, terms) for model in read_plain(Model)}
    aliases = {alias.name: alias.model_id for alias in read_plain(Alias)}
    db.session.commit()
    grouped = any(channel.enabled and channel.groups is not None for channel in channels)
    size = len(models) + sum(len(model.routes) for model in models.values())
    return Catalogue(models, aliases, math.inf if changes_at is None else changes_at.timestamp(), grouped, size)


def _narrow(model: ServedModel, group: str) -> ServedModel:
    routes = tuple(route for route in model.routes if is_open_to(route.groups, group))
    return model if len(routes) == len(model.routes) else dataclasses.replace(model, routes=routes)


def _list_terms(channel: Channel, keys: Sequence[ChannelKey], credentials: Credentials) -> list[Terms]:
    """What all routes through a channel have in common, for each of its keys: made once, for a channel may serve
    hundreds of models."""
    terms = _terms_of(channel)
    ids: list[tuple[int, str | None]] = [(key.id, key.sealed) for key in keys]
    return [
        {**terms, "key_id": id_, "sealed_key": sealed, "credential": credentials[channel.id, id_]}
        for id_, sealed in ids or [(0, channel.sealed_key)]
    ]


def _terms_of(channel: Channel) -> Terms:
    return {
        "channel_id": channel.id,
        "channel_name": channel.name,
        "provider": channel.provider,
        "sealed_wire": channel.sealed_wire,
        "priority": channel.priority,
        "weight": channel.weight,
        "cost_bps": channel.cost_bps,
        "groups": None if channel.groups is None else frozenset(channel.groups),
        "pass_fields": frozenset(channel.pass_fields or ()),
        "rpm": channel.rpm or 0,
        "tpm": channel.tpm or 0,
        "concurrency": channel.concurrency or 0,
        "resets": channel.resets,
        "always_on": channel.always_on,
    }


def _serve(
    model: Model, price: Price | None, index: ChannelIndex[Any], terms: Mapping[int, Sequence[Terms]]
) -> ServedModel:
    wire = model.openai_wire or ""
    routes = tuple(
        Route(upstream_id=upstream_id, wire=wire, base_url=place_model(channel.base_url, upstream_id), **each)
        for channel, upstream_id in index.of(model)
        for each in terms[channel.id]
    )
    return ServedModel(
        id=model.id,
        provider=model.provider,
        context_tokens=model.context_tokens,
        max_output_tokens=model.max_output_tokens,
        image_tokens=model.image_tokens,
        input_modalities=frozenset(model.input_modalities),
        thinks=model.thinks,
        retired=model.status == "retired",
        first_content_timeout_seconds=model.first_content_timeout_seconds,
        price=version_of(price, model.markup_bps) if price else None,
        routes=routes,
        route_order=model.route_order,
        added_tokens=model.added_tokens,
        kinds=frozenset(model.kinds),
        keyed=any(route.key_id for route in routes),
    )


def order_routes(
    routes: Sequence[Route],
    health: Health,
    *,
    by: str = "weight",
    point: Measure | None = None,
    now: float | None = None,
    account_id: int = NOBODY,
    keyed: bool = False,
) -> list[Route]:
    """The routes in the order in which to try them for this account: healthy before silent ones, and both before those
    that are out, then by priority, within one as `by` says:

    "weight": as `point` draws them by their weights; "cost": the cheapest first; "latency": the quickest first, those
    that nobody has measured before them, and now and then another, so that its figure doesn't grow old. `point` gives
    a number of (0, 1] for a channel; the same numbers give the same order, without the routes that are out too.

    `keyed`: some channels have several keys. They are drawn once for all of them, and their keys stand one after the
    other, in an order of the conversation's own."""
    if len(routes) == 1:
        return list(routes)
    now = time.monotonic() if now is None else now
    priorities = len({route.priority for route in routes})
    if priorities == len(routes):
        if health.all_well:
            return sorted(routes, key=_priority)
        return sorted(routes, key=lambda route: (health.rank(route, now, account_id), route.priority))
    first: Measure = _no_difference
    draw = point or _draw
    if by != "weight":
        first, draw = _order_by(by, health, draw)
    if keyed:
        draw = _draw_once(draw)

    def arrive(route: Route) -> float:
        # -ln(u) / weight sorts as a draw without replacement would (Efraimidis and Spirakis, 2006); with u from a hash
        # of conversation and channel it is rendezvous hashing with weights
        return -math.log(draw(route)) / route.weight

    if priorities == 1 and by == "weight" and health.all_well and not keyed:
        return sorted(routes, key=arrive)  # nothing else counts, and there may be dozens

    def place(route: Route) -> tuple[Any, ...]:
        return health.rank(route, now, account_id), route.priority, first(route), arrive(route)

    if keyed:
        return sorted(routes, key=lambda route: (*place(route), hash((draw(route), route.key_id))))
    return sorted(routes, key=place)


def _order_by(by: str, health: Health, draw: Measure) -> tuple[Measure, Measure]:
    """What counts before the draw, and the draw."""
    if by == "cost":
        return _cost, draw
    if random.random() < REMEASURED_SHARE:
        return _no_difference, _draw
    return lambda route: health.latency_seconds(route) or 0.0, draw


def _draw_once(draw: Measure) -> Measure:
    """The same number for all keys of a channel."""
    drawn: dict[int, float] = {}

    def find(route: Route) -> float:
        number = drawn.get(route.channel_id)
        if number is None:
            number = drawn[route.channel_id] = draw(route)
        return number

    return find


def _draw(_route: Route) -> float:
    return 1.0 - random.random()


def _priority(route: Route) -> int:
    return route.priority


def _cost(route: Route) -> float:
    return route.cost_bps


def _no_difference(_route: Route) -> float:
    return 0.0
