"""A deploy under load: accepted requests are answered, we end the streams, and the process ends in time."""

import contextlib
import dataclasses
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
import requests

from tests.gateway import Gateway
from tests.served import HELLO, Served
from tests.services import Databases
from tests.upstream import PATIENCE_SECONDS, PAUSE, Received, ScriptedUpstream, free_port, pauses, says, stalls, starts

WORDS = ("One", " two", " three")
SHORT_CALLS = 150
STREAMS = 50


def fits_the_request(stream_play: Callable[[Received], Any]) -> Callable[[Received], Any]:
    """Whole answers at once; streams as they are played."""
    return lambda request: stream_play(request) if request.streams else says("Hello")(request)


@dataclasses.dataclass
class Crowd:
    """Clients of one address: what each stream received, and how each short call ended."""

    url: str
    served: Served
    streams: list[str] = dataclasses.field(default_factory=list)
    statuses: list[Any] = dataclasses.field(default_factory=list)
    begun: int = 0

    def stream(self) -> None:
        with self._post(stream=True) as answer:
            assert answer.status_code == 200, answer.text
            text = ""
            for piece in answer.iter_content(None):
                self.begun += not text
                text += piece.decode()
            self.streams.append(text)

    def call(self, session: requests.Session) -> None:
        try:
            with self._post(session) as answer:
                self.statuses.append(answer.status_code if answer.ok else (answer.status_code, answer.text))
        except requests.RequestException as error:
            self.statuses.append(repr(error))

    def _post(self, session: Any = requests, stream: bool = False) -> requests.Response:
        body = {"model": self.served.model, "messages": HELLO, "stream": stream}
        answer: requests.Response = session.post(
            self.url, json=body, headers=self.served.key.headers, stream=stream, timeout=60
        )
        return answer


