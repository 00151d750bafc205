"""What an operator sets of a customer, beside what there was: spend a day, number of keys, a reason of suspension that
the customer reads, notes, prices of models; and where a merged account went."""

from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0044"
down_revision = "0043"
branch_labels = None
depends_on = None

HERE = Path(__file__).parent
COMMIT, COMMIT_BEFORE = HERE / "0044_limit_accounts.sql", HERE / "0034_keep_several_budgets.sql"
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("accounts", sa.Column("spend_day_nanos", sa.BigInteger()))
    op.add_column("accounts", sa.Column("max_keys", sa.Integer()))
    # the default stays: a worker that still runs the code before it adds accounts without
    op.add_column("accounts", sa.Column("suspend_reason", sa.String(500), nullable=False, server_default=""))
    op.add_column("accounts", sa.Column("merged_into", sa.BigInteger()))
    op.create_index("ix_accounts_merged_into", "accounts", ["merged_into"])
    op.create_index("ix_keys_last_four", "keys", ["last_four"])
    op.create_table(
        "account_notes",
        sa.Column("id", ID, primary_key=True),
        sa.Column("account_id", ID, sa.ForeignKey("accounts.id"), nullable=False),
        sa.Column("text", sa.String(2000), nullable=False),
        sa.Column("made_by", sa.String(254), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_account_notes_account_id", "account_notes", ["account_id"])
    op.create_table(
        "own_prices",
        sa.Column("id", ID, primary_key=True),
        sa.Column("account_id", ID, sa.ForeignKey("accounts.id")),
        sa.Column("group_name", sa.String(64)),
        sa.Column("model_id", sa.String(128), sa.ForeignKey("models.id", ondelete="CASCADE"), nullable=False),
        sa.Column("markup_bps", sa.Integer()),
        sa.Column("rates", sa.JSON()),
        sa.Column("note", sa.String(200), nullable=False),
        sa.Column("made_by", sa.String(254), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("(account_id IS NULL) <> (group_name IS NULL)", name="whose"),
        sa.CheckConstraint("(markup_bps IS NULL) <> (rates IS NULL)", name="either"),
        sa.UniqueConstraint("account_id", "model_id", name="uq_own_prices_account_id_model_id"),
        sa.UniqueConstraint("group_name", "model_id", name="uq_own_prices_group_name_model_id"),
    )
    op.create_index("ix_own_prices_model_id", "own_prices", ["model_id"])
    if op.get_bind().dialect.name == "postgresql":
        op.execute(COMMIT.read_text(encoding="utf-8"))


def downgrade() -> None:
    op.drop_table("own_prices")
    op.drop_table("account_notes")
    op.drop_index("ix_keys_last_four", "keys")
    op.drop_index("ix_accounts_merged_into", "accounts")
    with op.batch_alter_table("accounts") as accounts:
        for name in ("merged_into", "suspend_reason", "max_keys", "spend_day_nanos"):
            accounts.drop_column(name)
    if op.get_bind().dialect.name == "postgresql":
        op.execute(COMMIT_BEFORE.read_text(encoding="utf-8"))
