"""A connection to PostgreSQL that is bounded in time and behaves the same with and without a pooler.

A pooler gives each transaction to any free connection. Settings of a session, and its prepared statements, would then
affect somebody else, so neither is used there."""

import select
import time
from collections.abc import Generator, Mapping
from typing import Any

import gevent
import gevent.monkey
import gevent.socket
import psycopg

IS_PATCHED = gevent.monkey.is_module_patched("select")
READ, WRITE = 1, 2  # as psycopg and gevent both have them
_own_poll = gevent.monkey.get_original("select", "poll")
PREPARE_AFTER = 5  # executions before a statement is prepared; psycopg's own choice
# The process that a pooler reports to its clients is not one of the server's: this detects it, and then nothing is set.
_SET_IN_SESSION = """
SELECT set_config(name, value, false) FROM unnest(%s::text[], %s::text[]) AS wanted (name, value)
 WHERE pg_backend_pid() = %s
"""
_SET_IN_TRANSACTION = "SELECT set_config(name, value, true) FROM unnest(%s::text[], %s::text[]) AS wanted (name, value)"


class BoundedConnection(psycopg.Connection[Any]):
    """A connection to PostgreSQL that gives up on a silent server, whose machine or network is gone. The timeout of a
    statement wouldn't help, since the server enforces it."""

    patience_seconds: float | None = 12  # beyond the statement's timeout; None: wait forever
    is_pooled = False

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Raises OperationalError, with the connection closed, when its patience ends."""
        if timeout is not None or self.patience_seconds is None:
            return super().wait(gen, interval, timeout)
        try:
            if IS_PATCHED:
                return wait_for(gen, self.pgconn.socket, self.patience_seconds)
            return super().wait(gen, interval, self.patience_seconds)
        except psycopg.errors._WaitTimeout:
            self.pgconn.finish()  # without a farewell, which would wait again
            raise psycopg.OperationalError("the server does not answer") from None


def wait_for(steps: Generator[int, int, Any], fileno: int, seconds: float) -> Any:
    """Carry out libpq's steps, each as soon as the socket can be read or written, and return what they return. Raises
    psycopg's _WaitTimeout when `seconds` have passed.

    psycopg's own way, where gevent has patched `select`, wakes up ten times a second, and builds a poll object with its
    timers for each statement."""
    deadline = time.monotonic() + seconds
    try:
        wanted = next(steps)
        while True:
            ready = _look(fileno, wanted) if wanted & WRITE else 0  # nearly always writable
            if not ready:
                left = max(0.0, deadline - time.monotonic())
                watcher = gevent.get_hub().loop.io(fileno, wanted)
                try:
                    gevent.socket.wait(watcher, left, psycopg.errors._WaitTimeout("wait timeout expired"))
                finally:
                    watcher.close()
                ready = wanted if wanted != READ | WRITE else _look(fileno, wanted)
            wanted = steps.send(ready)
    except StopIteration as end:
        return end.value


def _look(fileno: int, wanted: int) -> int:
    """Which of the wanted sides is ready, without waiting. A broken socket is ready: libpq then says what it is."""
    poll = _own_poll()
    poll.register(fileno, (select.POLLIN if wanted & READ else 0) | (select.POLLOUT if wanted & WRITE else 0))
    for _, found in poll.poll(0):
        ready = (READ if found & select.POLLIN else 0) | (WRITE if found & select.POLLOUT else 0)
        return ready or wanted
    return 0


def prepare_session(
    connection: BoundedConnection,
    wanted: Mapping[str, str],
    *,
    is_pooled: bool = False,
    prepare_after: int = PREPARE_AFTER,
) -> None:
    """Set the session's parameters in one trip, and have statements prepared from then on. Behind a pooler, which is
    detected unless `is_pooled` says so, do neither: `set_in_transaction` does it each time."""
    connection.prepare_threshold = None
    if not is_pooled:
        before, connection.autocommit = connection.autocommit, True
        pid = connection.info.backend_pid
        is_pooled = not connection.execute(_SET_IN_SESSION, (list(wanted), list(wanted.values()), pid)).fetchall()
        connection.autocommit = before
    connection.is_pooled = is_pooled
    if not is_pooled:
        connection.prepare_threshold = prepare_after


def set_in_transaction(connection: BoundedConnection, wanted: Mapping[str, str]) -> None:
    """Set the parameters until the current transaction ends."""
    connection.execute(_SET_IN_TRANSACTION, (list(wanted), list(wanted.values())))
