"""A connection to PostgreSQL as we need it: bounded in time, and the same behind a pooler as without one.

A pooler gives each transaction to whichever of its connections is free. What a session was told, and the statements
that it prepared, then belong to somebody else: both are done without there."""

from collections.abc import Mapping
from typing import Any

import psycopg

PREPARE_AFTER = 5  # times that a statement was executed; psycopg's own choice
# The process that a pooler names to its clients is none of the server's: so it is noticed, and nothing is set.
_SET_IN_SESSION = """
SELECT set_config(name, value, false) FROM unnest(%s::text[], %s::text[]) AS wanted (name, value)
 WHERE pg_backend_pid() = %s
"""
_SET_IN_TRANSACTION = "SELECT set_config(name, value, true) FROM unnest(%s::text[], %s::text[]) AS wanted (name, value)"


class BoundedConnection(psycopg.Connection[Any]):
    """A connection to PostgreSQL that gives up on a server that says nothing, as one does whose machine or network is
    gone: a statement's own timeout is the server's to keep."""

    patience_seconds: float | None = 12  # beyond the statement's timeout; None waits for as long as it takes
    is_pooled = False

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Raises OperationalError, with the connection closed, when its patience ends."""
        if timeout is not None or self.patience_seconds is None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, self.patience_seconds)
        except psycopg.errors._WaitTimeout:
            self.pgconn.finish()  # without the farewell, for which it would wait again
            raise psycopg.OperationalError("the server does not answer") from None


def prepare_session(
    connection: BoundedConnection,
    wanted: Mapping[str, str],
    *,
    is_pooled: bool = False,
    prepare_after: int = PREPARE_AFTER,
) -> None:
    """Set what the session is to work by, in one trip, and have statements prepared from then on. Behind a pooler,
    which is noticed unless `is_pooled` says so, neither: `set_in_transaction` does it each time."""
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
    """Set it until the transaction under way ends."""
    connection.execute(_SET_IN_TRANSACTION, (list(wanted), list(wanted.values())))
