"""GET /v1/models and /v1/models/{id}: what this key may use."""

import hashlib
from typing import Any

import msgspec
from flask import Response
from werkzeug.http import parse_etags

from bridge.catalogue.listing import ListedModel, list_models
from bridge.catalogue.rates import Rates, name_rates
from bridge.db import breathe
from bridge.errors import ModelNotFound
from bridge.money import format_dollars, format_per_token
from bridge.v1.door import count
from bridge.v1.parameters import list_parameters
from bridge.v1.visit import ReadyResponse, Visit

SLICE_MODELS = 20  # described between two looks at what else there is to do: each takes a millisecond at first
# The classes of prices as clients read them.
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
    "request": "request",
}


def list_all(visit: Visit) -> Response:
    """Every model that the key may use, in OpenAI's list shape."""
    count(visit, requests=0)
    models = []
    for model in _allowed(visit):
        models.append(_describe(visit, model))
        if len(models) % SLICE_MODELS == 0:
            breathe()
    data = msgspec.json.encode({"object": "list", "data": models})
    visit.leave()
    return _answer_unless_known(visit, data)


def _answer_unless_known(visit: Visit, data: bytes) -> Response:
    """The bytes under their tag, or 304 where the client says that it has them."""
    tag = f'"{hashlib.sha256(data).hexdigest()[:32]}"'
    known = parse_etags(visit.header("HTTP_IF_NONE_MATCH"))
    if known.contains_weak(tag.strip('"')):
        return ReadyResponse([], 304, [("ETag", tag), *visit.answer_headers()])
    return visit.answer(data, more=[("ETag", tag)])


def retrieve(visit: Visit, name: str) -> Response:
    """One model, by id or alias. Raises ModelNotFound, also for one that the key may not use."""
    count(visit, requests=0)
    for model in _allowed(visit):
        if name == model.id or name in model.aliases:
            visit.leave()
            return visit.answer(msgspec.json.encode(_describe(visit, model)))
    visit.services.catalogue.resolve(name)  # its own error names the nearest model
    raise ModelNotFound(f"The model {name[:128]!r} does not exist.", param="model")


def _allowed(visit: Visit) -> list[ListedModel]:
    assert visit.caller is not None
    caller = visit.caller
    models = list_models(caller.markup_bps, caller.group)
    return [model for model in models if caller.models is None or model.id in caller.models]


def _describe(visit: Visit, model: ListedModel) -> dict[str, Any]:
    assert visit.caller is not None
    served = visit.services.catalogue.for_group(visit.caller.group).models.get(model.id)
    found: dict[str, Any] = {
        "id": model.id,
        "object": "model",
        "created": int(model.created_at.timestamp()),
        "owned_by": model.provider,
        "name": model.name,
        "context_length": model.context_tokens,
        "max_output_tokens": model.max_output_tokens,
        "pricing": None,
        "aliases": model.aliases,
        "input_modalities": model.input_modalities,
        "supported_parameters": list_parameters(served) if served else (),
        "status": model.status,
    }
    if model.note:
        found["note"] = model.note
    if model.price_id is not None:
        base, *longer = model.price.tiers
        found["pricing"] = _describe_rates(base)
        if longer:
            found["pricing"]["tiers"] = [
                {"above_prompt_tokens": rates.above_tokens, **_describe_rates(rates)} for rates in longer
            ]
    return found


def _describe_rates(rates: Rates) -> dict[str, Any]:
    """Dollars per token by class, as this customer pays them; the further classes where they have their own price."""
    return {
        NAMES[name]: format_dollars(nanos) if name == "request" else format_per_token(nanos)
        for name, nanos in name_rates(rates).items()
    }
