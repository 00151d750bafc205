"""Mails at rest: what waits to be sent, and what became of it. Only this room writes the table."""

import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from bridge.db import BigId, Table, UtcDateTime, now_utc


class Mail(Table):
    """One mail to one person, written in the transaction that decided on it. `once` is what it tells, as a name: the
    same is never told twice. `due_at` is the next attempt, and moves on before each, so that nobody else makes it."""

    __tablename__ = "mails"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    once: Mapped[str] = mapped_column(sa.String(200), unique=True)
    recipient: Mapped[str] = mapped_column(sa.String(254))
    subject: Mapped[str] = mapped_column(sa.String(200))
    text: Mapped[str] = mapped_column(sa.Text)
    off_url: Mapped[str | None] = mapped_column(sa.String(500))  # where such mails are turned off without signing in
    state: Mapped[str] = mapped_column(sa.String(8), default="waiting")
    attempts: Mapped[int] = mapped_column(default=0)
    due_at: Mapped[datetime.datetime] = mapped_column(UtcDateTime, default=now_utc)
    problem: Mapped[str | None] = mapped_column(sa.String(300))
    created_at: Mapped[datetime.datetime] = mapped_column(UtcDateTime, default=now_utc)
    ended_at: Mapped[datetime.datetime | None] = mapped_column(UtcDateTime)
    __table_args__ = (
        sa.CheckConstraint("state IN ('waiting', 'sent', 'failed', 'logged', 'skipped')", name="state"),
        sa.Index("ix_mails_state", "state", "due_at"),
    )
