"""The pages: register() adds the doors, filters, headers, error pages and static files to the app."""

import datetime
import functools
import hashlib
from pathlib import Path
from typing import Any

from flask import Flask, current_app, g, request, url_for
from flask_login import current_user
from flask_wtf.csrf import generate_csrf
from markupsafe import Markup
from secure import ReferrerPolicy, Secure
from werkzeug.wrappers import Response
from whitenoise import WhiteNoise

from bridge import languages
from bridge.accounts.key_limits import limit_key
from bridge.catalogue.listing import SHOWN_STATUSES
from bridge.config import Settings
from bridge.cookies import cookie_name
from bridge.dashboard import (  # noqa: F401 - some hang their pages on the door
    accounts,
    billing,
    confirming,
    connected,
    data,
    docs,
    door,
    error_pages,
    extras,
    filters,
    first_operator,
    forgotten,
    half_way,
    invited,
    joining,
    key_list,
    key_owner,
    keys,
    models,
    months,
    notices,
    origin,
    overview,
    passkeys,
    plans,
    playground,
    proof,
    public,
    scope,
    security,
    settings,
    status,
    team,
    team_log,
    two_factor,
    usage,
    viewing,
    visitor,
    welcome,
)
from bridge.dashboard.account import find_money
from bridge.dashboard.banner import find_banner, find_suspension
from bridge.dashboard.compression import compress
from bridge.dashboard.doc_search import load_index
from bridge.dashboard.policy import page_policy
from bridge.dashboard.script_texts import bring_texts
from bridge.dashboard.snippets import base_url, highlight, load_lexers
from bridge.extensions import login_manager
from bridge.headers import NO_STORE, YEAR_SECONDS, add_headers, guard_headers
from bridge.languages import translate
from bridge.viewing import find_view

SESSION_DAYS = 14
PAGE_HEADERS = Secure(
    referrer=ReferrerPolicy().strict_origin_when_cross_origin(),
).header_items()


def warm_pages(app: Flask) -> None:
    """Do once, for all workers, what each would do for the first who looks at a page, its event loop busy for 100 ms
    and more: compile the templates, highlight the examples of the docs, and index these in each language."""
    for name in app.jinja_env.list_templates():
        app.jinja_env.get_template(name)
    load_lexers()
    with app.app_context():
        for language in languages.LANGUAGES:
            load_index(language)


def register(app: Flask) -> None:
    """Bind the pages to the app: public ones, sign-in, and the dashboard behind its door. Raises RuntimeError if one of
    its views doesn't say which right it asks for."""
    app.extensions["bridge_warm_pages"] = functools.partial(warm_pages, app)
    app.config.update(
        PERMANENT_SESSION_LIFETIME=datetime.timedelta(days=SESSION_DAYS),
        WTF_CSRF_TIME_LIMIT=None,  # a form is valid as long as its session
        MAX_CONTENT_LENGTH=2**20,
        MAX_FORM_MEMORY_SIZE=2**18,
    )
    login_manager.user_loader(visitor.load_visitor)
    doors = (
        connected.connected,
        half_way.half_way,
        passkeys.passkeys,
        forgotten.forgotten,
        confirming.confirming,
        joining.joining,
        invited.invited,
        accounts.accounts,
        first_operator.first_operator,
        door.dashboard,
        extras.alerts,
    )
    for blueprint in (public.public, welcome.welcome, *doors):
        app.register_blueprint(blueprint)
    languages.register(app)
    door.require_rights(app)
    filters.register(app)
    months.register(app)
    app.add_template_filter(say_stored, "translated")
    error_pages.register(app)
    viewing.register(app)
    origin.register(app)
    proof.register(app)
    app.context_processor(page_context)
    app.add_template_global(csrf_field, "csrf_field")
    app.add_template_global(asset, "asset")
    app.add_template_global(bring_texts, "script_texts")
    app.add_template_global(SHOWN_STATUSES, "shown_statuses")  # type: ignore[arg-type]
    app.add_template_filter(highlight, "highlight")
    app.add_template_filter(limit_key, "limit_key")
    app.after_request(compress)
    app.after_request(guard_answer)
    serve(app)


def guard_answer(answer: Response) -> Response:
    """Add the request's id to every answer. Without a sign-in, the browser may cache a public page; an answer for one
    person is not stored, since `serve` adds no-store unless an answer says otherwise."""
    answer.headers.setdefault("x-request-id", g.get("request_id", ""))
    is_html = answer.mimetype == "text/html"
    if is_html:
        answer.vary.update(("Accept-Language", "Cookie"))
    is_page = is_html and answer.status_code == 200
    if is_page and request.blueprint == "public" and not is_signed_in():
        answer.headers["Cache-Control"] = "private, no-cache"
    return answer


def is_signed_in() -> bool:
    """Whether someone is signed in, without asking a database that has just failed."""
    return not g.get("plain") and bool(current_user.is_authenticated)


def page_context() -> dict[str, Any]:
    """What every template may use. Values that cost a query are functions, so only pages that show them pay for it."""
    chosen: Settings = current_app.config["BRIDGE"]
    theme_cookie = cookie_name(chosen, "theme")
    theme = request.cookies.get(theme_cookie, "auto")
    theme = theme if theme in welcome.THEMES else "auto"
    signed_in = is_signed_in()
    return {
        "theme": theme,
        "theme_cookie": theme_cookie,
        "next_theme": welcome.theme_after(theme),
        "signed_in": signed_in,
        "banner": find_banner,
        "suspension": find_suspension,
        "viewing": find_view,
        "shell": "base.html" if signed_in else "public.html",
        "signup_mode": chosen.signup_mode,
        "status_page": chosen.status_page,
        "base_url": base_url(),
        "available": find_money if signed_in else lambda: None,
        "own_accounts": accounts.list_accounts,
        "may_open_account": accounts.may_open,
        "request_id": g.get("request_id", ""),
    }


def say_stored(text: str | None) -> str:
    """A text that was stored in English, in the reader's language; what a person wrote stays as it is."""
    return translate(text) if text else ""


def csrf_field() -> Markup:
    """The hidden field that every form of ours carries."""
    return Markup('<input type="hidden" name="csrf_token" value="{}">').format(generate_csrf())


def asset(name: str) -> str:
    """The URL of a static file with its digest, so that it may be cached for a year."""
    return url_for("static", filename=name, v=_digest(Path(current_app.static_folder or "") / name))


@functools.cache
def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:10]


def serve(app: Flask) -> None:
    """Serve static files by WhiteNoise: cached for a year, and compressed if a .gz is beside them. Every answer gets
    the guarding headers, whatever made it, and is not stored unless it says otherwise."""
    chosen: Settings = app.config["BRIDGE"]
    static = WhiteNoise(
        app.wsgi_app,
        root=app.static_folder,
        prefix="static/",
        max_age=YEAR_SECONDS,
        allow_all_origins=False,
    )
    headers = (("Content-Security-Policy", page_policy()), *PAGE_HEADERS, *guard_headers(chosen), NO_STORE)
    app.wsgi_app = add_headers(static, headers)  # type: ignore[assignment, method-assign]
