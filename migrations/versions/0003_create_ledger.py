"""Balances, holds, budgets, entries and the usage rows."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Moment = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "balances",
        sa.Column("account_id", BigId, autoincrement=False, nullable=False),
        sa.Column("balance_nanos", sa.BigInteger(), nullable=False),
        sa.Column("held_nanos", sa.BigInteger(), nullable=False),
        sa.Column("debt_nanos", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("balance_nanos - held_nanos >= -debt_nanos", name="no_overspend"),
        sa.CheckConstraint("debt_nanos >= 0", name="debt"),
        sa.CheckConstraint("held_nanos >= 0", name="held"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_balances_account_id"),
        sa.PrimaryKeyConstraint("account_id", name="pk_balances"),
    )
    op.create_table(
        "holds",
        sa.Column("request_id", sa.String(length=36), nullable=False),
        sa.Column("account_id", BigId, nullable=False),
        sa.Column("key_id", sa.BigInteger(), nullable=False),
        sa.Column("budget_start", sa.Date()),
        sa.Column("amount_nanos", sa.BigInteger(), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("deadline_at", Moment, nullable=False),
        sa.CheckConstraint("amount_nanos >= 0", name="amount"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_holds_account_id"),
        sa.PrimaryKeyConstraint("request_id", name="pk_holds"),
    )
    op.create_index("ix_holds_account_id", "holds", ["account_id"])
    op.create_index("ix_holds_deadline_at", "holds", ["deadline_at"])
    op.create_table(
        "budgets",
        sa.Column("key_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("period_start", sa.Date(), nullable=False),
        sa.Column("held_nanos", sa.BigInteger(), nullable=False),
        sa.Column("spent_nanos", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("held_nanos >= 0 AND spent_nanos >= 0", name="not_negative"),
        sa.PrimaryKeyConstraint("key_id", "period_start", name="pk_budgets"),
    )
    op.create_table(
        "entries",
        sa.Column("id", BigId, nullable=False),
        sa.Column("account_id", BigId, nullable=False),
        sa.Column("debit", sa.String(length=32), nullable=False),
        sa.Column("credit", sa.String(length=32), nullable=False),
        sa.Column("amount_nanos", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.String(length=32), nullable=False),
        sa.Column("external_id", sa.String(length=200)),
        sa.Column("note", sa.String(length=500)),
        sa.Column("made_by", sa.String(length=254)),
        sa.Column("created_at", Moment, nullable=False),
        sa.CheckConstraint("amount_nanos > 0", name="amount"),
        sa.CheckConstraint("debit <> credit", name="two_legs"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_entries_account_id"),
        sa.PrimaryKeyConstraint("id", name="pk_entries"),
        sa.UniqueConstraint("source", "external_id", name="uq_entries_source_external_id"),
    )
    op.create_index("ix_entries_account_id", "entries", ["account_id"])
    op.create_table(
        "usage",
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("request_id", sa.String(length=36), nullable=False),
        sa.Column("account_id", BigId, nullable=False),
        sa.Column("key_id", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("outcome", sa.String(length=24), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("error_code", sa.String(length=40)),
        sa.Column("endpoint", sa.String(length=24), nullable=False),
        sa.Column("model_asked", sa.String(length=128), nullable=False),
        sa.Column("model_id", sa.String(length=128), nullable=False),
        sa.Column("upstream_id", sa.String(length=128)),
        sa.Column("channel_name", sa.String(length=64)),
        sa.Column("stream", sa.Boolean(), nullable=False),
        sa.Column("finish_reason", sa.String(length=24)),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cached_tokens", sa.BigInteger(), nullable=False),
        sa.Column("completion_tokens", sa.BigInteger(), nullable=False),
        sa.Column("reasoning_tokens", sa.BigInteger(), nullable=False),
        sa.Column("tokens_source", sa.String(length=10), nullable=False),
        sa.Column("price_id", sa.BigInteger(), nullable=False),
        sa.Column("input_nanos_per_mtok", sa.BigInteger(), nullable=False),
        sa.Column("cached_nanos_per_mtok", sa.BigInteger(), nullable=False),
        sa.Column("output_nanos_per_mtok", sa.BigInteger(), nullable=False),
        sa.Column("hold_nanos", sa.BigInteger(), nullable=False),
        sa.Column("charge_nanos", sa.BigInteger(), nullable=False),
        sa.Column("loss_nanos", sa.BigInteger(), nullable=False),
        sa.Column("output_cap_tokens", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Text(), nullable=False),
        sa.Column("adapted", sa.Text()),
        sa.Column("first_content_ms", sa.Integer()),
        sa.Column("total_ms", sa.Integer(), nullable=False),
        sa.Column("settled_at", Moment, nullable=False),
        sa.CheckConstraint("state IN ('captured', 'released')", name="state"),
        sa.CheckConstraint("charge_nanos >= 0 AND hold_nanos >= 0 AND loss_nanos >= 0", name="not_negative"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_usage_account_id"),
        sa.PrimaryKeyConstraint("created_at", "request_id", name="pk_usage"),
    )
    op.create_index("ix_usage_account_created", "usage", ["account_id", "created_at"])
    op.create_index("ix_usage_request_id", "usage", ["request_id"])


def downgrade() -> None:
    op.drop_table("usage")
    op.drop_table("entries")
    op.drop_table("budgets")
    op.drop_table("holds")
    op.drop_table("balances")
