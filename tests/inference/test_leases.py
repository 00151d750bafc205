"""Concurrency leases: a killed worker's are free within a lease's life, a living worker keeps its own."""

import os
import signal
from collections.abc import Callable
from typing import Any

import gevent
import pytest
import redis
import requests

from tests.factories import MadeKey
from tests.gateway import Gateway
from tests.served import HELLO, await_request
from tests.upstream import PATIENCE_SECONDS, ScriptedUpstream, says, stalls, starts

LEASE_SECONDS = 2
Start = Callable[..., Gateway]


class Limited:
    """One place alone, of a key or of a channel, and requests that want it."""

    def __init__(self, start: Start, redis_url: str, upstream: ScriptedUpstream, whose: str):
        self.gateway = start(
            "postgresql",
            web_concurrency=2,
            redis_url=redis_url,
            lease_seconds=LEASE_SECONDS,
            # so that only the lease's end gives the place back
            total_timeout_seconds=300,
            first_content_timeout_seconds=300,
            answer_timeout_seconds=300,
            idle_timeout_seconds=300,
        )
        make = self.gateway.make
        self.model = make.make_model()
        make.make_channel(upstream.base_url, self.model, concurrency=1 if whose == "channel" else None)
        self.key: MadeKey = make.make_key(concurrency=1 if whose == "key" else 0)
        self.refusal = {"key": (429, "rate_limit_exceeded"), "channel": (503, "overloaded")}[whose]
        self.pattern = {"key": "bridge:*{a*}:k*:at-once", "channel": "bridge:*{c*}:at-once"}[whose]

    def post(self, **more: Any) -> requests.Response:
        """A request on a connection of its own, so that any worker may take it."""
        body, headers = {"model": self.model, "messages": HELLO, **more}, {**self.key.headers, "Connection": "close"}
        url = f"{self.gateway.base_url}/chat/completions"
        return requests.post(url, json=body, headers=headers, stream=bool(more.get("stream")), timeout=PATIENCE_SECONDS)

    def post_in_vain(self) -> None:
        """A request whose worker doesn't live to answer it."""
        with pytest.raises(requests.ConnectionError):
            self.post()

    def is_refused(self) -> bool:
        answer = self.post()
        if answer.status_code == 200:
            return False
        assert (answer.status_code, answer.json()["error"]["code"]) == self.refusal
        assert 1 <= int(answer.headers["retry-after"]) <= 30
        return True

    def lease_end(self, client: redis.Redis) -> float:
        """When the only lease ends, in Redis's milliseconds."""
        [name] = client.keys(self.pattern)
        [(_, end)] = client.zrange(name, 0, -1, withscores=True)
        return float(end)


@pytest.mark.parametrize("whose", ["key", "channel"])
def test_a_killed_workers_places_come_back_within_a_lease(
    start_gateway: Start, redis_url: str, upstream: ScriptedUpstream, whose: str
):
    limited = Limited(start_gateway, redis_url, upstream, whose)
    upstream.plays(stalls())
    running = gevent.spawn(limited.post_in_vain)
    await_request(upstream)
    assert limited.is_refused()
    for worker in limited.gateway.workers():  # whichever has it
        os.kill(worker, signal.SIGKILL)
    running.get()
    upstream.plays(says("Hello"))
    with gevent.Timeout(PATIENCE_SECONDS):
        while True:
            try:
                if not limited.is_refused():
                    break
            except requests.ConnectionError:  # new workers are on their way
                pass
            gevent.sleep(0.05)


@pytest.mark.parametrize("whose", ["key", "channel"])
def test_a_living_stream_keeps_its_place_for_many_leases_and_leaves_none_behind(
    start_gateway: Start, redis_url: str, upstream: ScriptedUpstream, whose: str
):
    limited = Limited(start_gateway, redis_url, upstream, whose)
    upstream.plays(starts("Hello", then="pause"))
    upstream.patience_seconds = 60
    with limited.post(stream=True) as stream, redis.Redis.from_url(redis_url) as client:
        frames = stream.iter_lines()
        while b"Hello" not in next(frames):
            pass
        first = limited.lease_end(client)
        with gevent.Timeout(60):
            while limited.lease_end(client) < first + 2 * LEASE_SECONDS * 1000:
                gevent.sleep(0.05)
        assert limited.is_refused()
        upstream.resume()
        assert b"data: [DONE]" in list(frames)
        upstream.plays(says("Hello"))
        with gevent.Timeout(PATIENCE_SECONDS):
            while limited.is_refused():
                gevent.sleep(0.02)
        with gevent.Timeout(PATIENCE_SECONDS):
            while client.keys(limited.pattern):
                gevent.sleep(0.02)
