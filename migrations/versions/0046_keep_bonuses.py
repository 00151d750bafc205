"""What a top-up earns beside its credit, fixed when it is asked for, and how much of that was taken back."""

import sqlalchemy as sa
from alembic import op

revision = "0046"
down_revision = "0045"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("bonus_nanos", "bonus_returned_nanos"):
        op.add_column("payments", sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))


def downgrade() -> None:
    for name in ("bonus_nanos", "bonus_returned_nanos"):
        op.drop_column("payments", name)
