"""What an error of Anthropic's says: its envelope, in the words that all providers' errors are explained with."""

import re

from bridge.providers.base import AttemptFailed, Blame
from bridge.providers.errors import explain_error, find_error, text_of

# Its kinds as statuses: an error inside a stream has none of its own.
STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
TOO_LARGE = "The request is larger than this provider takes. Send smaller files, or less of the conversation."
_ABOUT_US = re.compile(r"^this organi[sz]ation has been |^your (workspace|plan) |workspace api usage limits", re.I)
_PICTURE = re.compile(
    r"(could not process|unable to download|invalid)\b.{0,20}\bimage|\bimage (exceeds|dimensions)", re.I
)
_FIELD = re.compile(r"([a-z_]+)[.:]")
# Fields of its requests, as the client knows them. Places within a field are left out: turns have been merged.
_PARAMS = {
    "max_tokens": "max_tokens",
    "messages": "messages",
    "output_config": "response_format",
    "stop_sequences": "stop",
    "system": "messages",
    "temperature": "temperature",
    "thinking": "thinking",
    "tool_choice": "tool_choice",
    "tools": "tools",
    "top_k": "top_k",
    "top_p": "top_p",
}


def read_anthropic_error(status: int, headers: dict[str, str], data: bytes) -> AttemptFailed:
    """An error answer, or the error event of a stream (status 200). Its edge's own answers may be no JSON."""
    error = find_error(data)
    kind, message = text_of(error.get("type")), text_of(error.get("message"))
    inside = status == 200
    status = STATUSES.get(kind, 200) if inside else status
    if status == 413:
        message = TOO_LARGE
    if status == 400 and _ABOUT_US.search(message):
        kind = "billing_error"
    found = _FIELD.match(message)
    param = _PARAMS.get(found.group(1)) if found else None
    failure = explain_error(status, headers, code="", kind=kind, message=message, param=param)
    if inside:
        failure.status, failure.reason = 200, f"an error inside a 200: {kind[:100]}".rstrip(": ")
    if failure.blame is Blame.REQUEST and failure.code is None and _PICTURE.search(message):
        failure.code = "invalid_image"
    return failure
