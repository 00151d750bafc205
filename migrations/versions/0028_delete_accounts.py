"""Accounts that were deleted: when, what tells their owner again, and when the labels of their usage went too."""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

Moment = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("accounts", sa.Column("deleted_at", Moment, nullable=True))
    op.add_column("accounts", sa.Column("labels_erased_at", Moment, nullable=True))
    op.add_column("accounts", sa.Column("owner_mark", sa.String(length=24), nullable=True))
    op.create_index("ix_accounts_owner_mark", "accounts", ["owner_mark"])


def downgrade() -> None:
    op.drop_index("ix_accounts_owner_mark", "accounts")
    op.drop_column("accounts", "owner_mark")
    op.drop_column("accounts", "labels_erased_at")
    op.drop_column("accounts", "deleted_at")
