"""POST /v1/messages and /v1/messages/count_tokens."""

import msgspec
from flask import Response

from bridge.catalogue.routing import ServedModel
from bridge.conversation.request import Conversation
from bridge.dialects.messages.read import read_conversation
from bridge.dialects.messages.request import check_request
from bridge.dialects.messages.writer import Messages
from bridge.errors import ModelNotAllowed, ModelNotFound
from bridge.inference.estimate import count_prompt
from bridge.inference.meter import CACHE_FOR_AN_HOUR
from bridge.limits.token_counts import take_count
from bridge.providers import PROVIDERS
from bridge.providers.token_scale import OPENAI, find_scale
from bridge.v1.body import read_object
from bridge.v1.door import count, read_body
from bridge.v1.inference import Planned, answer_inference
from bridge.v1.planning import plan_request
from bridge.v1.schemas.messages import TokenCount
from bridge.v1.visit import Visit

BYTES_PER_TOKEN = 4  # about, for what a stream begins with: its end has the true count
INTERLEAVED = "interleaved-thinking-"
PICTURE_TOKENS = 1600  # of a picture, where the catalogue doesn't say
FILE_BYTES_PER_TOKEN, LEAST_FILE_TOKENS = 40, 1500


def create_message(visit: Visit) -> Response:
    """One message, whole or streamed."""
    return answer_inference(visit, _plan)


def count_tokens(visit: Visit) -> Response:
    """How many tokens a prompt has, by our own tokenizer: rather too many than too few. It is free, and has limits of
    its own."""
    assert visit.caller is not None
    count(visit, requests=0)
    take_count(visit.services.counters, visit.caller)
    conversation, _, _ = _read(visit, read_body(visit), counting=True)
    try:
        model = visit.services.catalogue.for_group(visit.caller.group).resolve(conversation.model)
    except ModelNotFound as error:
        raise _name_it(conversation.model, error) from None
    if visit.caller.models is not None and model.id not in visit.caller.models:
        raise ModelNotAllowed(f"This API key may not use {conversation.model}.", param="model")
    found = _count(conversation, model)
    visit.leave()
    return visit.answer(msgspec.json.encode(TokenCount(input_tokens=found)))


def _plan(visit: Visit, data: bytes) -> Planned:
    conversation, account_id, hour_writes = _read(visit, data)
    try:
        plan = plan_request(visit, conversation, (), len(data), hour_writes=hour_writes)
    except ModelNotFound as error:
        raise _name_it(conversation.model, error) from None
    return plan, Messages(account_id, max(1, len(data) // BYTES_PER_TOKEN))


def _read(visit: Visit, data: bytes, *, counting: bool = False) -> tuple[Conversation, int, bool]:
    """The request, whose it is, and whether it may ask for an hour in a cache. Raises what is wrong with it."""
    assert visit.caller is not None
    body, speaks_of_an_hour = read_object(data, CACHE_FOR_AN_HOUR)
    betas = [beta.strip() for beta in visit.header("HTTP_ANTHROPIC_BETA").split(",") if beta.strip()]
    interleaved = any(beta.startswith(INTERLEAVED) for beta in betas)
    request = check_request(body, counting=counting, interleaved=interleaved)
    body["model"] = visit.services.catalogue.find_name(request.model)  # which the answer names
    account_id = visit.caller.account_id
    return read_conversation(body, account_id, betas), account_id, speaks_of_an_hour


def _name_it(name: str, error: ModelNotFound) -> ModelNotFound:
    """A model that isn't there, in the words that Claude Code looks for."""
    return ModelNotFound(f"model: {name[:128]}. {error.message}", param="model")


def _count(conversation: Conversation, model: ServedModel) -> int:
    scales = PROVIDERS[model.routes[0].provider].token_scales if model.routes else OPENAI
    scale = find_scale(scales, model.routes[0].upstream_id if model.routes else model.id)
    found = count_prompt(conversation, scale)
    for media in conversation.media:
        if media.kind == "image":
            found += model.image_tokens or PICTURE_TOKENS
        else:
            found += max(LEAST_FILE_TOKENS, len(media.source) // FILE_BYTES_PER_TOKEN)
    return found
