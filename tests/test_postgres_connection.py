"""A connection to PostgreSQL among greenlets: others run while it waits, and it waits no longer than it may."""

import os
from collections.abc import Iterator

import gevent
import psycopg
import pytest

from bridge.postgres_connection import IS_PATCHED, BoundedConnection
from tests.services import find_postgres

LARGE = 8 * 2**20  # more than a socket takes at once, in either direction


@pytest.fixture
def connection() -> Iterator[BoundedConnection]:
    with BoundedConnection.connect(find_postgres(), autocommit=True) as connection:
        yield connection


def test_others_run_while_a_statement_does(connection: BoundedConnection):
    assert IS_PATCHED
    with BoundedConnection.connect(find_postgres(), autocommit=True) as other:
        connection.execute("SELECT pg_advisory_lock(%s)", (os.getpid(),))
        waiting = gevent.spawn(other.execute, "SELECT pg_advisory_lock(%s)", (os.getpid(),))
        while not connection.execute(
            "SELECT 1 FROM pg_locks WHERE NOT granted AND pid = %s", (other.info.backend_pid,)
        ).fetchall():
            assert not waiting.ready()
        connection.execute("SELECT pg_advisory_unlock(%s)", (os.getpid(),))
        waiting.get(timeout=30)


def test_what_is_larger_than_a_sockets_buffer_goes_and_comes_whole(connection: BoundedConnection):
    text = "äb" * (LARGE // 3)
    assert connection.execute("SELECT %s::text || '!'", (text,)).fetchall() == [(text + "!",)]
    with connection.cursor().copy("COPY (SELECT repeat('x', 1000) FROM generate_series(1, 5000)) TO STDOUT") as rows:
        assert sum(len(piece) for piece in rows) == 5000 * 1001


def test_a_silent_server_is_given_up(connection: BoundedConnection):
    connection.patience_seconds = 0.05
    with pytest.raises(psycopg.OperationalError, match="does not answer"):
        connection.execute("SELECT pg_sleep(60)")
    assert connection.closed


def test_a_connection_that_the_server_ends_says_so(connection: BoundedConnection):
    with BoundedConnection.connect(find_postgres(), autocommit=True) as other:
        waiting = gevent.spawn(connection.execute, "SELECT pg_sleep(60)")
        pid = connection.info.backend_pid
        while not other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = %s AND query LIKE '%%pg_sleep%%'",
            (pid,),
        ).fetchall():
            assert not waiting.ready()
        with pytest.raises(psycopg.OperationalError):
            waiting.get(timeout=30)
