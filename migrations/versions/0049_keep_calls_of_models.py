"""A channel's row has the last calls of its failing models, and operators are told of what fails and of refused keys."""

import sqlalchemy as sa
from alembic import op

revision = "0049"
down_revision = "0048"
branch_labels = None
depends_on = None

Moment = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("channels", sa.Column("model_calls", sa.JSON(), nullable=True))
    op.add_column("channels", sa.Column("failing_since", Moment, nullable=True))
    op.add_column("channels", sa.Column("told_failing_at", Moment, nullable=True))
    op.add_column("channel_keys", sa.Column("told_at", Moment, nullable=True))


def downgrade() -> None:
    op.drop_column("channel_keys", "told_at")
    for name in ("told_failing_at", "failing_since", "model_calls"):
        op.drop_column("channels", name)
