"""Prices by tiers and further classes, what the provider takes beside them, from a date on, and markups."""

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
