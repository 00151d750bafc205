"""What a provider wants back in a tool loop, sealed, for a day."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "kept_reasoning",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("sealed", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_kept_reasoning"),
    )
    op.create_index("ix_kept_reasoning_created_at", "kept_reasoning", ["created_at"])


def downgrade() -> None:
    op.drop_table("kept_reasoning")
