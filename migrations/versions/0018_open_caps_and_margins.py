"""No cap but the model's own is kept any more; and since when operators know that a model is sold below cost."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_column("models", "default_output_tokens")
    op.add_column("models", sa.Column("told_below_cost_at", sa.DateTime(timezone=True)))


def downgrade() -> None:
    op.drop_column("models", "told_below_cost_at")
    # as models were added until then, but for those that think: they had 16,384
    op.add_column("models", sa.Column("default_output_tokens", sa.BigInteger(), nullable=False, server_default="4096"))
    op.execute(sa.text("UPDATE models SET default_output_tokens = 16384 WHERE thinks"))
    op.execute(
        sa.text(
            "UPDATE models SET default_output_tokens = max_output_tokens WHERE max_output_tokens < default_output_tokens"
        )
    )
    if op.get_bind().dialect.name == "postgresql":  # SQLite keeps the default, which nobody relies on
        op.alter_column("models", "default_output_tokens", server_default=None)
