"""The door of /v1: requires a key and writes errors. What needs no body is refused before the body is read."""

import functools
from collections.abc import Callable, Mapping
from typing import Any
from wsgiref.types import WSGIEnvironment

import gevent
import sqlalchemy as sa
import structlog
from flask import Flask, Response, request
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import HTTPException

from bridge.accounts.standing import tell_suspension
from bridge.addresses import is_within
from bridge.conversation.answer import ErrorWriter
from bridge.dialects.chat.writer import write_chat_error
from bridge.errors import (
    AccountSuspended,
    AddressNotAllowed,
    BridgeError,
    InvalidApiKey,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    Overloaded,
    PermissionDenied,
    RequestTooLarge,
    ServiceUnavailable,
    UnsupportedMediaType,
)
from bridge.inference.drill import DRILL
from bridge.inference.own_page import CALLER
from bridge.inference.services import Services
from bridge.multipart import MULTIPART
from bridge.telemetry import log_refusal
from bridge.turns import by_size, rest
from bridge.v1.packed_body import is_gzip, unpack
from bridge.v1.visit import Visit

PIECE_BYTES = 2**16
REST_PIECES = 8
BODY_IS_HERE = "bridge.body_is_here"  # in the environ: all of the body came with the head, as the server says
View = Callable[..., Response]
log = structlog.get_logger()


def guard(
    services: Services, view: View, write_error: ErrorWriter = write_chat_error, *, counts_refusals: bool = False
) -> View:
    """Put the view behind the door. The view gets a Visit; its errors become answers, which `write_error` writes, and
    what the request took is given back. `counts_refusals`: its customer can look up what was refused here."""

    def refuse(visit: Visit, error: BridgeError) -> Response:
        if counts_refusals and visit.caller is not None and not visit.left and DRILL not in visit.environ:
            model_id = services.name_model(visit.model)
            services.refusals.count(visit.caller, error, visit.request_id, visit.model, model_id)
        visit.leave()
        return visit.refuse(error)

    @functools.wraps(view)
    def guarded(environ: WSGIEnvironment, **arguments: Any) -> Response:
        visit = Visit.open(services, environ, write_error)
        try:
            _refuse_excess(visit)
            _refuse_size(visit)
            _find_caller(visit)
            return view(visit, **arguments)
        except BridgeError as error:
            if not visit.left:  # otherwise the ledger has logged its line
                log_refusal(visit.request_id, visit.caller, error.status, error.code)
                services.notes.refuse(error.status, error.code)
            if isinstance(error, ServiceUnavailable) and not services.draining:
                services.last_minute.fail()
            return refuse(visit, error)
        except sa.exc.SQLAlchemyError as error:
            services.last_minute.fail()
            log.error("database_away", request_id=visit.request_id, error=type(error).__name__)
            return refuse(visit, ServiceUnavailable("The database can't be reached. You were not charged."))
        except Exception:
            services.last_minute.break_off(visit.caller.account_id if visit.caller else 0)
            log.exception("unexpected", request_id=visit.request_id, path=environ["PATH_INFO"])
            return refuse(visit, ServiceUnavailable("Something broke on our side. You were not charged."))
        except BaseException:  # the greenlet was killed: nobody waits for an answer
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
    own = visit.environ.get(CALLER)
    caller = visit.services.find_caller(_find_secret(visit)) if own is None else own
    visit.identify(caller)
    if caller.account_status != "active":
        raise AccountSuspended(tell_suspension(caller.suspend_reason))
    if caller.is_left_behind:
        raise PermissionDenied(
            "The member whose key this is may not call models in this account. Ask an owner or admin of it."
        )
    if caller.addresses is not None and not is_within(visit.header("REMOTE_ADDR"), caller.addresses):
        raise AddressNotAllowed("This API key may not be used from this address.")
    if visit.take_share(caller.account_id).requests > visit.services.shares.most_requests:
        raise Overloaded(
            "This account has as many requests at once as one account may have here: wait for some of them to end.",
            retry_after_seconds=1,
        )


def _find_secret(visit: Visit) -> str:
    """The key. Other vendors' clients send theirs in another header: of two that differ nobody knows which is meant."""
    scheme, _, secret = visit.environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    given = [secret if scheme.lower() == "bearer" else "", visit.header("HTTP_X_API_KEY"), visit.header("HTTP_API_KEY")]
    secrets = {found for one in given if (found := one.strip())}
    if not secrets:
        raise InvalidApiKey("No API key was given. Send it as: Authorization: Bearer sk-…")
    if len(secrets) > 1:
        raise InvalidApiKey("Two different API keys were given: send one, as Authorization: Bearer sk-… or x-api-key.")
    return secrets.pop()


