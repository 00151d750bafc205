"""Resolves what dead workers and a database that was away left: spooled settlements first, then overdue holds.

A hold past its deadline, by the database's clock, is released; a stream's is charged what its last mark says it
delivered."""

import sqlalchemy as sa
import structlog

from bridge.db import UtcDateTime, db, now_utc, transaction
from bridge.ledger.batch import Settlement, read_details
from bridge.ledger.idempotency import keep_answer
from bridge.ledger.rollups import add_loss, find_progress
from bridge.ledger.spool import Spool, Spooled
from bridge.ledger.tables import Hold, UsageRecord
from bridge.ledger.writer import Writer

MOST_AT_ONCE = 500
log = structlog.get_logger()


def apply_spools(spool: Spool, writer: Writer) -> int:
    """Settle what was spooled while the database was away, by this worker or by others, gone or not; how many.

    Raises ServiceUnavailable when it is away again: all of it stays."""

    def settle(settlement: Spooled) -> None:
        if settlement.sealed:
            keep_answer(settlement.claim, settlement.sealed)
        if writer.settle(settlement).settled_before:
            _book_loss(settlement)

    return spool.apply(settle)


def _book_loss(settlement: Settlement) -> None:
    """A hold that was swept before its settlement came stays as it was: what it should have brought is our loss."""
    with transaction() as session:
        progress = find_progress(session)
        record = session.scalars(
            sa.select(UsageRecord)
            .where(
                UsageRecord.request_id == settlement.request_id,
                UsageRecord.created_at == settlement.created_at,
                UsageRecord.outcome == "worker_lost",
            )
            .with_for_update()
        ).one_or_none()
        if record is None:
            return
        unbooked = settlement.price_nanos - record.charge_nanos - record.loss_nanos
        if unbooked > 0:
            add_loss(session, record, progress, unbooked)


def sweep(writer: Writer) -> int:
    """End the holds past their deadline, and return how many. A worker that settles one later changes nothing: whoever
    deletes the hold first decides, and each hold has one row."""
    session = db.session()
    on_sqlite = session.get_bind().dialect.name == "sqlite"
    now = sa.literal(now_utc(), UtcDateTime) if on_sqlite else sa.func.now()
    overdue = session.execute(
        sa.select(Hold.request_id, Hold.created_at, Hold.details).where(Hold.deadline_at < now).limit(MOST_AT_ONCE)
    ).all()
    session.commit()
    swept = 0
    for request_id, created_at, details in overdue:
        settlement = read_details(details, request_id, created_at)
        settlement.outcome = "worker_lost"
        if not writer.settle(settlement).settled_before:  # by another worker's sweeper, or late by its own request
            log.warning("hold_swept", request_id=request_id)
            swept += 1
    return swept
