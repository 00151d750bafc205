"""Which key the playground of an account asks by. An account has one that is not revoked."""

import sqlalchemy as sa
from alembic import op

revision = "0053"
down_revision = "0052"
branch_labels = None
depends_on = None

OF_PLAYGROUND = sa.text("is_playground AND revoked_at IS NULL")


def upgrade() -> None:
    op.add_column("keys", sa.Column("is_playground", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_index(
        "uq_keys_playground",
        "keys",
        ["account_id"],
        unique=True,
        postgresql_where=OF_PLAYGROUND,
        sqlite_where=OF_PLAYGROUND,
    )


def downgrade() -> None:
    op.drop_index("uq_keys_playground", "keys")
    op.drop_column("keys", "is_playground")
