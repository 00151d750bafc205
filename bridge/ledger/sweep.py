"""Resolves the holds that dead workers left: past their deadline, by the database's clock, they are released."""

import sqlalchemy as sa
import structlog

from bridge.db import UtcDateTime, db, now_utc
from bridge.ledger.batch import read_details
from bridge.ledger.tables import Hold
from bridge.ledger.writer import Writer

MOST_AT_ONCE = 500
log = structlog.get_logger()


def sweep(writer: Writer) -> int:
    """Release the holds past their deadline, and return how many. A worker that settles one later changes nothing:
    whoever deletes the hold first decides, and each hold has one row."""
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
