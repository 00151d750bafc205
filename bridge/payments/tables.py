"""Payments at rest, and the rule and card of automatic top-ups. Only this room writes these tables."""

import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from bridge.db import Table, UtcDateTime, now_utc

OPEN_STATES = ("open", "pending")  # nothing final is known yet
_RUNNING_AUTO = sa.text("kind = 'auto' AND state IN ('open', 'pending')")


class Payment(Table):
    """One top-up, asked for here and paid at the provider. Its id goes with it as metadata and comes back in every
    event. What is credited is frozen when it is asked for; entries in the journal say what became of it."""

    __tablename__ = "payments"
    id: Mapped[str] = mapped_column(sa.String(36), primary_key=True)  # pay_ and a UUIDv7
    account_id: Mapped[int] = mapped_column(sa.ForeignKey("accounts.id"), index=True)
    kind: Mapped[str] = mapped_column(sa.String(10))  # checkout, auto
    state: Mapped[str] = mapped_column(sa.String(10), default="open")  # review: paid, but not what was asked for
    amount_minor: Mapped[int] = mapped_column(sa.BigInteger)  # cents, of whatever currency
    currency: Mapped[str] = mapped_column(sa.String(3))
    credit_nanos: Mapped[int] = mapped_column(sa.BigInteger)
    returned_nanos: Mapped[int] = mapped_column(sa.BigInteger, default=0)  # refunded or disputed, of what was credited
    payment_intent: Mapped[str | None] = mapped_column(sa.String(120), unique=True)  # the provider's id of the payment
    customer: Mapped[str | None] = mapped_column(sa.String(120))
    payment_method: Mapped[str | None] = mapped_column(sa.String(120))
    keeps_card: Mapped[bool] = mapped_column(default=False)  # for automatic top-ups
    problem: Mapped[str | None] = mapped_column(sa.String(300))
    made_by: Mapped[str | None] = mapped_column(sa.String(254))
    created_at: Mapped[datetime.datetime] = mapped_column(UtcDateTime, default=now_utc)
    paid_at: Mapped[datetime.datetime | None] = mapped_column(UtcDateTime)
    __table_args__ = (
        sa.Index(
            "uq_payments_running_auto",
            "account_id",
            unique=True,
            postgresql_where=_RUNNING_AUTO,
            sqlite_where=_RUNNING_AUTO,
        ),
        sa.CheckConstraint("amount_minor > 0 AND credit_nanos > 0", name="amount"),
        sa.CheckConstraint("returned_nanos >= 0", name="returned"),
        sa.CheckConstraint("kind IN ('checkout', 'auto')", name="kind"),
        sa.CheckConstraint("state IN ('open', 'pending', 'paid', 'failed', 'expired', 'review')", name="state"),
        sa.CheckConstraint("state <> 'paid' OR (payment_intent IS NOT NULL AND paid_at IS NOT NULL)", name="paid"),
    )


class AutoTopUp(Table):
    """When an account's card is charged without anybody there. `month_minor` is what was charged, or is being charged,
    in `month`; `claimed_until` keeps other workers, and the next charge, away until then. A `payment_method` without
    `card` is forgotten here and still to be detached at the provider."""

    __tablename__ = "auto_top_ups"
    account_id: Mapped[int] = mapped_column(sa.ForeignKey("accounts.id"), primary_key=True, autoincrement=False)
    enabled: Mapped[bool] = mapped_column(default=False)
    threshold_nanos: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    amount_minor: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    monthly_cap_minor: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    customer: Mapped[str | None] = mapped_column(sa.String(120))
    payment_method: Mapped[str | None] = mapped_column(sa.String(120))
    card: Mapped[str | None] = mapped_column(sa.String(60))  # "Visa …4242"
    month: Mapped[datetime.date | None]
    month_minor: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    claimed_until: Mapped[datetime.datetime | None] = mapped_column(UtcDateTime)
    problem: Mapped[str | None] = mapped_column(sa.String(300))  # why it was switched off
    __table_args__ = (
        sa.CheckConstraint("threshold_nanos >= 0 AND amount_minor >= 0 AND monthly_cap_minor >= 0", name="amounts"),
        sa.CheckConstraint("month_minor >= 0", name="month"),
        sa.CheckConstraint("NOT enabled OR payment_method IS NOT NULL", name="needs_card"),
    )
