"""The tables of the ledger. Only `ledger.py` and the batch write them, and `attempt_errors.py` its own."""

import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from bridge.db import BigId, Table, UtcDateTime, now_utc


class Balance(Table):
    """An account's money. `debt_nanos` is how far below zero a charge-back or an operator has taken it. `balance -
    held` may fall only that far, which the database enforces."""

    __tablename__ = "balances"
    account_id: Mapped[int] = mapped_column(sa.ForeignKey("accounts.id"), primary_key=True, autoincrement=False)
    balance_nanos: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    held_nanos: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    debt_nanos: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    __table_args__ = (
        sa.CheckConstraint("held_nanos >= 0", name="held"),
        sa.CheckConstraint("debt_nanos >= 0", name="debt"),
        sa.CheckConstraint("balance_nanos - held_nanos >= -debt_nanos", name="no_overspend"),
    )


class Hold(Table):
    """Money set aside for one running request. Settling deletes the row and writes the request's usage row."""

    __tablename__ = "holds"
    request_id: Mapped[str] = mapped_column(sa.String(36), primary_key=True)
    account_id: Mapped[int] = mapped_column(sa.ForeignKey("accounts.id"), index=True)
    key_id: Mapped[int] = mapped_column(sa.BigInteger)
    budgets: Mapped[str | None] = mapped_column(sa.Text)  # JSON: the budget windows that count it
    amount_nanos: Mapped[int] = mapped_column(sa.BigInteger)
    details: Mapped[str] = mapped_column(sa.Text)  # JSON: the usage row if the process dies
    created_at: Mapped[datetime.datetime] = mapped_column(UtcDateTime)
    deadline_at: Mapped[datetime.datetime] = mapped_column(UtcDateTime, index=True)
    __table_args__ = (
        sa.CheckConstraint("amount_nanos >= 0", name="amount"),
        sa.Column("budget_start", sa.Date()),  # for workers of the version before 0034, as the two of Key
    )
    __mapper_args__ = {"exclude_properties": ["budget_start"]}  # noqa: RUF012 - as SQLAlchemy has it


class Budget(Table):
    """What a key, or one end user of it, has held and spent in one period of a budget. `period_start` is 1970-01-01 for
    a total budget. The limit is the key's, and comes with each request. What all keys of a member or of an account may
    spend together has its rows here too."""

    __tablename__ = "budgets"
    # below zero: the account's of that id, see `own_id` in batch.py
    key_id: Mapped[int] = mapped_column(sa.BigInteger, primary_key=True, autoincrement=False)
    period: Mapped[str] = mapped_column(sa.String(8), primary_key=True)  # day, week, month, total
    period_start: Mapped[datetime.date] = mapped_column(primary_key=True, index=True)
    scope: Mapped[str] = mapped_column(sa.String(264), primary_key=True, default="")  # see budgets.py
    held_nanos: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    spent_nanos: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    refused_at: Mapped[datetime.datetime | None] = mapped_column(UtcDateTime)  # a request, first, when nearly spent
    told_percent: Mapped[int] = mapped_column(default=0)  # of which its owners had a mail
    __table_args__ = (sa.CheckConstraint("held_nanos >= 0 AND spent_nanos >= 0", name="not_negative"),)


class Entry(Table):
    """One line of the journal, with both legs in one row; append-only. A request's charge is its usage row, not an
    entry."""

    __tablename__ = "entries"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    account_id: Mapped[int] = mapped_column(sa.ForeignKey("accounts.id"), index=True)
    debit: Mapped[str] = mapped_column(
        sa.String(32)
    )  # "customer" or the other side: "adjustments", "payments", "gifts"
    credit: Mapped[str] = mapped_column(sa.String(32))
    amount_nanos: Mapped[int] = mapped_column(sa.BigInteger)
    source: Mapped[str] = mapped_column(sa.String(32))  # operator, signup, setup, stripe, code, refund
    external_id: Mapped[str | None] = mapped_column(sa.String(200))
    note: Mapped[str | None] = mapped_column(sa.String(500))
    made_by: Mapped[str | None] = mapped_column(sa.String(254))  # the operator's e-mail, or "command"
    created_at: Mapped[datetime.datetime] = mapped_column(UtcDateTime, default=now_utc)
    __table_args__ = (
        sa.UniqueConstraint("source", "external_id", name="uq_entries_source_external_id"),
        sa.CheckConstraint("amount_nanos > 0", name="amount"),
        sa.CheckConstraint("debit <> credit", name="two_legs"),
    )


