"""The database: one Flask-SQLAlchemy object, the column types that both engines need, and how SQLite is opened."""

import contextlib
import datetime
import functools
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import psycopg
import sqlalchemy as sa
from flask import current_app
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import event
from sqlalchemy.orm import DeclarativeBase, Session

from bridge.config import Settings
from bridge.postgres_connection import BoundedConnection, prepare_session, set_in_transaction
from bridge.sqlite_connection import PatientConnection, lock, run_in_thread
from bridge.turns import in_slices

Result = TypeVar("Result")
GROUP_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")  # groups of accounts, which channels may serve alone
DEFAULT_GROUP = "default"
SLICE_ROWS = 25  # rows of a long table that are read at once: some two milliseconds
# for each PostgreSQL session; behind a pooler, each transaction. Compiling a page's sums took ten times as long as
# running them
WORKS_BY = {"statement_timeout": "10s", "jit": "off"}
NAMING = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    metadata = sa.MetaData(naming_convention=NAMING)


db = SQLAlchemy(model_class=Base, session_options={"expire_on_commit": False})

if TYPE_CHECKING:
    Table = Base
else:
    Table = db.Model

BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # SQLite counts up only an INTEGER primary key


def now_utc() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


class UtcDateTime(sa.TypeDecorator[datetime.datetime]):
    """A moment in UTC, timezone-aware in Python; SQLite stores it without a zone."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime.datetime | None, dialect: Any) -> datetime.datetime | None:
        if value is None:
            return None
        value = value.astimezone(datetime.UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime.datetime | None, dialect: Any) -> datetime.datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=datetime.UTC) if value.tzinfo is None else value.astimezone(datetime.UTC)


def engine_options(settings: Settings) -> dict[str, Any]:
    """Pool and connection options for one of a worker's two apps, pages and API: each gets half of the connections
    beside the ledger's. Few suffice, since none is held during a call. Half of those are closed once nobody needs
    them."""
    # parameters may hold a password's hash or a customer's address, and errors are logged: no error shows them
    if settings.on_sqlite:
        patient = {"factory": PatientConnection, "wait_seconds": settings.database_wait_seconds, "timeout": 0}
        return {
            "hide_parameters": True,
            "pool_timeout": settings.database_wait_seconds,
            "connect_args": patient | {"check_same_thread": False},
        }
    most = (settings.database_connections - 1) // 2
    kept = (most + 1) // 2
    return {
        "hide_parameters": True,
        "pool_size": kept,
        "max_overflow": most - kept,
        "pool_timeout": settings.database_wait_seconds,
        "pool_pre_ping": True,
        "isolation_level": "READ COMMITTED",  # whatever the role's default is
        "connect_args": {"connect_timeout": 3, "is_pooled": settings.is_pooled},
    }


def set_sqlite_pragmas(dbapi_connection: Any, _record: Any = None) -> None:
    """Use WAL, so that readers never wait for the writer, and full sync, since a commit here is somebody's money."""
    dbapi_connection.isolation_level = None  # we say BEGIN ourselves: see prepare_engine
    cursor = dbapi_connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def prepare_engine(engine: sa.Engine) -> None:
    """Prepare an engine of either database for this product.

    A transaction that will write says so when it begins: SQLite doesn't let a reader become a writer while another
    writes."""
    if engine.dialect.name != "sqlite":
        event.listen(engine, "do_connect", _connect_bounded)
        event.listen(engine, "begin", _begin_behind_a_pooler)
        event.listen(engine, "handle_error", _leave_what_is_read_only)
        return
    event.listen(engine, "do_connect", _make_private)
    event.listen(engine, "connect", set_sqlite_pragmas)

    @event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        options, driver = connection.get_execution_options(), connection.connection.driver_connection
        if isinstance(driver, PatientConnection):
            driver.is_in_thread = bool(options.get("sqlite_in_thread"))
        connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("sqlite_immediate") else "BEGIN")


def _connect_bounded(_dialect: Any, _record: Any, positional: Any, named: Any) -> BoundedConnection:
    is_pooled = named.pop("is_pooled", False)
    connection: BoundedConnection = BoundedConnection.connect(*positional, **named)
    prepare_session(connection, WORKS_BY, is_pooled=is_pooled)
    return connection


