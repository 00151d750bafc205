"""GET /v1/models and /v1/models/{id}: what this key may use."""

from typing import Any

import msgspec
from flask import Response

from bridge.catalogue.listing import ListedModel, list_models
from bridge.errors import ModelNotFound
from bridge.money import format_per_token
from bridge.v1.door import count
from bridge.v1.parameters import list_parameters
from bridge.v1.visit import Visit


def list_all(visit: Visit) -> Response:
    """Every model that the key may use, in OpenAI's list shape."""
    count(visit, requests=0)
    models = [_describe(visit, model) for model in _allowed(visit)]
    data = msgspec.json.encode({"object": "list", "data": models})
    visit.leave()
    return visit.answer(data)


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
    allowed = visit.caller.models
    return [model for model in list_models() if allowed is None or model.id in allowed]


def _describe(visit: Visit, model: ListedModel) -> dict[str, Any]:
    served = visit.services.catalogue.models.get(model.id)
    found = {
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
        found["pricing"] = {
            "prompt": format_per_token(model.input_nanos_per_mtok),
            "completion": format_per_token(model.output_nanos_per_mtok),
            "cached_prompt": format_per_token(model.cached_nanos_per_mtok),
            "cache_write": format_per_token(model.cache_write_nanos_per_mtok),
            "cache_write_hour": format_per_token(model.cache_write_hour_nanos_per_mtok),
        }
    return found
