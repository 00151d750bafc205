"""SQLite's lock in somebody else's hands: who waits for it lets others run, and waits no longer than allowed."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest

from bridge import sqlite_connection
from bridge.sqlite_connection import PatientConnection, WriteLock
from tests.upstream import PATIENCE_SECONDS


def connect(tmp_path: Path, wait_seconds: float = PATIENCE_SECONDS) -> PatientConnection:
    return sqlite3.connect(
        tmp_path / "a.db", isolation_level=None, timeout=0, factory=PatientConnection, wait_seconds=wait_seconds
    )


@pytest.fixture
def other(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Whoever else has the file open."""
    connection = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE t (x INTEGER)")
    yield connection
    connection.close()


def test_others_run_while_one_waits_and_it_goes_on_once_the_lock_is_free(tmp_path: Path, other: sqlite3.Connection):
    connection = connect(tmp_path)
    other.execute("BEGIN IMMEDIATE")
    writing = gevent.spawn(connection.cursor().execute, "BEGIN IMMEDIATE")
    for _ in range(20):
        gevent.sleep(0.001)
    assert not writing.ready()
    other.execute("COMMIT")
    writing.get(timeout=PATIENCE_SECONDS)
    assert connection.in_transaction
    connection.cursor().execute("INSERT INTO t VALUES (1)")
    connection.commit()
    assert other.execute("SELECT count(*) FROM t").fetchone() == (1,)
    connection.close()


@pytest.mark.parametrize("in_thread", [False, True])
def test_a_wait_ends_and_a_thread_has_none(tmp_path: Path, other: sqlite3.Connection, in_thread: bool):
    connection = connect(tmp_path, PATIENCE_SECONDS if in_thread else 0.05)
    connection.is_in_thread = in_thread
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        connection.cursor().execute("BEGIN IMMEDIATE")
    connection.close()


def test_who_has_read_what_is_old_is_told_at_once(
    tmp_path: Path, other: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sqlite_connection, "lock", None)
    connection = connect(tmp_path)
    connection.cursor().execute("BEGIN")
    connection.cursor().execute("SELECT * FROM t")
    other.execute("INSERT INTO t VALUES (1)")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        connection.cursor().execute("INSERT INTO t VALUES (2)")
    connection.close()


def test_after_one_has_waited_in_vain_the_next_ones_are_told_soon(monkeypatch: pytest.MonkeyPatch):
    now = [1000.0]
    monkeypatch.setattr("bridge.sqlite_connection.time.monotonic", lambda: now[0])
    monkeypatch.setattr("bridge.sqlite_connection.gevent.sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    lock, error = WriteLock(), sqlite3.OperationalError("database is locked")
    error.sqlite_errorcode = sqlite3.SQLITE_BUSY

    def seconds_until_told() -> float:
        begun = now[0]
        with pytest.raises(sqlite3.OperationalError):
            lock.wait(_raise(error), 2.5)
        return now[0] - begun

    assert 2.5 <= seconds_until_told() < 2.6
    assert seconds_until_told() < 0.2
    lock.wait(lambda: None, 2.5)
    assert 2.4 <= seconds_until_told() < 2.6


def _raise(error: Exception):
    def task() -> None:
        raise error

    return task
