"""What waits for a second operator may also be a merge of accounts, or a part of a request's charge."""

import sqlalchemy as sa
from alembic import op

revision = "0052"
down_revision = "0051"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("approvals") as approvals:
        approvals.add_column(sa.Column("from_id", sa.BigInteger()))
        approvals.add_column(sa.Column("into_id", sa.BigInteger()))
        approvals.add_column(sa.Column("refund_number", sa.Integer()))
        approvals.drop_constraint(op.f("ck_approvals_kind"), type_="check")
        approvals.create_check_constraint(
            op.f("ck_approvals_kind"), "kind IN ('balance', 'refund', 'codes', 'merge')"
        )


def downgrade() -> None:
    # the version before can't book these: whoever asked for one asks again
    op.execute("DELETE FROM approvals WHERE from_id IS NOT NULL")
    with op.batch_alter_table("approvals") as approvals:
        approvals.drop_constraint(op.f("ck_approvals_kind"), type_="check")
        approvals.create_check_constraint(op.f("ck_approvals_kind"), "kind IN ('balance', 'refund', 'codes')")
        approvals.drop_column("refund_number")
        approvals.drop_column("into_id")
        approvals.drop_column("from_id")