def _make_private(_dialect: Any, _record: Any, positional: Any, named: Any) -> None:
    """Make SQLite's file readable by its owner alone before anything is in it; the two files beside it inherit that."""
    path = str(positional[0] if positional else named.get("database", ""))
    if path and not path.startswith((":", "file:")) and Path(path).parent.is_dir():
        # an existing file is never opened: closing it would drop all locks that this process has on it
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        os.chmod(path, 0o600)


def _begin_behind_a_pooler(connection: sa.Connection) -> None:
    driver = connection.connection.driver_connection
    if isinstance(driver, BoundedConnection) and driver.is_pooled:
        set_in_transaction(driver, WORKS_BY)


def _leave_what_is_read_only(context: sa.engine.ExceptionContext) -> None:
    """Drop a read-only connection: its session stays read-only even when its server is writable again or another has
    taken over."""
    if isinstance(context.original_exception, psycopg.errors.ReadOnlySqlTransaction):
        context.is_disconnect = True


def clock(session: Session) -> sa.ColumnElement[datetime.datetime]:
    """The database's clock, by which things expire; for SQLite, which runs on our machine, our own."""
    if session.get_bind().dialect.name == "sqlite":
        return sa.literal(now_utc(), UtcDateTime)
    return sa.func.now()


def write(task: Callable[[sa.Connection], Result]) -> Result:
    """Run the task in one short transaction on its own connection, and commit. This is for the API's requests, which
    have no session. SQLite is written in a thread, since its fsync must not delay other requests; waiting for its lock
    happens outside, since there are few threads.

    Needs an app context; raises sqlalchemy.exc.SQLAlchemyError."""
    engine = db.engine

    def run() -> Result:
        with engine.connect().execution_options(sqlite_immediate=True, sqlite_in_thread=True) as connection:
            result = task(connection)
            connection.commit()
            return result

    if engine.dialect.name != "sqlite":
        return run()
    settings: Settings = current_app.config["BRIDGE"]
    return lock.wait(lambda: run_in_thread(run), settings.database_wait_seconds)


def read_in_slices(query: sa.Select[Result]) -> Iterator[Result]:
    """The rows of a query on one table, as the session reads them. However many there are, others run in between."""
    found = db.session.execute(query).yield_per(SLICE_ROWS)
    return in_slices(row[0] for row in found)


def read_plain(table: type[Base], *order: Any, where: sa.ColumnElement[bool] | None = None) -> Iterator[Any]:
    """All rows of a table (those that match `where`), as read-only values with its columns' names. They take a fraction
    of the time that the session's objects take, and the garbage collector ignores them."""
    columns = list(table.__table__.columns)
    plain = _make_plain(table)
    query = sa.select(*columns).order_by(*order)
    found = db.session.execute(query if where is None else query.where(where)).yield_per(SLICE_ROWS)
    return in_slices(plain(*row) for row in found)


@functools.cache
def _make_plain(table: type[Base]) -> Callable[..., Any]:
    names = [column.name for column in table.__table__.columns]
    return msgspec.defstruct(f"Plain{table.__name__}", names, frozen=True, gc=False)


@contextmanager
def snapshot() -> Iterator[Session]:
    """Yield the session for reading many tables as of one moment, however long that takes."""
    session = db.session()
    session.commit()
    driver: Any = None
    if session.get_bind().dialect.name == "postgresql":
        connection = session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        driver = connection.connection.driver_connection
        driver.patience_seconds = None
        session.execute(sa.text("SET LOCAL statement_timeout = 0"))
    try:
        yield session
    finally:
        session.commit()
        if driver is not None:
            driver.patience_seconds = BoundedConnection.patience_seconds


@contextmanager
def transaction() -> Iterator[Session]:
    """Yield the session for writing; commit at the end, or roll back on any error.

    Keep it short: nothing that waits belongs inside. Earlier reads of the session are committed first, so that the
    transaction sees, and locks, the current rows."""
    session = db.session()
    session.commit()
    session.connection(execution_options={"sqlite_immediate": True})
    try:
        yield session
        session.commit()
    except BaseException:
        session.rollback()
        raise
