"""The audit log has lines that concern no account: what operators change of channels, models and prices."""

import sqlalchemy as sa
from alembic import op

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("acts") as acts:
        acts.alter_column("account_id", existing_type=sa.BigInteger(), nullable=True)


def downgrade() -> None:
    op.execute("DELETE FROM acts WHERE account_id IS NULL")
    with op.batch_alter_table("acts") as acts:
        acts.alter_column("account_id", existing_type=sa.BigInteger(), nullable=False)
