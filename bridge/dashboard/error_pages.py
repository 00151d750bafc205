"""Errors as pages: what happened, what it means, the request id and a way back."""

import math
import time
from collections.abc import Sequence

import structlog
from flask import Flask, current_app, g, make_response, render_template, request
from flask_wtf.csrf import CSRFError
from sqlalchemy.exc import DataError, DBAPIError, TimeoutError
from werkzeug.exceptions import HTTPException, InternalServerError, ServiceUnavailable, TooManyRequests
from werkzeug.wrappers import Response

from bridge.api_paths import comes_from_program
from bridge.config import Settings
from bridge.db import db
from bridge.errors import BridgeError, NotFound, RoleRefused, ViewOnly
from bridge.extensions import limiter
from bridge.languages import to_translate, translate
from bridge.telemetry import new_request_id

log = structlog.get_logger()

WORDS = {
    400: (
        to_translate("This request can't be read"),
        to_translate("A field is missing or has a value that makes no sense here."),
    ),
    403: (
        to_translate("This door is closed to you"),
        to_translate("Your account has no access to this page."),
    ),
    404: (
        to_translate("No such page"),
        to_translate("The address is wrong, or what was here is gone."),
    ),
    405: (
        to_translate("This address takes no such request"),
        to_translate("It was probably meant for a form. Open the page it belongs to."),
    ),
    408: (
        to_translate("This form came too slowly"),
        to_translate("It did not arrive in time, and nothing was changed. Send it again."),
    ),
    413: (
        to_translate("That is too much at once"),
        to_translate("The form was larger than this page takes. Nothing was changed."),
    ),
    429: (
        to_translate("Too many tries"),
        to_translate("This page allows only so many tries in a while. Wait, then try again."),
    ),
    500: (
        to_translate("Something broke on our side"),
        to_translate("It was noted. Nothing was charged for this page; try again in a moment."),
    ),
    503: (
        to_translate("The database does not answer"),
        to_translate("Nothing was changed and nothing was charged. Try again in a moment."),
    ),
}
REFUSED: dict[type[BridgeError], str] = {
    RoleRefused: to_translate("Your role does not include this"),
    ViewOnly: to_translate("You are only looking"),
}
EXPIRED_FORM = (
    to_translate("This form has expired"),
    to_translate("Nothing was changed. Go back, reload the page and send it again."),
)


def register(app: Flask) -> None:
    """Give every request an id, and every error of a page a page."""
    app.before_request_funcs.setdefault(None, []).insert(0, give_request_id)  # before any hook that may refuse it
    app.register_error_handler(HTTPException, show_http_error)
    app.register_error_handler(CSRFError, show_expired_form)
    app.register_error_handler(BridgeError, show_bridge_error)
    app.register_error_handler(DBAPIError, show_database_error)
    for refused_value in (DataError, OverflowError):  # PostgreSQL stores no NUL, SQLite no number beyond 64 bits
        app.register_error_handler(refused_value, show_impossible_value)
    app.register_error_handler(TimeoutError, show_database_error)


def give_request_id() -> None:
    g.request_id = new_request_id()


def show_error(
    status: int, title: str, text: str, headers: dict[str, str] | None = None, near: Sequence[str] = ()
) -> Response:
    """The page of an error, in words that are translated. `near` are models that may have been meant."""
    page = render_template("errors/error.html", status=status, title=title, text=text, near=near)
    return make_response(page, status, headers or {})


def show_http_error(error: HTTPException) -> Response:
    """A page for an error of Flask or a view. Redirects and the like pass unchanged."""
    status = error.code or 500
    if status < 400:
        return error.get_response()
    if isinstance(error, InternalServerError):
        log.error("page_failed", request_id=g.get("request_id"), path=request.path)
        g.plain = True  # the error page uses nothing that may be broken
    if status in (404, 405) and comes_from_program(request.environ):
        return explain_base_url(status)
    title, text = _say(WORDS[status]) if status in WORDS else (error.name, error.description or "")
    return show_error(status, title, text, _headers(error))


def _say(words: tuple[str, str]) -> tuple[str, str]:
    title, text = words
    return translate(title), translate(text)


def explain_base_url(status: int) -> Response:
    """Tell a program that asks a page's URL with a key, or for JSON, that its base URL is wrong."""
    settings: Settings = current_app.config["BRIDGE"]
    error = NotFound(
        f"There is nothing here for programs. The base URL of this API is {settings.site_url}/v1, "
        f"and its description is at {settings.site_url}/openapi.json.",
        code="not_found",
    )
    return Response(error.body(), status, content_type="application/json")


def _headers(error: HTTPException) -> dict[str, str]:
    kept = {name: value for name, value in error.get_headers() if name == "Allow"}
    if isinstance(error, TooManyRequests) and limiter.current_limit:
        kept["Retry-After"] = str(max(1, math.ceil(limiter.current_limit.reset_at - time.time())))
    return kept


def show_expired_form(error: CSRFError) -> Response:
    return show_error(400, *_say(EXPIRED_FORM))


def show_impossible_value(error: Exception) -> Response:
    """A page for a URL or a form with a value that no row can have."""
    db.session.rollback()
    status = 404 if request.method == "GET" else 400
    return show_error(status, *_say(WORDS[status]))


def show_bridge_error(error: BridgeError) -> Response:
    title = REFUSED.get(type(error)) or WORDS.get(error.status, WORDS[400])[0]
    return show_error(error.status, translate(title), error.message, dict(error.headers()))


def show_database_error(error: Exception) -> Response:
    """A page for a failed database: it says that no money moves, and asks the database nothing."""
    g.plain = True  # before the log, too, checks who is signed in
    log.error("database_failed", request_id=g.get("request_id"), path=request.path, exc_info=error)
    return show_error(ServiceUnavailable.code, *_say(WORDS[503]), {"Retry-After": "5"})
