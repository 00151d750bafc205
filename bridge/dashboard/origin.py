"""Accepts forms of this site only, by its PUBLIC_BASE_URL. The Host header, which proxies change, decides nothing. A
browser that sends neither Origin nor Referer is trusted by its form's token alone."""

from urllib.parse import urlsplit

from flask import Flask, current_app, request
from werkzeug.wrappers import Response

from bridge.config import Settings
from bridge.dashboard.error_pages import show_error
from bridge.languages import translate

SAFE = ("GET", "HEAD", "OPTIONS")
PORTS = {"http": 80, "https": 443}


def register(app: Flask) -> None:
    """Check the origin before any form is handled."""
    app.config["WTF_CSRF_SSL_STRICT"] = False  # it would compare Referer with Host
    app.before_request(refuse_other_origins)


def refuse_other_origins() -> Response | None:
    """The error page for a form from another site than ours; it says where the form came from."""
    settings: Settings = current_app.config["BRIDGE"]
    origin = request.headers.get("Origin", "null")
    if request.method in SAFE or request.blueprint == "webhooks" or origin == "null" or not settings.public_base_url:
        return None
    if _read_origin(origin) == _read_origin(settings.public_base_url):
        return None
    text = translate(
        "This form was opened at another address than this gateway's own, %(url)s. Nothing was changed. Open the page "
        "there. If it is the address that you used, its PUBLIC_BASE_URL is set to another one.",
        url=settings.site_url,
    )
    return show_error(400, translate("This form comes from another address"), text)


def _read_origin(text: str) -> tuple[str, str, int | None] | None:
    """Scheme, host and port; None for text that is not a URL."""
    try:
        parts = urlsplit(text)
        return parts.scheme, parts.hostname or "", parts.port or PORTS.get(parts.scheme)
    except ValueError:
        return None
