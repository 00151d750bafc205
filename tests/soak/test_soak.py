"""The soak in short, and many streams on few database connections."""

from collections.abc import Callable
from pathlib import Path

import gevent
import pytest
import requests

from tests.audit.run import Plan
from tests.gateway import Gateway
from tests.soak.run import run
from tests.upstream import PAUSE, ScriptedUpstream, starts
from tests.v1.test_faults import HELLO, Served

CALM = dict.fromkeys(
    ("first_content_timeout_seconds", "answer_timeout_seconds", "idle_timeout_seconds", "total_timeout_seconds"), 120
)
PATIENCE_SECONDS = 120


def hold_open(gateway: Gateway, upstream: ScriptedUpstream, streams: int) -> None:
    """Open so many streams, each with its first words; look while all are open; let all come to their end."""
    served = Served(gateway, upstream.base_url)
    served.key = gateway.make.make_key(gateway.make.make_account(1000 * 10**9))
    upstream.plays(starts("One", " two", then=PAUSE))
    begun, ended = [0], []

    def read() -> None:
        body = {"model": served.model, "messages": HELLO, "stream": True, "max_tokens": 20}
        url = f"{gateway.base_url}/chat/completions"
        with requests.post(url, json=body, headers=served.key.headers, stream=True, timeout=120) as answer:
            assert answer.status_code == 200, answer.text
            text = b""
            for piece in answer.iter_content(None):
                begun[0] += not text
                text += piece
            ended.append(b"[DONE]" in text)

    upstream.patience_seconds = PATIENCE_SECONDS
    reading = [gevent.spawn(read) for _ in range(streams)]
    with gevent.Timeout(PATIENCE_SECONDS):
        while begun[0] < streams and not any(one.exception for one in reading):
            gevent.sleep(0.05)
    # were a connection held by a stream, none would be left for this
    credits = requests.get(f"{gateway.base_url}/credits", headers=served.key.headers, timeout=60)
    upstream.resume()
    gevent.joinall(reading, timeout=PATIENCE_SECONDS, raise_error=True)
    assert credits.status_code == 200
    assert ended == [True] * streams


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_dropped_streams_leave_nothing_behind_and_many_share_few_connections(
    start_gateway: Callable[..., Gateway], upstream: ScriptedUpstream, tmp_path: Path, redis_url: str, engine: str
):
    environ = {"VITALS": str(tmp_path), "POOL": "2", "PYTHONPATH": "."}
    gateway = start_gateway(
        engine, config="tests.soak.gunicorn", environ=environ, web_concurrency=2, redis_url=redis_url, **CALM
    )
    assert run(gateway, upstream, tmp_path, Plan(seed=1, clients=40, requests=300, keys_each=5), slack=30) == []
    hold_open(gateway, upstream, 100)
