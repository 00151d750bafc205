"""A gateway that stops for good resets no connection; one that reloads, or whose listener lives on, refuses none."""

import contextlib
import dataclasses
import errno
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import gevent
import pytest
import requests

from bridge.config import Settings
from bridge.ops.last_stop import drop_handshakes
from tests.gateway import LOOK_SECONDS, Gateway, as_environment
from tests.rooms import make_settings
from tests.services import Databases
from tests.upstream import PATIENCE_SECONDS, free_port
from tests.warm import ROOT

# becomes another program, which finds the listener as its file 3
AS_SYSTEMD = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""


@dataclasses.dataclass
class SlowToClose:
    """A gateway whose workers stand still before they close their listener."""

    gateway: Gateway
    closing: Path
    go_on: Path

    def signal_until_closing(self, number: int) -> None:
        self.gateway.process.send_signal(number)
        wait_for(self.closing.exists)


def wait_for(happened: Callable[[], bool]) -> None:
    with gevent.Timeout(PATIENCE_SECONDS):
        while not happened():
            gevent.sleep(LOOK_SECONDS)


def begin_to_connect(client: socket.socket, address: Any) -> None:
    """Send the first packet, and wait for no answer."""
    client.setblocking(False)
    client.connect_ex(address)
    client.settimeout(PATIENCE_SECONDS)


@pytest.fixture
def slow(start_gateway: Callable[..., Gateway], tmp_path: Path) -> Iterator[SlowToClose]:
    closing, go_on = tmp_path / "closing", tmp_path / "go-on"
    environ = {"CLOSING": str(closing), "GO_ON": str(go_on)}
    yield SlowToClose(start_gateway(config="tests.ops.slow_to_close", environ=environ), closing, go_on)
    go_on.touch()


def test_who_comes_between_the_last_look_and_the_close_is_refused(slow: SlowToClose):
    """It would be reset otherwise, with its request on the way: a router answers 502 then, and asks nobody else."""
    address = ("127.0.0.1", slow.gateway.port)
    slow.signal_until_closing(signal.SIGTERM)
    with socket.socket() as client:
        begin_to_connect(client, address)
        slow.go_on.touch()
        assert client.connect_ex(address) == errno.ECONNREFUSED
    assert slow.gateway.stop(graceful=True) == 0


def test_a_reload_keeps_the_listener_open_for_new_connections(slow: SlowToClose):
    slow.signal_until_closing(signal.SIGHUP)
    with requests.get(f"{slow.gateway.site_url}/livez", timeout=PATIENCE_SECONDS) as answer:
        assert answer.status_code == 200  # of the new worker, while the old one stands still


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_only_new_handshakes_are_dropped(host: str):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as listener, socket.socket(family) as late:
        address = listener.getsockname()
        early = socket.create_connection(address[:2], timeout=PATIENCE_SECONDS)
        drop_handshakes(listener)
        begin_to_connect(late, address)
        accepted, _ = listener.accept()
        listener.close()
        with early, accepted:
            early.sendall(b"Hello")
            assert accepted.recv(5) == b"Hello"
        assert late.connect_ex(address) == errno.ECONNREFUSED


@contextlib.contextmanager
def gunicorn(
    settings: Settings, *arguments: str, starter: Sequence[str] = (), files: Sequence[int] = ()
) -> Iterator[subprocess.Popen]:
    """A master that nobody has warmed up, started by a program of its own if one is given, with these open files."""
    program = str(Path(sys.executable).with_name("gunicorn"))
    command = [*starter, program, "-c", "python:bridge.ops.gunicorn", *arguments, "wsgi:app"]
    with subprocess.Popen(command, cwd=ROOT, env=as_environment(settings), pass_fds=files) as process:
        try:
            yield process
        finally:
            process.kill()


def is_alive(port: int) -> bool:
    try:
        with requests.get(f"http://127.0.0.1:{port}/livez", timeout=PATIENCE_SECONDS) as answer:
            return answer.status_code == 200
    except requests.ConnectionError:
        return False


@pytest.mark.parametrize("by_systemd", [True, False], ids=["by systemd", "by number"])
def test_a_listener_that_was_given_accepts_on_after_a_stop(databases: Databases, tmp_path: Path, by_systemd: bool):
    settings = make_settings(tmp_path, database_url=databases.open("sqlite"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number = listener.fileno()
        starter = [sys.executable, "-c", AS_SYSTEMD, str(number)] if by_systemd else []
        arguments = [] if by_systemd else ["-b", f"fd://{number}"]
        with gunicorn(settings, *arguments, starter=starter, files=[number]) as process:
            assert is_alive(listener.getsockname()[1])
            process.terminate()
            assert process.wait(PATIENCE_SECONDS) == 0
        with socket.create_connection(listener.getsockname(), timeout=PATIENCE_SECONDS):
            pass


def test_an_upgraded_master_accepts_on_after_the_old_one_has_stopped(databases: Databases, tmp_path: Path):
    settings = make_settings(tmp_path, database_url=databases.open("sqlite"), port=free_port())
    own, second = tmp_path / "pid", tmp_path / "pid.2"
    with gunicorn(settings, "--pid", str(own)) as old:
        wait_for(lambda: is_alive(settings.port))
        old.send_signal(signal.SIGUSR2)
        wait_for(second.exists)
        new = int(second.read_text())
        try:
            old.terminate()
            assert old.wait(PATIENCE_SECONDS) == 0
            assert is_alive(settings.port)
        finally:
            os.kill(new, signal.SIGQUIT)
