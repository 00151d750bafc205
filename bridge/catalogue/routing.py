"""Which model a name means and which channels serve it: a read-only snapshot in memory, swapped whole."""

import dataclasses
import difflib
import math
import random
import time
from collections.abc import Callable, Sequence

import sqlalchemy as sa

from bridge.catalogue.health import Health
from bridge.catalogue.price_rows import list_prices_in_effect, version_of
from bridge.catalogue.prices import PriceVersion
from bridge.catalogue.rules import channels_of
from bridge.catalogue.tables import Alias, Channel, Model, Price
from bridge.catalogue.upstreams import name_credentials
from bridge.db import db
from bridge.errors import ModelNotFound


@dataclasses.dataclass(frozen=True, slots=True)
class Route:
    """One way to serve a model: a channel, and what its upstream calls the model. The key stays sealed."""

    channel_id: int
    channel_name: str
    provider: str
    base_url: str | None
    sealed_key: str | None = dataclasses.field(repr=False)
    priority: int
    weight: int
    upstream_id: str
    resets: int = 0  # how often the channel's health began afresh
    credential: str = ""  # the same for channels with the same key at the same address; "" without a key


@dataclasses.dataclass(frozen=True, slots=True)
class ServedModel:
    """A model as the hot path needs it. Without routes no provider is connected; without a price nobody may use it."""

    id: str
    provider: str
    context_tokens: int
    max_output_tokens: int
    default_output_tokens: int
    image_tokens: int
    input_modalities: frozenset[str]
    thinks: bool
    retired: bool
    first_content_timeout_seconds: float | None
    price: PriceVersion | None
    routes: tuple[Route, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Catalogue:
    """All models by id, and every alias. At `changes_at`, in seconds since 1970, another price takes effect."""

    models: dict[str, ServedModel]
    aliases: dict[str, str]
    changes_at: float = math.inf

    def resolve(self, name: str) -> ServedModel:
        """The model that this id or alias means. Raises ModelNotFound, which names the nearest one."""
        model = self.models.get(name) or self.models.get(self.aliases.get(name, ""))
        if model is None or model.retired:
            raise ModelNotFound(self._missing(name), param="model")
        return model

    def _missing(self, name: str) -> str:
        known = [*(model.id for model in self.models.values() if not model.retired), *self.aliases]
        near = difflib.get_close_matches(name[:128], known, n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]!r}?" if near else " GET /v1/models lists what there is."
        return f"The model {name[:128]!r} does not exist.{hint}"


def load_catalogue() -> Catalogue:
    """Read models, prices in effect, aliases and channels from the database."""
    session = db.session
    prices, changes_at = list_prices_in_effect()
    channels = list(session.execute(sa.select(Channel)).scalars())
    credentials = name_credentials(channels)
    models = {
        model.id: _serve(model, prices.get(model.id), channels, credentials)
        for model in session.execute(sa.select(Model)).scalars()
    }
    aliases = {alias.name: alias.model_id for alias in session.execute(sa.select(Alias)).scalars()}
    session.commit()
    return Catalogue(models, aliases, math.inf if changes_at is None else changes_at.timestamp())


def _serve(model: Model, price: Price | None, channels: Sequence[Channel], credentials: dict[int, str]) -> ServedModel:
    routes = tuple(
        Route(
            channel_id=channel.id,
            channel_name=channel.name,
            provider=channel.provider,
            base_url=channel.base_url,
            sealed_key=channel.sealed_key,
            priority=channel.priority,
            weight=channel.weight,
            upstream_id=upstream_id,
            resets=channel.resets,
            credential=credentials[channel.id],
        )
        for channel, upstream_id in channels_of(model, channels)
    )
    return ServedModel(
        id=model.id,
        provider=model.provider,
        context_tokens=model.context_tokens,
        max_output_tokens=model.max_output_tokens,
        default_output_tokens=min(model.default_output_tokens, model.max_output_tokens),
        image_tokens=model.image_tokens,
        input_modalities=frozenset(model.input_modalities),
        thinks=model.thinks,
        retired=model.status == "retired",
        first_content_timeout_seconds=model.first_content_timeout_seconds,
        price=version_of(price, model.markup_bps) if price else None,
        routes=routes,
    )


def order_routes(
    routes: Sequence[Route], health: Health, draw: Callable[[], float] = random.random, now: float | None = None
) -> list[Route]:
    """The routes in the order to try them: healthy before cooling, then by priority, then by a draw with their weights.

    One that cools down comes last but stays in: when all do, the one that comes back soonest is probed."""
    if len(routes) == 1:
        return list(routes)
    now = time.monotonic() if now is None else now

    def place(route: Route) -> tuple[float, int, float]:
        # the key -ln(u) / weight sorts as a draw without replacement would (Efraimidis and Spirakis, 2006)
        return (health.seconds_out(route, now), route.priority, -math.log(1.0 - draw()) / route.weight)

    return sorted(routes, key=place)
