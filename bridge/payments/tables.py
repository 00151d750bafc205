"""The tables of payments, their returns, operators' decisions, and the rule and card of automatic top-ups. Only this
room writes them."""

import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from bridge.db import BigId, Table, UtcDateTime, now_utc
from bridge.payments import plan_tables  # noqa: F401 - payments refer to these tables

OPEN_STATES = ("open", "pending")  # states before the result is known
_RUNNING_AUTO = sa.text("kind = 'auto' AND state IN ('open', 'pending')")


class Payment(Table):
    """One top-up, requested here and paid at the provider: its id goes there as metadata and comes back in every event.
    Or the fee of a plan's month, whose row comes with the provider's invoice. The credit is fixed with the row; entries
    in the journal say what became of it. Each row has one payment intent: further money gets a row of its own, of the
    kind "again"."""

    __tablename__ = "payments"
    id: Mapped[str] = mapped_column(sa.String(36), primary_key=True)  # pay_ and a UUIDv7
    account_id: Mapped[int] = mapped_column(sa.ForeignKey("accounts.id"), index=True)
    kind: Mapped[str] = mapped_column(sa.String(10))  # checkout, auto, plan, again
    # review: paid, but not as asked for; refunded: all of it went back, and nothing was credited; closed: by an
    # operator
    state: Mapped[str] = mapped_column(sa.String(10), default="open")
    amount_minor: Mapped[int] = mapped_column(sa.BigInteger)  # cents, of whatever currency
    currency: Mapped[str] = mapped_column(sa.String(3))
    credit_nanos: Mapped[int] = mapped_column(sa.BigInteger)
    returned_nanos: Mapped[int] = mapped_column(sa.BigInteger, default=0)  # how much of the credit was taken back
    # how much of a credited payment is refunded or disputed, in all; it may be more than was paid
    returned_minor: Mapped[int] = mapped_column(sa.BigInteger, default=0, server_default="0")
    # what is given on top, fixed with the credit, and how much of it was taken back with a return
    bonus_nanos: Mapped[int] = mapped_column(sa.BigInteger, default=0, server_default="0")
    bonus_returned_nanos: Mapped[int] = mapped_column(sa.BigInteger, default=0, server_default="0")
    paid_minor: Mapped[int | None] = mapped_column(sa.BigInteger)  # what came, as the provider says; None: unknown
    paid_currency: Mapped[str | None] = mapped_column(sa.String(3))
    payment_intent: Mapped[str | None] = mapped_column(sa.String(120), unique=True)  # the provider's id
    customer: Mapped[str | None] = mapped_column(sa.String(120))
    payment_method: Mapped[str | None] = mapped_column(sa.String(120))
    keeps_card: Mapped[bool] = mapped_column(default=False)  # for automatic top-ups
    problem: Mapped[str | None] = mapped_column(sa.String(300))
    # of a subscription's fee: what it pays for, and the provider's invoice
    subscription_id: Mapped[str | None] = mapped_column(sa.ForeignKey("subscriptions.id"))
    plan_id: Mapped[int | None] = mapped_column(sa.ForeignKey("plans.id"))
    period_start: Mapped[datetime.datetime | None] = mapped_column(UtcDateTime)
    invoice: Mapped[str | None] = mapped_column(sa.String(120), unique=True)
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
        # a fee may buy quotas alone
        sa.CheckConstraint(
            "amount_minor > 0 AND (credit_nanos > 0 OR credit_nanos = 0 AND invoice IS NOT NULL)", name="amount"
        ),
        sa.CheckConstraint("returned_nanos >= 0", name="returned"),
        sa.CheckConstraint("kind IN ('checkout', 'auto', 'plan', 'again')", name="kind"),
        sa.UniqueConstraint("subscription_id", "period_start", name="uq_payments_subscription_id_period_start"),
        sa.CheckConstraint(
            "state IN ('open', 'pending', 'paid', 'failed', 'expired', 'review', 'refunded', 'closed')", name="state"
        ),
        sa.CheckConstraint("state <> 'paid' OR (payment_intent IS NOT NULL AND paid_at IS NOT NULL)", name="paid"),
    )


