"""The table of mails: which wait to be sent, and what became of the others. Only this room writes it."""

import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from bridge.db import BigId, Table, UtcDateTime, now_utc


class Mail(Table):
    """One mail to one person, written in the transaction that decided on it. `once` names what it reports, and the same
    is never reported twice. `due_at` is the next attempt; it moves on before each attempt, so no other worker makes the
    same one."""

    __tablename__ = "mails"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    once: Mapped[str] = mapped_column(sa.String(200), unique=True)
    recipient: Mapped[str] = mapped_column(sa.String(254))
    subject: Mapped[str] = mapped_column(sa.String(200))
    text: Mapped[str] = mapped_column(sa.Text)  # empty where it is sealed
    sealed: Mapped[str | None] = mapped_column(sa.Text)  # a text with a secret in it, until the mail has ended
    off_url: Mapped[str | None] = mapped_column(sa.String(500))  # turns such mails off without signing in
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
