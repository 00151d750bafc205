"""A session keeps when its member last used a second factor in it. Those that were open before are asked for it."""

import sqlalchemy as sa
from alembic import op

revision = "0047"
down_revision = "0046"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("sessions", sa.Column("second_factor_at", sa.DateTime(timezone=True)))


def downgrade() -> None:
    op.drop_column("sessions", "second_factor_at")
