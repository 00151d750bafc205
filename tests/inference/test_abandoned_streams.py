"""Streams that their client leaves before a provider has answered: three of an account's are free a minute.

The rest pay the prompt, whatever key they came with and however long they waited."""

import contextlib
import json
import socket
from collections.abc import Callable

import gevent
import pytest
import requests

from tests.factories import MadeKey
from tests.gateway import Gateway
from tests.served import Served, await_request
from tests.upstream import ScriptedUpstream, fails, pauses, stalls

FREE = 3
PROMPT = "Tell me a long story. " * 500
PATIENT = {"first_content_timeout_seconds": 60, "total_timeout_seconds": 60, "drain_seconds": 1}


@contextlib.contextmanager
def asking(gateway: Gateway, model: str, key: MadeKey, count: int, **more: int):
    """This many streams at once, each on its own connection, which hang up at the end."""
    messages = [{"role": "user", "content": PROMPT}]
    body = {"model": model, "messages": messages, "stream": True, "max_tokens": 100} | more
    body = json.dumps(body).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key.secret}\r\n"
    with contextlib.ExitStack() as stack:
        clients = []
        for _ in range(count):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", gateway.port)))
            client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            clients.append(client)
        yield clients


def await_rows(gateway: Gateway, account_id: int, count: int) -> list:
    with gevent.Timeout(60):
        while len(rows := gateway.make.list_usage(account_id)) < count:
            gevent.sleep(0.05)
    return rows


def receipt_of(gateway: Gateway, key: MadeKey, request_id: str) -> dict:
    url = f"{gateway.base_url}/requests/{request_id}"
    return requests.get(url, headers=key.headers, timeout=60).json()


@pytest.fixture
def start(start_gateway: Callable[..., Gateway], engine: str, redis_url: str) -> Callable[..., Gateway]:
    """One worker on SQLite, two on PostgreSQL and Redis, whose upstreams may take their time."""
    shared = {"web_concurrency": 2, "redis_url": redis_url} if engine == "postgresql" else {}
    return lambda **more: start_gateway(engine, **{**PATIENT, **shared, **more})


def test_of_many_that_leave_at_once_three_are_free_whatever_their_keys_and_workers(start, upstream):
    gateway, each = start(), 8
    served = Served(gateway, upstream.base_url)
    account = gateway.make.make_account()
    keys = [gateway.make.make_key(account) for _ in range(3)]
    upstream.plays(stalls())
    with contextlib.ExitStack() as stack:
        for key in keys:
            stack.enter_context(asking(gateway, served.model, key, each))
        await_request(upstream, 3 * each)
    rows = await_rows(gateway, account.id, 3 * each)
    assert {row.outcome for row in rows} == {"client_gone"}
    free, paid = ([row for row in rows if row.state == state] for state in ("released", "captured"))
    assert (len(free), len(paid)) == (FREE, 3 * each - FREE)
    for row in paid:
        assert (row.completion_tokens, row.tokens_source) == (0, "estimate")
        assert 2_000 < row.prompt_tokens < 4_000
        assert row.charge_nanos == row.prompt_tokens * 1000
    rule = receipt_of(gateway, keys[0], paid[0].request_id)["rule"]
    assert rule["name"] == "client_left_early_paid"
    assert "three" in rule["text"]
    rule = receipt_of(gateway, keys[0], free[0].request_id)["rule"]
    assert rule["name"] == "client_left_early"
    assert "three" in rule["text"]
    balance, held = gateway.make.find_money(account.id)
    assert (10_000_000_000 - balance, held) == (sum(row.charge_nanos for row in paid), 0)
    assert gateway.make.check_ledger() == []
    upstream.plays(fails(400))
    answer = served.post()
    assert answer.status_code == 400  # nobody has to wait for having left


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_who_leaves_a_stream_that_had_only_keep_alives_has_left_before_the_answer(start, upstream):
    gateway = start(open_stream_after_seconds=0.1, keepalive_seconds=0.2)
    served = Served(gateway, upstream.base_url)
    upstream.plays(stalls())
    with asking(gateway, served.model, served.key, FREE + 2) as clients:
        for client in clients:
            client.settimeout(20)
            heard = b""
            while b"keep-alive" not in heard:
                heard += (data := client.recv(4096))
                assert data, heard
    rows = await_rows(gateway, served.key.account_id, FREE + 2)
    assert sorted(row.state for row in rows) == ["captured"] * 2 + ["released"] * FREE


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_who_leaves_after_a_failed_attempt_has_left_before_the_answer(start, upstream):
    """Whether the next attempt has begun or is about to."""
    gateway, second = start(), ScriptedUpstream()
    served = Served(gateway, upstream.base_url, second.base_url)
    upstream.plays(fails(500))
    second.plays(stalls())
    with asking(gateway, served.model, served.key, FREE + 2):
        await_request(second, FREE + 2)
    rows = await_rows(gateway, served.key.account_id, FREE + 2)
    assert sorted(row.state for row in rows) == ["captured"] * 2 + ["released"] * FREE
    assert all(row.charge_nanos == row.prompt_tokens * 1000 for row in rows if row.state == "captured")
    second.close()


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
@pytest.mark.parametrize("choices", [1, 2])
def test_who_leaves_before_an_upstream_has_taken_the_connection_pays_nothing(start, choices):
    """A request that never left us gives no provider anything to read, however many such streams there are."""
    gateway, streams = start(connect_timeout_seconds=50), FREE + 3
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):  # from here on the system answers nobody who wants to connect
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        served = Served(gateway)
        provider = "anthropic" if choices > 1 else "openai"  # one answer a call: several connections
        address = f"http://127.0.0.1:{full.getsockname()[1]}"
        gateway.make.make_channel(address, served.model, provider=provider)
        with asking(gateway, served.model, served.key, streams, n=choices), gevent.Timeout(60):
            while gateway.make.count_holds(served.key.account_id) < streams:
                gevent.sleep(0.05)
        rows = await_rows(gateway, served.key.account_id, streams)
    assert [(row.outcome, row.state, row.charge_nanos) for row in rows] == [("client_gone", "released", 0)] * streams
    assert receipt_of(gateway, served.key, rows[-1].request_id)["rule"]["name"] == "client_left_early"


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_who_left_keeps_the_tokens_counted_against_its_minute(start, upstream):
    gateway = start()
    served = Served(gateway, upstream.base_url)
    key = gateway.make.make_key(tpm=100_000)
    upstream.plays(stalls())
    with asking(gateway, served.model, key, FREE + 1):
        await_request(upstream, FREE + 1)
    rows = await_rows(gateway, key.account_id, FREE + 1)
    upstream.plays(fails(400))
    answer = requests.post(
        f"{gateway.base_url}/chat/completions",
        json={"model": served.model, "messages": [{"role": "user", "content": "Hi"}]},
        headers=key.headers,
        timeout=60,
    )
    counted = 100_000 - int(answer.headers["x-ratelimit-remaining-tokens"])
    prompt = next(row.prompt_tokens for row in rows if row.state == "captured")
    assert counted >= (FREE + 1) * prompt


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_every_attempt_failed_is_free_though_the_client_has_left_meanwhile(start, upstream):
    """Leaving isn't early once no channel is left to ask."""
    gateway = start()
    served = Served(gateway, upstream.base_url)

    upstream.plays(pauses(fails(400)))
    with asking(gateway, served.model, served.key, FREE + 2):
        await_request(upstream, FREE + 2)
    upstream.resume()
    rows = await_rows(gateway, served.key.account_id, FREE + 2)
    assert [row.charge_nanos for row in rows] == [0] * (FREE + 2)
