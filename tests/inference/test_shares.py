"""No account takes a whole worker: each has a share of its requests and bodies, counted before the body is read."""

import socket
from collections.abc import Iterator

import gevent
import pytest
from flask import Flask

from tests.factories import Factories, MadeAccount, MadeKey
from tests.gateway import Gateway
from tests.served import Served, await_request
from tests.upstream import PATIENCE_SECONDS, ScriptedUpstream, pauses, says

ON_SQLITE = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


@pytest.fixture
def opened() -> Iterator[list[socket.socket]]:
    """Connections that are closed at the test's end."""
    connections: list[socket.socket] = []
    yield connections
    for connection in connections:
        connection.close()


def send_half(gateway: Gateway, key: MadeKey, announced: int = 1000, sent: int = 10) -> socket.socket:
    """A request whose body is not sent to its end."""
    connection = socket.create_connection(("127.0.0.1", gateway.port))
    head = ["POST /v1/chat/completions HTTP/1.1", "Host: x", f"Authorization: Bearer {key.secret}"]
    connection.sendall("\r\n".join([*head, f"Content-Length: {announced}", "", ""]).encode() + b"{" * sent)
    return connection


def await_answer(connection: socket.socket) -> bytes:
    """What comes back, within the patience of a test."""
    connection.settimeout(PATIENCE_SECONDS)
    return connection.recv(2**16)


def test_half_sent_bodies_of_one_key_fill_its_accounts_share_and_keep_nobody_else_out(start_gateway, upstream, opened):
    gateway = start_gateway("sqlite", max_in_flight=16)
    greedy, other = Served(gateway, upstream.base_url), Served(gateway, upstream.base_url)
    greedy.key = gateway.make.make_key(concurrency=2)
    upstream.plays(says("Hello"))
    assert greedy.post().status_code == 200
    opened += [send_half(gateway, greedy.key) for _ in range(30)]
    for connection in opened[4:]:
        answer = await_answer(connection)
        assert answer.startswith(b"HTTP/1.1 503"), answer
        for words in (b'"code":"overloaded"', b"This account", b"Retry-After: 1"):
            assert words in answer
    assert other.post().status_code == 200
    for connection in opened:
        connection.close()
    with gevent.Timeout(PATIENCE_SECONDS):  # what was half sent has left with its connections
        while greedy.post().status_code != 200:
            gevent.sleep(0.05)


def test_running_requests_of_an_account_count_across_its_keys(start_gateway, upstream):
    gateway = start_gateway("sqlite", max_in_flight=8, total_timeout_seconds=60, answer_timeout_seconds=60)
    served, other = Served(gateway, upstream.base_url), Served(gateway, upstream.base_url)
    upstream.plays(pauses(says("Hello")))
    running = [gevent.spawn(served.post) for _ in range(2)]
    await_request(upstream, 2)
    served.key = gateway.make.make_key(MadeAccount(served.key.account_id, "its owner"))
    for stream in (False, True):
        answer = served.post(stream=stream)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "overloaded")
        assert "This account" in answer.json()["error"]["message"]
    running.append(gevent.spawn(other.post))
    await_request(upstream, 3)
    upstream.resume()
    assert [one.get(timeout=60).status_code for one in running] == [200, 200, 200]
    assert served.post().status_code == 200


def test_bodies_of_an_account_have_a_quarter_of_the_memory(start_gateway, upstream, opened):
    gateway = start_gateway("sqlite", max_body_bytes=100_000, max_bodies_in_memory_bytes=400_000)
    served, greedy = Served(gateway, upstream.base_url), gateway.make.make_key()
    opened += [send_half(gateway, greedy, announced=100_000, sent=80_000) for _ in range(3)]
    answers = []
    with gevent.Timeout(PATIENCE_SECONDS):
        while len(answers) < 2:
            for connection in opened:
                connection.settimeout(0.1)
                try:
                    answers.append(connection.recv(2**16))
                except TimeoutError:
                    continue
    for answer in answers:
        assert answer.startswith(b"HTTP/1.1 503")
        assert b"This account" in answer
    assert served.post(metadata={"pad": "u" * 90_000}).status_code == 200


@ON_SQLITE
def test_nothing_is_kept_of_an_account_that_has_no_request_here(
    app: Flask, make: Factories, upstream: ScriptedUpstream
):
    services = app.extensions["bridge_services"]
    model, key = make.make_model(), make.make_key()
    make.make_channel(upstream.base_url, model)
    for body in (b"{", b"", b'{"model": "' + model.encode() + b'", "messages": [{"role": "user", "content": "Hi"}]}'):
        app.test_client().post("/v1/chat/completions", data=body, headers=key.headers).close()
        assert len(services.shares) == 0
    share = services.shares.take(key.account_id)
    services.shares.take(key.account_id)
    services.shares.give_back(share)
    assert len(services.shares) == 1
    services.shares.give_back(share)
    assert len(services.shares) == 0


@pytest.mark.parametrize("path", ["/sign-in", "/sign-up", "/webhooks/stripe", "/theme"])
@pytest.mark.parametrize("kind", ["Content-Length: 100", "Transfer-Encoding: chunked"])
def test_forms_and_webhooks_that_do_not_arrive_are_ended_in_time(start_gateway, opened, path: str, kind: str):
    gateway = start_gateway(
        "sqlite", body_timeout_seconds=0.5, stripe_secret_key="sk_test_x", stripe_webhook_secret="whsec_x"
    )
    connection = socket.create_connection(("127.0.0.1", gateway.port))
    opened.append(connection)
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n{kind}\r\n\r\n"
    connection.sendall(head.encode() + (b"" if "Length" in kind else b"5\r\n"))
    assert await_answer(connection).startswith(b"HTTP/1.1 408 ")
