"""Reads Anthropic's errors: their envelope becomes the words that all providers' errors are explained with."""

import re

from bridge.providers.base import AttemptFailed, Blame, Remedy
from bridge.providers.blame.error_bodies import find_error, list_said, text_of
from bridge.providers.blame.errors import explain_error
from bridge.providers.blame.scrubbing import keep_word

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
# A complaint begins with the field that it is about, if there is one: "tools.0.custom.name: String should …".
_FIELD = re.compile(
    r"((?:max_tokens|messages|metadata|output_config|stop_sequences|system|temperature|thinking|tool_choice|tools|top_k"
    r"|top_p)[\w.]{0,100}):"
)


# Thoughts of another account or provider, or altered ones: their signature is refused, and they can't be told before.
_THOUGHTS = re.compile(
    r"invalid .?signature.? in .?thinking|invalid .?data.? in .?redacted_thinking|thinking.{0,60}blocks?"
    r".{0,80}cannot be modified",
    re.I,
)
GIVEN_BACK = "thoughts"  # what a request goes without, once those that the client gave back were refused


def read_anthropic_error(status: int, headers: dict[str, str], data: bytes) -> AttemptFailed:
    """An error answer, or the error event of a stream (status 200). Its edge's own answers may be no JSON."""
    error = find_error(data)
    kind, message = text_of(error.get("type")), text_of(error.get("message"))
    inside = status == 200
    found = _FIELD.match(message)
    failure = explain_error(
        STATUSES.get(kind, 500) if inside else status,
        headers,
        code="",
        kind=kind,
        message=message,
        param=found.group(1) if found else None,
        inner=list_said(data),
    )
    if failure.blame is Blame.REQUEST and _THOUGHTS.search(message):
        failure.remedy = Remedy(without=GIVEN_BACK)
    if inside:
        failure.status, failure.reason = status, f"an error inside a 200: {keep_word(kind)}".rstrip(": ")
    return failure
