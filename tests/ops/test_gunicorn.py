"""How the gateway is served: what stops a start, what a start prints, and how workers come and go."""

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import gevent
import pytest
import requests
from cryptography.fernet import Fernet

from bridge.config import Settings
from bridge.ops.address import is_taken, listen_address
from tests.gateway import LOOK_SECONDS, START_SECONDS, Gateway, as_environment
from tests.rooms import make_settings
from tests.served import Served
from tests.upstream import ScriptedUpstream, free_port, says
from tests.warm import ROOT

Start = Callable[..., Gateway]


def fail_to_start(settings: Settings) -> list[str]:
    """The lines that a start prints before it ends with status 1."""
    result = subprocess.run(
        [sys.executable, "-m", "gunicorn", "-c", "python:bridge.ops.gunicorn", "wsgi:app"],
        cwd=ROOT,
        env=as_environment(settings),
        capture_output=True,
        text=True,
        check=False,
        timeout=START_SECONDS,
    )
    assert result.returncode == 1
    return (result.stdout + result.stderr).splitlines()


def test_settings_that_cannot_work_are_named_all_at_once(tmp_path: Path):
    lines = fail_to_start(make_settings(tmp_path, bridge_env="production", secret_key="short", fernet_keys=""))
    assert [line.split(" ")[0] for line in lines] == ["SECRET_KEY", "FERNET_KEYS", "DATABASE_URL", "PUBLIC_BASE_URL"]


def test_a_wrong_master_key_stops_the_start(start_gateway: Start):
    gateway = start_gateway()
    gateway.make.make_channel("http://127.0.0.1:1/v1")
    gateway.stop()
    wrong = dataclasses.replace(gateway.settings, fernet_keys=Fernet.generate_key().decode(), port=free_port())
    assert fail_to_start(wrong) == ["FERNET_KEYS does not open the stored provider keys: restore the old key."]


def test_sqlite_gets_one_worker_and_says_so(start_gateway: Start):
    gateway = start_gateway("sqlite", web_concurrency=4)
    assert len(gateway.workers()) == 1
    assert "1 worker starts instead of 4" in gateway.log()


def test_limits_that_are_counted_by_each_worker_are_announced(start_gateway: Start):
    gateway = start_gateway("postgresql", web_concurrency=2)
    assert len(gateway.workers()) == 2
    assert "each of the 2 workers counts limits by itself" in gateway.log()
    assert gateway.stop(graceful=True) == 0


def test_a_killed_worker_is_replaced(start_gateway: Start):
    gateway = start_gateway()
    killed = gateway.kill_worker()
    for _ in range(round(START_SECONDS / LOOK_SECONDS)):
        if gateway.workers() not in ([], [killed]):
            break
        gevent.sleep(LOOK_SECONDS)
    with requests.get(f"{gateway.site_url}/readyz", timeout=START_SECONDS) as answer:
        assert answer.status_code == 200


def test_idle_connections_do_not_hold_up_a_stop(start_gateway: Start):
    gateway = start_gateway(drain_seconds=60)
    with requests.Session() as session:
        session.get(f"{gateway.site_url}/livez", timeout=START_SECONDS)
        assert gateway.stop(graceful=True) == 0  # waits for less than the drain


def test_workers_do_not_share_connections(gateway: Gateway):
    """Both are asked often and at the same time: a connection that two processes shared would mix their answers up."""
    key = gateway.make.make_key()

    def ask(_number: int) -> int:
        with requests.get(f"{gateway.base_url}/credits", headers=key.headers, timeout=START_SECONDS) as answer:
            return answer.status_code

    greenlets = [gevent.spawn(ask, number) for number in range(24)]
    assert {greenlet.get() for greenlet in greenlets} == {200}


@pytest.mark.parametrize(
    ("changes", "address"),
    [
        ({}, "127.0.0.1:8000"),
        ({"bridge_env": "production", "port": 80}, "0.0.0.0:80"),
        ({"bind": "10.0.0.1"}, "10.0.0.1:8000"),
        ({"bind": "::1"}, "[::1]:8000"),
        ({"bind": "[::]"}, "[::]:8000"),
        ({"bind": "unix:/run/bridge.sock"}, "unix:/run/bridge.sock"),
    ],
)
def test_where_it_listens(tmp_path: Path, changes: dict[str, object], address: str):
    assert listen_address(make_settings(tmp_path, **changes)) == address


def test_a_socket_in_the_file_system_is_never_taken(tmp_path: Path):
    assert not is_taken(make_settings(tmp_path, bind=f"unix:{tmp_path}/socket"))


def test_workers_share_what_is_needed_for_counting(start_gateway: Start, upstream: ScriptedUpstream):
    gateway = start_gateway("sqlite")
    served = Served(gateway, upstream.base_url)
    upstream.plays(says("Hello", usage=False))
    (worker,) = gateway.workers()
    before = own_memory_bytes(worker)
    assert served.post().status_code == 200
    assert served.await_usage().tokens_source == "estimate"
    assert own_memory_bytes(worker) - before < 30 * 2**20


def own_memory_bytes(pid: int) -> int:
    """What a process has for itself alone."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))
