"""The tables of redemption codes: batches, and only the digest of each code. Only `codes.py` writes them."""

import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from bridge.db import BigId, Table, UtcDateTime, now_utc


class CodeBatch(Table):
    """Codes that were made together, each worth the same. `once` is the number of the form that created them."""

    __tablename__ = "code_batches"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    amount_nanos: Mapped[int] = mapped_column(sa.BigInteger)  # of each code
    count: Mapped[int]
    note: Mapped[str | None] = mapped_column(sa.String(200))
    once: Mapped[str | None] = mapped_column(sa.String(64), unique=True)
    made_by: Mapped[str] = mapped_column(sa.String(254))
    created_at: Mapped[datetime.datetime] = mapped_column(UtcDateTime, default=now_utc)
    expires_at: Mapped[datetime.datetime | None] = mapped_column(UtcDateTime)
    voided_at: Mapped[datetime.datetime | None] = mapped_column(UtcDateTime)
    __table_args__ = (sa.CheckConstraint("amount_nanos > 0 AND count > 0", name="amount"),)


class Code(Table):
    """One code, as its SHA-256: a hundred random bits need no salt."""

    __tablename__ = "codes"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    batch_id: Mapped[int] = mapped_column(sa.ForeignKey("code_batches.id"), index=True)
    digest: Mapped[bytes] = mapped_column(sa.LargeBinary(32), unique=True)
    redeemed_by: Mapped[int | None] = mapped_column(sa.ForeignKey("accounts.id"))
    redeemed_at: Mapped[datetime.datetime | None] = mapped_column(UtcDateTime)
    __table_args__ = (sa.CheckConstraint("(redeemed_by IS NULL) = (redeemed_at IS NULL)", name="redeemed"),)
