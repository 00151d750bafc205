"""Resumable streams when something breaks: a killed worker, a restart, another machine, Redis away, a client that takes
nothing, no room. Every event comes once and in order, or an error event says what is lost; all is paid once."""

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
import redis

from app import create_app
from bridge.errors import ServiceUnavailable
from tests.doors import DOORS
from tests.factories import Factories
from tests.gateway import Gateway
from tests.resumed import RESUME, Asked, ask, numbers_of, split_events
from tests.rooms import close_rooms, make_settings
from tests.served import Served, await_request
from tests.upstream import (
    PATIENCE_SECONDS,
    PAUSE,
    STREAM_HEAD,
    Received,
    ScriptedUpstream,
    chunk,
    framed,
    free_port,
    starts,
)

WORDS = ("One", " two", " three", " four", " five", " six", " seven", " eight")
MANY = 600
on_sqlite = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
on_postgresql = pytest.mark.parametrize("engine", ["postgresql"], indirect=True)


def data_of(events: list[tuple[int, bytes]]) -> bytes:
    return b"".join(event + b"\n\n" for _, event in events)


@pytest.mark.parametrize("door", DOORS)
def test_what_a_killed_worker_had_kept_is_read_and_its_end_is_an_error(
    start_gateway: Callable[..., Gateway], upstream: ScriptedUpstream, redis_url: str, door: str
):
    gateway = start_gateway("sqlite", redis_url=redis_url, lease_seconds=2, total_timeout_seconds=10)
    served = Served(gateway, upstream.base_url, door=door)
    upstream.plays(starts(*WORDS, then=PAUSE))
    asked = ask(served)
    before = asked.read_until(b"eight")
    with gevent.Timeout(PATIENCE_SECONDS):  # what it delivered is noted
        while "captured" not in "".join(gateway.make.list_hold_details(served.key.account_id)):
            gevent.sleep(0.05)
    asked.leave()
    gateway.kill_worker()
    readers = [gevent.spawn(asked.read_on, after) for after in (0, 3, len(before), len(before) + 7)]
    events = readers[0].get(timeout=PATIENCE_SECONDS)
    assert events[: len(before)] == before
    assert numbers_of(events) == list(range(1, len(events) + 1))
    assert b"the process that ran it has ended" in events[-1][1]
    assert served.told(data_of(events)).end == "error"
    assert readers[1].get() == events[3:]
    assert readers[2].get() == events[len(before) :]
    ends = readers[3].get()  # of one who was given more than was kept
    assert numbers_of(ends) == [len(before) + 8 + place for place in range(len(ends))]
    receipt = asked.receipt()
    assert receipt["outcome"] == "worker_lost"
    assert 0 < receipt["tokens"]["completion"] <= len(WORDS)
    [row] = gateway.make.list_usage(served.key.account_id)
    assert served.spent() == (row.charge_nanos, 0)
    assert asked.read_on(0) == events


def test_under_an_idempotency_key_a_stream_that_is_not_all_kept_is_given_again_as_it_was_paid_for(
    start_gateway: Callable[..., Gateway], upstream: ScriptedUpstream, redis_url: str
):
    gateway = start_gateway("sqlite", redis_url=redis_url)
    served = Served(gateway, upstream.base_url)
    key = {"Idempotency-Key": "resumable"}
    asked = ask(served, key)
    events = asked.read_rest()
    assert asked.read_on(0) == events
    assert ask(served, key).read_rest() == events
    with redis.Redis.from_url(redis_url) as client:  # what the process had not yet written when it was killed
        name = gateway.redis_key(f"resume:{asked.request_id}")
        client.xdel(name, client.xrevrange(name, count=1)[0][0])
        client.xadd(name, {"f": 1, "d": "", "e": "lost"}, id="10000000000-0")
    assert ask(served, key).read_rest() == [(0, event) for _, event in events]
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("ends", [True, False], ids=["it ends in time", "it does not"])
def test_a_restart_waits_for_streams_without_a_client_and_keeps_how_they_end(
    start_gateway: Callable[..., Gateway], upstream: ScriptedUpstream, redis_url: str, ends: bool
):
    # by its signs of life a stream notices that its client has left; connections are long closed when the drain ends
    times = {"keepalive_seconds": 0.1, "drain_seconds": 60 if ends else 6}
    gateway = start_gateway("sqlite", redis_url=redis_url, **times)
    served = Served(gateway, upstream.base_url)
    upstream.plays(starts(*WORDS, then=PAUSE))
    asked = ask(served)
    before = asked.read_until(b"eight")
    asked.leave()
    restarting = gevent.spawn(gateway.restart)
    if ends:
        with gevent.Timeout(PATIENCE_SECONDS):
            while accepts(gateway.settings.port):
                gevent.sleep(0.02)
        upstream.resume()
    restarting.get(timeout=PATIENCE_SECONDS)
    events = asked.read_on(0)
    assert events[: len(before)] == before
    assert numbers_of(events) == list(range(1, len(events) + 1))
    told = served.told(data_of(events))
    assert (told.text, told.end) == ("".join(WORDS), "done" if ends else "error")
    assert (b"The gateway restarts" in events[-1][1]) is not ends
    assert asked.receipt()["outcome"] == ("complete" if ends else "cut")
    assert len(gateway.make.list_usage(served.key.account_id)) == 1
    assert len(upstream.requests) == 1


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS).close()
    except ConnectionRefusedError:
        return False
    return True


