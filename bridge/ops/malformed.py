"""Refuses malformed HTTP/1.1 requests in the way that we refuse everything else, and logs them. gunicorn's own answer
would be a page that quotes what was sent, keys included, and so would its log."""

import re

from gunicorn.http import errors
from werkzeug.http import HTTP_STATUS_CODES

from bridge.errors import BridgeError, InvalidRequest, RequestTooLarge, ServiceUnavailable
from bridge.headers import NO_STORE, CommonHeaders

OTHER_VERSION = re.compile(r"HTTP/\d\.\d|PRI \* HTTP/2")
# The first match counts.
FAULTS: tuple[tuple[type[Exception], int, str], ...] = (
    (errors.LimitRequestLine, 414, "The address of this request is too long."),
    (errors.LimitRequestHeaders, 431, "The headers of this request are too large, or too many."),
    (errors.UnsupportedTransferCoding, 501, "The only transfer coding that is understood here is chunked."),
    (errors.ExpectationFailed, 417, "The only expectation that is understood here is 100-continue."),
    (errors.InvalidRequestMethod, 400, "The method of this request is none."),
    (errors.InvalidRequestLine, 400, "The first line of this request is not one of HTTP/1.1."),
    (errors.InvalidHeader, 400, "A header of this request is malformed, contradicts another, or is there twice."),
    (errors.InvalidHeaderName, 400, "The name of a header of this request is malformed."),
    (errors.ObsoleteFolding, 400, "A header of this request goes over several lines."),
    (errors.ParseException, 400, "This request is not one of HTTP/1.1."),
)


def explain_fault(error: Exception) -> BridgeError:
    """The error for a request that gunicorn can't read. It quotes nothing of the request."""
    if not isinstance(error, errors.ParseException):
        return ServiceUnavailable("Something broke on our side. You were not charged.")
    if _is_other_version(error):
        return _refuse(505, "This server speaks HTTP/1.0 and HTTP/1.1.")
    return next(_refuse(status, message) for kind, status, message in FAULTS if isinstance(error, kind))


def write_refusal(error: BridgeError, request_id: str, common: CommonHeaders, with_body: bool) -> bytes:
    """The whole answer. After it the connection is closed, since nobody knows where the next request would begin."""
    data = error.body()
    own = [
        ("Connection", "close"),
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(data))),
        ("x-request-id", request_id),
        NO_STORE,
        *error.headers(),
    ]
    lines = [f"HTTP/1.1 {error.status} {HTTP_STATUS_CODES[error.status]}\r\n"]
    lines += [f"{name}: {value}\r\n" for name, value in own]
    return "".join([*lines, common.text, "\r\n"]).encode("latin-1") + (data if with_body else b"")


def _is_other_version(error: Exception) -> bool:
    if isinstance(error, errors.InvalidHTTPVersion):
        return isinstance(error.version, tuple) or bool(OTHER_VERSION.fullmatch(error.version))
    return isinstance(error, errors.InvalidRequestLine) and bool(OTHER_VERSION.match(str(error.req)))


def _refuse(status: int, message: str) -> BridgeError:
    error = RequestTooLarge(message) if status in (414, 431) else InvalidRequest(message)
    error.status = status
    return error
