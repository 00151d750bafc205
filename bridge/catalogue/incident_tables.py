"""The tables of incidents: what the status page and customers' banners tell of trouble."""

import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from bridge.db import BigId, Table, UtcDateTime, now_utc

MAX_TITLE, MAX_TEXT = 160, 2000


class Incident(Table):
    """Trouble that customers are told of. With a `cause`, the provider whose channels fail, it was opened by itself;
    one cause has one open incident at most. Without a title it is named after its models."""

    __tablename__ = "incidents"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    cause: Mapped[str | None] = mapped_column(sa.String(32))
    title: Mapped[str] = mapped_column(sa.String(MAX_TITLE), default="")
    effect: Mapped[str] = mapped_column(sa.String(16))  # down, degraded, none
    state: Mapped[str] = mapped_column(sa.String(16))  # that of its last update
    opened_at: Mapped[datetime.datetime] = mapped_column(UtcDateTime, default=now_utc)
    opened_by: Mapped[str] = mapped_column(sa.String(254))  # the operator's address, "command" or "automatic"
    well_since: Mapped[datetime.datetime | None] = mapped_column(UtcDateTime)  # since when none of its models fails
    closed_at: Mapped[datetime.datetime | None] = mapped_column(UtcDateTime)
    __table_args__ = (
        sa.CheckConstraint("effect IN ('down', 'degraded', 'none')", name="effect"),
        sa.CheckConstraint("state IN ('investigating', 'identified', 'monitoring', 'resolved')", name="state"),
        sa.Index(
            *("uq_incidents_open_cause", "cause"),
            unique=True,
            postgresql_where=sa.text("closed_at IS NULL"),
            sqlite_where=sa.text("closed_at IS NULL"),
        ),
        sa.Index("ix_incidents_opened_at", "opened_at"),
        sa.Index("ix_incidents_closed_at", "closed_at"),
    )


class IncidentModel(Table):
    """A model that an incident is about. It outlives the model."""

    __tablename__ = "incident_models"
    incident_id: Mapped[int] = mapped_column(sa.ForeignKey("incidents.id", ondelete="CASCADE"), primary_key=True)
    model_id: Mapped[str] = mapped_column(sa.String(128), primary_key=True)
    effect: Mapped[str] = mapped_column(sa.String(16))  # down, degraded, none: the last one while it had trouble
    ended_at: Mapped[datetime.datetime | None] = mapped_column(UtcDateTime)  # None: it has trouble


class IncidentUpdate(Table):
    """What was said of an incident, and in which state it was then."""

    __tablename__ = "incident_updates"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    incident_id: Mapped[int] = mapped_column(sa.ForeignKey("incidents.id", ondelete="CASCADE"), index=True)
    at: Mapped[datetime.datetime] = mapped_column(UtcDateTime, default=now_utc)
    state: Mapped[str] = mapped_column(sa.String(16))
    text: Mapped[str] = mapped_column(sa.String(MAX_TEXT))
    made_by: Mapped[str] = mapped_column(sa.String(254))
    corrected_at: Mapped[datetime.datetime | None] = mapped_column(UtcDateTime)
