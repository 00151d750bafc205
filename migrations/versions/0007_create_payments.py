"""Payments, and who tops up automatically."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Moment = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "payments",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("account_id", BigId, nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("credit_nanos", sa.BigInteger(), nullable=False),
        sa.Column("returned_nanos", sa.BigInteger(), nullable=False),
        sa.Column("payment_intent", sa.String(length=120)),
        sa.Column("customer", sa.String(length=120)),
        sa.Column("payment_method", sa.String(length=120)),
        sa.Column("keeps_card", sa.Boolean(), nullable=False),
        sa.Column("problem", sa.String(length=300)),
        sa.Column("made_by", sa.String(length=254)),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("paid_at", Moment),
        sa.CheckConstraint("amount_minor > 0 AND credit_nanos > 0", name="amount"),
        sa.CheckConstraint("returned_nanos >= 0", name="returned"),
        sa.CheckConstraint("kind IN ('checkout', 'auto')", name="kind"),
        sa.CheckConstraint("state IN ('open', 'pending', 'paid', 'failed', 'expired', 'review')", name="state"),
        sa.CheckConstraint("state <> 'paid' OR (payment_intent IS NOT NULL AND paid_at IS NOT NULL)", name="paid"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_payments_account_id"),
        sa.PrimaryKeyConstraint("id", name="pk_payments"),
        sa.UniqueConstraint("payment_intent", name="uq_payments_payment_intent"),
    )
    op.create_index("ix_payments_account_id", "payments", ["account_id"])
    running = sa.text("kind = 'auto' AND state IN ('open', 'pending')")
    op.create_index(
        "uq_payments_running_auto",
        "payments",
        ["account_id"],
        unique=True,
        postgresql_where=running,
        sqlite_where=running,
    )
    op.create_table(
        "auto_top_ups",
        sa.Column("account_id", BigId, autoincrement=False, nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("threshold_nanos", sa.BigInteger(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("monthly_cap_minor", sa.BigInteger(), nullable=False),
        sa.Column("customer", sa.String(length=120)),
        sa.Column("payment_method", sa.String(length=120)),
        sa.Column("card", sa.String(length=60)),
        sa.Column("month", sa.Date()),
        sa.Column("month_minor", sa.BigInteger(), nullable=False),
        sa.Column("claimed_until", Moment),
        sa.Column("problem", sa.String(length=300)),
        sa.CheckConstraint("threshold_nanos >= 0 AND amount_minor >= 0 AND monthly_cap_minor >= 0", name="amounts"),
        sa.CheckConstraint("month_minor >= 0", name="month"),
        sa.CheckConstraint("NOT enabled OR payment_method IS NOT NULL", name="needs_card"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_auto_top_ups_account_id"),
        sa.PrimaryKeyConstraint("account_id", name="pk_auto_top_ups"),
    )


def downgrade() -> None:
    op.drop_table("auto_top_ups")
    op.drop_table("payments")