def read_body(visit: Visit, *, takes_forms: bool = False) -> bytes:
    """The body, declared or chunked, within its size and its time. `takes_forms`: fields and files are as good as JSON.
    Raises 400, 413, 415 or 503."""
    environ, settings = visit.environ, visit.services.settings
    kind = environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
    if kind and kind != "application/json" and not kind.endswith("+json"):
        if not takes_forms:
            raise UnsupportedMediaType("Send the body as JSON, with Content-Type: application/json.")
        if kind != MULTIPART:
            raise UnsupportedMediaType("Send the body as multipart/form-data, or as application/json.")
    packed = is_gzip(encoding) if (encoding := environ.get("HTTP_CONTENT_ENCODING")) else False
    length = int(environ.get("CONTENT_LENGTH") or 0) if not environ.get("HTTP_TRANSFER_ENCODING") else None
    _refuse_bodies(visit, length or 0)
    most_bytes = settings.max_body_bytes + 1 if length is None else length
    data = None
    try:
        if environ.get(BODY_IS_HERE):  # a timer would cost more than the reading
            data = _receive(visit, most_bytes)
        else:
            with gevent.Timeout(settings.body_timeout_seconds, False):
                data = _receive(visit, most_bytes)
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
    return _unpack(visit, data) if packed else data


def _unpack(visit: Visit, data: bytes) -> bytes:
    """The body as it was before its client packed it, within the same bounds."""
    most_bytes, pieces, size = visit.services.settings.max_body_bytes, list[bytes](), 0
    for piece in unpack(data):
        pieces.append(piece)
        size += len(piece)
        visit.keep_body(len(piece))
        if size > most_bytes:
            raise RequestTooLarge(f"The body is larger than {most_bytes} bytes once it is unpacked.")
        _refuse_bodies(visit)
        if len(pieces) > 1:
            rest()
    visit.keep_body(-len(data))
    return by_size(size, b"".join, pieces)


def _refuse_bodies(visit: Visit, more_bytes: int = 0) -> None:
    """Refuse a body beyond the bytes that this worker keeps for all bodies, or for those of the account."""
    services, share = visit.services, visit.share
    if services.shares.body_bytes + more_bytes > services.settings.max_bodies_in_memory_bytes:
        raise Overloaded("Too many large requests are being read at once.", retry_after_seconds=1)
    if share is not None and share.body_bytes + more_bytes > services.shares.most_body_bytes:
        raise Overloaded(
            "This account sends too many large requests at once: wait for some of them to end.", retry_after_seconds=1
        )


def _receive(visit: Visit, most_bytes: int) -> bytes:
    """Read the body, at most this many bytes. Only bytes that have arrived count as memory in use: a body that is
    announced and never sent must not keep others out."""
    source = visit.environ["wsgi.input"]
    pieces: list[bytes] = []
    while visit.body_bytes < most_bytes:
        piece = source.read(min(PIECE_BYTES, most_bytes - visit.body_bytes))
        if not piece:
            break
        pieces.append(piece)
        visit.keep_body(len(piece))
        if len(piece) < most_bytes:  # otherwise all was announced, and checked then
            _refuse_bodies(visit)
        if len(pieces) % REST_PIECES == 0:  # a read that needn't wait lets nobody else run
            rest()
    return pieces[0] if len(pieces) == 1 else by_size(visit.body_bytes, b"".join, pieces)


def count(visit: Visit, *, requests: int = 1, tokens: int = 0, lease_seconds: float = 0) -> None:
    """Put the request to the limits of its key and account. Raises RateLimitExceeded."""
    visit.admit(requests=requests, tokens=tokens, lease_seconds=lease_seconds)


def answer_http_errors(
    api: Flask, services: Services, error_writers: Mapping[str, ErrorWriter], not_here: Mapping[str, str]
) -> None:
    """Answer unknown routes and wrong methods in our error format; beneath a path of `error_writers`, in its own.
    Beneath one of `not_here` its words say why there is nothing."""

    def handle(error: HTTPException) -> Response:
        write_error = next((each for path, each in error_writers.items() if request.path.startswith(path)), None)
        visit = Visit.open(services, request.environ, write_error or write_chat_error)
        visit.leave()
        more: list[tuple[str, str]] = []
        why = next((each for path, each in not_here.items() if request.path.startswith(path)), None)
        if why is not None and error.code == 404:
            found: BridgeError = NotFound(why)
        elif request.headers.get("Upgrade", "").lower() == "websocket":
            found = NotFound("There is no WebSocket here: ask by POST.")
        elif error.code == 405:
            allowed = ", ".join(sorted(getattr(error, "valid_methods", None) or []))
            more.append(("Allow", allowed))
            found = MethodNotAllowed(f"{request.method} is not allowed here: use {allowed}.")
        elif error.code in (404, 308):
            found = NotFound(f"There is no {request.path[:200]} in this API. See /openapi.json for what there is.")
        else:
            found = InvalidRequest(error.description or "The request could not be read.")
        status, body = visit.write_error(found, visit.request_id)
        return visit.answer(body, status, [*found.headers(), *more])

    api.register_error_handler(HTTPException, handle)