class Return(Table):
    """A refund or a dispute of a payment intent, stored even if the intent isn't credited, since its credit may come
    later."""

    __tablename__ = "payment_returns"
    id: Mapped[str] = mapped_column(sa.String(120), primary_key=True)  # the provider's id of the refund or dispute
    payment_intent: Mapped[str] = mapped_column(sa.String(120), index=True)
    source: Mapped[str] = mapped_column(sa.String(32))  # as in its entries: stripe_refund, stripe_dispute
    amount_minor: Mapped[int] = mapped_column(sa.BigInteger)
    currency: Mapped[str] = mapped_column(sa.String(3))
    undone: Mapped[bool] = mapped_column(default=False)  # the refund failed, or the dispute was won: final
    created_at: Mapped[datetime.datetime] = mapped_column(UtcDateTime, default=now_utc)
    __table_args__ = (sa.CheckConstraint("amount_minor > 0", name="amount"),)


class Decision(Table):
    """An operator's decision on a payment, and the reason."""

    __tablename__ = "payment_decisions"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    payment_id: Mapped[str] = mapped_column(sa.ForeignKey("payments.id"), index=True)
    action: Mapped[str] = mapped_column(sa.String(10))  # settle, link, close
    before: Mapped[str] = mapped_column(sa.String(300))  # its earlier state and problem
    reason: Mapped[str] = mapped_column(sa.String(500))
    made_by: Mapped[str] = mapped_column(sa.String(254))  # the operator's e-mail, or "command"
    created_at: Mapped[datetime.datetime] = mapped_column(UtcDateTime, default=now_utc)
    __table_args__ = (sa.CheckConstraint("action IN ('settle', 'link', 'close')", name="action"),)


class AutoTopUp(Table):
    """The rule by which an account's card is charged automatically. Its amounts are in `currency`, and charged in no
    other; "" is a currency that is no longer known. `month_minor` is what was charged, or is being charged, in `month`.
    `claimed_until` keeps other workers, and the next charge, away. A `payment_method` without `card` was forgotten here
    and must still be detached at the provider."""

    __tablename__ = "auto_top_ups"
    account_id: Mapped[int] = mapped_column(sa.ForeignKey("accounts.id"), primary_key=True, autoincrement=False)
    enabled: Mapped[bool] = mapped_column(default=False)
    threshold_nanos: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    amount_minor: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    monthly_cap_minor: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    currency: Mapped[str] = mapped_column(sa.String(3), default="", server_default="")
    customer: Mapped[str | None] = mapped_column(sa.String(120))
    payment_method: Mapped[str | None] = mapped_column(sa.String(120))
    card: Mapped[str | None] = mapped_column(sa.String(60))  # "Visa …4242"
    card_until: Mapped[datetime.date | None]  # its last good day; None: unknown
    month: Mapped[datetime.date | None]
    month_minor: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    claimed_until: Mapped[datetime.datetime | None] = mapped_column(UtcDateTime)
    problem: Mapped[str | None] = mapped_column(sa.String(300))  # why it was switched off
    __table_args__ = (
        sa.CheckConstraint("threshold_nanos >= 0 AND amount_minor >= 0 AND monthly_cap_minor >= 0", name="amounts"),
        sa.CheckConstraint("month_minor >= 0", name="month"),
        sa.CheckConstraint("NOT enabled OR payment_method IS NOT NULL", name="needs_card"),
    )

    def allows_another(self, today: datetime.date) -> bool:
        """Whether the month's cap leaves room for one more charge."""
        charged = self.month_minor if self.month == today.replace(day=1) else 0
        return charged + self.amount_minor <= self.monthly_cap_minor
