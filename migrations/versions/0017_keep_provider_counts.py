"""A usage row keeps what its provider counted where that isn't charged; a model, what its upstream adds to a prompt."""

import sqlalchemy as sa
from alembic import context, op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

NUMBERS = (
    *(("usage", "uncharged_tokens"), ("usage", "uncharged_nanos")),
    *(("usage_rollups", "uncharged_tokens"), ("usage_rollups", "uncharged_nanos")),
    ("models", "added_tokens"),
)
# The function of 0011 with three columns more. A worker that still runs the code before them settles and rolls up
# without: hence the defaults, which stay.
CHANGES = (
    ("cost_nanos bigint, pricing text)",
     "cost_nanos bigint, pricing text, provider_counts text, uncharged_tokens bigint, uncharged_nanos bigint)"),
    ("cost_nanos, pricing, balance_after_nanos)\n      SELECT",
     "cost_nanos, pricing, provider_counts, uncharged_tokens, uncharged_nanos, balance_after_nanos)\n      SELECT"),
    ("pricing,\n        before_nanos",
     "pricing, provider_counts, coalesce(uncharged_tokens, 0), coalesce(uncharged_nanos, 0),\n        before_nanos"),
)  # fmt: skip


def upgrade() -> None:
    op.add_column("usage", sa.Column("provider_counts", sa.Text()))
    for table, name in NUMBERS:
        op.add_column(table, sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))
    if op.get_bind().dialect.name == "postgresql":
        op.execute(_function(*CHANGES))


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute(_function())
    for table, name in (*reversed(NUMBERS), ("usage", "provider_counts")):
        op.drop_column(table, name)


def _function(*changes: tuple[str, str]) -> str:
    """The function of 0011 with these changes."""
    module = context.script.get_revision("0011").module
    text: str = module._function_of_0008()
    for before, after in (*module.CHANGES, *changes):
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    return text
