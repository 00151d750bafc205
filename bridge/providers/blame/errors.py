"""What an upstream's error answer means: who it speaks against, and what of it a client may read.

The words decide before the status. Of one answer all complaints are looked at, wherever they stand: what is said of
the operator's account comes first, then what is said of a limit there, then of this request, then of the model. Only
where no words are known the provider's code does, and last the status."""

import email.utils
import time
from collections.abc import Sequence

from bridge.providers.base import AttemptFailed, Blame
from bridge.providers.blame.complaint import TOO_LARGE, list_words
from bridge.providers.blame.complaints import Explained, explain_complaint, tell_unknown
from bridge.providers.blame.error_bodies import Said, list_said, unwrap
from bridge.providers.blame.of_account import (
    speaks_of_account,
    speaks_of_fault,
    speaks_of_limit,
    speaks_of_model,
)
from bridge.providers.blame.of_length import LARGE
from bridge.providers.blame.scrubbing import MAX_MESSAGE, keep_word

REFUSED = "The provider refused this request as invalid."
OF_REQUESTS = (400, 413, 422)  # the statuses that speak against the request where no words are known
_CREDENTIAL_CODES = list_words(
    "insufficient_quota invalid_api_key exceeded_current_quota_error authentication_error invalid_authentication_error "
    "incorrect_api_key_error billing_error billing_hard_limit_reached permission_error account_deactivated "
    "permission_denied_error billing_not_active api_key_invalid billing_disabled arrearage invalidapikey "
    "insufficient_credits insufficient_balance insufficient_user_quota account_not_active accountoverdueerror "
    "service_disabled consumer_suspended consumer_invalid organization_not_verified payment_required "
    "payment_required_error accessdeniedexception unrecognizedclientexception expiredtokenexception"
)
_MODEL_CODES = list_words(
    "model_not_found not_found_error resource_not_found_error unsupported_model unsupported_country_region_territory "
    "operationnotsupported deploymentnotfound model_not_available model_decommissioned model_terms_required "
    "invalid_model model_deprecated modelnotopen model_permission_blocked_org modelnotfound "
    "resourcenotfoundexception invalid_model_id"
)
_OVERLOADED = ("engine_overloaded_error", "overloaded_error")
_FAULTS = ("tool_use_failed", "upstream_error", "api_error", "server_error", "internal_error", "internal_server_error")
_LIMITED = ("rate_limit_error", "rate_limit_exceeded", "rate_limit_reached_error", "429", "throttlingexception")
_ELSEWHERE = (
    ("header",),
    ("query",),
    ("path",),
    ("cookie",),
)  # where FastAPI finds faults that are ours, not the client's


def read_openai_error(status: int, headers: dict[str, str], data: bytes) -> AttemptFailed:
    """An error of OpenAI's dialect, whatever its envelope; HTML and empty bodies too. Never raises."""
    said = list_said(data)
    first = next((one for one in said if one.message or one.code), Said("", "", "", None))
    return explain_error(
        status,
        headers,
        code=first.code,
        kind=first.kind,
        message=first.message,
        param=first.param,
        inner=said,
    )


def explain_error(  # noqa: PLR0913 - what an error is made of
    status: int,
    headers: dict[str, str],
    *,
    code: str,
    kind: str,
    message: str,
    param: str | None = None,
    retry_after_seconds: float | None = None,
    inner: Sequence[Said] = (),
) -> AttemptFailed:
    """What a provider's error means, whatever its dialect: `code` and `kind` (its type or status) are its own words,
    `inner` is what else stands in its body.

    `retry_after_seconds` is for dialects that say it elsewhere than in the header."""
    word = keep_word(kind if code.isdigit() or code == "invalid_request_error" or not keep_word(code) else code)
    reason = f"{status} {word}".strip() if status != 200 else f"an error inside a 200: {word}".rstrip(": ")
    outer = Said(code, kind, message, param)
    said = [outer, *(one for one in inner if one != outer)]
    blame, told = _judge(status, said)
    if told is None:
        wait = retry_after_seconds if retry_after_seconds is not None else _retry_after(headers)
        return AttemptFailed(blame, reason[:MAX_MESSAGE], status=status, retry_after_seconds=wait)
    words = told.message or tell_unknown(outer).message or (LARGE if status == 413 else REFUSED)
    return AttemptFailed(
        Blame.REQUEST, reason[:MAX_MESSAGE], status=status, message=words, param=told.param, code=told.code
    )


