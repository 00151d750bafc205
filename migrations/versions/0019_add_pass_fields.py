"""The request fields that an operator lets through a channel, beside those that its provider is known to take."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("channels", sa.Column("pass_fields", sa.JSON()))


def downgrade() -> None:
    op.drop_column("channels", "pass_fields")
