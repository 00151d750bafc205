"""Bodies that come compressed: gzip is taken within the bounds of all bodies, and what is not taken says what is."""

import gzip
import json
import zlib
from typing import Any

import pytest
from flask import Flask

from tests.factories import Factories
from tests.upstream import ScriptedUpstream, says
from tests.v1.test_messages import HELLO, Client

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
DOORS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": HELLO},
    "/v1/messages": {"messages": HELLO, "max_tokens": 99},
    "/v1/messages/count_tokens": {"messages": HELLO},
    "/v1/responses": {"input": "Hello!"},
}
MEGABYTE = 2**20


@pytest.fixture
def client(app: Flask, make: Factories, upstream: ScriptedUpstream) -> Client:
    found = Client(app, make, upstream)
    found.serve("openai")
    upstream.plays(says("Hi."))
    return found


def post(client: Client, data: bytes, encoding: str = "gzip", path: str = "/v1/messages") -> Any:
    headers = {**client.key.headers, "content-type": "application/json", "content-encoding": encoding}
    return client._app.test_client().post(path, data=data, headers=headers)


def body(client: Client, path: str = "/v1/messages", **more: Any) -> bytes:
    return json.dumps({"model": client.model, **DOORS[path], **more}).encode()


def kept_bytes(client: Client) -> int:
    return client._app.extensions["bridge_services"].shares.body_bytes


@pytest.mark.parametrize("path", DOORS)
@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "x-gzip"])
def test_a_gzipped_body_is_read_as_it_was(client: Client, path: str, encoding: str):
    answer = post(client, gzip.compress(body(client, path)), encoding, path)
    assert answer.status_code == 200, answer.data
    assert kept_bytes(client) == 0


def test_a_large_one_is_read_too(client: Client):
    text = "word and word " * 60_000
    tokens = client.post({"model": client.model, "messages": [{"role": "user", "content": text}]}, COUNT).json
    packed = gzip.compress(body(client, COUNT, messages=[{"role": "user", "content": text}]))
    assert post(client, packed, path=COUNT).json == tokens
    assert kept_bytes(client) == 0


COUNT = "/v1/messages/count_tokens"


def test_a_bomb_ends_at_the_largest_body_whatever_it_would_have_become(client: Client):
    bomb = gzip.compress(b" " * (64 * MEGABYTE))
    assert len(bomb) < MEGABYTE  # of what would be twice the largest body
    answer = post(client, bomb)
    assert (answer.status_code, answer.json["error"]["type"]) == (413, "request_too_large")
    assert kept_bytes(client) == 0
    assert not client.upstream.requests


def test_the_unpacked_bytes_count_as_memory_in_use(client: Client):
    shares = client._app.extensions["bridge_services"].shares
    before, shares.most_body_bytes = shares.most_body_bytes, MEGABYTE
    try:
        answer = post(client, gzip.compress(b" " * (8 * MEGABYTE)))
    finally:
        shares.most_body_bytes = before
    assert answer.status_code == 529
    assert kept_bytes(client) == 0


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[:-9],
        lambda data: data[: len(data) // 2],
        lambda _: b"no gzip at all",
        lambda data: data[:-8] + bytes(8),
        lambda data: data + b"more",
        lambda _: zlib.compress(b"{}"),
    ],
    ids=["no checksum", "half", "plain", "wrong checksum", "more behind", "zlib"],
)
def test_what_is_no_gzip_or_not_all_of_it_is_400(client: Client, spoil: Any):
    answer = post(client, spoil(gzip.compress(body(client))))
    assert answer.status_code == 400
    assert "gzip" in answer.json["error"]["message"]


@pytest.mark.parametrize("encoding", ["zstd", "br", "deflate", "gzip, gzip", "x\x7f"])
@pytest.mark.parametrize("path", DOORS)
def test_another_encoding_is_415_and_says_what_is_taken(client: Client, path: str, encoding: str):
    answer = post(client, b"\x28\xb5\x2f\xfd", encoding, path)
    assert answer.status_code == 415
    message = answer.json["error"]["message"]
    assert "gzip" in message
    assert "Content-Encoding" in message
    assert answer.headers["x-should-retry"] == "false"


def test_a_body_said_to_be_as_it_is_is_read_as_it_is(client: Client):
    assert post(client, body(client), "identity").status_code == 200
