"""Orders of a model's channels, groups of accounts, and channels' own costs and limits."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # the defaults stay: a worker that still runs the code before them writes rows without these columns
    # written out, since a column that SQLite adds can bring its constraint only so; both engines read it alike
    op.execute(
        "ALTER TABLE models ADD COLUMN route_order VARCHAR(16) DEFAULT 'weight' NOT NULL "
        "CONSTRAINT ck_models_route_order CHECK (route_order IN ('weight', 'cost', 'latency'))"
    )
    op.add_column("channels", sa.Column("cost_bps", sa.Integer(), nullable=False, server_default="10000"))
    op.add_column("channels", sa.Column("groups", sa.JSON()))
    for limit in ("rpm", "tpm", "concurrency"):
        op.add_column("channels", sa.Column(limit, sa.BigInteger()))
    op.add_column("accounts", sa.Column("group_name", sa.String(length=64), nullable=False, server_default="default"))


def downgrade() -> None:
    op.drop_column("accounts", "group_name")
    for name in ("concurrency", "tpm", "rpm", "groups", "cost_bps"):
        op.drop_column("channels", name)
    if op.get_bind().dialect.name == "postgresql":
        op.drop_constraint("ck_models_route_order", "models")  # SQLite drops it with its column
    op.drop_column("models", "route_order")
