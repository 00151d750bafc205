"""The faults that the audit inflicts on the gateway and its services while clients are served."""

import contextlib
import os
import random
import signal
import sqlite3
from collections.abc import Iterator

import gevent
import psycopg
import redis
from psycopg import sql

from tests.audit.stores import Cluster
from tests.gateway import Gateway


class Chaos:
    """Inflicts one fault after another, by its seed, and counts them."""

    def __init__(self, gateway: Gateway, seed: int, cluster: Cluster | None, away_seconds: tuple[float, float]):
        self.gateway, self._cluster, self._away = gateway, cluster, away_seconds
        self._chance = random.Random(f"{seed}/chaos")
        self.kills = self.restarts = self.outages = self.flushes = 0
        self._deck: list[str] = []
        self.away = False  # the database

    def strike(self) -> None:
        """Inflict the next fault. Returns when it is over."""
        if not self._deck:
            self._deck = ["kill", "kill", "outage", "kill", "flush", "outage and kill", "kill", "restart"]
        action = self._deck.pop(0)
        if action == "kill":
            self.kill()
        elif action == "flush":
            self.flush()
        elif action == "restart":
            self.restarts += 1
            self.gateway.restart()
        else:
            self.outages += 1
            self.away = True
            try:
                with self._database_away():
                    gevent.sleep(self._chance.uniform(*self._away))
                    if action == "outage and kill":
                        self.kill()
            finally:
                self.away = False

    def kill(self) -> None:
        """As the kernel does when memory runs out: a worker, or all of them."""
        workers = self.gateway.workers()
        for worker in workers if self._chance.random() < 0.2 else [self._chance.choice(workers)] if workers else []:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
                self.kills += 1

    def flush(self) -> None:
        """Redis forgets everything."""
        if self.gateway.settings.redis_url:
            with redis.Redis.from_url(self.gateway.settings.redis_url) as client:
                client.flushall() if self._cluster else client.flushdb()
            self.flushes += 1

    @contextlib.contextmanager
    def _database_away(self) -> Iterator[None]:
        url = self.gateway.settings.sqlalchemy_url
        if self.gateway.settings.on_sqlite:
            with contextlib.closing(sqlite3.connect(url.split("///", 1)[1], isolation_level=None, timeout=0)) as other:
                _lock(other)
                yield
                other.execute("ROLLBACK")
        elif self._cluster is not None:
            self._cluster.stop(self._chance.choice(("fast", "immediate")))
            try:
                yield
            finally:
                self._cluster.start()
        else:
            with _shut_out(url.replace("+psycopg", "", 1)):
                yield


def _lock(connection: sqlite3.Connection) -> None:
    """Lock the database as soon as nobody else writes. SQLite's own waiting would block this whole process."""
    while True:
        with contextlib.suppress(sqlite3.OperationalError):
            connection.execute("BEGIN IMMEDIATE")
            return
        gevent.sleep(0.005)


@contextlib.contextmanager
def _shut_out(url: str) -> Iterator[None]:
    """On a shared server: let nobody into the database, and end its connections."""
    before, _, name = url.partition("?")[0].rpartition("/")
    database = sql.Identifier(name)
    with psycopg.connect(f"{before}/postgres", autocommit=True) as connection:
        connection.execute(sql.SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS false").format(database))
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        try:
            yield
        finally:
            connection.execute(sql.SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS true").format(database))
