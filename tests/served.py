"""A model of one test, its key, and requests to it over sockets."""

import json
import socket
from typing import Any

import gevent
import requests

from bridge.providers.token_scale import OPENAI, find_scale
from tests.doors import DOORS, Told, read_told
from tests.gateway import Gateway
from tests.upstream import ScriptedUpstream

DOLLAR = 1_000_000_000
HELLO = [{"role": "user", "content": "Hello!"}]


class Served:
    """A model of one test, its key, and requests to it, by chat completions or the door of this name."""

    def __init__(self, gateway: Gateway, *upstreams: str, door: str = "chat"):
        self.gateway, self.door = gateway, DOORS[door]
        self.model = gateway.make.make_model()
        for priority, base_url in enumerate(upstreams):
            gateway.make.make_channel(base_url, self.model, priority=priority, waits=False)
        self.key = gateway.make.make_key()

    def post(self, stream: bool = False, *, max_tokens: int | None = None, **more) -> requests.Response:
        body = {**self.door.ask(self.model, "Hello!", stream=stream, cap=max_tokens), **more}
        url = f"{self.gateway.site_url}{self.door.path}"
        return requests.post(url, json=body, headers=self.key.headers, stream=stream, timeout=60)

    def told(self, data: bytes, stream: bool = True) -> Told:
        """What the client was told, in whichever dialect."""
        return read_told(self.door, data, stream=stream)

    def spent(self) -> tuple[int, int]:
        """Nano-dollars charged, and still held."""
        balance, held = self.gateway.make.find_money(self.key.account_id)
        return 10 * DOLLAR - balance, held

    def receipt(self, answer: requests.Response) -> dict:
        return requests.get(
            f"{self.gateway.base_url}/requests/{answer.headers['x-request-id']}", headers=self.key.headers, timeout=60
        ).json()

    def await_usage(self):
        """The settled request's row, once it is there."""
        with gevent.Timeout(60):
            while not (rows := self.gateway.make.list_usage(self.key.account_id)):
                gevent.sleep(0.02)
        return rows[-1]


def estimate_of(words: int, ended: bool = False) -> int:
    """Our own count of an answer of so many tokens by a model that nobody knows: one that was cut has no scale."""
    return find_scale(OPENAI, "model").answer(words, calls=0) if ended else words


def await_request(upstream: ScriptedUpstream, count: int = 1) -> None:
    """Wait until so many requests have arrived there."""
    with gevent.Timeout(60):
        while len(upstream.requests) < count:
            gevent.sleep(0.02)


def ask_and_leave(served: Served, upstream: ScriptedUpstream, stream: bool = False, **more: Any) -> None:
    """Ask, and hang up once the upstream has the request."""
    body = json.dumps({**served.door.ask(served.model, "Hello!", stream=stream), **more}).encode()
    with socket.create_connection(("127.0.0.1", served.gateway.port)) as client:
        head = f"POST {served.door.path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {served.key.secret}\r\n"
        client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        await_request(upstream)
