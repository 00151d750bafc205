"""Redemption codes, low-balance alerts, mails waiting to be sent, and jobs that one worker does a day."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Moment = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "code_batches",
        sa.Column("id", BigId, nullable=False),
        sa.Column("amount_nanos", sa.BigInteger(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("note", sa.String(length=200)),
        sa.Column("once", sa.String(length=64)),
        sa.Column("made_by", sa.String(length=254), nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("expires_at", Moment),
        sa.Column("voided_at", Moment),
        sa.CheckConstraint("amount_nanos > 0 AND count > 0", name="amount"),
        sa.PrimaryKeyConstraint("id", name="pk_code_batches"),
        sa.UniqueConstraint("once", name="uq_code_batches_once"),
    )
    op.create_table(
        "codes",
        sa.Column("id", BigId, nullable=False),
        sa.Column("batch_id", BigId, nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("redeemed_by", BigId),
        sa.Column("redeemed_at", Moment),
        sa.CheckConstraint("(redeemed_by IS NULL) = (redeemed_at IS NULL)", name="redeemed"),
        sa.ForeignKeyConstraint(["batch_id"], ["code_batches.id"], name="fk_codes_batch_id"),
        sa.ForeignKeyConstraint(["redeemed_by"], ["accounts.id"], name="fk_codes_redeemed_by"),
        sa.PrimaryKeyConstraint("id", name="pk_codes"),
        sa.UniqueConstraint("digest", name="uq_codes_digest"),
    )
    op.create_index("ix_codes_batch_id", "codes", ["batch_id"])
    op.create_table(
        "balance_alerts",
        sa.Column("account_id", BigId, autoincrement=False, nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("threshold_nanos", sa.BigInteger(), nullable=False),
        sa.Column("armed", sa.Boolean(), nullable=False),
        sa.Column("crossings", sa.Integer(), nullable=False),
        sa.Column("told_at", Moment),
        sa.CheckConstraint("threshold_nanos > 0", name="threshold"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_balance_alerts_account_id"),
        sa.PrimaryKeyConstraint("account_id", name="pk_balance_alerts"),
    )
    op.create_table(
        "mails",
        sa.Column("id", BigId, nullable=False),
        sa.Column("once", sa.String(length=200), nullable=False),
        sa.Column("recipient", sa.String(length=254), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("off_url", sa.String(length=500)),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", Moment, nullable=False),
        sa.Column("problem", sa.String(length=300)),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("ended_at", Moment),
        sa.CheckConstraint("state IN ('waiting', 'sent', 'failed', 'logged', 'skipped')", name="state"),
        sa.PrimaryKeyConstraint("id", name="pk_mails"),
        sa.UniqueConstraint("once", name="uq_mails_once"),
    )
    op.create_index("ix_mails_state", "mails", ["state", "due_at"])
    op.create_table(
        "daily_jobs",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("started_at", Moment, nullable=False),
        sa.Column("finished_at", Moment),
        sa.Column("complaints", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("name", "day", name="pk_daily_jobs"),
    )


def downgrade() -> None:
    for table in ("daily_jobs", "mails", "balance_alerts", "codes", "code_batches"):
        op.drop_table(table)
