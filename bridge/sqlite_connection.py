"""A connection to SQLite that never blocks the worker: while another process writes to the file, other requests are
served.

SQLite's own busy_timeout sleeps in C and would block the whole process. So it is not used: a caller that meets the lock
sleeps in gevent and tries again."""

import functools
import sqlite3
import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

import gevent
from gevent import get_hub

Result = TypeVar("Result")
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.001, 0.025
UNBROKEN_SECONDS = 1.0  # without a look for so long, the lock may have been free in between
BRIEFLY_SECONDS = 0.1


class WriteLock:
    """SQLite's one write lock, as this process observes it. Another process may hold it."""

    def __init__(self) -> None:
        self._taken_since = self._seen_at = 0.0

    def wait(self, task: Callable[[], Result], seconds: float) -> Result:
        """Run the task, again and again while it meets the lock, which leaves nothing changed. After these seconds, or
        soon if others have already waited as long, raise what the task raises."""
        begun, pause = time.monotonic(), FIRST_PAUSE_SECONDS
        while True:
            try:
                result = task()
            except Exception as error:
                if not _is_busy(error):
                    raise
                waited, taken = self._look(begun)
                if waited >= seconds or taken >= seconds and waited >= BRIEFLY_SECONDS:
                    raise
            else:
                self._taken_since = time.monotonic()
                return result
            gevent.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _look(self, begun: float) -> tuple[float, float]:
        """How long we have waited, and how long the lock has been taken without a break that we know of."""
        now = time.monotonic()
        if now - self._seen_at > UNBROKEN_SECONDS:
            self._taken_since = now
        self._seen_at = now
        return now - begun, now - self._taken_since


lock = WriteLock()


def run_in_thread(task: Callable[[], Result]) -> Result:
    """Run the task in a thread, and raise its error here: gevent would also print it each time."""
    result, error = get_hub().threadpool.apply(_catch, (task,))
    if error is not None:
        try:
            raise error
        finally:  # the error has this frame: each would keep the other in memory
            del error
    return cast(Result, result)


def _catch(task: Callable[[], Result]) -> tuple[Result | None, Exception | None]:
    try:
        return task(), None
    except Exception as error:  # noqa: BLE001 - the caller raises it
        return None, error


def _is_busy(error: Exception) -> bool:
    """Whether another writer has the lock, so that trying again helps. A transaction that has read outdated rows may
    not write any more, however long it waits."""
    code = getattr(getattr(error, "orig", error), "sqlite_errorcode", 0)
    return bool(code & 0xFF == sqlite3.SQLITE_BUSY and code != sqlite3.SQLITE_BUSY_SNAPSHOT)


class PatientConnection(sqlite3.Connection):
    """A connection that waits for the lock. While a thread uses it (`is_in_thread`), the caller waits outside."""

    is_in_thread = False

    def __init__(self, *arguments: Any, wait_seconds: float, **more: Any):
        super().__init__(*arguments, **more)
        self._wait_seconds = wait_seconds

    def cursor(self, factory: Any = None) -> Any:
        return super().cursor(factory or PatientCursor)

    def commit(self) -> None:
        self.when_free(super().commit)

    def when_free(self, task: Callable[[], Result]) -> Result:
        """Run the task at once, and again until the lock is free."""
        try:
            return task()
        except sqlite3.OperationalError as error:
            if self.is_in_thread or not _is_busy(error):
                raise
        return lock.wait(task, self._wait_seconds)


class PatientCursor(sqlite3.Cursor):
    """A cursor whose statements wait for the lock. A statement that met the lock has changed nothing."""

    connection: PatientConnection

    def execute(self, *arguments: Any) -> Any:
        return self.connection.when_free(functools.partial(super().execute, *arguments))

    def executemany(self, *arguments: Any) -> Any:
        return self.connection.when_free(functools.partial(super().executemany, *arguments))
