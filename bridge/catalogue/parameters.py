"""Finds which request fields a model honours by asking its provider's own translation, so that the list is never
wrong."""

import functools
from collections.abc import Collection

import msgspec

from bridge.catalogue.routing import ServedModel
from bridge.conversation.kinds import CHAT, EMBEDDINGS, IMAGES
from bridge.dialects.chat.read import read_conversation
from bridge.dialects.embeddings.request import EmbeddingsRequest, read_embeddings
from bridge.dialects.images.request import ImagesRequest, read_images
from bridge.json_types import Json, JsonObject
from bridge.providers import PROVIDERS
from bridge.providers.base import AttemptFailed, Order

_FUNCTION = {"name": "look_up", "description": "Looks it up.", "parameters": {"type": "object", "properties": {}}}
_TOOLS = {"tools": [{"type": "function", "function": _FUNCTION}]}
_SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
_FORMAT = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": _SCHEMA}}
# parameter: a meaningful value, and the fields that it needs
SAMPLES: dict[str, tuple[Json, JsonObject]] = {
    "stream": (True, {}),
    "stream_options": ({"include_usage": True}, {"stream": True}),
    "max_tokens": (2048, {}),
    "max_completion_tokens": (2048, {}),
    "temperature": (0.5, {}),
    "top_p": (0.5, {}),
    "stop": (["END"], {}),
    "seed": (7, {}),
    "presence_penalty": (0.5, {}),
    "frequency_penalty": (0.5, {}),
    "logit_bias": ({"50256": -100}, {}),
    "logprobs": (True, {}),
    "top_logprobs": (3, {"logprobs": True}),
    "user": ("someone", {}),
    "tools": (_TOOLS["tools"], {}),
    "tool_choice": ("required", _TOOLS),
    "parallel_tool_calls": (False, _TOOLS),
    "response_format": (_FORMAT, {}),
    "reasoning_effort": ("low", {"max_tokens": 16_384}),
    "prompt_cache_key": ("a-key", {}),
    "verbosity": ("low", {}),
}
# The same of embeddings.
OF_EMBEDDINGS: dict[str, Json] = {"dimensions": 256, "encoding_format": "base64", "user": "someone"}
# The same of pictures.
OF_IMAGES: dict[str, Json] = {
    "n": 2,
    "size": "1024x1024",
    "quality": "low",
    "background": "opaque",
    "output_format": "jpeg",
    "output_compression": 50,
    "moderation": "low",
    "response_format": "url",
    "style": "natural",
    "user": "someone",
    "safety_identifier": "someone",
}
_QUESTION = [{"role": "user", "content": "Hi"}]


def list_parameters(model: ServedModel) -> tuple[str, ...]:
    """The fields that the model's first channel takes."""
    route = model.routes[0] if model.routes else None
    provider, upstream_id = (route.provider, route.upstream_id) if route else (model.provider, model.id)
    return parameters_by_kind(model.kinds, provider, upstream_id, route.wire if route else "")


def parameters_by_kind(kinds: Collection[str], provider: str, upstream_id: str, wire: str = "") -> tuple[str, ...]:
    """The fields of SAMPLES that a provider takes for a model of these kinds, and `n`, which we can make of parallel
    calls; of one that takes no conversation those of OF_EMBEDDINGS, or of OF_IMAGES."""
    if CHAT in kinds:
        return parameters_of(provider, upstream_id, wire)
    if EMBEDDINGS in kinds:
        return parameters_of_embeddings(provider, upstream_id)
    return parameters_of_images(provider, upstream_id) if IMAGES in kinds else ()


@functools.lru_cache(maxsize=16_384)
def parameters_of(provider: str, upstream_id: str, wire: str = "") -> tuple[str, ...]:
    taken = [field for field in SAMPLES if provider in PROVIDERS and is_taken(provider, upstream_id, field, wire)]
    return (*taken, "n")


@functools.lru_cache(maxsize=1024)
def parameters_of_embeddings(provider: str, upstream_id: str) -> tuple[str, ...]:
    translator = PROVIDERS[provider].translators.get(EMBEDDINGS) if provider in PROVIDERS else None
    if translator is None:
        return ()
    body = {"model": upstream_id, "input": "Hi", **OF_EMBEDDINGS}
    outgoing = translator.write_request(
        Order(read_embeddings(body, msgspec.convert(body, EmbeddingsRequest)), upstream_id)
    )
    return tuple(field for field in OF_EMBEDDINGS if field not in outgoing.dropped)


@functools.lru_cache(maxsize=1024)
def parameters_of_images(provider: str, upstream_id: str) -> tuple[str, ...]:
    translator = PROVIDERS[provider].translators.get(IMAGES) if provider in PROVIDERS else None
    if translator is None:
        return ()
    body = {"model": upstream_id, "prompt": "Hi", **OF_IMAGES}
    outgoing = translator.write_request(Order(read_images(body, msgspec.convert(body, ImagesRequest)), upstream_id))
    return tuple(field for field in OF_IMAGES if field not in outgoing.dropped)


def is_taken(provider: str, upstream_id: str, field: str, wire: str = "") -> bool:
    value, beside = SAMPLES[field]
    body = {"model": upstream_id, "messages": _QUESTION, **beside, field: value}
    try:
        outgoing = PROVIDERS[provider].write_request(Order(read_conversation(body), upstream_id, wire=wire))
    except AttemptFailed:
        return False
    return field not in outgoing.dropped
