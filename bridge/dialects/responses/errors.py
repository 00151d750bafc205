"""Refusals of a Responses request: chat's shape, with the names that this dialect has for the fields at fault."""

import re

from bridge.dialects.responses.request import ForeignParameter
from bridge.errors import BridgeError, error_body

# What a provider's side calls by chat's name.
_NAMES = {
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
    "reasoning_effort": "reasoning.effort",
    "thinking": "reasoning",
    "response_format": "text.format",
    "response_format.type": "text.format.type",
    "response_format.json_schema": "text.format",
    "verbosity": "text.verbosity",
    "messages": "input",
}
_SCHEMA = re.compile(r"^response_format\.json_schema\.")
_FUNCTION = re.compile(r"^(tools\[\d+\])\.(?:function|custom)\b")


def write_responses_error(error: BridgeError, request_id: str) -> tuple[int, bytes]:
    """See ErrorWriter."""
    param = error.param
    if param is None or isinstance(error, ForeignParameter):
        return error.status, error.body()
    named = _NAMES.get(param) or _FUNCTION.sub(r"\1", _SCHEMA.sub("text.format.", param))
    message = error.message.replace(param, named, 1) if named != param else error.message
    return error.status, error_body(message, error.type, error.code, named)
