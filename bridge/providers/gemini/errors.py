"""What Gemini's errors mean: `{error: {code, message, status, details}}`, at times within a list."""

import re

from bridge.json_types import Json
from bridge.providers.base import AttemptFailed, Blame
from bridge.providers.blame.error_bodies import find_error, list_said, text_of
from bridge.providers.blame.errors import explain_error
from bridge.providers.blame.scrubbing import keep_word

# Our balance and our place, which Google reports as a mistake or as a limit.
_ABOUT_US = re.compile(r"^your (prepayment|prepaid) credits? |^user location is not supported", re.I)
_PRECONDITION = re.compile(r"\bbilling\b|\blocation\b|\bcountry\b|\bregion\b|\bfree tier\b", re.I)
# A model that can't answer with text is our catalogue's mistake: nobody asks for anything else.
_ABOUT_MODEL = re.compile(r"\bresponse modalities\b", re.I)
# Reported as our missing right, but it was the client who named the file.
_ABOUT_FILE = re.compile(r"\bpermission to access the file\b", re.I)
_DELAY = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s")


def read_gemini_error(status: int, headers: dict[str, str], data: bytes) -> AttemptFailed:
    """An error answer, or an error inside a 200; HTML and empty bodies too. Never raises."""
    error = find_error(data)
    kind, message = text_of(error.get("status")), text_of(error.get("message"))
    details = error.get("details")
    reason, wait = _read_details(details if isinstance(details, list) else [])
    about_us = _ABOUT_US.search(message) or (kind == "FAILED_PRECONDITION" and _PRECONDITION.search(message))
    if reason.startswith("API_KEY") or about_us:
        return AttemptFailed(Blame.CREDENTIAL, f"{status} {keep_word(reason or kind)}".strip(), status=status)
    if status == 400 and _ABOUT_MODEL.search(message):
        return AttemptFailed(Blame.SETUP, "400 the model gives no text", status=status)
    if status == 403 and _ABOUT_FILE.search(message):
        message = "The provider can't read a file that the request names."
        return AttemptFailed(
            Blame.REQUEST, "403", status=status, message=message, param="messages", code="invalid_image"
        )
    return explain_error(
        status, headers, code=reason, kind=kind, message=message, retry_after_seconds=wait, inner=list_said(data)
    )


def _read_details(details: list[Json]) -> tuple[str, float | None]:
    """The reason that Google gives beside the status, and the seconds to wait before the next attempt."""
    reason, wait = "", None
    for detail in details:
        if not isinstance(detail, dict):
            continue
        reason = reason or text_of(detail.get("reason"))
        delay = _DELAY.fullmatch(text_of(detail.get("retryDelay")))
        if delay:
            wait = float(delay.group(1))
    return reason, wait
