"""Errors as Anthropic's clients read them: their kinds, their status, and the words that agents act on."""

import re

import msgspec

from bridge.errors import BridgeError, Overloaded
from bridge.json_types import JsonObject

# By status; anything else is an invalid request below 500 and an error of ours from there on.
TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    405: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
OVERLOADED = 529
# Claude Code shortens its conversation when it reads this, word for word.
TOO_LONG = "prompt is too long"
TOGETHER = "input length and `max_tokens` exceed context limit"
_BOTH = re.compile(r"too long: ([\d,]+) tokens, of at most ([\d,]+)")
_MOST = re.compile(r"too long: this model takes ([\d,]+) tokens")
_TOGETHER = re.compile(r"prompt \(([\d,]+) tokens\) and max_tokens \(([\d,]+)\) are more than the ([\d,]+)")
_encode = msgspec.json.encode


def status_of(error: BridgeError) -> int:
    """Our own overload has a status of Anthropic's."""
    return OVERLOADED if isinstance(error, Overloaded) else error.status


def describe_error(error: BridgeError, request_id: str | None = None) -> JsonObject:
    """The error as an event or a body."""
    status = status_of(error)
    kind = TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
    named = {} if request_id is None else {"request_id": request_id}
    return {"type": "error", "error": {"type": kind, "message": _say(error)}, **named}


def write_messages_error(error: BridgeError, request_id: str) -> tuple[int, bytes]:
    """See ErrorWriter."""
    return status_of(error), _encode(describe_error(error, request_id))


def _say(error: BridgeError) -> str:
    if error.code == "context_length_exceeded":
        return _say_too_long(error.message)
    field = error.param or ""
    if error.status == 400 and field and field not in error.message:
        return f"{field}: {error.message}"
    return error.message


def _say_too_long(message: str) -> str:
    """Whatever a provider says of a prompt that is too long, as Anthropic says it."""
    if found := _TOGETHER.search(message):
        prompt, cap, window = map(_digits, found.groups())
        return f"{TOGETHER}: {prompt} + {cap} > {window}. {message}"
    if found := _BOTH.search(message):
        prompt, most = map(_digits, found.groups())
        return f"{TOO_LONG}: {prompt} tokens > {most} maximum"
    if found := _MOST.search(message):
        most = _digits(found.group(1))
        return f"{TOO_LONG}: {int(most) + 1} tokens > {most} maximum"
    return f"{TOO_LONG}. {message}"


def _digits(text: str) -> str:
    return text.replace(",", "") or "0"
