"""Refused requests are counted per key, model, code and hour, with the last one's message."""

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None

BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Moment = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "refusals",
        sa.Column("account_id", BigId, autoincrement=False, nullable=False),
        sa.Column("start", Moment, nullable=False),
        sa.Column("key_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("model_id", sa.String(length=128), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("last_at", Moment, nullable=False),
        sa.Column("last_message", sa.String(length=500), nullable=False),
        sa.Column("last_model", sa.String(length=128), nullable=False),
        sa.Column("last_request_id", sa.String(length=36), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "start", "key_id", "code", "model_id", name="pk_refusals"),
    )
    op.create_index("ix_refusals_key_id", "refusals", ["key_id", "start"])
    op.create_index("ix_refusals_start", "refusals", ["start"])


def downgrade() -> None:
    op.drop_table("refusals")
