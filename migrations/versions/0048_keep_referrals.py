"""Who came by whose link, and what both sides got when the newcomer first paid."""

import sqlalchemy as sa
from alembic import op

revision = "0048"
down_revision = "0047"
branch_labels = None
depends_on = None

BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "referral_codes",
        sa.Column("account_id", BigId, autoincrement=False, nullable=False),
        sa.Column("code", sa.String(16), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_referral_codes_account_id"),
        sa.PrimaryKeyConstraint("account_id", name="pk_referral_codes"),
        sa.UniqueConstraint("code", name="uq_referral_codes_code"),
    )
    op.create_table(
        "referrals",
        sa.Column("newcomer_id", BigId, autoincrement=False, nullable=False),
        sa.Column("referrer_id", BigId, nullable=False),
        sa.Column("newcomer_nanos", sa.BigInteger(), nullable=False),
        sa.Column("referrer_nanos", sa.BigInteger(), nullable=False),
        sa.Column("payment_intent", sa.String(120), nullable=True),
        sa.Column("is_taken_back", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["newcomer_id"], ["accounts.id"], name="fk_referrals_newcomer_id"),
        sa.ForeignKeyConstraint(["referrer_id"], ["accounts.id"], name="fk_referrals_referrer_id"),
        sa.PrimaryKeyConstraint("newcomer_id", name="pk_referrals"),
        sa.UniqueConstraint("payment_intent", name="uq_referrals_payment_intent"),
    )
    op.create_index("ix_referrals_referrer_id", "referrals", ["referrer_id"])


def downgrade() -> None:
    op.drop_table("referrals")
    op.drop_table("referral_codes")
