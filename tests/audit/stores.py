"""A PostgreSQL cluster and a Redis of the audit's own: they can be stopped and emptied without harming anyone."""

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import gevent
import redis

from tests.upstream import free_port

START_SECONDS = 30


def find_program(name: str) -> str:
    """Debian keeps PostgreSQL's servers out of the path. Raises LookupError where it isn't installed."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    program = str(found[-1]) if found else shutil.which(name)
    if program is None:
        raise LookupError(f"{name} is missing: install postgresql and redis-server, or audit on SQLite.")
    return program


class Cluster:
    """PostgreSQL in a folder, on a port of its own. It syncs as it does in production."""

    def __init__(self, folder: Path):
        self.port = free_port()
        self._data, self._log = folder / "data", folder / "log"
        self._user = None
        if os.geteuid() == 0:  # it refuses to be root
            self._user = next(user for user in ("postgres", "nobody") if _exists(user))
            shutil.chown(folder, self._user)
        self._run("initdb", "-D", str(self._data), "-U", "audit", "-A", "trust", "-E", "UTF8", "--no-locale")
        options = f"port = {self.port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\n"
        with (self._data / "postgresql.conf").open("a") as file:
            file.write(options + "max_connections = 200\n")

    @property
    def url(self) -> str:
        return f"postgresql://audit@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        self._run("pg_ctl", "-D", str(self._data), "-l", str(self._log), "-w", "-t", str(START_SECONDS), "start")

    def stop(self, mode: str) -> None:
        """`fast` ends what runs; `immediate` is a crash."""
        self._run("pg_ctl", "-D", str(self._data), "-w", "-m", mode, "stop")

    def _run(self, program: str, *arguments: str) -> None:
        command = [find_program(program), *arguments]
        with open(os.devnull, "w") as silence:
            subprocess.run(command, check=True, user=self._user, stdout=silence, cwd="/")


def _exists(user: str) -> bool:
    with contextlib.suppress(KeyError):
        return bool(pwd.getpwnam(user))
    return False


@contextlib.contextmanager
def running_cluster() -> Iterator[Cluster]:
    """One that is empty, and removed at the end."""
    with tempfile.TemporaryDirectory(prefix="bridge-audit-postgres-", ignore_cleanup_errors=True) as folder:
        cluster = Cluster(Path(folder))
        cluster.start()
        try:
            yield cluster
        finally:
            with contextlib.suppress(subprocess.CalledProcessError):
                cluster.stop("immediate")


@contextlib.contextmanager
def running_redis() -> Iterator[str]:
    """Its URL. It keeps nothing on disk."""
    port = free_port()
    command = [find_program("redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        with redis.Redis(port=port) as client, gevent.Timeout(START_SECONDS):
            while True:
                with contextlib.suppress(redis.ConnectionError):
                    client.ping()
                    break
                gevent.sleep(0.05)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait()
