"""Starts and stops the mock upstream, nginx and the load generator, and assigns their cores."""

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench.load import LoadSpec, Result

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 30.0
STOP_SECONDS = 5.0
LOAD_SECONDS = 120.0  # how much longer than its own time a load may take
LOOPBACK = "127.0.0.1"
NO_NGINX = "nginx is missing, and it is the yardstick: install it with `apt-get install nginx-light`."

NGINX_CONFIG = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log error;
worker_processes 1;
{user}
events {{ worker_connections 8192; }}
http {{
    access_log off;
    keepalive_requests 100000000;
    keepalive_timeout 300s;
    client_max_body_size 64m;
    client_body_buffer_size 512k;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream mock {{
        server 127.0.0.1:{upstream};
        keepalive 1024;
        keepalive_requests 100000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://mock;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
        }}
    }}
}}
"""


class BenchError(Exception):
    """The reason why nothing can be measured, as a sentence."""


@dataclasses.dataclass(frozen=True)
class Server:
    """A server on loopback: its port and the root process of its tree."""

    port: int
    pid: int


def server_cores(workers: int = 1) -> set[int]:
    """The cores for what is measured: the first ones, one per worker, or all if none would be left for the load."""
    cores = sorted(os.sched_getaffinity(0))
    return set(cores[:workers] if workers == 1 or workers < len(cores) else cores)


def load_cores() -> set[int]:
    """The core of the load is the last; the upstream's is the one before, unless that is the first."""
    return set(sorted(os.sched_getaffinity(0))[-1:])


def upstream_cores() -> set[int]:
    return set(sorted(os.sched_getaffinity(0))[1:][-2:-1]) or load_cores()


def pin(cores: set[int]) -> Callable[[], None]:
    """Pins a child process to cores, before it runs its program."""
    return lambda: os.sched_setaffinity(0, cores)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def stop(process: subprocess.Popen[Any], how: int = signal.SIGTERM) -> None:
    """End a process and whatever it started."""
    if process.poll() is None:
        process.send_signal(how)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):  # it leads its own process group
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def wait_until_it_answers(name: str, process: subprocess.Popen[Any], port: int, log: Path) -> None:
    """Raises BenchError with the end of the process's log if it dies or doesn't listen in time."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, port), 0.5):
            return
        time.sleep(0.02)
    text = log.read_text(errors="replace") if log.exists() else ""
    raise BenchError(f"{name} did not start:\n{text[-2000:]}")


@contextlib.contextmanager
def running_upstream() -> Iterator[Server]:
    """The mock upstream, on a port of its choice."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.upstream"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=pin(upstream_cores()),
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise BenchError("The mock upstream did not start.")
        yield Server(int(line), process.pid)
    finally:
        stop(process)


@contextlib.contextmanager
def running_nginx(upstream: Server, folder: Path) -> Iterator[Server]:
    """A plain proxy to the upstream: one worker, connections kept, nothing buffered."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        raise BenchError(NO_NGINX)
    folder.mkdir()
    port, config, log = free_port(), folder / "nginx.conf", folder / "nginx.log"
    user = "user root;" if os.geteuid() == 0 else ""
    config.write_text(NGINX_CONFIG.format(folder=folder, user=user, upstream=upstream.port, port=port))
    process = subprocess.Popen(
        [program, "-p", str(folder), "-c", str(config), "-e", str(log)],
        start_new_session=True,
        preexec_fn=pin(server_cores()),
    )
    try:
        wait_until_it_answers("nginx", process, port, log)
        yield Server(port, process.pid)
    finally:
        stop(process)


def run_load(spec: LoadSpec) -> Result:
    """Run a load in a process of its own. Raises BenchError if it can't be made or doesn't end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.load"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=pin(load_cores()),
    )
    try:
        within = None if spec.requests else spec.seconds + LOAD_SECONDS
        output, errors = process.communicate(json.dumps(dataclasses.asdict(spec)), within)
    except subprocess.TimeoutExpired:
        raise BenchError(f"The load did not end: port {spec.port}, {spec.clients} clients.") from None
    finally:
        stop(process)
    if process.returncode != 0:
        raise BenchError(f"The load could not be made: {errors.strip().splitlines()[-1:]}")
    return Result(**json.loads(output))
