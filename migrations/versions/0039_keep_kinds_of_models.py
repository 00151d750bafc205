"""Which kinds of requests a model takes: until now all were for conversations."""

import sqlalchemy as sa
from alembic import op

revision = "0039"
down_revision = "0038"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # the default stays: a worker that still runs the code before it adds models without
    op.add_column("models", sa.Column("kinds", sa.JSON(), nullable=False, server_default='["chat"]'))


def downgrade() -> None:
    op.drop_column("models", "kinds")
