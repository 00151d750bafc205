"""A real PgBouncer before a test's database: each transaction may run on another of its connections."""

import getpass
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import gevent
import psycopg
import pytest

from tests.services import CI
from tests.upstream import free_port

POOL_SIZE = 5
START_SECONDS = 60
SETTINGS = """
[databases]
* = host={host} port={port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen_port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {pool_size}
max_client_conn = 400
"""


class PgBouncer:
    """Transaction pooling over the database of this URL, otherwise with Debian's settings."""

    def __init__(self, database_url: str):
        program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
        if program is None:
            if CI:
                pytest.fail("PgBouncer is missing on this machine: under CI it has to be there.")
            pytest.skip("PgBouncer is missing: apt-get install pgbouncer")
        self.database_url = database_url
        parts, port = urlsplit(database_url), free_port()
        self.url = urlunsplit(parts._replace(netloc=f"{parts.username or getpass.getuser()}@127.0.0.1:{port}"))
        self._folder = Path(tempfile.mkdtemp(prefix="bridge-pgbouncer-"))
        self._folder.chmod(0o755)
        path = self._folder / "pgbouncer.ini"
        user = f" user={parts.username or getpass.getuser()}"
        host = parts.hostname or "/var/run/postgresql"
        wanted = SETTINGS.format(host=host, port=parts.port or 5432, listen_port=port, pool_size=POOL_SIZE)
        path.write_text(wanted.replace("\n[pgbouncer]", f"{user}\n[pgbouncer]"))
        as_nobody = {"user": pwd.getpwnam("nobody").pw_uid} if os.geteuid() == 0 else {}  # it refuses to run as root
        self._process = subprocess.Popen([program, str(path)], stderr=subprocess.DEVNULL, **as_nobody)  # type: ignore[call-overload]
        with gevent.Timeout(START_SECONDS):
            while not self._answers():
                assert self._process.poll() is None, "PgBouncer did not start."
                gevent.sleep(0.05)

    def _answers(self) -> bool:
        try:
            with psycopg.connect(self.url, autocommit=True, prepare_threshold=None) as connection:
                return connection.execute("SELECT 1").fetchone() == (1,)
        except psycopg.Error:
            return False

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(START_SECONDS)
        shutil.rmtree(self._folder)
