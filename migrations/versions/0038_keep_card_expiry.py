"""Until when a saved card is good; of cards that were saved before, nobody here knows."""

import sqlalchemy as sa
from alembic import op

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("auto_top_ups", sa.Column("card_until", sa.Date()))


def downgrade() -> None:
    op.drop_column("auto_top_ups", "card_until")