@on_postgresql
def test_another_machine_goes_on_with_it_and_ends_it(
    gateway: Gateway, start_gateway: Callable[..., Gateway], upstream: ScriptedUpstream
):
    here = Served(gateway, upstream.base_url)
    same = {"database_url": gateway.settings.database_url, "redis_url": gateway.settings.redis_url}
    there = start_gateway("postgresql", **same)
    upstream.plays(starts(*WORDS, then="stall"))
    asked = ask(here)
    before = asked.read_until(b"eight")
    asked.leave()
    elsewhere = Asked(here, asked.answer)
    elsewhere.served = Served.__new__(Served)
    elsewhere.served.__dict__ = {**here.__dict__, "gateway": there}
    reading = gevent.spawn(elsewhere.read_on, 2)
    assert elsewhere.end().json()["outcome"] == "client_gone"
    assert upstream.requests[0].hung_up.wait(PATIENCE_SECONDS)
    events = reading.get(timeout=PATIENCE_SECONDS)
    assert events[: len(before) - 2] == before[2:]
    assert b"was ended by DELETE" in events[-1][1]
    assert here.spent()[1] == 0


def says_at_length(_request: Received) -> Iterator[bytes]:
    """More bytes than sockets take, of few words."""
    padding = {"system_fingerprint": "f" * 20_000}
    yield STREAM_HEAD
    for _ in range(MANY):
        yield framed(chunk(delta={"content": "word"}) | padding)
    yield from (framed(chunk(finish_reason="stop")), framed("[DONE]"), b"0\r\n\r\n")


