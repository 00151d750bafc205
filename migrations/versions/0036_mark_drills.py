"""Which keys an operator's fault drill was sent with: what they asked for is none of the customer's figures."""

import sqlalchemy as sa
from alembic import op

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("keys", sa.Column("is_drill", sa.Boolean(), nullable=False, server_default=sa.false()))
    # so far a drill's key was known by its name alone, and revoked when the drill was over
    op.execute("UPDATE keys SET is_drill = true WHERE name = 'Fault drill' AND revoked_at IS NOT NULL")


def downgrade() -> None:
    op.drop_column("keys", "is_drill")
