"""The one greenlet of a process that commits holds and settlements, many in one transaction (group commit)."""

import contextlib
import datetime
import functools
import sqlite3
import time
from collections.abc import Sequence
from typing import Any

import gevent
import psycopg
import structlog

from bridge.batcher import Batcher
from bridge.config import Settings
from bridge.errors import ServiceUnavailable
from bridge.ledger import postgres, sqlite
from bridge.ledger.batch import (
    Funds,
    FundsQuery,
    HoldOrder,
    HoldResult,
    Mark,
    Order,
    Outcome,
    Settlement,
    SettleResult,
    fit_columns,
    read_details,
)
from bridge.sqlite_connection import lock, run_in_thread

DEADLOCK_TRIES = 3
FAILURE_COUNTS_SECONDS = 5.0
REFUSED_BY_THE_TABLES = (psycopg.DataError, psycopg.IntegrityError, sqlite3.IntegrityError, OverflowError, UnicodeError)
FAILURES = (psycopg.Error, sqlite3.Error, OverflowError, UnicodeError)
_NOTHING = Settlement("nothing", datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC))  # no request has this id
log = structlog.get_logger()


class Writer:
    """Commits batches on a connection of its own, opened on first use: always in the worker, never before a fork."""

    def __init__(self, settings: Settings):
        self.wait_seconds = settings.database_wait_seconds  # after this a hold is refused, and a settlement is spooled
        self._url = settings.sqlalchemy_url
        self._on_sqlite = settings.on_sqlite
        self._is_pooled = settings.is_pooled
        self._connection: Any = None
        self._failed_at: float | None = None  # when the last batch failed, or came too late; None if neither
        self._batcher: Batcher[Order, Outcome] = Batcher(self._commit)

    def may_commit(self) -> bool:
        """Whether the last batch was committed, and in time. If it wasn't, this holds for a moment; after that a batch
        that changes nothing is tried."""
        if self._failed_at is not None and time.monotonic() - self._failed_at > FAILURE_COUNTS_SECONDS:
            with contextlib.suppress(*FAILURES, gevent.Timeout):
                self._ask(_NOTHING, withdraw=True)
        return self._failed_at is None

    def place_hold(self, order: HoldOrder) -> HoldResult:
        """Set the money aside, durably, before this returns. Raises ServiceUnavailable when the database is away."""
        try:
            outcome = self._ask(order, withdraw=True)
        except (*FAILURES, gevent.Timeout) as error:
            log.error("hold_failed", request_id=order.request_id, error=type(error).__name__)
            self._batcher.tell(_release_of(order))  # in case the hold was committed all the same
            raise ServiceUnavailable(
                "The ledger can't be reached, so nothing was started. You were not charged."
            ) from None
        assert isinstance(outcome, HoldResult)
        return outcome

    def settle(self, settlement: Settlement) -> SettleResult:
        """End the hold, durably, before this returns. Raises ServiceUnavailable when the database is away; then the
        caller spools the settlement."""
        fit_columns(settlement)
        try:
            outcome = self._ask(settlement)
        except (*FAILURES, gevent.Timeout) as error:
            log.error("settle_failed", request_id=settlement.request_id, error=type(error).__name__)
            raise ServiceUnavailable("The ledger can't be reached.") from None
        assert isinstance(outcome, SettleResult)
        return outcome

    def read_funds(self, order: HoldOrder) -> Funds:
        """The funds of the account and the budgets whose hold was refused. Raises ServiceUnavailable when the database
        is away."""
        query = FundsQuery(order.request_id, order.account_id, order.key_id, order.budgets or ())
        try:
            outcome = self._ask(query, withdraw=True)
        except (*FAILURES, gevent.Timeout) as error:
            log.error("look_failed", request_id=order.request_id, error=type(error).__name__)
            raise ServiceUnavailable(
                "The ledger can't be reached, so nothing was started. You were not charged."
            ) from None
        assert isinstance(outcome, Funds)
        return outcome

    def write_marks(self, marks: list[Mark]) -> None:
        """Write what running streams have delivered so far, with the next batch. Nobody waits for it."""
        for mark in marks:
            self._batcher.tell(mark)

    def close(self) -> None:
        """Close the connection; the next use opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _ask(self, order: Order, *, withdraw: bool = False) -> Outcome:
        try:
            return self._batcher.ask(order, self.wait_seconds, withdraw=withdraw)
        except gevent.Timeout:
            self._failed_at = time.monotonic()  # its batch may still wait for a lock: it has failed whoever asked
            raise

    def _commit(self, orders: list[Order]) -> Sequence[Outcome | Exception]:
        """Commit all orders together. If the tables refuse one, commit each alone, so that it fails nobody else."""
        try:
            outcomes = self._commit_together(orders)
        except REFUSED_BY_THE_TABLES:
            if len(orders) == 1:
                raise
        except FAILURES:
            self._failed_at = time.monotonic()
            raise
        else:
            self._failed_at = None
            return outcomes
        return [self._commit_alone(order) for order in orders]

    def _commit_alone(self, order: Order) -> Outcome | Exception:
        try:
            return self._commit_together([order])[0]
        except FAILURES as error:
            return error

    def _commit_together(self, orders: list[Order]) -> list[Outcome]:
        if self._on_sqlite:
            commit = functools.partial(self._commit_sqlite, orders)
            return lock.wait(lambda: run_in_thread(commit), self.wait_seconds)
        return self._commit_postgres(orders)

    def _commit_sqlite(self, orders: list[Order]) -> list[Outcome]:
        if self._connection is None:
            self._connection = sqlite.connect(self._url.split("///", 1)[1])
        return sqlite.commit_batch(self._connection, orders)

    def _commit_postgres(self, orders: list[Order]) -> list[Outcome]:
        """Commit the orders. A deadlock is tried again, and a lost connection once: carrying out an order twice changes
        nothing."""
        reconnected = self._connection is None
        for attempt in range(DEADLOCK_TRIES):
            try:
                if self._connection is None:
                    self._connection = postgres.connect(self._url, is_pooled=self._is_pooled)
                return postgres.commit_batch(self._connection, orders)
            except psycopg.errors.DeadlockDetected:
                if attempt == DEADLOCK_TRIES - 1:
                    raise
            except psycopg.errors.ReadOnlySqlTransaction:
                self.close()  # a read-only session stays so: the next one may write
                raise
            except psycopg.OperationalError:
                self.close()
                if reconnected:
                    raise
                reconnected = True
                return self._commit_after_loss(orders)
        raise AssertionError("unreachable")

    def _commit_after_loss(self, orders: list[Order]) -> list[Outcome]:
        self._connection = postgres.connect(self._url, is_pooled=self._is_pooled)
        held = postgres.already_held(self._connection, orders)
        settled = postgres.already_settled(self._connection, orders)
        done: list[Outcome | None] = [
            held.get(order.request_id) if isinstance(order, HoldOrder) else settled.get(order.request_id)
            for order in orders
        ]
        rest = [order for order, outcome in zip(orders, done, strict=True) if outcome is None]
        outcomes = iter(postgres.commit_batch(self._connection, rest))
        return [next(outcomes) if outcome is None else outcome for outcome in done]


def _release_of(order: HoldOrder) -> Settlement:
    settlement = read_details(order.details, order.request_id, order.created_at)
    settlement.status, settlement.error_code = 503, "service_unavailable"
    return settlement
