"""The tables of subscription plans: what is sold by the month, and who has it. Only this room writes them."""

import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from bridge.db import BigId, Table, UtcDateTime, now_utc

LIVE = ("active", "past_due")


class Plan(Table):
    """What a monthly fee buys: credit each month, quotas while the plan is active, or both. Fee, credit and quotas are
    fixed once it is made, so everybody keeps what they bought; only how it is sold changes."""

    __tablename__ = "plans"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    code: Mapped[str] = mapped_column(sa.String(16), unique=True)  # in links: nobody finds a hidden plan by counting
    name: Mapped[str] = mapped_column(sa.String(60), unique=True)
    description: Mapped[str] = mapped_column(sa.String(300), default="")
    fee_minor: Mapped[int] = mapped_column(sa.BigInteger)  # cents of the currency, each month
    currency: Mapped[str] = mapped_column(sa.String(3))
    worth_nanos: Mapped[int] = mapped_column(sa.BigInteger)  # the fee in dollars, at the rate of when it was made
    credit_nanos: Mapped[int] = mapped_column(sa.BigInteger, default=0)  # each month; it may be more than the fee
    rpm: Mapped[int | None] = mapped_column(sa.BigInteger)  # quotas: 0 is no limit, None leaves the account's own
    tpm: Mapped[int | None] = mapped_column(sa.BigInteger)
    concurrency: Mapped[int | None] = mapped_column(sa.BigInteger)
    group_name: Mapped[str | None] = mapped_column(sa.String(64))  # whose channels and prices it gives
    is_listed: Mapped[bool] = mapped_column(default=True)  # on the billing page; otherwise by its link alone
    sold_until: Mapped[datetime.datetime | None] = mapped_column(UtcDateTime)
    stripe_price: Mapped[str | None] = mapped_column(sa.String(120))  # made there when it is first needed
    made_by: Mapped[str] = mapped_column(sa.String(254))
    created_at: Mapped[datetime.datetime] = mapped_column(UtcDateTime, default=now_utc)
    __table_args__ = (
        sa.CheckConstraint("fee_minor > 0 AND worth_nanos > 0 AND credit_nanos >= 0", name="amounts"),
        sa.CheckConstraint("rpm >= 0 AND tpm >= 0 AND concurrency >= 0", name="quotas"),
    )


class Subscription(Table):
    """An account's subscription to a plan, requested here and paid at Stripe. Its state is Stripe's as we last heard
    it: `version` counts what we heard, so that of two answers the older is never kept. `must_end` stays until Stripe
    has ended it too."""

    __tablename__ = "subscriptions"
    id: Mapped[str] = mapped_column(sa.String(36), primary_key=True)  # sbs_ and a UUIDv7
    account_id: Mapped[int] = mapped_column(sa.ForeignKey("accounts.id"), index=True)
    plan_id: Mapped[int] = mapped_column(sa.ForeignKey("plans.id"), index=True)
    next_plan_id: Mapped[int | None] = mapped_column(sa.ForeignKey("plans.id"))  # from the next period on
    # open: its page at Stripe is not paid yet; left: that page has closed unpaid
    state: Mapped[str] = mapped_column(sa.String(10), default="open")
    stripe_subscription: Mapped[str | None] = mapped_column(sa.String(120), unique=True)
    customer: Mapped[str | None] = mapped_column(sa.String(120))
    period_start: Mapped[datetime.datetime | None] = mapped_column(UtcDateTime)
    period_end: Mapped[datetime.datetime | None] = mapped_column(UtcDateTime)
    paid_from: Mapped[datetime.datetime | None] = mapped_column(UtcDateTime)  # when the newest paid period began
    ends_at: Mapped[datetime.datetime | None] = mapped_column(UtcDateTime)  # it is to end then, or has
    must_end: Mapped[bool] = mapped_column(default=False)
    version: Mapped[int] = mapped_column(default=0)
    asked_at: Mapped[datetime.datetime] = mapped_column(UtcDateTime, default=now_utc)  # when a worker last asked Stripe
    made_by: Mapped[str] = mapped_column(sa.String(254))
    created_at: Mapped[datetime.datetime] = mapped_column(UtcDateTime, default=now_utc)
    __table_args__ = (
        sa.CheckConstraint("state IN ('open', 'active', 'past_due', 'ended', 'left')", name="state"),
        sa.Index(
            "uq_subscriptions_live",
            "account_id",
            unique=True,
            postgresql_where=sa.text("state IN ('active', 'past_due')"),
            sqlite_where=sa.text("state IN ('active', 'past_due')"),
        ),
    )


IS_LIVE = Subscription.state.in_(LIVE)  # of an account at most one is
