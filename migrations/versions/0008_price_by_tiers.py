"""Prices by tiers and further classes, what the provider takes beside them, from a date on, and markups."""

import sqlalchemy as sa
from alembic import context, op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# The function of 0005 with two columns more. A worker that still runs the code before them settles without: then the
# price was the cost.
CHANGES = (
    ("first_content_ms int, total_ms int)", "first_content_ms int, total_ms int, cost_nanos bigint, pricing text)"),
    ("adapted, first_content_ms, total_ms)\n      SELECT", "adapted, first_content_ms, total_ms, cost_nanos, pricing)\n      SELECT"),
    ("adapted, first_content_ms, total_ms\n      FROM", "adapted, first_content_ms, total_ms, coalesce(cost_nanos, price_nanos), pricing\n      FROM"),
)  # fmt: skip


def upgrade() -> None:
    op.add_column("prices", sa.Column("tiers", sa.JSON()))
    op.add_column("prices", sa.Column("costs", sa.JSON()))
    op.add_column("prices", sa.Column("effective_at", sa.DateTime(timezone=True)))
    op.add_column("models", sa.Column("markup_bps", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("accounts", sa.Column("markup_bps", sa.Integer()))
    op.add_column("usage", sa.Column("cost_nanos", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("usage", sa.Column("pricing", sa.Text()))
    op.execute("UPDATE usage SET cost_nanos = charge_nanos + loss_nanos")  # until now everybody paid what it cost
    if op.get_bind().dialect.name == "postgresql":
        for table, name in (("models", "markup_bps"), ("usage", "cost_nanos")):
            op.alter_column(table, name, server_default=None)  # SQLite keeps the default, which nobody relies on
        op.execute(_function(*CHANGES))


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute(_function())
    for table, name in (
        ("usage", "pricing"),
        ("usage", "cost_nanos"),
        ("accounts", "markup_bps"),
        ("models", "markup_bps"),
        ("prices", "effective_at"),
        ("prices", "costs"),
        ("prices", "tiers"),
    ):
        op.drop_column(table, name)


def _function(*changes: tuple[str, str]) -> str:
    text: str = context.script.get_revision("0005").module.CREATE
    for before, after in changes:
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    return text
