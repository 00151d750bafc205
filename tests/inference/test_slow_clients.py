"""Clients and upstreams that misuse patience: clients that read too slowly, answers that never end, and bodies that
nobody reads."""

import contextlib
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest
import requests

from tests.factories import MadeKey
from tests.gateway import Gateway
from tests.served import HELLO, Served, await_request
from tests.upstream import STALL, STREAM_HEAD, ScriptedUpstream, Step, chunk, framed, says, stalls, starts

PADDING = "x" * 10_000  # bytes that are no tokens: what goes beyond its cap is ended for that
MEBIBYTE = 2**20
ON_SQLITE = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


def pours(written: list[int]) -> Callable[..., Iterator[Step]]:
    """A stream without end, as fast as it is taken."""

    def play(_request: object) -> Iterator[Step]:
        yield STREAM_HEAD
        yield framed(chunk(delta={"role": "assistant", "content": ""}))
        yield framed(chunk(delta={"content": "word"}))
        piece = framed(chunk(delta={"content": ""}) | {"obfuscation": PADDING})
        while True:
            yield piece
            written[0] += len(piece)
            gevent.sleep(0)

    return play


def warm_memory_bytes(gateway: Gateway, upstream: ScriptedUpstream) -> int:
    """The same, once the vocabulary is there that our own counts take."""
    upstream.plays(says("Hello", usage=False))
    assert Served(gateway, upstream.base_url).post().status_code == 200
    return memory_bytes(gateway)


def memory_bytes(gateway: Gateway) -> int:
    """What the worker has in memory."""
    (worker,) = gateway.workers()
    lines = Path(f"/proc/{worker}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) * 1024


def open_stream(gateway: Gateway, key: MadeKey, model: str) -> socket.socket:
    """A client that has asked for a stream, and has little room for it."""
    body = json.dumps({"model": model, "messages": HELLO, "stream": True, "max_tokens": 4096}).encode()
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", gateway.port))
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key.secret}\r\n"
    client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return client


@ON_SQLITE
def test_who_takes_nothing_holds_the_upstream_back_and_is_let_go(
    start_gateway: Callable[..., Gateway], upstream: ScriptedUpstream, engine: str
):
    gateway = start_gateway(engine, slow_client_seconds=1, idle_timeout_seconds=30, total_timeout_seconds=60)
    served = Served(gateway, upstream.base_url)
    written = [0]
    before = warm_memory_bytes(gateway, upstream)
    upstream.plays(pours(written))  # type: ignore[arg-type]
    with open_stream(gateway, served.key, served.model):
        row = served.await_usage()
    assert memory_bytes(gateway) - before < 24 * MEBIBYTE
    assert written[0] < 32 * MEBIBYTE  # what fits into the sockets between
    assert (row.outcome, row.state, row.status) == ("client_slow", "captured", 499)
    assert row.completion_tokens > 0
    assert served.spent() == (row.charge_nanos, 0)
    receipt = requests.get(f"{gateway.base_url}/requests/{row.request_id}", headers=served.key.headers, timeout=60)
    assert receipt.json()["outcome"] == "client_slow"


@ON_SQLITE
def test_who_reads_too_slowly_for_the_deadline_costs_the_channel_nothing(
    start_gateway: Callable[..., Gateway], upstream: ScriptedUpstream, engine: str
):
    gateway = start_gateway(engine, slow_client_seconds=60, total_timeout_seconds=8, hold_grace_seconds=60)
    served = Served(gateway, upstream.base_url)
    with contextlib.closing(ScriptedUpstream()) as other:
        other.plays(stalls())
        upstream.plays(pours([0]))  # type: ignore[arg-type]
        with open_stream(gateway, served.key, served.model) as client:
            await_request(upstream)
            later = Served(gateway, other.base_url).post()  # whose deadline is the later one
            assert later.status_code == 503
            received = b"..."
            while received and b'"error"' not in received:
                received = received[-20:] + client.recv(2**16)
            row = served.await_usage()
    assert (row.outcome, row.error_code) == ("cut", "upstream_error")
    assert json.loads(row.attempts)[0]["outcome"] == "read too slowly"
    assert row.charge_nanos > 0
    assert [line for line in gateway.log_lines("attempt_failed") if line["channel"] == row.channel_name] == []


@ON_SQLITE
def test_who_stalls_a_stream_until_its_hold_is_swept_pays_the_prompt_all_the_same(
    start_gateway: Callable[..., Gateway], upstream: ScriptedUpstream, engine: str
):
    gateway = start_gateway(engine, slow_client_seconds=60, total_timeout_seconds=4, hold_grace_seconds=8)
    served = Served(gateway, upstream.base_url)
    upstream.plays(pours([0]))  # type: ignore[arg-type]
    with open_stream(gateway, served.key, served.model):
        row = served.await_usage()
    assert (row.outcome, row.state, row.status) == ("client_slow", "captured", 499)
    assert row.prompt_tokens > 0
    assert served.spent() == (row.charge_nanos, 0)


@ON_SQLITE
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_an_answer_without_end_is_ended_at_the_limit_with_memory_flat(
    start_gateway: Callable[..., Gateway], upstream: ScriptedUpstream, engine: str, stream: bool
):
    gateway = start_gateway(engine, max_answer_bytes=4 * MEBIBYTE, max_event_bytes=MEBIBYTE)
    served = Served(gateway, upstream.base_url)

    def whole_without_end(_request: object) -> Iterator[Step]:
        yield b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
        while True:
            yield b" " * 2**16

    before = warm_memory_bytes(gateway, upstream)
    upstream.plays(pours([0]) if stream else whole_without_end)  # type: ignore[arg-type]
    answer = served.post(stream, max_tokens=4096)
    assert "error" in answer.text
    assert memory_bytes(gateway) - before < 48 * MEBIBYTE
    row = served.await_usage()
    assert row.outcome == ("cut" if stream else "failed")
    assert bool(row.charge_nanos) is stream
    assert row.completion_tokens <= 4096


@ON_SQLITE
def test_a_client_that_leaves_a_silent_upstream_is_noticed_within_two_looks(
    gateway: Gateway, upstream: ScriptedUpstream, engine: str
):
    served = Served(gateway, upstream.base_url)
    upstream.plays(starts("One", then=STALL))
    with open_stream(gateway, served.key, served.model) as client:
        received = b""
        while b"One" not in received:
            received += (data := client.recv(4096))
            assert data, received
    with gevent.Timeout(60):
        upstream.requests[0].hung_up.wait()
    row = served.await_usage()
    assert row.outcome == "client_gone"
