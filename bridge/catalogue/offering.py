"""Which of an upstream's models a channel offers, and at which markup: what operators choose when they set up a
channel."""

import dataclasses
from collections.abc import Iterable, Sequence

from bridge.acts import Actor
from bridge.catalogue.below_cost import require_margin_at
from bridge.catalogue.connect import LOCAL_CONTEXT_TOKENS, LOCAL_PROVIDER
from bridge.catalogue.editing import find_channel, update_channel
from bridge.catalogue.listing import list_aliases
from bridge.catalogue.model_editing import add_model, set_markup
from bridge.catalogue.price_file import MODEL_ID
from bridge.catalogue.price_rows import list_prices_in_effect, version_of
from bridge.catalogue.prices import PriceVersion
from bridge.catalogue.tables import Channel, Model
from bridge.conversation.kinds import CHAT, EMBEDDINGS
from bridge.db import db, read_plain
from bridge.errors import InvalidRequest
from bridge.money import check_markup
from bridge.providers import COMPANIES, PROVIDERS
from bridge.providers.base import FoundModel

# companies by the words that gateways have for them: google, moonshotai
MAKERS = {
    word: name
    for name in COMPANIES
    for label in (PROVIDERS[name].label.lower(),)
    for word in (name, label, f"{label}ai")
}


@dataclasses.dataclass(frozen=True, slots=True)
class Offer:
    """A model that an upstream has. `model_id` is its public name; `price` is the catalogue's, without a markup, and
    None for a model that the catalogue doesn't have. `markup_bps` is what the model has now."""

    found: FoundModel
    model_id: str
    price: PriceVersion | None = None
    markup_bps: int = 0

    @property
    def upstream_id(self) -> str:
        """Its name at the upstream."""
        return self.found.id


@dataclasses.dataclass(frozen=True, slots=True)
class Chosen:
    """An offer that was chosen, with what the upstream takes for a model that the catalogue doesn't have: nano-dollars
    a million tokens."""

    offer: Offer
    input_nanos: int = 0
    output_nanos: int = 0


def list_offers(channel: Channel, found: Iterable[FoundModel]) -> list[Offer]:
    """The upstream's models, those of the catalogue first. A retired model is left out, and so is one whose name can't
    be a public one. A channel at an address of its own has its own names: they are public names or aliases here."""
    models = {model.id: model for model in read_plain(Model)}
    aliases = {alias: id_ for id_, names in list_aliases().items() for alias in names}
    by_upstream: dict[tuple[str, str], str] = {}
    for model in models.values():
        by_upstream.setdefault((model.provider, model.upstream_id), model.id)
    prices, _ = list_prices_in_effect()
    known, new, taken = [], [], set()
    for one in found:
        model_id = _find_known(channel, one.id, models.keys(), aliases, by_upstream)
        if model_id is None:
            if MODEL_ID.fullmatch(one.id):
                new.append(Offer(one, one.id))
            continue
        model = models[model_id]
        if model.status == "live" and model_id in prices and model_id not in taken:
            taken.add(model_id)
            known.append(Offer(one, model_id, version_of(prices[model_id]), model.markup_bps))
    return [*known, *new]


def _find_known(
    channel: Channel,
    upstream_id: str,
    ids: Iterable[str],
    aliases: dict[str, str],
    by_upstream: dict[tuple[str, str], str],
) -> str | None:
    """The catalogue's model that an upstream means by this name."""
    own = by_upstream.get((channel.provider, upstream_id))
    if channel.base_url is None and own:
        return own
    if upstream_id in ids:
        return upstream_id
    if upstream_id in aliases:
        return aliases[upstream_id]
    # gateways name models after their makers: openai/gpt-4o
    maker, _, name = upstream_id.partition("/")
    return by_upstream.get((MAKERS[maker], name)) if maker in MAKERS else own


def check_margins(chosen: Sequence[Chosen], markup_bps: int) -> None:
    """Raises BelowCost if one of these models is sold below cost at this markup."""
    ids = {one.offer.model_id for one in chosen if one.offer.price is not None}
    require_margin_at(markup_bps, [model for model in read_plain(Model) if model.id in ids])


def offer_models(name: str, chosen: Sequence[Chosen], markup_bps: int, actor: Actor) -> None:
    """Let the channel serve these models and no others, add to the catalogue what it lacks, and set the markup of all
    of them. It may be repeated. Raises NotFound, or InvalidRequest naming the field."""
    if not chosen:
        raise InvalidRequest("Choose at least one model.", param="offer")
    check_markup(markup_bps)
    channel = find_channel(name)
    provider = channel.provider if channel.base_url is None else LOCAL_PROVIDER
    for one in chosen:
        if one.offer.price is None and db.session.get(Model, one.offer.model_id) is None:
            _add(one, provider, actor)
        model = db.session.get_one(Model, one.offer.model_id, populate_existing=True)
        if model.markup_bps != markup_bps:
            set_markup(model.id, markup_bps, actor=actor)
    models = {one.offer.model_id: one.offer.upstream_id for one in chosen}
    if channel.models != models:
        update_channel(name, models=models, actor=actor)


def _add(one: Chosen, provider: str, actor: Actor) -> None:
    """Add a model that only this upstream told us of. What it didn't tell is a guess that operators can change."""
    found = one.offer.found
    context_tokens = found.context_tokens or LOCAL_CONTEXT_TOKENS
    add_model(
        one.offer.model_id,
        provider=provider,
        input_price_nanos=one.input_nanos,
        output_price_nanos=one.output_nanos,
        context_tokens=context_tokens,
        max_output_tokens=min(found.max_output_tokens, context_tokens) if found.max_output_tokens else None,
        name=found.name or None,
        kinds=(EMBEDDINGS,) if "embed" in found.id.lower() else (CHAT,),
        upstream_id=found.id,
        actor=actor,
    )
