"""What an upstream's error answer means: who it speaks against, and what of it a client may read."""

import email.utils
import re
import time
from typing import Any

import msgspec

from bridge.providers.base import AttemptFailed, Blame

MAX_MESSAGE = 300
_CREDENTIAL_CODES: tuple[str, ...] = (
    "insufficient_quota",
    "invalid_api_key",
    "exceeded_current_quota_error",
    "authentication_error",
)
_CREDENTIAL_CODES += ("billing_error", "billing_hard_limit_reached", "permission_error", "account_deactivated")
_MODEL_CODES = ("model_not_found", "unsupported_country_region_territory")
_TOO_LONG = re.compile(r"maximum context length|prompt is too long|context_length|exceed(s|ed)? .{0,40}context", re.I)
# Whole phrases only: a provider's 400 may quote what the client wrote, and that must not take a channel out.
_ABOUT_US = re.compile(
    r"^(your )?credit balance is too low|^api key not valid|^(incorrect|invalid) api key|^you have reached your .{0,40}"
    r"(usage|spend)|^you exceeded your current quota|^your (account|organi[sz]ation) (is|has been) ",
    re.I,
)
# Every repetition that may fail late is bounded: a message can quote whatever a client wrote.
_SECRETS = re.compile(
    r"\b[a-z][a-z0-9+.]{0,15}://\S+|[^\s@]{1,64}@[^\s@]+|"
    r"\b(?:[a-z0-9-]{1,63}\.){1,8}(?:com|net|org|io|ai|dev|cn|local|internal|cloud)\b(?:[:/]\S*)?|"
    r"\b(?:\d{1,3}\.){3}\d{1,3}(?::\d+)?\b|"
    r"\b(?:sk|pk|rk|gsk|xai|org|proj|key|acct|acc|user|req)[-_][\w*.-]{4,}|\b(?:AIza|eyJ|AKIA|hf_)[\w.-]{8,}|"
    r"\S{0,20}\*{3,}\S*|"  # what the provider has masked in part
    r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b|\b(?=\w*\d)(?=\w*[a-z])\w{24,}\b|"  # ids, and keys of any make
    r"\b(?:organi[sz]ation|project|account)s?\b[^.]*",
    re.I,
)


def read_openai_error(status: int, headers: dict[str, str], data: bytes) -> AttemptFailed:
    """An error of OpenAI's dialect, whatever its envelope; HTML and empty bodies too. Never raises."""
    error = find_error(data)
    param = error.get("param")
    return explain_error(
        status,
        headers,
        code=text_of(error.get("code")),
        kind=text_of(error.get("type")),
        message=text_of(error.get("message")),
        param=param if isinstance(param, str) and len(param) < 200 else None,
    )


def explain_error(
    status: int,
    headers: dict[str, str],
    *,
    code: str,
    kind: str,
    message: str,
    param: str | None = None,
    retry_after_seconds: float | None = None,
) -> AttemptFailed:
    """What a provider's error means, whatever its dialect: `code` and `kind` (its type or status) are its own words.

    `retry_after_seconds` is for dialects that say it elsewhere than in the header."""
    reason = (
        f"{status} {code or kind}".strip() if status != 200 else f"an error inside a 200: {code or kind}".rstrip(": ")
    )
    blame = _blame(status, code, kind, message)
    if blame is not Blame.REQUEST:
        wait = retry_after_seconds if retry_after_seconds is not None else _retry_after(headers)
        return AttemptFailed(blame, reason[:MAX_MESSAGE], status=status, retry_after_seconds=wait)
    found_code = "context_length_exceeded" if code == "context_length_exceeded" or _TOO_LONG.search(message) else None
    return AttemptFailed(
        blame,
        reason[:MAX_MESSAGE],
        status=status,
        message=scrub(message) or "The provider refused this request as invalid.",
        param=param,
        code=found_code,
    )


def _blame(status: int, code: str, kind: str, message: str) -> Blame:
    if code in _CREDENTIAL_CODES or kind in _CREDENTIAL_CODES or status in (401, 402, 403):
        return Blame.CREDENTIAL
    if code in _MODEL_CODES or status in (404, 405) or 300 <= status < 400:
        return Blame.SETUP
    if status in (400, 413, 422):
        return Blame.CREDENTIAL if _ABOUT_US.search(message) else Blame.REQUEST
    if status == 429:
        return Blame.RATE
    return Blame.UPSTREAM


def scrub(message: str) -> str:
    """A provider's message without addresses, keys, organisations, projects and accounts, in 300 characters."""
    return " ".join(_SECRETS.sub("…", message).split())[:MAX_MESSAGE]


def find_error(data: bytes) -> dict[str, Any]:
    """The `error` object of a body, wherever it stands in it; {} where there is none. Never raises."""
    try:
        body = msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return {}
    if isinstance(body, list) and body:
        body = body[0]
    if not isinstance(body, dict):
        return {}
    error = body.get("error")
    if isinstance(error, str):
        return {"message": error}
    return error if isinstance(error, dict) else body  # some put the error's fields at the top


def text_of(value: Any) -> str:
    """A text from an upstream, of bounded length; "" for whatever is none."""
    return value[:2000].replace("\0", "") if isinstance(value, str) else ""  # NUL is no text for PostgreSQL


def _retry_after(headers: dict[str, str]) -> float | None:
    """Seconds until the upstream may be asked again: it says so in seconds, or as a moment."""
    text = headers.get("retry-after", "").strip()
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        moment = email.utils.parsedate_to_datetime(text)
        return max(0.0, moment.timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
