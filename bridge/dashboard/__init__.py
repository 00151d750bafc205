"""The pages: register() gives the app its doors, filters, headers, error pages and static files."""

import datetime
import functools
import hashlib
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from flask import Flask, current_app, g, request, url_for
from flask_login import current_user
from flask_wtf.csrf import generate_csrf
from markupsafe import Markup
from secure import ContentSecurityPolicy, ReferrerPolicy, Secure, StrictTransportSecurity, XContentTypeOptions
from werkzeug.wrappers import Response
from whitenoise import WhiteNoise

from bridge.accounts.key_limits import limit_key
from bridge.catalogue.listing import sandbox_serves
from bridge.config import Settings
from bridge.dashboard import (  # noqa: F401 - billing, keys, overview, settings and usage hang their pages on the door
    billing,
    door,
    error_pages,
    extras,
    filters,
    keys,
    origin,
    overview,
    public,
    settings,
    usage,
    welcome,
)
from bridge.dashboard.snippets import base_url, highlight
from bridge.extensions import login_manager
from bridge.ledger import ledger

SESSION_DAYS = 14
YEAR_SECONDS = 365 * 24 * 3600
PAGE_HEADERS = Secure(
    csp=ContentSecurityPolicy()
    .default_src("'self'")
    .img_src("'self'", "data:")
    .object_src("'none'")
    .base_uri("'none'")
    .frame_ancestors("'none'")
    .form_action("'self'", "https://checkout.stripe.com"),  # a top-up's form is redirected there
    referrer=ReferrerPolicy().strict_origin_when_cross_origin(),
    xcto=XContentTypeOptions(),
).header_items()
TLS_HEADERS = Secure(hsts=StrictTransportSecurity().max_age(YEAR_SECONDS)).header_items()


def register(app: Flask) -> None:
    """Bind the pages to the app: public ones, sign-in, and the dashboard behind its door."""
    app.config.update(
        PERMANENT_SESSION_LIFETIME=datetime.timedelta(days=SESSION_DAYS),
        WTF_CSRF_TIME_LIMIT=None,  # a form is good as long as its session
        MAX_CONTENT_LENGTH=2**20,
        MAX_FORM_MEMORY_SIZE=2**18,
    )
    login_manager.user_loader(welcome.load_visitor)
    for blueprint in (public.public, welcome.welcome, door.dashboard, extras.alerts):
        app.register_blueprint(blueprint)
    filters.register(app)
    error_pages.register(app)
    origin.register(app)
    app.context_processor(page_context)
    app.add_template_global(csrf_field, "csrf_field")
    app.add_template_global(asset, "asset")
    app.add_template_filter(highlight, "highlight")
    app.add_template_filter(limit_key, "limit_key")
    app.after_request(guard_answer)
    serve_static(app)


def guard_answer(answer: Response) -> Response:
    """Security headers on every answer of the pages; what only one person may see is stored nowhere."""
    for name, value in (*PAGE_HEADERS, *(TLS_HEADERS if request.is_secure else ())):
        answer.headers.setdefault(name, value)
    answer.headers.setdefault("x-request-id", g.get("request_id", ""))
    if answer.mimetype == "text/html":
        public_page = request.blueprint == "public" and answer.status_code == 200 and not is_signed_in()
        answer.headers["Cache-Control"] = "private, no-cache" if public_page else "no-store"
    return answer


def is_signed_in() -> bool:
    """Whether someone is, without asking a database that has just failed."""
    return not g.get("plain") and bool(current_user.is_authenticated)


def page_context() -> dict[str, Any]:
    """What every template may use. What costs a query is a function: pages that do not show it do not pay for it."""
    chosen: Settings = current_app.config["BRIDGE"]
    theme = request.cookies.get("theme", "auto")
    theme = theme if theme in welcome.THEMES else "auto"
    signed_in = is_signed_in()
    return {
        "theme": theme,
        "next_theme": welcome.theme_after(theme),
        "signed_in": signed_in,
        "suspended": signed_in and current_user.is_suspended,
        "shell": "base.html" if signed_in else "public.html",
        "signup_mode": chosen.signup_mode,
        "base_url": base_url(),
        "available": functools.partial(ledger.find_balance, current_user.account_id) if signed_in else lambda: None,
        "sandbox_serves": (lambda: False) if g.get("plain") else sandbox_serves,
        "request_id": g.get("request_id", ""),
    }


def csrf_field() -> Markup:
    """The hidden field that every form of ours carries."""
    return Markup('<input type="hidden" name="csrf_token" value="{}">').format(generate_csrf())


def asset(name: str) -> str:
    """The address of a static file with its digest, so that it may be kept for a year."""
    return url_for("static", filename=name, v=_digest(Path(current_app.static_folder or "") / name))


@functools.cache
def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:10]


def serve_static(app: Flask) -> None:
    """Static files leave by WhiteNoise: kept for a year, compressed where a .gz lies beside them."""
    app.wsgi_app = WhiteNoise(  # type: ignore[method-assign]
        app.wsgi_app,
        root=app.static_folder,
        prefix="static/",
        max_age=YEAR_SECONDS,
        allow_all_origins=False,
        add_headers_function=_forbid_sniffing,
    )


def _forbid_sniffing(headers: MutableMapping[str, str], path: str, url: str) -> None:
    headers["X-Content-Type-Options"] = "nosniff"
