"""Decides in the database which worker does a day's job, and stores its result. The jobs are rows of `ops/jobs.py`."""

import datetime
from typing import cast

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Mapped, mapped_column

from bridge.db import Table, UtcDateTime, db, now_utc, transaction

LOST_AFTER_SECONDS = 3600  # a worker that has not finished by then is dead
KEPT_DAYS = 400
LEDGER_CHECK = "ledger check"  # the name in this job's rows


class DailyJob(Table):
    """One job of one day; inserting the row decides which worker does it. Without `finished_at` it runs, or its worker
    died."""

    __tablename__ = "daily_jobs"
    name: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    day: Mapped[datetime.date] = mapped_column(primary_key=True)  # in UTC
    started_at: Mapped[datetime.datetime] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime.datetime | None] = mapped_column(UtcDateTime)
    complaints: Mapped[list[str]] = mapped_column(sa.JSON, default=list)


def take_job(name: str, day: datetime.date) -> bool:
    """Take the day's job, and return whether this worker is to do it: nobody did, or the worker that began it is
    dead."""
    now = now_utc()
    known = sa.select(DailyJob.started_at, DailyJob.finished_at).where(DailyJob.name == name, DailyJob.day == day)
    row = db.session.execute(known).one_or_none()
    db.session.commit()
    lost = now - datetime.timedelta(seconds=LOST_AFTER_SECONDS)
    if row is not None and (row.finished_at is not None or row.started_at > lost):
        return False
    with transaction() as session:
        insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
        statement = insert(cast("sa.Table", DailyJob.__table__)).values(
            name=name, day=day, started_at=now, complaints=[]
        )
        taken = session.execute(
            statement.on_conflict_do_update(
                index_elements=["name", "day"],
                set_={"started_at": now},
                where=DailyJob.finished_at.is_(None) & (DailyJob.started_at <= lost),
            ).returning(sa.literal(1))  # PostgreSQL's row count of an INSERT isn't available
        )
        return taken.first() is not None


def finish_job(name: str, day: datetime.date, complaints: list[str]) -> None:
    """Store the result in the caller's transaction, together with what follows from it. [] is a success."""
    db.session.execute(
        sa.update(DailyJob)
        .where(DailyJob.name == name, DailyJob.day == day)
        .values(finished_at=now_utc(), complaints=complaints)
        .execution_options(synchronize_session=False)
    )
    old = day - datetime.timedelta(days=KEPT_DAYS)
    db.session.execute(sa.delete(DailyJob).where(DailyJob.day < old))


def list_days(name: str, limit: int = 14) -> list[DailyJob]:
    """The job's last days, the newest first."""
    query = sa.select(DailyJob).where(DailyJob.name == name).order_by(DailyJob.day.desc()).limit(limit)
    return list(db.session.scalars(query))
