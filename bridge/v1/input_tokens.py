"""POST /v1/responses/input_tokens: how long a request's input is by our own count, for free."""

import msgspec
from flask import Response

from bridge.catalogue.routing import ServedModel
from bridge.errors import ModelNotAllowed
from bridge.inference.estimate import count_prompt
from bridge.inference.meter import TEMPLATE_TOKENS, measure
from bridge.providers import PROVIDERS
from bridge.providers.token_scale import OPENAI, find_scale
from bridge.v1.door import count, read_body
from bridge.v1.media import check_media
from bridge.v1.responses_body import read_to_count
from bridge.v1.schemas.responses import InputTokens
from bridge.v1.visit import Visit


def count_input_tokens(visit: Visit) -> Response:
    """The count, rather a little high: whoever fits a conversation by it is not to be refused."""
    data = read_body(visit)
    request, asked = read_to_count(visit, data)
    count(visit)
    conversation = asked.conversation
    check_media(conversation.media)
    model = _find_model(visit, request.model) if request.model else None
    scales, upstream_id, media = OPENAI, "", 0
    if model is not None:
        media = measure(conversation, model, len(data)).media_tokens
        if model.routes:
            scales = PROVIDERS[model.routes[0].provider].token_scales
            upstream_id = model.routes[0].upstream_id
    counted = count_prompt(conversation, find_scale(scales, upstream_id))
    visit.leave()
    answer = InputTokens(counted + counted // 16 + TEMPLATE_TOKENS + media)
    return visit.answer(msgspec.json.encode(answer))


def _find_model(visit: Visit, name: str) -> ServedModel:
    """Raises ModelNotFound and ModelNotAllowed."""
    assert visit.caller is not None
    model = visit.services.catalogue.for_group(visit.caller.group).resolve(name, "model")
    if visit.caller.models is not None and model.id not in visit.caller.models:
        raise ModelNotAllowed(f"This API key may not use {name}.", param="model")
    return model
