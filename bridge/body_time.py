"""The time limit of what is sent to pages and webhooks: a body is there before anything is asked of the database."""

import gevent
from flask import Flask, request
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, RequestTimeout

from bridge.config import Settings


def limit_body_time(app: Flask, settings: Settings) -> None:
    """Read every body before the app's other hooks do, within its time. Must come before them."""

    @app.before_request
    def read_body() -> None:
        if request.content_length or request.headers.get("Transfer-Encoding"):
            _read(settings.body_timeout_seconds)


def _read(seconds: float) -> None:
    """Keep the body for whoever asks for it. Raises RequestTimeout, or BadRequest for chunks that are none."""
    with gevent.Timeout(seconds, False):
        try:
            request.get_data(cache=True)
        except RequestEntityTooLarge:  # whoever asks for it is told so again, and knows how to say it
            pass
        except ParseException:
            raise BadRequest from None
        return
    raise RequestTimeout
