"""What happened to channels, and how often each began afresh."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Moment = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "channel_events",
        sa.Column("id", BigId, nullable=False),
        sa.Column("channel_id", BigId, nullable=False),
        sa.Column("at", Moment, nullable=False),
        sa.Column("what", sa.String(length=16), nullable=False),
        sa.Column("why", sa.String(length=300), nullable=False),
        sa.Column("seconds", sa.Integer()),
        sa.Column("process", sa.String(length=100), nullable=False),
        sa.CheckConstraint("what IN ('out', 'cooling', 'misconfigured', 'back', 'tested')", name="what"),
        sa.ForeignKeyConstraint(
            ["channel_id"], ["channels.id"], name="fk_channel_events_channel_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_channel_events"),
    )
    op.create_index("ix_channel_events_channel_id", "channel_events", ["channel_id", "at"])
    op.create_index("ix_channel_events_at", "channel_events", ["at"])
    op.add_column("channels", sa.Column("refused_models", sa.JSON()))
    op.add_column("channels", sa.Column("resets", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("channels", sa.Column("incidents", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("channels", sa.Column("told_at", Moment))


def downgrade() -> None:
    for column in ("told_at", "incidents", "resets", "refused_models"):
        op.drop_column("channels", column)
    op.drop_table("channel_events")