@pytest.mark.parametrize("ends", [True, False], ids=["streams that end", "streams that do not"])
@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_new_workers_take_over_under_load_and_nothing_is_lost(
    start_gateway: Callable[..., Gateway], upstream: ScriptedUpstream, engine: str, ends: bool
):
    gateway = start_gateway(
        engine,
        config="tests.ops.patient",
        environ={"PYTHONPATH": "."},
        web_concurrency=2,
        drain_seconds=60 if ends else 10,  # a short call must not be broken off, however slow the machine
        idle_timeout_seconds=60,
        total_timeout_seconds=60,
    )
    served = Served(gateway, upstream.base_url)
    upstream.plays(fits_the_request(starts(*WORDS, then=PAUSE)))
    crowd = Crowd(f"{gateway.base_url}/chat/completions", served)
    streams = [gevent.spawn(crowd.stream) for _ in range(STREAMS)]
    with gevent.Timeout(60):
        while crowd.begun < STREAMS:
            gevent.sleep(0.02)
    old = gateway.workers()
    callers = [gevent.spawn(call_on, crowd, SHORT_CALLS // 10) for _ in range(10)]
    gateway.process.send_signal(1)  # HUP: new workers start, the old ones are told to stop
    gevent.joinall(callers, timeout=60, raise_error=True)
    if ends:
        upstream.resume()
    gevent.joinall(streams, timeout=60, raise_error=True)
    with gevent.Timeout(60):
        while set(old) & set(gateway.workers()):
            gevent.sleep(0.05)
    assert crowd.statuses == [200] * SHORT_CALLS
    assert len(crowd.streams) == STREAMS
    for text in crowd.streams:
        assert all(word in text for word in WORDS)
        assert ("[DONE]" in text) is ends
        assert ("The gateway restarts" in text) is not ends
    outcomes = [row.outcome for row in gateway.make.list_usage(served.key.account_id) if row.stream]
    assert outcomes == ["complete" if ends else "cut"] * STREAMS
    assert served.spent()[1] == 0
    assert gateway.make.check_ledger() == []
    lines = gateway.log_lines("drained")
    assert sum(line["broken_off"] for line in lines) == (0 if ends else STREAMS)
    assert [line["cut"] for line in lines] == [0, 0]


def call_on(crowd: Crowd, times: int) -> None:
    """Make calls one after the other, on a kept connection and on new ones."""
    with requests.Session() as session:
        for number in range(times):
            crowd.call(session if number % 2 else requests)  # type: ignore[arg-type]
            gevent.sleep(0.15)


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_a_whole_answer_that_takes_longer_than_the_drain_is_a_free_503(
    start_gateway: Callable[..., Gateway], upstream: ScriptedUpstream, engine: str
):
    gateway = start_gateway(engine, drain_seconds=0.5, answer_timeout_seconds=60, total_timeout_seconds=60)
    served = Served(gateway, upstream.base_url)
    upstream.plays(stalls())
    asking = gevent.spawn(served.post)
    with gevent.Timeout(PATIENCE_SECONDS):
        while not upstream.requests:
            gevent.sleep(0.02)
    assert gateway.stop(graceful=True) == 0
    answer = asking.get(timeout=PATIENCE_SECONDS)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "service_unavailable")
    assert int(answer.headers["retry-after"]) >= 1
    (row,) = gateway.make.list_usage(served.key.account_id)
    assert (row.outcome, row.charge_nanos, row.status) == ("failed", 0, 503)
    (line,) = gateway.log_lines("drained")
    assert (line["finished"], line["broken_off"], line["cut"]) == (0, 1, 0)


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_while_it_drains_it_is_not_ready_and_lets_go_of_kept_connections(
    start_gateway: Callable[..., Gateway], upstream: ScriptedUpstream, engine: str
):
    gateway = start_gateway(engine, drain_seconds=60, answer_timeout_seconds=60, total_timeout_seconds=60)
    served = Served(gateway, upstream.base_url)
    upstream.plays(pauses(says(*WORDS)))
    asking = gevent.spawn(served.post)
    with gevent.Timeout(PATIENCE_SECONDS), requests.Session() as kept:
        while not upstream.requests:
            gevent.sleep(0.02)
        assert kept.get(f"{gateway.site_url}/readyz", timeout=60).status_code == 200
        gateway.process.terminate()
        gevent.sleep(0.5)
        while (answer := kept.get(f"{gateway.site_url}/readyz", timeout=60)).status_code == 200:
            gevent.sleep(0.02)
        assert answer.status_code == 503
        assert answer.headers["connection"] == "close"
        assert requests.get(f"{gateway.site_url}/livez", timeout=60).status_code == 200
        while listens(gateway):
            gevent.sleep(0.02)
    upstream.resume()
    assert asking.get(timeout=PATIENCE_SECONDS).status_code == 200
    assert gateway.stop(graceful=True) == 0


def listens(gateway: Gateway) -> bool:
    try:
        requests.get(f"{gateway.site_url}/livez", timeout=60)
    except requests.ConnectionError:
        return False
    return True


NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
ROUTER = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log error;
worker_processes 1;
{user}
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream gateways {{ {servers} keepalive 32; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://gateways;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
        }}
    }}
}}
"""


@contextlib.contextmanager
def running_router(folder: Path, gateways: list[Gateway]) -> Iterator[str]:
    """nginx before the gateways, with its defaults: it repeats only requests that are safe to repeat, but keeps sending
    to gateways that are down, which is the worst that a router can do. Yields its address."""
    assert NGINX is not None
    folder.mkdir()
    port, config = free_port(), folder / "nginx.conf"
    servers = " ".join(f"server 127.0.0.1:{gateway.port} max_fails=0;" for gateway in gateways)
    user = "user root;" if os.geteuid() == 0 else ""
    config.write_text(ROUTER.format(folder=folder, servers=servers, port=port, user=user))
    process = subprocess.Popen([NGINX, "-p", str(folder), "-c", str(config), "-e", str(folder / "nginx.log")])
    try:
        with gevent.Timeout(60):
            while True:
                with contextlib.suppress(requests.ConnectionError):
                    requests.get(f"http://127.0.0.1:{port}/livez", timeout=60)
                    break
                gevent.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_a_rolling_restart_behind_nginx_fails_no_request(
    start_gateway: Callable[..., Gateway],
    databases: Databases,
    upstream: ScriptedUpstream,
    tmp_path: Path,
    engine: str,
):
    same = {"database_url": databases.open(engine), "drain_seconds": 30}
    gateways = [start_gateway(engine, **same) for _ in range(2)]
    served = Served(gateways[0], upstream.base_url)
    upstream.plays(says(*WORDS))
    with running_router(tmp_path / "nginx", gateways) as url:
        crowd, stop = Crowd(f"{url}/v1/chat/completions", served), []

        def call_until_stopped() -> None:
            with requests.Session() as session:
                while not stop:
                    crowd.call(session)
                    gevent.sleep(0.05)

        callers = [gevent.spawn(call_until_stopped) for _ in range(8)]
        for gateway in gateways:
            gevent.sleep(0.5)
            gateway.restart()
        gevent.sleep(0.5)
        stop.append(True)
        gevent.joinall(callers, timeout=60, raise_error=True)
    assert len(crowd.statuses) > 50
    assert set(crowd.statuses) == {200}
    assert gateways[0].make.check_ledger() == []
