"""A fault drill of an account: which fault its requests meet first, and until when."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("accounts", sa.Column("drill_fault", sa.String(length=16)))
    op.add_column("accounts", sa.Column("drill_until", sa.DateTime(timezone=True)))


def downgrade() -> None:
    op.drop_column("accounts", "drill_until")
    op.drop_column("accounts", "drill_fault")