@on_sqlite
def test_a_client_that_takes_nothing_holds_nobody_up(gateway: Gateway, upstream: ScriptedUpstream):
    """As one does whose machine vanished without a word."""
    served = Served(gateway, upstream.base_url)
    upstream.plays(says_at_length)
    body = json.dumps(served.door.ask(served.model, "Hello!", stream=True)).encode()
    head = f"POST {served.door.path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {served.key.secret}\r\n"
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", gateway.port))
        client.sendall(f"{head}x-bridge-resume: true\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        await_request(upstream)
        received = client.recv(4096)
        request_id = received.partition(b"x-request-id: ")[2].partition(b"\r\n")[0].decode()
        asked = Asked(served, type("Answer", (), {"headers": {"x-request-id": request_id}})())
        assert asked.receipt()["outcome"] == "complete"
        with client.makefile("rb") as file:  # it comes back after all
            for piece in iter(lambda: file.read1(2**16), b""):
                received += piece
                if received.endswith(b"0\r\n\r\n"):
                    break
    events = asked.read_on(0)
    assert served.told(data_of(events)).text == "word" * MANY
    assert received.count(b"\nid: ") == len(events)
    assert b"id: %d\n" % len(events) in received


@on_sqlite
def test_beyond_its_room_a_live_stream_goes_on_and_its_kept_part_says_that_it_ends(
    database_url: str, tmp_path: Path, upstream: ScriptedUpstream
):
    app = create_app(make_settings(tmp_path, database_url=database_url, max_resume_bytes=6 * 1024))
    make = Factories(app)
    model, key = make.make_model(), make.make_key()
    make.make_channel(upstream.base_url, model)
    upstream.plays(starts(*WORDS, then=PAUSE))
    client, body = app.test_client(), DOORS["chat"].ask(model, "Hello!", stream=True)
    answer = client.post("/v1/chat/completions", json=body, headers={**key.headers, **RESUME})
    pieces = iter(answer.response)
    live = next(pieces)
    while b"eight" not in live:
        live += next(pieces)
    url = f"/v1/requests/{answer.headers['x-request-id']}/stream"
    kept = split_events(client.get(url, headers=key.headers).data)  # while the stream runs
    assert b"there was no room to keep more of it" in kept[-1][1]
    assert numbers_of(kept) == list(range(1, len(kept) + 1))
    upstream.resume()
    live += b"".join(pieces)
    answer.close()
    assert live.endswith(b"data: [DONE]\n\n")
    assert kept[:-1] == split_events(live)[: len(kept) - 1]
    filling = [client.post("/v1/chat/completions", json=body, headers={**key.headers, **RESUME}) for _ in range(4)]
    refused = filling[-1]
    assert (refused.status_code, refused.json["error"]["code"]) == (429, "rate_limit_exceeded")
    assert int(refused.headers["retry-after"]) >= 1
    assert client.post("/v1/chat/completions", json=body, headers=key.headers).status_code == 200
    for each in filling:
        each.close()
    close_rooms(app)


@on_sqlite
def test_a_mark_says_no_more_than_could_be_read_if_the_process_died(
    database_url: str, tmp_path: Path, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
):
    app = create_app(make_settings(tmp_path, database_url=database_url))
    make, services = Factories(app), app.extensions["bridge_services"]
    model, key = make.make_model(), make.make_key()
    make.make_channel(upstream.base_url, model)
    upstream.plays(starts(*WORDS, then=PAUSE))

    def is_away(*_: Any) -> None:
        raise ServiceUnavailable("")

    with monkeypatch.context() as away:
        away.setattr(services.recorder.store, "write", is_away)
        body = DOORS["chat"].ask(model, "Hello!", stream=True)
        answer = app.test_client().post("/v1/chat/completions", json=body, headers={**key.headers, **RESUME})
        pieces = iter(answer.response)
        while b"eight" not in next(pieces):
            pass
        taking = gevent.spawn(next, pieces)  # so that all before it was sent
        gevent.sleep(0)
        [stream] = services.streams
        assert stream.mark() is None
    with gevent.Timeout(PATIENCE_SECONDS):
        while (mark := stream.mark()) is None:
            gevent.sleep(0.05)
    assert 0 < json.loads(mark.details)["completion_tokens"] <= len(WORDS)
    upstream.resume()
    taking.get(timeout=PATIENCE_SECONDS)
    assert list(pieces)
    answer.close()
    close_rooms(app)


@on_postgresql
@pytest.mark.parametrize(
    ("changes", "status", "param"),
    [
        ({"web_concurrency": 2}, 400, "x-bridge-resume"),
        ({"max_resume_bytes": 0}, 400, "x-bridge-resume"),
        ({"redis_url": "redis://127.0.0.1:{port}"}, 503, None),
    ],
    ids=["workers without Redis", "none wanted", "Redis away"],
)
def test_without_a_store_it_says_so_and_costs_nothing(
    database_url: str, tmp_path: Path, upstream: ScriptedUpstream, changes: dict[str, Any], status: int, param: str
):
    changes = {
        name: value.format(port=free_port()) if isinstance(value, str) else value for name, value in changes.items()
    }
    app = create_app(make_settings(tmp_path, database_url=database_url, **changes))
    make = Factories(app)
    model, key = make.make_model(), make.make_key()
    make.make_channel(upstream.base_url, model)
    client, body = app.test_client(), DOORS["chat"].ask(model, "Hello!", stream=True)
    url = "/v1/requests/req_01893b5ac0f07c3a9b1f0d2e4a6c8b0d"
    for answer in (
        client.post("/v1/chat/completions", json=body, headers={**key.headers, **RESUME, "Idempotency-Key": "a"}),
        client.get(f"{url}/stream", headers=key.headers),
        client.delete(url, headers=key.headers),
    ):
        assert (answer.status_code, answer.json["error"]["param"]) == (status, param), answer.text
    assert make.find_money(key.account_id)[1] == 0
    assert not upstream.requests
    free = client.post("/v1/chat/completions", json=body, headers={**key.headers, "Idempotency-Key": "a"})
    assert free.status_code == 200
    free.close()
    close_rooms(app)
