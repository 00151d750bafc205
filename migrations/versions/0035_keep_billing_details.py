"""What an account's statements and receipts are made out to: name, address and tax id."""

import sqlalchemy as sa
from alembic import op

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None
COLUMNS = {"billing_name": 200, "billing_address": 500, "tax_id": 50}


def upgrade() -> None:
    for name, length in COLUMNS.items():
        op.add_column("accounts", sa.Column(name, sa.String(length=length), nullable=False, server_default=""))


def downgrade() -> None:
    for name in reversed(COLUMNS):
        op.drop_column("accounts", name)