def find_refusal(data: bytes) -> AttemptFailed | None:
    """The refusal of this prompt that stands in what is no answer and doesn't call itself an error either."""
    failure = read_openai_error(200, {}, data)
    return failure if failure.blame is Blame.REQUEST else None


def _judge(status: int, said: Sequence[Said]) -> tuple[Blame, Explained | None]:
    """Whom an answer speaks against, and what the client is told if it is its request."""
    codes = [word.lower() for one in said for word in (one.code, one.kind, unwrap(one.message)) if word]
    if any(word in _OVERLOADED for word in codes):
        return Blame.UPSTREAM, None  # theirs, whatever the status: our own limit isn't reached
    if 300 <= status < 400:
        return Blame.SETUP, None
    texts = [text for one in said if (text := unwrap(one.message))]
    google_limit = "resource_exhausted" in codes
    if any(speaks_of_account(text, google_limit) for text in texts):
        return Blame.CREDENTIAL, None
    if any(speaks_of_limit(text, anywhere=status not in OF_REQUESTS) for text in texts):
        return _judge_code(status, codes) or _judge_limit(status), None
    if told := _find_told(status, said):
        return Blame.REQUEST, told
    return _judge_rest(status, said, texts, codes)


def _judge_rest(
    status: int, said: Sequence[Said], texts: Sequence[str], codes: Sequence[str]
) -> tuple[Blame, Explained | None]:
    """The same where no words about the account, a limit or the request were found."""
    blame = _judge_code(status, codes)
    if blame in (None, Blame.RATE) and (any(map(speaks_of_model, texts)) or any(map(_is_ours, said))):
        blame = Blame.SETUP
    broken = any(word in _FAULTS for word in codes) or any(map(speaks_of_fault, texts))
    if blame is not None or broken or status not in OF_REQUESTS:
        return blame or Blame.UPSTREAM, None
    inmost = next((one for one in reversed(said) if tell_unknown(one).message), said[0])
    told = tell_unknown(said[0] if inmost.message == said[0].message else inmost)
    return Blame.REQUEST, told._replace(code=TOO_LARGE) if status == 413 else told


def _is_ours(said: Said) -> bool:
    """Whether the fault is in what the client had no hand in: the model's name there, headers, the path."""
    return said.param == "model" or "model" in said.place[:2] or said.place[:1] in _ELSEWHERE


def _find_told(status: int, said: Sequence[Said]) -> Explained | None:
    """What is known of the request's fault, in the innermost complaint that says it best."""
    found = [told for one in said if (told := explain_complaint(one)) is not None]
    if status not in OF_REQUESTS:
        found = [told for told in found if told.sure]
    elif any(one.param == "model" for one in said):
        found = [told for told in found if told.sure and told.param is not None]
    return next((told for told in found if told.sure), found[0] if found else None)


def _judge_code(status: int, codes: Sequence[str]) -> Blame | None:
    if any(word in _CREDENTIAL_CODES or word.startswith("api_key_") for word in codes):
        return Blame.CREDENTIAL
    if status in (401, 402, 403) or (status == 200 and any(word in ("401", "402", "403") for word in codes)):
        return Blame.CREDENTIAL
    if any(word in _MODEL_CODES for word in codes) or status in (404, 405):
        return Blame.SETUP
    limited = status in (200, 400, 413) and any(word in _LIMITED for word in codes)
    return Blame.RATE if status == 429 or limited else None


def _judge_limit(status: int) -> Blame:
    return Blame.RATE if status in (429, *OF_REQUESTS) else Blame.UPSTREAM


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
