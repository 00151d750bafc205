"""The API: a lean Flask app of its own, with no session, no cookie and no hook, behind `dispatch`."""

from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

from flask import Flask, Response, request
from flask.sessions import NullSession, SessionInterface

from bridge.api_paths import find_api_path
from bridge.config import Settings
from bridge.counters.windows import Counters
from bridge.headers import NO_STORE, Wsgi
from bridge.inference.services import Services
from bridge.shared_redis import SharedRedis
from bridge.v1 import account, chat, list_models, openapi, quote, receipts
from bridge.v1.door import answer_http_errors, guard

CHAT = "/v1/chat/completions"
PREFLIGHT = [
    ("Access-Control-Allow-Methods", "GET, POST, OPTIONS"),
    ("Access-Control-Allow-Headers", "*, Authorization"),
    ("Access-Control-Max-Age", "86400"),
    ("Content-Length", "0"),
    NO_STORE,
]


class NoSession(SessionInterface):
    """/v1 never reads or sets a cookie."""

    def open_session(self, app: Flask, request: Any) -> NullSession:
        return NullSession()


def register(api: Flask, settings: Settings, counters: Counters, shared: SharedRedis | None) -> Services:
    """Give the API app its routes. Returns what its requests share."""
    services = Services(api, settings, counters, shared)
    api.session_interface = NoSession()
    api.url_map.strict_slashes = False
    for method, path, view in (
        ("POST", CHAT, chat.create_chat_completion),
        ("POST", "/v1/quote", quote.create_quote),
        ("GET", "/v1/models", list_models.list_all),
        ("GET", "/v1/models/<path:name>", list_models.retrieve),
        ("GET", "/v1/key", account.show_key),
        ("GET", "/v1/credits", account.show_credits),
        ("GET", "/v1/requests/<request_id>", receipts.show_receipt),
    ):
        api.add_url_rule(
            path,
            view_func=as_flask_view(guard(services, view)),
            methods=[method],
            endpoint=path,
            provide_automatic_options=False,
        )
    api.add_url_rule("/openapi.json", view_func=openapi.show(settings), endpoint="openapi")
    answer_http_errors(api, services)
    return services


def as_flask_view(guarded: Callable[..., Response]) -> Callable[..., Response]:
    """The guarded view in Flask's form."""
    return lambda **arguments: guarded(request.environ, **arguments)


def dispatch(site: Wsgi, api: Flask, services: Services) -> Wsgi:
    """Send /v1 and /openapi.json to the API app, everything else to the site. Preflights are answered here.

    Chat completions, which everyone pays for, go straight to their view: Flask's contexts and routing, which they don't
    need, would be a sixth of their cost. The API app has this route too, for other methods than POST."""
    answer_chat = guard(services, chat.create_chat_completion)
    preflight = [*PREFLIGHT, *services.common_headers.pairs]

    def choose(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == CHAT and environ["REQUEST_METHOD"] == "POST":
            return answer_chat(environ)(environ, start_response)
        found = find_api_path(environ)
        if found == CHAT and environ["REQUEST_METHOD"] == "POST":
            return answer_chat(environ)(environ, start_response)
        if found is not None:
            environ["PATH_INFO"] = found
            if environ["REQUEST_METHOD"] == "OPTIONS":
                start_response("204 No Content", list(preflight))
                return [b""]
            return api.wsgi_app(environ, start_response)
        return site(environ, start_response)

    return choose
