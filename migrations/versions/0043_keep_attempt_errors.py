"""What upstreams answered to attempts that failed is kept for a week, for the operator's view of a request."""

import sqlalchemy as sa
from alembic import op

revision = "0043"
down_revision = "0042"
branch_labels = None
depends_on = None

BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Moment = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "attempt_errors",
        sa.Column("request_id", sa.String(length=36), nullable=False),
        sa.Column("attempt", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("account_id", BigId, nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=True),
        sa.Column("said", sa.String(length=1000), nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.PrimaryKeyConstraint("request_id", "attempt", name="pk_attempt_errors"),
    )
    op.create_index("ix_attempt_errors_created_at", "attempt_errors", ["created_at"])


def downgrade() -> None:
    op.drop_table("attempt_errors")