class UsageRecord(Table):
    """One settled request. This row is both its charge in the ledger and its line in the request log."""

    __tablename__ = "usage"
    created_at: Mapped[datetime.datetime] = mapped_column(UtcDateTime, primary_key=True)  # the request id's own time
    request_id: Mapped[str] = mapped_column(sa.String(36), primary_key=True)
    account_id: Mapped[int] = mapped_column(sa.ForeignKey("accounts.id"))
    key_id: Mapped[int] = mapped_column(sa.BigInteger)
    state: Mapped[str] = mapped_column(sa.String(10))  # captured, released
    outcome: Mapped[str] = mapped_column(sa.String(24))  # see ledger.OUTCOMES
    status: Mapped[int] = mapped_column()  # what the client saw
    error_code: Mapped[str | None] = mapped_column(sa.String(40))
    endpoint: Mapped[str] = mapped_column(sa.String(24))  # chat
    model_asked: Mapped[str] = mapped_column(sa.String(128))
    model_id: Mapped[str] = mapped_column(sa.String(128))
    upstream_id: Mapped[str | None] = mapped_column(sa.String(128))
    channel_name: Mapped[str | None] = mapped_column(sa.String(64))
    stream: Mapped[bool]
    finish_reason: Mapped[str | None] = mapped_column(sa.String(24))
    prompt_tokens: Mapped[int] = mapped_column(sa.BigInteger)  # cached and cache-written ones included
    cached_tokens: Mapped[int] = mapped_column(sa.BigInteger)
    cache_write_tokens: Mapped[int] = mapped_column(sa.BigInteger)
    cache_write_hour_tokens: Mapped[int] = mapped_column(sa.BigInteger)  # the writes that last an hour
    completion_tokens: Mapped[int] = mapped_column(sa.BigInteger)  # reasoning included
    reasoning_tokens: Mapped[int] = mapped_column(sa.BigInteger)
    tokens_source: Mapped[str] = mapped_column(sa.String(10))  # provider, estimate, mixed (by class), none
    provider_counts: Mapped[str | None] = mapped_column(sa.Text)  # JSON: its counts where they aren't those charged
    uncharged_tokens: Mapped[int] = mapped_column(
        sa.BigInteger, default=0
    )  # counted by the provider, charged to nobody
    uncharged_nanos: Mapped[int] = mapped_column(
        sa.BigInteger, default=0
    )  # how much more the provider's counts would have cost
    price_id: Mapped[int] = mapped_column(sa.BigInteger)
    input_nanos_per_mtok: Mapped[int] = mapped_column(sa.BigInteger)
    cached_nanos_per_mtok: Mapped[int] = mapped_column(sa.BigInteger)
    cache_write_nanos_per_mtok: Mapped[int] = mapped_column(sa.BigInteger)
    cache_write_hour_nanos_per_mtok: Mapped[int] = mapped_column(sa.BigInteger)
    output_nanos_per_mtok: Mapped[int] = mapped_column(sa.BigInteger)
    hold_nanos: Mapped[int] = mapped_column(sa.BigInteger)
    charge_nanos: Mapped[int] = mapped_column(sa.BigInteger)
    loss_nanos: Mapped[int] = mapped_column(sa.BigInteger)  # what the answer cost beyond hold and balance: our loss
    balance_after_nanos: Mapped[int | None] = mapped_column(sa.BigInteger)  # right after it was settled
    cost_nanos: Mapped[int] = mapped_column(sa.BigInteger)  # what its provider charges for it, as far as we know
    pricing: Mapped[str | None] = mapped_column(sa.Text)  # JSON: tier, markup, further classes; see price_snapshot.py
    output_cap_tokens: Mapped[int] = mapped_column(sa.BigInteger)
    attempts: Mapped[str] = mapped_column(sa.Text)  # JSON: [{channel, outcome, started_ms, took_ms}]
    adapted: Mapped[str | None] = mapped_column(sa.Text)  # JSON: {"dropped": […], "clamped": […]}
    first_content_ms: Mapped[int | None]
    total_ms: Mapped[int]
    end_user: Mapped[str | None] = mapped_column(sa.String(256))  # the customer's own customer, as it names it
    tags: Mapped[str | None] = mapped_column(sa.Text)  # JSON: ["env=prod", "project=search"]; see labels.py
    stop_at_nanos: Mapped[int | None] = mapped_column(sa.BigInteger)  # what the answer was to end before
    settled_at: Mapped[datetime.datetime] = mapped_column(UtcDateTime)
    # counts up as rows arrive, set by the database; see rollups.py. None: older than the numbers
    number: Mapped[int | None] = mapped_column(sa.BigInteger, server_default=sa.FetchedValue())
    __table_args__ = (
        sa.Index("ix_usage_account_created", "account_id", "created_at"),
        sa.Index(
            *("ix_usage_end_user", "account_id", "end_user", "created_at"),
            postgresql_where=sa.text("end_user IS NOT NULL"),
            sqlite_where=sa.text("end_user IS NOT NULL"),
        ),
        sa.Index("ix_usage_number", "number"),
        sa.Index("ix_usage_request_id", "request_id"),
        sa.CheckConstraint("charge_nanos >= 0 AND hold_nanos >= 0 AND loss_nanos >= 0", name="not_negative"),
        sa.CheckConstraint("state IN ('captured', 'released')", name="state"),
    )


class AttemptError(Table):
    """What an upstream answered to an attempt that failed, without credentials. No money depends on it, and it is kept
    for a week; see attempt_errors.py."""

    __tablename__ = "attempt_errors"
    request_id: Mapped[str] = mapped_column(sa.String(36), primary_key=True)
    attempt: Mapped[int] = mapped_column(sa.SmallInteger, primary_key=True, autoincrement=False)  # from 1 on
    account_id: Mapped[int] = mapped_column(BigId)
    status: Mapped[int | None] = mapped_column(sa.SmallInteger)
    said: Mapped[str] = mapped_column(sa.String(1000))
    created_at: Mapped[datetime.datetime] = mapped_column(UtcDateTime, index=True)


class IdempotencyKey(Table):
    """A request that must not be charged twice. It runs while `sealed` is empty; then `sealed` has its answer."""

    __tablename__ = "idempotency_keys"
    account_id: Mapped[int] = mapped_column(sa.ForeignKey("accounts.id"), primary_key=True, autoincrement=False)
    key: Mapped[str] = mapped_column(sa.String(255), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(sa.String(64))  # of path and body
    request_id: Mapped[str] = mapped_column(sa.String(36))
    stream: Mapped[bool]
    sealed: Mapped[str | None] = mapped_column(sa.Text)
    expires_at: Mapped[datetime.datetime] = mapped_column(UtcDateTime, index=True)
