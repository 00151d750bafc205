"""What a provider wants back in a tool loop, and what a client refers to, sealed, for a while."""

import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from bridge.db import Table, UtcDateTime


class KeptReasoning(Table):
    """The reasoning (or its signature) behind one tool call. `key` is a digest of account and call."""

    __tablename__ = "kept_reasoning"
    key: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    sealed: Mapped[str] = mapped_column(sa.Text)
    created_at: Mapped[datetime.datetime] = mapped_column(UtcDateTime, index=True)


class KeptItem(Table):
    """An output item of an answer, for clients that refer to it. `key` is a digest of account and item."""

    __tablename__ = "kept_items"
    key: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    sealed: Mapped[str] = mapped_column(sa.Text)
    created_at: Mapped[datetime.datetime] = mapped_column(UtcDateTime, index=True)
