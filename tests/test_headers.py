"""Every answer carries the headers that guard it: pages, files, the API, streams, redirects and errors alike."""

import dataclasses
import re
from collections.abc import Iterator

import pytest
import requests
from flask import Flask

from app import create_app
from tests.rooms import close_rooms
from tests.served import Served
from tests.upstream import says

GUARDS = ("X-Content-Type-Options", "Permissions-Policy", "Content-Security-Policy", "Cache-Control")
KEPT = {  # what may be kept, by whom, and asked for again
    "/": "private, no-cache",
    "/models": "private, no-cache",
    "/docs": "private, no-cache",
    "/status": "private, no-cache",
    "/status.json": "public, max-age=10",
    "/status.atom": "public, max-age=10",
    "/docs/search": "private, no-cache",
    "/openapi.json": "public, max-age=300",
}
sqlite = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


def routes(app: Flask) -> Iterator[tuple[str, str]]:
    """Method and path of every view, with something in place of what varies."""
    for rule in app.url_map.iter_rules():
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            yield method, re.sub(r"<(\w+:)?\w+>", "1", rule.rule)


def check(answer, path: str = "", stored: str = "no-store", tls: bool = False) -> None:
    """The guards, once each, and the given Cache-Control."""
    for name in GUARDS:
        assert len(answer.headers.getlist(name)) == 1, (path, name)
    assert answer.headers["X-Content-Type-Options"] == "nosniff", path
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"], path
    assert answer.headers["Cache-Control"] == stored, path
    assert answer.headers.get("Strict-Transport-Security") == ("max-age=31536000" if tls else None), path


@sqlite
@pytest.mark.parametrize(
    ("environment", "site", "tls"),
    [
        ("development", "", False),
        ("development", "https://gateway.example", True),
        ("production", "http://gateway.example", True),
    ],
)
def test_every_route_carries_the_guards(settings, environment, site, tls):
    changes = {"bridge_env": environment, "public_base_url": site, "stripe_webhook_secret": "whsec_tests"}
    app = create_app(dataclasses.replace(settings, **changes))
    client, seen = app.test_client(), set()
    for each in (app, app.extensions["bridge_api"]):
        for method, path in routes(each):
            answer = client.open(path, method=method)
            seen.add(answer.status_code)
            check(answer, path, KEPT.get(path, "no-store") if method == "GET" else "no-store", tls)
    assert {200, 302, 400, 401} <= seen
    close_rooms(app)


@sqlite
def test_what_no_view_answers_carries_them_too(app, client):
    for method, path, status in (
        ("GET", "/nowhere", 404),
        ("PUT", "/models", 405),
        ("GET", "/v1/nowhere", 404),
        ("DELETE", "/v1/models", 405),
        ("OPTIONS", "/v1/chat/completions", 204),
        ("GET", "/static/nothing.css", 404),
        ("POST", "/static/bridge.css", 405),
    ):
        answer = client.open(path, method=method)
        assert answer.status_code == status, path
        check(answer, path)


@sqlite
def test_files_carry_them_and_are_kept(client):
    with client.get("/static/bridge.css") as answer:
        check(answer, "whole", "max-age=31536000, public")
    with client.get("/static/bridge.css", headers={"Range": "bytes=0-1"}) as part:
        check(part, "part", "max-age=31536000, public")
    with client.get("/static/bridge.css", headers={"If-None-Match": answer.headers["ETag"]}) as known:
        assert known.status_code == 304
        check(known, "known", "max-age=31536000, public")


def ask(client, key, path="/v1/chat/completions", **fields):
    return client.post(path, json={"messages": [{"role": "user", "content": "Hello!"}], **fields}, headers=key.headers)


@sqlite
def test_answers_of_the_api_carry_them_whole_streamed_and_replayed(app, client, make, upstream):
    key, model = make.make_key(), make.make_model()
    make.make_channel(upstream.base_url, model)
    upstream.plays(says("Hello"))
    check(ask(client, key, model=model), "whole")
    check(ask(client, key, model="nothing"), "error")
    check(ask(client, key, "/v1/quote", model=model), "quote")
    again = key.headers | {"Idempotency-Key": "once"}
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": "Hello!"}]}
    for _ in range(2):
        streamed = client.post("/v1/chat/completions", json=body, headers=again)
        assert streamed.data.endswith(b"data: [DONE]\n\n")
        check(streamed, "stream", "no-cache")
    assert streamed.headers["Idempotent-Replayed"] == "true"
    models = client.get("/v1/models", headers=key.headers)
    check(models, "models", "private, no-cache")
    known = client.get("/v1/models", headers={**key.headers, "If-None-Match": models.headers["ETag"]})
    assert known.status_code == 304
    check(known, "known models", "private, no-cache")


def test_the_server_sends_them_once_and_as_they_are(gateway, upstream):
    served = Served(gateway, upstream.base_url)
    upstream.plays(says("Hello"))
    for answer in (
        served.post(),
        served.post(stream=True),
        requests.get(f"{gateway.base_url}/models", headers=served.key.headers, timeout=60),
        requests.head(f"{gateway.base_url}/models", headers=served.key.headers, timeout=60),
        requests.get(f"{gateway.base_url}/nothing", timeout=60),
        requests.get(f"{gateway.site_url}/livez", timeout=60),
        requests.get(f"{gateway.site_url}/static/bridge.css", timeout=60),
    ):
        with answer:
            for name in GUARDS:
                assert len(answer.raw.headers.getlist(name)) == 1, (answer.url, name)
            if "/v1/" in answer.url:
                assert answer.headers["Access-Control-Allow-Origin"] == "*"
                assert answer.headers["x-request-id"].startswith("req_")
