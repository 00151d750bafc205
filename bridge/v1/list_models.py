"""GET /v1/models and /v1/models/{id}: the models that this key may use."""

import hashlib
import time
from typing import Any

import msgspec
from flask import Response
from msgspec import UNSET
from werkzeug.http import parse_etags

from bridge import versions
from bridge.catalogue.channel_events import HEALTH
from bridge.catalogue.listing import ListedModel, list_models
from bridge.catalogue.parameters import list_parameters
from bridge.catalogue.prices import PriceVersion
from bridge.catalogue.rates import BY_THE_PIECE, Rates, name_rates
from bridge.conversation.kinds import list_endpoints
from bridge.errors import ModelNotFound
from bridge.json_types import JsonObject
from bridge.money import format_dollars, format_per_token
from bridge.turns import by_size, in_slices
from bridge.v1.door import count
from bridge.v1.schemas import models as schemas
from bridge.v1.visit import ReadyResponse, Visit

LIST_SECONDS = 5.0
MOST_LISTS = 64
ASKED_AGAIN = ("Cache-Control", "private, no-cache")  # cached by the client alone, and revalidated by its tag
# Price classes by their names in the API.
NAMES = {
    "input": "prompt",
    "cached": "cached_prompt",
    "cache_write": "cache_write",
    "cache_write_hour": "cache_write_hour",
    "output": "completion",
    "reasoning": "reasoning",
    "audio_input": "audio_prompt",
    "cached_audio": "cached_audio_prompt",
    "audio_output": "audio_completion",
    "image": "image_prompt",
    "image_output": "image_completion",
    "request": "request",
    "picture": "image",
    "picture_low": "image_low",
    "picture_medium": "image_medium",
}


def list_all(visit: Visit) -> Response:
    """Every model that the key may use, in OpenAI's list shape."""
    count(visit)
    data, tag = _find_list(visit)
    if "client_version=" in visit.header("QUERY_STRING"):  # Codex, which reads no list without a field of its own
        data, tag = data[:-1] + b',"models":[]}', f'{tag[:-1]}-c"'
    visit.leave()
    return _answer_unless_known(visit, data, tag)


def _find_list(visit: Visit) -> tuple[bytes, str]:
    """The list's bytes and their ETag. Whoever may use the same models at the same prices shares them, until the
    catalogue or a channel's state changes, at most for five seconds: some clients ask with every start, and making the
    list of thousands of models takes half a second."""
    assert visit.caller is not None
    caller, kept, moment = visit.caller, visit.services.model_lists, time.monotonic()
    numbers = id(visit.services.catalogue), versions.number(HEALTH)
    who: Any = caller.price_terms, caller.group, None if caller.models is None else frozenset(caller.models)
    found = kept.get(who)
    if found is None or found[0] != numbers or moment - found[1] >= LIST_SECONDS:
        models = [_describe(visit, model) for model in in_slices(list_allowed(visit))]
        data = msgspec.json.encode(schemas.ModelList(models))
        tag = f'"{by_size(len(data), hashlib.sha256, data).hexdigest()[:32]}"'
        if len(kept) >= MOST_LISTS:
            kept.clear()
        found = kept[who] = numbers, moment, data, tag
    return found[2], found[3]


def _answer_unless_known(visit: Visit, data: bytes, tag: str) -> Response:
    """The bytes with their ETag, or 304 if the client has them."""
    known = parse_etags(visit.header("HTTP_IF_NONE_MATCH"))
    if known.contains_weak(tag.strip('"')):
        headers = [("ETag", tag), ASKED_AGAIN, *visit.answer_headers()]
        return ReadyResponse([], 304, headers, visit.services.common_headers)
    return visit.answer(data, more=[("ETag", tag)], stored=ASKED_AGAIN)


def retrieve(visit: Visit, name: str) -> Response:
    """One model, by id or alias. Raises ModelNotFound, also for one that the key may not use."""
    count(visit)
    name = visit.services.catalogue.find_name(name)
    for model in list_allowed(visit):
        if name == model.id or name in model.aliases:
            visit.leave()
            return visit.answer(msgspec.json.encode(_describe(visit, model)))
    visit.services.catalogue.resolve(name)  # its error names the nearest model
    raise ModelNotFound(f"The model {name[:128]!r} does not exist.", param="model")


def list_allowed(visit: Visit) -> list[ListedModel]:
    """The models that the key may use."""
    assert visit.caller is not None
    caller = visit.caller
    models = list_models(caller.price_terms, caller.group)
    return [model for model in models if caller.models is None or model.id in caller.models]


def _describe(visit: Visit, model: ListedModel) -> schemas.Model:
    assert visit.caller is not None
    served = visit.services.catalogue.for_group(visit.caller.group).models.get(model.id)
    return schemas.Model(
        id=model.id,
        object="model",
        created=int(model.created_at.timestamp()),
        owned_by=model.provider,
        name=model.name,
        context_length=model.context_tokens,
        max_output_tokens=model.max_output_tokens,
        pricing=None if model.price_id is None else _describe_price(model),
        aliases=model.aliases,
        endpoints=list_endpoints(model.kinds),
        input_modalities=model.input_modalities,
        supported_parameters=list_parameters(served) if served else (),
        status=model.status,
        note=model.note or UNSET,
    )


def _describe_price(model: ListedModel) -> schemas.Pricing:
    coming = [
        schemas.ComingPrice(
            starts_at=f"{one.starts_at:%Y-%m-%dT%H:%M:%SZ}",
            **_describe_tiers(one.price),
            source=one.source,
            checked_on=one.checked_on.isoformat() if one.checked_on else UNSET,
        )
        for one in model.to_come
    ]
    return schemas.Pricing(
        **_describe_tiers(model.price),
        source=model.source,
        checked_on=model.checked_on.isoformat() if model.checked_on else UNSET,
        coming=coming or UNSET,
    )


def _describe_tiers(price: PriceVersion) -> JsonObject:
    base, *longer = price.tiers
    tiers = [schemas.PriceTier(above_prompt_tokens=rates.above_tokens, **_describe_rates(rates)) for rates in longer]
    return {**_describe_rates(base), "tiers": tiers or UNSET}


def _describe_rates(rates: Rates) -> JsonObject:
    """Dollars per token by class, as this customer pays them; further classes only if they have their own price."""
    return {
        NAMES[name]: format_dollars(nanos) if name in BY_THE_PIECE else format_per_token(nanos)
        for name, nanos in name_rates(rates).items()
    }
