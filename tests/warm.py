"""A process that has imported the product once, and forks for each gateway and command that a test starts: imports take
most of a start's time. What is served and how it ends is as ever; only the imports have happened before. `make run`,
the README's commands and the settings' errors are tested in processes that nobody has warmed up."""

import atexit
import functools
import gc
import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gevent
from gevent import monkey

ROOT = Path(__file__).parents[1]
LOOK_SECONDS = 0.02
COUNTED_IN = "PROMETHEUS_MULTIPROC_DIR"


class WarmProcess:
    """A running Python module, as subprocess.Popen would show it."""

    def __init__(self, module: str, arguments: list[str], environ: Mapping[str, str], out: Path, err: Path):
        self.args = ["python", "-m", module, *arguments]
        self.pid: int = _nursery().ask(
            module=module, arguments=arguments, environ=dict(environ), out=str(out), err=str(err)
        )
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit status; None while it runs."""
        if self.returncode is None:
            self.returncode = _nursery().ask(pid=self.pid)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status, once it has ended. Raises subprocess.TimeoutExpired."""
        end = time.monotonic() + (timeout or float("inf"))
        while (status := self.poll()) is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            gevent.sleep(LOOK_SECONDS)
        return status

    def send_signal(self, number: int) -> None:
        """Send it this signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


class _Nursery:
    """The process that forks, and its one line of talk."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        environ = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        command = [sys.executable, "-m", "tests.warm"]
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        atexit.register(self.close)

    def ask(self, **question: Any) -> Any:
        """What it answers: the process id of what it started, or the exit status of what it was asked about."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(f"{json.dumps(question)}\n")
            self._process.stdin.flush()
            return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        """Let it end."""
        self._process.communicate()


@functools.cache
def _nursery() -> _Nursery:
    return _Nursery()


def _serve() -> dict[str, Any] | None:
    """Answer questions until nobody asks any more. In a child: what it is to run."""
    # gevent's own would start its hub, which must be each child's own
    fork, wait_for = monkey.get_original("os", ["fork", "waitpid"])
    ended: dict[int, int] = {}
    for line in iter(sys.stdin.readline, ""):
        question = json.loads(line)
        if pid := question.get("pid"):
            if pid not in ended:
                found, status = wait_for(pid, os.WNOHANG)
                if found:
                    ended[pid] = os.waitstatus_to_exitcode(status)
            answer = ended.get(pid)
        elif not (answer := fork()):
            return question
        print(json.dumps(answer), flush=True)
    return None


def _become(question: dict[str, Any], counted_in: str) -> None:
    """Be the process that was asked for: its files, environment and arguments."""
    for number, (path, flags) in enumerate(
        ((os.devnull, os.O_RDONLY), (question["out"], os.O_WRONLY), (question["err"], os.O_WRONLY))
    ):
        file = os.open(path, flags | (os.O_CREAT | os.O_APPEND if number else 0), 0o600)
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(question["environ"])
    os.environ[COUNTED_IN] = tempfile.mkdtemp(dir=counted_in)  # of the gateway and its workers alone
    sys.argv[1:] = question["arguments"]


def _import_the_product() -> None:
    """Import what a gateway and its commands import, but not what reads settings."""
    import flask.cli
    import gunicorn.app.wsgiapp

    import app
    import bridge.ops.demo
    import bridge.ops.gunicorn_worker
    import bridge.ops.worker
    from bridge.inference.estimate import load_vocabulary

    del flask, gunicorn, app, bridge
    load_vocabulary()


def _main() -> None:
    monkey.patch_all()
    gc.disable()
    # the library of metrics asks at its import whether several processes count
    counted_in = os.environ[COUNTED_IN] = tempfile.mkdtemp(prefix="counted-")
    _import_the_product()
    gc.freeze()
    gc.enable()
    question = _serve()
    if question is None:
        shutil.rmtree(counted_in, ignore_errors=True)
    else:
        _become(question, counted_in)
        runpy.run_module(question["module"], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main()
