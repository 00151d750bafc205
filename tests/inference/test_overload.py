"""More requests than a worker takes: the excess is refused at once, whatever it sends, and leaves nothing behind."""

import io
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import pytest
from flask import Flask

from bridge.config import Settings
from tests.factories import Factories
from tests.gateway import Gateway
from tests.rooms import make_settings
from tests.served import Served
from tests.upstream import CUT, PATIENCE_SECONDS, STALL, ScriptedUpstream, fails, hangs_up, pauses, says, starts

MEBIBYTE = 2**20
ON_SQLITE = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


def send_large(gateway: Gateway, secret: str, *lines: str) -> bytes:
    """All that comes back for a large body that is sent to its end, whatever is said meanwhile."""
    body = b"x" * (8 * MEBIBYTE)
    head = ["POST /v1/chat/completions HTTP/1.1", "Host: x", f"Authorization: Bearer {secret}", *lines]
    with socket.create_connection(("127.0.0.1", gateway.port)) as client:
        client.sendall("\r\n".join([*head, f"Content-Length: {len(body)}", "", ""]).encode())
        client.sendall(body)
        client.shutdown(socket.SHUT_WR)
        received = b""
        while data := client.recv(2**16):
            received += data
    return received


@ON_SQLITE
def test_the_excess_is_refused_before_its_body_is_read_and_can_read_so(
    start_gateway: Callable[..., Gateway], upstream: ScriptedUpstream, engine: str
):
    gateway = start_gateway(engine, max_in_flight=2, total_timeout_seconds=60, answer_timeout_seconds=60)
    served = Served(gateway, upstream.base_url)
    upstream.plays(pauses(says("Hello")))
    busy = [gevent.spawn(served.post) for _ in range(2)]
    with gevent.Timeout(PATIENCE_SECONDS):
        while len(upstream.requests) < 2:
            gevent.sleep(0.02)
    for lines in ((), ("Connection: close",)):  # a router that says so would get a reset instead of the answer
        answer = send_large(gateway, "no key at all", *lines)
        assert answer.startswith(b"HTTP/1.1 503"), answer[:200]
        assert b'"code":"overloaded"' in answer
        assert b"Retry-After: 1" in answer
    upstream.resume()
    assert [one.get(timeout=60).status_code for one in busy] == [200, 200]
    assert served.post().status_code == 200


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    """The app's, in this file: nobody waits long for an upstream that stalls."""
    short = dict.fromkeys(("first_content_timeout_seconds", "answer_timeout_seconds", "idle_timeout_seconds"), 0.2)
    return make_settings(tmp_path, database_url=database_url, **short)


ENDS = ("read all", "closed unread", "closed midway", "killed while it waits", "start_response fails", "bad body")
PLAYS = {
    "says": says("Hello", " there"),
    "fails": fails(500),
    "hangs up": hangs_up(),
    "cut": starts("One", " two", then=CUT),
    "stalls": starts("One", then=STALL),
}


@ON_SQLITE
def test_whatever_ends_a_request_its_place_is_free_again(
    app: Flask, make: Factories, upstream: ScriptedUpstream, engine: str
):
    services = app.extensions["bridge_services"]
    shares = services.shares
    model, key = make.make_model(), make.make_key()
    make.make_channel(upstream.base_url, model)
    for stream in (False, True):
        for play in PLAYS.values():
            for end in ENDS:
                upstream.plays(play)
                request(app, key.secret, model, stream, end)
                assert (services.in_flight, shares.body_bytes, len(services.streams)) == (0, 0, 0), (
                    stream,
                    end,
                )
                assert not services.waiting
    assert make.count_holds(key.account_id) <= 2 * len(PLAYS)  # of those that were killed: the sweeper's to end
    assert make.check_ledger() == []


def request(app: Flask, secret: str, model: str, stream: bool, end: str) -> None:
    """One request to the app as a server makes it, that ends so."""
    body = (
        b"{"
        if end == "bad body"
        else json.dumps({"model": model, "messages": [{"role": "user", "content": "Hi"}], "stream": stream}).encode()
    )
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/v1/chat/completions",
        "SERVER_NAME": "x",
        "SERVER_PORT": "80",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_AUTHORIZATION": f"Bearer {secret}",
    }

    def start_response(_status: str, _headers: list[tuple[str, str]]) -> None:
        if end == "start_response fails":
            raise ValueError("a header that can't be sent")

    def serve() -> None:
        answer = app.wsgi_app(environ, start_response)
        try:
            if end == "closed midway":
                next(iter(answer), None)
            elif end != "closed unread":
                for _ in answer:
                    pass
        finally:
            if hasattr(answer, "close"):
                answer.close()

    serving = gevent.spawn(serve)
    if end == "killed while it waits":
        gevent.sleep(0.01)
        serving.kill()
    elif end == "start_response fails":
        with pytest.raises(ValueError):
            serving.get()
    else:
        serving.get()
