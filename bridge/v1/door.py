"""The door of /v1: a key is required, and how errors read. What needs no body is refused before it is read."""

import functools
from collections.abc import Callable
from typing import Any

import gevent
import sqlalchemy as sa
import structlog
from flask import Flask, Response, request
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import HTTPException

from bridge.addresses import is_within
from bridge.errors import (
    AccountSuspended,
    AddressNotAllowed,
    BridgeError,
    InvalidApiKey,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    Overloaded,
    RequestTooLarge,
    ServiceUnavailable,
    UnsupportedMediaType,
)
from bridge.limits.limits import admit
from bridge.telemetry import log_refusal
from bridge.v1.services import Services
from bridge.v1.visit import Visit

PIECE_BYTES = 2**16
View = Callable[..., Response]
log = structlog.get_logger()


def guard(services: Services, view: View) -> View:
    """The view behind the door. It gets a Visit; what it raises becomes an answer, and nothing it took stays taken."""

    @functools.wraps(view)
    def guarded(environ: dict[str, Any], **arguments: Any) -> Response:
        visit = Visit.open(services, environ)
        try:
            _refuse_excess(visit)
            _refuse_size(visit)
            _find_caller(visit)
            return view(visit, **arguments)
        except BridgeError as error:
            if not visit.left:  # else the ledger has its line
                log_refusal(visit.request_id, visit.caller, error.status, error.code)
            visit.leave()
            return visit.refuse(error)
        except sa.exc.SQLAlchemyError as error:
            visit.leave()
            log.error("database_away", request_id=visit.request_id, error=type(error).__name__)
            return visit.refuse(ServiceUnavailable("The database can't be reached. You were not charged."))
        except Exception:
            visit.leave()
            log.exception("unexpected", request_id=visit.request_id, path=environ["PATH_INFO"])
            return visit.refuse(ServiceUnavailable("Something broke on our side. You were not charged."))
        except BaseException:  # the greenlet is ended: nobody waits for an answer
            visit.leave()
            raise

    return guarded


def _refuse_excess(visit: Visit) -> None:
    if visit.services.in_flight > visit.services.settings.max_in_flight:
        raise Overloaded("The gateway is at its limit of requests at once.", retry_after_seconds=1)


def _refuse_size(visit: Visit) -> None:
    length = visit.environ.get("CONTENT_LENGTH")
    if length and length.isdigit() and int(length) > visit.services.settings.max_body_bytes:
        raise RequestTooLarge(f"The body is larger than {visit.services.settings.max_body_bytes} bytes.")


def _find_caller(visit: Visit) -> None:
    scheme, _, secret = visit.header("HTTP_AUTHORIZATION").partition(" ")
    if not secret or scheme.lower() != "bearer":  # other vendors' clients have a header of their own for it
        secret = visit.header("HTTP_X_API_KEY") or visit.header("HTTP_API_KEY")
    if not secret:
        raise InvalidApiKey("No API key was given. Send it as: Authorization: Bearer sk-…")
    caller = visit.services.find_caller(secret.strip())
    visit.caller = caller
    if caller.account_status != "active":
        raise AccountSuspended("This account is suspended. Write to the operator of this gateway.")
    if caller.addresses is not None and not is_within(visit.header("REMOTE_ADDR"), caller.addresses):
        raise AddressNotAllowed("This API key may not be used from this address.")
    if visit.take_share(caller.account_id).requests > visit.services.shares.most_requests:
        raise Overloaded(
            "This account has as many requests at once as one account may have here: wait for some of them to end.",
            retry_after_seconds=1,
        )


def read_body(visit: Visit) -> bytes:
    """The body, declared or chunked, within its size and its time. Raises 400, 413, 415 or 503."""
    environ, settings = visit.environ, visit.services.settings
    kind = environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
    if kind and kind != "application/json" and not kind.endswith("+json"):
        raise UnsupportedMediaType("Send the body as JSON, with Content-Type: application/json.")
    length = int(environ.get("CONTENT_LENGTH") or 0) if not environ.get("HTTP_TRANSFER_ENCODING") else None
    _refuse_bodies(visit, length or 0)
    data = None
    try:
        with gevent.Timeout(settings.body_timeout_seconds, False):
            data = _receive(visit, settings.max_body_bytes + 1 if length is None else length)
    except (OSError, ParseException):
        raise InvalidRequest("The body ended early, or its chunks are malformed.", code="invalid_json") from None
    if data is None:
        raise InvalidRequest(
            f"The body did not arrive within {settings.body_timeout_seconds:g} seconds.", code="invalid_json"
        )
    if len(data) > settings.max_body_bytes:
        raise RequestTooLarge(f"The body is larger than {settings.max_body_bytes} bytes.")
    if length is not None and len(data) < length:
        raise InvalidRequest("The body ended early.", code="invalid_json")
    return data


def _refuse_bodies(visit: Visit, more_bytes: int = 0) -> None:
    """Refuse what would be beyond the bodies that this worker keeps, or beyond the account's part of them."""
    services, share = visit.services, visit.share
    if services.body_bytes + more_bytes > services.settings.max_bodies_in_memory_bytes:
        raise Overloaded("Too many large requests are being read at once.", retry_after_seconds=1)
    if share is not None and share.body_bytes + more_bytes > services.shares.most_body_bytes:
        raise Overloaded(
            "This account sends too many large requests at once: wait for some of them to end.", retry_after_seconds=1
        )


def _receive(visit: Visit, most_bytes: int) -> bytes:
    """The body as far as it comes, at most so many bytes. Only what has arrived counts as memory in use: what is
    announced and never sent is not to keep others out."""
    source = visit.environ["wsgi.input"]
    pieces: list[bytes] = []
    while visit.body_bytes < most_bytes:
        piece = source.read(min(PIECE_BYTES, most_bytes - visit.body_bytes))
        if not piece:
            break
        pieces.append(piece)
        visit.keep_body(len(piece))
        _refuse_bodies(visit)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def count(visit: Visit, *, requests: int, tokens: int = 0, lease_seconds: float = 0) -> None:
    """Put the request to the limits of its key and account. Raises RateLimitExceeded."""
    assert visit.caller is not None
    try:
        visit.admission = admit(
            visit.services.counters,
            visit.caller,
            visit.request_id,
            requests=requests,
            tokens=tokens,
            lease_seconds=lease_seconds,
        )
    except BridgeError as error:
        visit.windows = dict(getattr(error, "windows", {}))
        raise
    visit.windows = visit.admission.windows
    visit.reserved_tokens = tokens


def answer_http_errors(api: Flask, services: Services) -> None:
    """Unknown routes and wrong methods, in the error's shape."""

    def handle(error: HTTPException) -> Response:
        visit = Visit.open(services, request.environ)
        visit.leave()
        more: list[tuple[str, str]] = []
        if error.code == 405:
            allowed = ", ".join(sorted(getattr(error, "valid_methods", None) or []))
            more.append(("Allow", allowed))
            found: BridgeError = MethodNotAllowed(f"{request.method} is not allowed here: use {allowed}.")
        elif error.code in (404, 308):
            found = NotFound(f"There is no {request.path[:200]} in this API. See /openapi.json for what there is.")
        else:
            found = InvalidRequest(error.description or "The request could not be read.")
        return visit.answer(found.body(), found.status, [*found.headers(), *more])

    api.register_error_handler(HTTPException, handle)
