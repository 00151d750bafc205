"""Finishes what dead workers and an absent database left: spooled settlements first, then overdue holds.

A hold past its deadline, by the database's clock, is released. A stream's hold is charged what its last mark says was
delivered."""

import datetime
from collections.abc import Sequence

import sqlalchemy as sa
import structlog

from bridge.db import UtcDateTime, db, now_utc, transaction
from bridge.errors import ServiceUnavailable
from bridge.ledger.batch import Settlement, read_details
from bridge.ledger.idempotency import keep_answer
from bridge.ledger.label_rollups import add_label_loss
from bridge.ledger.rollups import add_loss, find_progress
from bridge.ledger.spool import Spool, Spooled
from bridge.ledger.tables import Hold, UsageRecord
from bridge.ledger.writer import Writer

MOST_AT_ONCE = 500
log = structlog.get_logger()


def apply_spools(spool: Spool, writer: Writer) -> int:
    """Settle what this worker or others, dead or alive, have spooled while the database was away. Returns how many.

    Raises ServiceUnavailable if it is away again: then all of it stays."""

    def settle(settlement: Spooled) -> None:
        if settlement.sealed and not keep_answer(settlement.claim, settlement.sealed):
            raise ServiceUnavailable("The answer can't be kept.")  # both or neither: a repetition would be charged
        if writer.settle(settlement).settled_before:
            _book_loss(settlement)

    return spool.apply(settle, _find_ours)


def _find_ours(settlements: Sequence[Settlement]) -> set[str]:
    """The ids of the requests for which we have a hold or a usage row."""
    ids = [each.request_id for each in settlements]
    session = db.session()
    held = session.scalars(sa.select(Hold.request_id).where(Hold.request_id.in_(ids))).all()
    settled = session.scalars(
        sa.select(UsageRecord.request_id).where(
            UsageRecord.request_id.in_(ids), UsageRecord.created_at.in_([each.created_at for each in settlements])
        )
    ).all()
    session.commit()
    return {*held, *settled}


def _book_loss(settlement: Settlement) -> None:
    """Book a loss where a hold was swept before its settlement came: the row stays, and what it should have brought is
    lost."""
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
            add_label_loss(session, record, unbooked)


def sweep(writer: Writer) -> int:
    """End the holds past their deadline, and return how many. A worker that settles one later changes nothing: each
    hold has one row, and the first to delete it decides."""
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
        if not writer.settle(settlement).settled_before:  # another sweeper or its own request did
            log.warning("hold_swept", request_id=request_id)
            swept += 1
    return swept


def select_overdue_count(before: datetime.datetime) -> sa.Select[int]:
    """A query for how many holds should have been ended before then: the job doesn't run."""
    return sa.select(sa.func.count()).select_from(Hold).where(Hold.deadline_at < before)
