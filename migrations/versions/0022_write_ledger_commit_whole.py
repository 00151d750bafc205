"""PostgreSQL's commit function from one text, which lies beside this file. It does what it did."""

from pathlib import Path

from alembic import context, op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute(Path(__file__).with_suffix(".sql").read_text())  # bridge/ledger/commit.sql as it was, frozen


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        module = context.script.get_revision("0017").module
        op.execute(module._function(*module.CHANGES))
