"""A person may belong to several accounts, in each with a role and a budget; keys belong to a member or to the account;
people are invited by mail."""

import sqlalchemy as sa
from alembic import op

revision = "0054"
down_revision = "0053"
branch_labels = None
depends_on = None

BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Moment = sa.DateTime(timezone=True)
ROLES = "role IN ('owner', 'admin', 'developer', 'billing', 'viewer')"


def upgrade() -> None:
    op.create_table(
        "memberships",
        sa.Column("account_id", BigId, sa.ForeignKey("accounts.id"), primary_key=True, autoincrement=False),
        sa.Column("member_id", BigId, sa.ForeignKey("members.id"), primary_key=True, autoincrement=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("budget_month_nanos", sa.BigInteger()),
        sa.Column("joined_at", Moment, nullable=False),
        sa.Column("seen_at", Moment),
        sa.CheckConstraint(ROLES, name=op.f("ck_memberships_role")),
        sa.CheckConstraint("budget_month_nanos >= 0", name=op.f("ck_memberships_budget_month_nanos")),
    )
    op.create_index("ix_memberships_member_id", "memberships", ["member_id"])
    op.execute(
        "INSERT INTO memberships (account_id, member_id, role, joined_at, seen_at) "
        "SELECT account_id, id, 'owner', created_at, last_sign_in_at FROM members"
    )
    op.create_table(
        "invitations",
        sa.Column("id", BigId, primary_key=True),
        sa.Column("account_id", BigId, sa.ForeignKey("accounts.id"), nullable=False),
        sa.Column("email", sa.String(254), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("budget_month_nanos", sa.BigInteger()),
        sa.Column("invited_by", sa.String(254), nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("ends_at", Moment, nullable=False),
        sa.UniqueConstraint("digest", name="uq_invitations_digest"),
        sa.UniqueConstraint("account_id", "email", name="uq_invitations_account_id_email"),
        sa.CheckConstraint(ROLES, name=op.f("ck_invitations_role")),
        sa.CheckConstraint("budget_month_nanos >= 0", name=op.f("ck_invitations_budget_month_nanos")),
    )
    op.add_column("keys", sa.Column("member_id", sa.BigInteger()))
    op.create_index("ix_keys_member_id", "keys", ["member_id"])


def downgrade() -> None:
    op.drop_index("ix_keys_member_id", "keys")
    op.drop_column("keys", "member_id")
    op.drop_table("invitations")
    op.drop_index("ix_memberships_member_id", "memberships")
    op.drop_table("memberships")
