"""A channel's own headers, query and proxy, sealed; and the keys of channels that have several."""

import sqlalchemy as sa
from alembic import op

revision = "0042"
down_revision = "0041"
branch_labels = None
depends_on = None

BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("channels", sa.Column("sealed_wire", sa.Text()))
    op.create_table(
        "channel_keys",
        sa.Column("id", BigId, nullable=False),
        sa.Column("channel_id", BigId, nullable=False),
        sa.Column("sealed", sa.Text(), nullable=False),
        sa.Column("last_four", sa.String(length=4), nullable=False),
        sa.Column("note", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("health", sa.String(length=16), nullable=False),
        sa.Column("cooling_until", sa.DateTime(timezone=True)),
        sa.Column("last_error", sa.String(length=300)),
        sa.Column("last_error_at", sa.DateTime(timezone=True)),
        sa.Column("last_answer_at", sa.DateTime(timezone=True)),
        sa.ForeignKeyConstraint(["channel_id"], ["channels.id"], name="fk_channel_keys_channel_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_channel_keys"),
    )
    op.create_index("ix_channel_keys_channel_id", "channel_keys", ["channel_id"])


def downgrade() -> None:
    op.drop_table("channel_keys")
    op.drop_column("channels", "sealed_wire")
