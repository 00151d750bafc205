"""The table of what one operator asked for and another has to approve. Only `approvals.py` writes it."""

import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from bridge.db import BigId, Table, UtcDateTime, now_utc


class Approval(Table):
    """A change of money above the set amount. `once` is the number of the form that asked for it. `booking` is the
    moment between the decision and its entry in the journal. Of a merge and of a part of a charge the account stands in
    `from_id`: workers of the version before can't book these, and stop where there is no `account_id`."""

    __tablename__ = "approvals"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    kind: Mapped[str] = mapped_column(sa.String(16))  # balance, refund, codes, merge
    state: Mapped[str] = mapped_column(sa.String(16), default="waiting")  # booking, approved, refused, expired
    account_id: Mapped[int | None] = mapped_column(sa.ForeignKey("accounts.id"), index=True)
    from_id: Mapped[int | None] = mapped_column(sa.BigInteger)
    into_id: Mapped[int | None] = mapped_column(sa.BigInteger)  # the account that a merge leaves
    request_id: Mapped[str | None] = mapped_column(sa.String(64))  # of a refund
    refund_number: Mapped[int | None]  # which refund of that request it is to be; None: the first, of all of it
    amount_nanos: Mapped[int] = mapped_column(sa.BigInteger)  # of each code; with a sign of a balance and a merge
    count: Mapped[int] = mapped_column(default=1)  # of codes
    codes_expire_at: Mapped[datetime.datetime | None] = mapped_column(UtcDateTime)
    note: Mapped[str] = mapped_column(sa.String(500), default="")
    once: Mapped[str | None] = mapped_column(sa.String(64), unique=True)
    asked_by: Mapped[str] = mapped_column(sa.String(254))
    decided_by: Mapped[str | None] = mapped_column(sa.String(254))
    outcome: Mapped[str] = mapped_column(sa.String(300), default="")  # why it was refused
    created_at: Mapped[datetime.datetime] = mapped_column(UtcDateTime, default=now_utc)
    ends_at: Mapped[datetime.datetime] = mapped_column(UtcDateTime)
    decided_at: Mapped[datetime.datetime | None] = mapped_column(UtcDateTime)

    @property
    def of_account(self) -> int | None:
        """The account that it concerns; None of codes."""
        return self.from_id if self.account_id is None else self.account_id

    __table_args__ = (
        sa.CheckConstraint("kind IN ('balance', 'refund', 'codes', 'merge')", name="kind"),
        sa.Index("ix_approvals_state_id", "state", "id"),
    )
