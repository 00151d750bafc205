"""Finds which request fields a model honours by asking its provider's own translation, so that the list is never
wrong."""

import functools

from bridge.catalogue.routing import ServedModel
from bridge.dialects.chat.read import read_conversation
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
_QUESTION = [{"role": "user", "content": "Hi"}]


def list_parameters(model: ServedModel) -> tuple[str, ...]:
    """The fields of SAMPLES that the model's first channel takes, and `n`, which we can make of parallel calls."""
    if model.routes:
        route = model.routes[0]
        return parameters_of(route.provider, route.upstream_id, route.wire)
    return parameters_of(model.provider, model.id)


@functools.lru_cache(maxsize=16_384)
def parameters_of(provider: str, upstream_id: str, wire: str = "") -> tuple[str, ...]:
    taken = [field for field in SAMPLES if provider in PROVIDERS and is_taken(provider, upstream_id, field, wire)]
    return (*taken, "n")


def is_taken(provider: str, upstream_id: str, field: str, wire: str = "") -> bool:
    value, beside = SAMPLES[field]
    body = {"model": upstream_id, "messages": _QUESTION, **beside, field: value}
    try:
        outgoing = PROVIDERS[provider].write_request(Order(read_conversation(body), upstream_id, wire=wire))
    except AttemptFailed:
        return False
    return field not in outgoing.dropped
