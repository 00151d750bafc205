"""A connection to PostgreSQL that is bounded in time and behaves the same with and without a pooler.

A pooler gives each transaction to any free connection. Settings of a session, and its prepared statements, would then
affect somebody else, so neither is used there."""

from collections.abc import Mapping
from typing import Any

import psycopg

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
            return super().wait(gen, interval, self.patience_seconds)
        except psycopg.errors._WaitTimeout:
            self.pgconn.finish()  # without a farewell, which would wait again
            raise psycopg.OperationalError("the server does not answer") from None


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
