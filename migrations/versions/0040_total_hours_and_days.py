"""Totals of all customers by hour, and by account and day, for the operator's home page; those so far come from the
roll-ups."""

import sqlalchemy as sa
from alembic import op

revision = "0040"
down_revision = "0039"
branch_labels = None
depends_on = None

FIGURES = ("requests", "failed", "charge_nanos", "cost_nanos")
SUMS = (
    "SUM(requests), SUM(CASE WHEN outcome = 'failed' THEN requests ELSE 0 END), SUM(charge_nanos), SUM(cost_nanos)"
    " FROM usage_rollups WHERE key_id NOT IN (SELECT id FROM keys WHERE is_drill) AND span ="
)


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    figures = [[sa.Column(name, sa.BigInteger(), nullable=False) for name in FIGURES] for _ in range(2)]
    op.create_table("hour_totals", sa.Column("start", moment, primary_key=True), *figures[0])
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "account_days",
        sa.Column("start", moment, primary_key=True),
        sa.Column("account_id", big, primary_key=True, autoincrement=False),
        *figures[1],
    )
    # the default stays: code before it knows no totals
    op.add_column("rollup_progress", sa.Column("totals_number", sa.BigInteger(), nullable=False, server_default="0"))
    # whoever rolls up meanwhile waits for this row, or is waited for
    op.execute("UPDATE rollup_progress SET totals_number = number")
    op.execute(f"INSERT INTO hour_totals SELECT start, {SUMS} 'hour' GROUP BY start")  # noqa: S608 - our own words
    op.execute(f"INSERT INTO account_days SELECT start, account_id, {SUMS} 'day' GROUP BY start, account_id")  # noqa: S608


def downgrade() -> None:
    op.drop_column("rollup_progress", "totals_number")
    op.drop_table("account_days")
    op.drop_table("hour_totals")
