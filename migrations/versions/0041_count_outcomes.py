"""Channels' outcomes are counted by hour, idle channels are checked, and what that costs is kept."""

import sqlalchemy as sa
from alembic import op

revision = "0041"
down_revision = "0040"
branch_labels = None
depends_on = None

BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Moment = sa.DateTime(timezone=True)
COUNTS = ("answered", "failed", "limited", "refused", "missing")


def upgrade() -> None:
    # the defaults stay: a worker that still runs the code before it adds channels without
    op.add_column("channels", sa.Column("recent", sa.String(100), nullable=False, server_default=""))
    op.add_column("channels", sa.Column("called_at", Moment, nullable=True))
    op.add_column("channels", sa.Column("probes", sa.Boolean(), nullable=False, server_default=sa.true()))
    op.add_column("channels", sa.Column("probed_at", Moment, nullable=True))
    op.add_column("channels", sa.Column("probe_said", sa.String(300), nullable=True))
    op.add_column("channels", sa.Column("always_on", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_table(
        "channel_outcomes",
        sa.Column("channel_id", BigId, autoincrement=False, nullable=False),
        sa.Column("start", Moment, nullable=False),
        sa.Column("upstream_id", sa.String(length=128), nullable=False),
        sa.Column("writer", sa.String(length=16), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in COUNTS),
        sa.Column("first_counts", sa.JSON(), nullable=False),
        sa.Column("whole_counts", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["channel_id"], ["channels.id"], name="fk_channel_outcomes_channel_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("channel_id", "start", "upstream_id", "writer", name="pk_channel_outcomes"),
    )
    op.create_index("ix_channel_outcomes_start", "channel_outcomes", ["start"])
    op.create_table(
        "own_calls",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("channel_name", sa.String(length=64), nullable=False),
        sa.Column("calls", sa.BigInteger(), nullable=False),
        sa.Column("cost_nanos", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("day", "channel_name", name="pk_own_calls"),
    )


def downgrade() -> None:
    op.drop_table("own_calls")
    op.drop_table("channel_outcomes")
    for name in ("always_on", "probe_said", "probed_at", "probes", "called_at", "recent"):
        op.drop_column("channels", name)
