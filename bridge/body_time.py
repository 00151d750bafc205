"""The time limit of bodies that are sent to pages and webhooks: a body has arrived before the database is asked
anything."""

import random

import gevent
from flask import Flask, request
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, RequestTimeout

from bridge.config import Settings
from bridge.extensions import View

SPREAD_SECONDS = 1.0


def limit_body_time(app: Flask, settings: Settings) -> None:
    """Read every body within its time, before the app's other hooks run. Call this before adding them."""

    @app.before_request
    def read_body() -> None:
        view = app.view_functions.get(request.endpoint or "")
        if request.is_json and getattr(view, "passes_body_on", False):  # a form would be parsed by the hooks to come
            request.max_content_length = settings.max_body_bytes
        elif request.content_length or request.headers.get("Transfer-Encoding"):
            _read(settings.body_timeout_seconds)


def passes_body_on(view: View) -> View:
    """Mark a view that leaves a body of JSON to the API, which reads it within its own time and bounds."""
    view.passes_body_on = True  # type: ignore[attr-defined]
    return view


def _read(seconds: float) -> None:
    """Read and cache the body. Raises RequestTimeout, or BadRequest for malformed chunks."""
    with gevent.Timeout(seconds, False):
        try:
            request.get_data(cache=True)
        except RequestEntityTooLarge:  # the view's own read raises it again, and the view handles it
            pass
        except (OSError, ParseException):  # it ended early, or its chunks are malformed
            raise BadRequest from None
        return
    gevent.sleep(random.uniform(0, SPREAD_SECONDS))  # noqa: S311 - hundreds that began at once don't end at once
    raise RequestTimeout
