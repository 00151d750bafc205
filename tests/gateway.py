"""The gateway as it ships: gunicorn in a process of its own, on a free port, with a test's settings."""

import dataclasses
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gevent
import requests
import sqlalchemy as sa

from bridge.config import Settings
from bridge.db import db
from bridge.shared_redis import Installation
from tests.factories import Factories
from tests.rooms import close_rooms, open_rooms
from tests.upstream import free_port
from tests.warm import WarmProcess

START_SECONDS = 60  # a busy machine takes its time
STOP_SECONDS = 60
LOOK_SECONDS = 0.05
CONFIG = "bridge.ops.gunicorn"


def as_environment(settings: Settings) -> dict[str, str]:
    """The variables that give these settings, and from our own environment only what a process needs."""
    found = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    for field in dataclasses.fields(Settings):
        value = getattr(settings, field.name)
        if value != field.default:
            found[field.name.upper()] = str(int(value) if isinstance(value, bool) else value)
    return found | {"FLASK_SKIP_DOTENV": "1"}


class Gateway:
    """A running gunicorn. `make` prepares what a test needs in its database."""

    def __init__(
        self, settings: Settings, log_path: Path, environ: Mapping[str, str] | None = None, config: str = CONFIG
    ):
        self.settings = dataclasses.replace(settings, port=free_port())
        self.environ = {**as_environment(self.settings), **(environ or {})}
        self._log_path = log_path
        self._config = config
        self._rooms = open_rooms(self.settings)
        self.make = Factories(self._rooms, gateway_runs=True)
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    @property
    def port(self) -> int:
        """Its port, for a request that finds all that was made."""
        self.make.wait_until_seen()
        return self.settings.port

    @property
    def site_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        """What an SDK is given."""
        return f"{self.site_url}/v1"

    def workers(self) -> list[int]:
        """Process ids of the workers."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(number) for number in path.read_text().split()]

    def kill_worker(self) -> int:
        """Kill one worker as the kernel would when memory runs out; its process id."""
        worker = self.workers()[0]
        os.kill(worker, signal.SIGKILL)
        return worker

    def log(self) -> str:
        """All it has printed so far."""
        return self._log_path.read_text()

    def log_lines(self, event: str = "") -> list[dict[str, Any]]:
        """Its log, of one event if given. A line that is being written right now is not in it yet."""
        lines = [json.loads(line) for line in self.log().rpartition("\n")[0].splitlines() if line.startswith("{")]
        return [line for line in lines if not event or line.get("event") == event]

    def await_line(self, event: str, request_id: str) -> dict[str, Any]:
        """The line of this event that tells of a request, once it is there: a request whose client has left is booked
        before it is logged, and nobody waits for it."""
        with gevent.Timeout(START_SECONDS):
            while not (lines := [line for line in self.log_lines(event) if line["request_id"] == request_id]):
                gevent.sleep(LOOK_SECONDS)
        [line] = lines
        return line

    def redis_key(self, name: str) -> str:
        """The full name of one of the gateway's keys in Redis."""
        with self._rooms.app_context(), db.engine.connect() as connection:
            return f"{connection.scalar(sa.select(Installation.redis_prefix))}{name}"

    def run_flask(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """An operator's command, beside the running gateway."""
        with tempfile.TemporaryDirectory() as folder:
            out, err = Path(folder) / "out", Path(folder) / "err"
            process = WarmProcess("flask", ["--app", "wsgi", *arguments], self.environ, out, err)
            status = process.wait()
            return subprocess.CompletedProcess(process.args, status, out.read_text(), err.read_text())

    def restart(self) -> None:
        """Restart as a deploy does: let it finish, then start it at the same address."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(STOP_SECONDS)
        self._start()

    def stop(self, graceful: bool = False) -> int:
        """End it, at once or as a deploy does. Its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM if graceful else signal.SIGQUIT)
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            for worker in self.workers():
                os.kill(worker, signal.SIGKILL)
            self.process.kill()
            self.process.wait()
            raise
        finally:
            close_rooms(self._rooms)

    def _start(self) -> None:
        arguments = ["-c", f"python:{self._config}", "wsgi:app"]
        self._log_path.touch()
        self.process = WarmProcess("gunicorn", arguments, self.environ, self._log_path, self._log_path)
        self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        end = time.monotonic() + START_SECONDS
        with requests.Session() as session:
            session.trust_env = False
            while time.monotonic() < end and self.process.poll() is None:
                try:
                    ready = session.get(f"{self.site_url}/readyz", timeout=START_SECONDS).status_code == 200
                    if ready and len(self.workers()) == self.settings.workers:
                        return
                except requests.ConnectionError:
                    pass
                gevent.sleep(LOOK_SECONDS)
        raise AssertionError(f"The gateway did not start:\n{self.log()}")
