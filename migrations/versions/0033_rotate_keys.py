"""A rotated key keeps its secret of before for a while."""

import sqlalchemy as sa
from alembic import op

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("keys") as keys:
        keys.add_column(sa.Column("old_digest", sa.LargeBinary(length=32)))
        keys.add_column(sa.Column("old_until", sa.DateTime(timezone=True)))
        keys.create_unique_constraint("uq_keys_old_digest", ["old_digest"])


def downgrade() -> None:
    with op.batch_alter_table("keys") as keys:
        keys.drop_constraint("uq_keys_old_digest", type_="unique")
        keys.drop_column("old_until")
        keys.drop_column("old_digest")
