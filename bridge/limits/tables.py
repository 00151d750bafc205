"""The tables of what was refused. Only this room writes them."""

import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from bridge.db import BigId, Table, UtcDateTime


class Refusal(Table):
    """The requests of a key for a model that were refused with one code in one hour (UTC), and the last of them. A
    refused request has no usage row: it never got a hold. What is no model's name counts under ""."""

    __tablename__ = "refusals"
    account_id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=False)
    start: Mapped[datetime.datetime] = mapped_column(UtcDateTime, primary_key=True)
    key_id: Mapped[int] = mapped_column(sa.BigInteger, primary_key=True, autoincrement=False)
    code: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    model_id: Mapped[str] = mapped_column(sa.String(128), primary_key=True)
    status: Mapped[int] = mapped_column(sa.SmallInteger)
    requests: Mapped[int] = mapped_column(sa.BigInteger)
    last_at: Mapped[datetime.datetime] = mapped_column(UtcDateTime)
    last_message: Mapped[str] = mapped_column(sa.String(500))
    last_model: Mapped[str] = mapped_column(sa.String(128))  # as it was asked for; "" where nobody read so far
    last_request_id: Mapped[str] = mapped_column(sa.String(36))
    __table_args__ = (
        sa.Index("ix_refusals_key_id", "key_id", "start"),
        sa.Index("ix_refusals_start", "start"),
    )
