"""The budget of a member is a window that their keys share; and each member of an account has a playground of their
own. The one that there was becomes the owner's."""

from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0055"
down_revision = "0054"
branch_labels = None
depends_on = None

HERE = Path(__file__).parent
COMMIT, COMMIT_BEFORE = HERE / "0055_share_member_budgets.sql", HERE / "0044_limit_accounts.sql"
OF_PLAYGROUND = sa.text("is_playground AND revoked_at IS NULL")


def upgrade() -> None:
    op.drop_index("uq_keys_playground", "keys")
    op.execute(
        "UPDATE keys SET member_id = (SELECT min(m.member_id) FROM memberships m "
        "WHERE m.account_id = keys.account_id AND m.role = 'owner') WHERE is_playground AND member_id IS NULL"
    )
    _index("account_id", "member_id")
    if op.get_bind().dialect.name == "postgresql":
        op.execute(COMMIT.read_text(encoding="utf-8"))


def downgrade() -> None:
    op.drop_index("uq_keys_playground", "keys")
    # of several, the first goes on as the account's; the others become keys like any other
    op.execute(
        "UPDATE keys SET is_playground = false WHERE is_playground AND revoked_at IS NULL AND id > "
        "(SELECT min(o.id) FROM keys o WHERE o.account_id = keys.account_id AND o.is_playground "
        "AND o.revoked_at IS NULL)"
    )
    _index("account_id")
    if op.get_bind().dialect.name == "postgresql":
        op.execute(COMMIT_BEFORE.read_text(encoding="utf-8"))


def _index(*columns: str) -> None:
    op.create_index(
        "uq_keys_playground",
        "keys",
        list(columns),
        unique=True,
        postgresql_where=OF_PLAYGROUND,
        sqlite_where=OF_PLAYGROUND,
    )
