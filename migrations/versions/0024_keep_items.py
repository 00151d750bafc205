"""The output items of an answer, sealed, for an hour."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "kept_items",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("sealed", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_kept_items"),
    )
    op.create_index("ix_kept_items_created_at", "kept_items", ["created_at"])


def downgrade() -> None:
    op.drop_table("kept_items")
