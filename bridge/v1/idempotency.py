"""Requests with the same Idempotency-Key get the same answer, which is charged once."""

import hashlib

from flask import Response

from bridge.errors import InvalidRequest
from bridge.ledger.idempotency import Claim, KeptAnswer, claim_key
from bridge.v1.visit import Visit

MAX_KEY_CHARACTERS = 255


def read_claim(visit: Visit) -> Claim | None:
    """The request's claim to its Idempotency-Key, or None without one; an empty value counts as none. Raises
    InvalidRequest."""
    key = visit.header("HTTP_IDEMPOTENCY_KEY").strip()
    if not key:
        return None
    if len(key) > MAX_KEY_CHARACTERS or not all(" " <= letter <= "~" for letter in key):
        raise InvalidRequest(
            f"Idempotency-Key must be at most {MAX_KEY_CHARACTERS} printable ASCII characters.",
            param="Idempotency-Key",
            code="invalid_value",
        )
    assert visit.caller is not None
    return Claim(visit.caller.account_id, key, visit.request_id)


def find_answer(visit: Visit, claim: Claim, data: bytes, *, stream: bool) -> Response | None:
    """The kept answer to the same request, or None if this request is to run. Raises IdempotencyConflict and
    IdempotencyMismatch."""
    settings = visit.services.settings
    fingerprint = hashlib.sha256(visit.environ["PATH_INFO"].encode() + b"\0" + data).hexdigest()
    seconds = settings.total_timeout_seconds + settings.hold_grace_seconds
    with visit.services.app.app_context():
        kept = claim_key(claim, fingerprint, stream=stream, seconds=seconds)
    return None if kept is None else _replay(visit, kept)


def _replay(visit: Visit, kept: KeptAnswer) -> Response:
    """The answer as it was given, under the id of the request that was charged."""
    visit.leave()
    visit.answer_for(kept.request_id)
    more = [("Idempotent-Replayed", "true"), ("x-bridge-cost", "0"), ("x-bridge-attempts", "0")]
    if not kept.stream:
        return visit.answer(kept.body, 200, more)
    return visit.stream([kept.body], more)
