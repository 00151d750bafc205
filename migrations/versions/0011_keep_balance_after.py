"""A usage row keeps what its account had right after it was settled."""

import sqlalchemy as sa
from alembic import context, op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

# The function of 0008 with one column more. Requests of one account that are settled together follow each other in
# order of id, as their excesses do.
CHANGES = (
    ("END AS charge_nanos\n", "END AS charge_nanos, coalesce(b.balance_nanos, 0) AS before_nanos\n"),
    ("cost_nanos, pricing)\n      SELECT", "cost_nanos, pricing, balance_after_nanos)\n      SELECT"),
    ("pricing\n      FROM charged", "pricing,\n        before_nanos - (sum(charge_nanos) OVER (\n"
     "          PARTITION BY account_id ORDER BY request_id ROWS UNBOUNDED PRECEDING))::bigint\n      FROM charged"),
)  # fmt: skip


def upgrade() -> None:
    op.add_column("usage", sa.Column("balance_after_nanos", sa.BigInteger()))  # unknown of what was settled before
    if op.get_bind().dialect.name == "postgresql":
        text = _function_of_0008()
        for before, after in CHANGES:
            assert text.count(before) == 1, before
            text = text.replace(before, after)
        op.execute(text)


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute(_function_of_0008())
    op.drop_column("usage", "balance_after_nanos")


def _function_of_0008() -> str:
    module = context.script.get_revision("0008").module
    text: str = module._function(*module.CHANGES)
    return text
