"""A usage row keeps its end user, its tags and what it was to stop at; end users and tags have roll-ups."""

from pathlib import Path

import sqlalchemy as sa
from alembic import context, op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Moment = sa.DateTime(timezone=True)
GIVEN = sa.text("end_user IS NOT NULL")


def upgrade() -> None:
    op.add_column("usage", sa.Column("end_user", sa.String(length=256)))
    op.add_column("usage", sa.Column("tags", sa.Text()))
    op.add_column("usage", sa.Column("stop_at_nanos", sa.BigInteger()))
    op.create_index(
        *("ix_usage_end_user", "usage", ["account_id", "end_user", "created_at"]),
        postgresql_where=GIVEN,
        sqlite_where=GIVEN,
    )
    op.create_table(
        "label_rollups",
        sa.Column("account_id", BigId, autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("start", Moment, nullable=False),
        sa.Column("label", sa.String(length=256), nullable=False),
        sa.Column("key_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("model_id", sa.String(length=128), nullable=False),
        sa.Column("outcome", sa.String(length=12), nullable=False),
        *(
            sa.Column(name, sa.BigInteger(), nullable=False)
            for name in (
                *("requests", "charge_nanos", "cost_nanos", "loss_nanos"),
                *("prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens"),
                *("uncharged_tokens", "uncharged_nanos"),
            )
        ),
        sa.CheckConstraint("kind IN ('end_user', 'tag')", name="kind"),
        sa.PrimaryKeyConstraint(
            *("account_id", "kind", "start", "label", "key_id", "model_id", "outcome"), name="pk_label_rollups"
        ),
    )
    # the default stays, for whatever writes the row without it; rows from before have no labels
    op.add_column("rollup_progress", sa.Column("labels_number", sa.BigInteger(), nullable=False, server_default="0"))
    op.execute("UPDATE rollup_progress SET labels_number = number")
    _replace_function(Path(__file__))


def downgrade() -> None:
    _replace_function(Path(context.script.get_revision("0022").path))
    op.drop_column("rollup_progress", "labels_number")
    op.drop_table("label_rollups")
    op.drop_index("ix_usage_end_user", "usage")
    for name in ("stop_at_nanos", "tags", "end_user"):
        op.drop_column("usage", name)


def _replace_function(revision_file: Path) -> None:
    """PostgreSQL's commit function as that revision has it: a frozen copy of bridge/ledger/commit.sql."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(revision_file.with_suffix(".sql").read_text())
