"""The API: a lean Flask app of its own, with no session, no cookie and no hook, behind `dispatch`."""

from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

from flask import Flask, Response, request
from flask.sessions import NullSession, SessionInterface

from bridge.api_paths import find_api_path
from bridge.config import Settings
from bridge.conversation.answer import ErrorWriter
from bridge.counters.windows import Counters
from bridge.dialects.chat.writer import write_chat_error
from bridge.dialects.completions.writer import write_completions_error
from bridge.dialects.embeddings.writer import write_embeddings_error
from bridge.dialects.images.writer import write_images_error
from bridge.dialects.messages.errors import write_messages_error
from bridge.dialects.responses.errors import write_responses_error
from bridge.dialects.responses.request import NO_STATE
from bridge.headers import NO_STORE, Wsgi
from bridge.inference.services import Services
from bridge.shared_redis import SharedRedis
from bridge.v1 import (
    account,
    anthropic_models,
    billing,
    chat,
    completions,
    embeddings,
    images,
    input_tokens,
    list_models,
    messages,
    openapi,
    quote,
    receipts,
    responses,
    resume,
)
from bridge.v1.door import View, answer_http_errors, guard
from bridge.v1.visit import Visit

INFERENCE: dict[str, Callable[[Visit], Response]] = {
    "/v1/chat/completions": chat.create_chat_completion,
    "/v1/messages": messages.create_message,
    "/v1/responses": responses.create_response,
    "/v1/embeddings": embeddings.create_embeddings,
    "/v1/completions": completions.create_completion,
    "/v1/images/generations": images.create_images,
    "/v1/images/edits": images.edit_images,
}
# by the path that they begin with, where the errors are not chat's
ERROR_WRITERS: dict[str, ErrorWriter] = {
    "/v1/messages": write_messages_error,
    "/v1/responses": write_responses_error,
    "/v1/embeddings": write_embeddings_error,
    "/v1/completions": write_completions_error,
    "/v1/images": write_images_error,
}
# what others have there, by the beginning of its path
NOT_HERE = {
    "/v1/responses/": f"No response is kept here. {NO_STATE}.",
    "/v1/audio/": "Speech and transcription are not offered here: no audio endpoint has a price.",
}
# what clients of Anthropic's get at the same address: they say which version of its API they know
FOR_ANTHROPIC: dict[str, View] = {
    "/v1/models": anthropic_models.list_all,
    "/v1/models/<path:name>": anthropic_models.retrieve,
}
PREFLIGHT = [
    ("Access-Control-Allow-Methods", "GET, POST, DELETE, OPTIONS"),
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
    routes: list[tuple[str, str, View]] = [
        *(("POST", path, view) for path, view in INFERENCE.items()),
        ("POST", "/v1/messages/count_tokens", messages.count_tokens),
        ("POST", "/v1/responses/input_tokens", input_tokens.count_input_tokens),
        ("POST", "/v1/quote", quote.create_quote),
        ("GET", "/v1/models", list_models.list_all),
        ("GET", "/v1/models/<path:name>", list_models.retrieve),
        ("GET", "/v1/key", account.show_key),
        ("GET", "/v1/credits", account.show_credits),
        ("GET", "/v1/dashboard/billing/subscription", billing.show_subscription),
        ("GET", "/v1/dashboard/billing/usage", billing.show_usage),
        ("GET", "/v1/requests/<request_id>", receipts.show_receipt),
        ("DELETE", "/v1/requests/<request_id>", resume.end_request),
        ("GET", "/v1/requests/<request_id>/stream", resume.resume_stream),
    ]
    for method, path, view in routes:
        api.add_url_rule(
            path,
            view_func=as_flask_view(
                guard(services, view, find_error_writer(path), counts_refusals=path in INFERENCE),
                _guard_other(services, path),
            ),
            methods=[method],
            endpoint=path if method != "DELETE" else f"{method} {path}",
            provide_automatic_options=False,
        )
    api.add_url_rule("/openapi.json", view_func=openapi.show(settings), endpoint="openapi")
    answer_http_errors(api, services, ERROR_WRITERS, NOT_HERE)
    return services


def find_error_writer(path: str) -> ErrorWriter:
    """Who writes the errors of a path."""
    return next((write for start, write in ERROR_WRITERS.items() if path.startswith(start)), write_chat_error)


def _guard_other(services: Services, path: str) -> Callable[..., Response] | None:
    view = FOR_ANTHROPIC.get(path)
    return None if view is None else guard(services, view, write_messages_error)


def as_flask_view(
    guarded: Callable[..., Response], for_anthropic: Callable[..., Response] | None = None
) -> Callable[..., Response]:
    """The guarded view in Flask's form; the other one is for whoever names a version of Anthropic's API."""

    def view(**arguments: Any) -> Response:
        environ = request.environ
        if for_anthropic is not None and "HTTP_ANTHROPIC_VERSION" in environ:
            return for_anthropic(environ, **arguments)
        return guarded(environ, **arguments)

    return view


def dispatch(site: Wsgi, api: Flask, services: Services) -> Wsgi:
    """Send /v1 and /openapi.json to the API app, everything else to the site. Preflights are answered here.

    Inference, which everyone pays for, goes straight to its view: Flask's contexts and routing, which it doesn't need,
    would be a sixth of its cost. The API app has these routes too, for other methods than POST."""
    views = {
        path: guard(services, view, find_error_writer(path), counts_refusals=True) for path, view in INFERENCE.items()
    }
    preflight = [*PREFLIGHT, *services.common_headers.pairs]

    def choose(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path in views and environ["REQUEST_METHOD"] == "POST":
            return views[path](environ)(environ, start_response)
        found = find_api_path(environ)
        if found in views and environ["REQUEST_METHOD"] == "POST":
            return views[found](environ)(environ, start_response)
        if found is not None:
            environ["PATH_INFO"] = found
            if environ["REQUEST_METHOD"] == "OPTIONS":
                start_response("204 No Content", list(preflight))
                return [b""]
            return api.wsgi_app(environ, start_response)
        return site(environ, start_response)

    return choose
