"""What an upstream's error answer means: who it speaks against, and what of it a client may read."""

import email.utils
import re
import time
from typing import Any

import msgspec

from bridge.providers.base import AttemptFailed, Blame
from bridge.providers.complaints import CODES, explain_complaint

MAX_MESSAGE = 300
REFUSED = "The provider refused this request as invalid."
TOO_LARGE = "The request is too large for the provider. Send smaller files, or less of the conversation."
_CREDENTIAL_CODES: tuple[str, ...] = (
    "insufficient_quota",
    "invalid_api_key",
    "exceeded_current_quota_error",
    "authentication_error",
    "invalid_authentication_error",
    "incorrect_api_key_error",
)
_CREDENTIAL_CODES += ("billing_error", "billing_hard_limit_reached", "permission_error", "account_deactivated")
_CREDENTIAL_CODES += ("permission_denied_error", "billing_not_active", "API_KEY_INVALID", "BILLING_DISABLED")
_MODEL_CODES: tuple[str, ...] = ("model_not_found", "not_found_error", "resource_not_found_error", "unsupported_model")
_MODEL_CODES += ("unsupported_country_region_territory", "OperationNotSupported", "DeploymentNotFound")
_OVERLOADED = ("engine_overloaded_error", "overloaded_error")
_LIMITED = ("rate_limit_error", "rate_limit_exceeded", "rate_limit_reached_error", "429")
# Whole phrases only: a provider's 400 may quote what the client wrote, and that must not take a channel out.
_ABOUT_US = re.compile(
    r"^(your )?credit balance is too low|^api key (not valid|expired)|^(incorrect|invalid) api key|"
    r"^you have reached your .{0,40}(usage|spend)|^you exceeded your current quota|^insufficient balance|"
    r"^(your|this) (account|organi[sz]ation) (is|has been) ",
    re.I,
)
_ABOUT_MODEL = re.compile(
    r"^the supported api model names are |^model not exist|^not found the model |^user location is not supported|"
    r"^the requested combination of response modalities|^models?/[\w.-]{1,80} is not found|"
    r"^(this is not a chat model|the chatcompletion operation does not work)|^[\w./:-]{1,80} is not a valid model id",
    re.I,
)
_FLAGGED = re.compile(r"requires moderation .{0,80}flagged", re.I | re.S)
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
        code=str(code) if type(code := error.get("code")) is int else text_of(code),
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
    word = kind if code.isdigit() or code == "invalid_request_error" else code or kind
    reason = f"{status} {word}".strip() if status != 200 else f"an error inside a 200: {word}".rstrip(": ")
    blame = _blame(status, code, kind, message)
    if blame is not Blame.REQUEST:
        wait = retry_after_seconds if retry_after_seconds is not None else _retry_after(headers)
        return AttemptFailed(blame, reason[:MAX_MESSAGE], status=status, retry_after_seconds=wait)
    known = explain_complaint(code if code in CODES else kind, message, param)
    said = known.message or (TOO_LARGE if status == 413 else message)
    return AttemptFailed(
        blame,
        reason[:MAX_MESSAGE],
        status=status,
        message=scrub(said) or REFUSED,
        param=None if known.param is None or scrub(known.param) != known.param else known.param,
        code=known.code,
    )


def _blame(status: int, code: str, kind: str, message: str) -> Blame:
    words = (code, kind)
    if any(word in _OVERLOADED for word in words):
        return Blame.UPSTREAM  # theirs, whatever the status: our own limit isn't reached
    if status == 403 and _FLAGGED.search(message):
        return Blame.REQUEST
    if any(word in _CREDENTIAL_CODES for word in words) or status in (401, 402, 403):
        return Blame.CREDENTIAL
    if any(word in _MODEL_CODES for word in words) or status in (404, 405) or 300 <= status < 400:
        return Blame.SETUP
    if status == 429 or (status in (200, 400, 413) and any(word in _LIMITED for word in words)):
        return Blame.RATE
    if status == 200 and code in ("401", "402", "403"):
        return Blame.CREDENTIAL
    if status in (400, 413, 422):
        if _ABOUT_US.search(message):
            return Blame.CREDENTIAL
        return Blame.SETUP if _ABOUT_MODEL.search(message) else Blame.REQUEST
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
