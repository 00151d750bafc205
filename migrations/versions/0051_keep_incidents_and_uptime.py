"""Incidents with what they are about and what was said of them; calls of models by day, and their first tokens."""

import sqlalchemy as sa
from alembic import op

revision = "0051"
down_revision = "0050"
branch_labels = None
depends_on = None

BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    _create_incidents()
    op.create_table(
        "model_days",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("model_id", sa.String(128), nullable=False),
        sa.Column("answered", sa.BigInteger(), nullable=False),
        sa.Column("failed", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("day", "model_id", name="pk_model_days"),
    )
    op.create_table(
        "model_speeds",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("model_id", sa.String(128), nullable=False),
        sa.Column("bucket", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("answers", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("day", "model_id", "bucket", name="pk_model_speeds"),
    )
    # From 0 on, so that the job adds what there is, some rows at a time. The default stays: code before it knows none.
    op.add_column("rollup_progress", sa.Column("models_number", sa.BigInteger(), nullable=False, server_default="0"))


def _create_incidents() -> None:
    op.create_table(
        "incidents",
        sa.Column("id", BigId, nullable=False),
        sa.Column("cause", sa.String(32), nullable=True),
        sa.Column("title", sa.String(160), nullable=False),
        sa.Column("effect", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("opened_at", MOMENT, nullable=False),
        sa.Column("opened_by", sa.String(254), nullable=False),
        sa.Column("well_since", MOMENT, nullable=True),
        sa.Column("closed_at", MOMENT, nullable=True),
        sa.CheckConstraint("effect IN ('down', 'degraded', 'none')", name="effect"),
        sa.CheckConstraint(
            "state IN ('investigating', 'identified', 'monitoring', 'resolved')", name="state"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_incidents"),
    )
    open_ones = sa.text("closed_at IS NULL")
    op.create_index(
        *("uq_incidents_open_cause", "incidents", ["cause"]),
        unique=True,
        postgresql_where=open_ones,
        sqlite_where=open_ones,
    )
    op.create_index("ix_incidents_opened_at", "incidents", ["opened_at"])
    op.create_index("ix_incidents_closed_at", "incidents", ["closed_at"])
    op.create_table(
        "incident_models",
        sa.Column("incident_id", BigId, nullable=False),
        sa.Column("model_id", sa.String(128), nullable=False),
        sa.Column("effect", sa.String(16), nullable=False),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(
            ["incident_id"], ["incidents.id"], name="fk_incident_models_incident_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("incident_id", "model_id", name="pk_incident_models"),
    )
    op.create_table(
        "incident_updates",
        sa.Column("id", BigId, nullable=False),
        sa.Column("incident_id", BigId, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("text", sa.String(2000), nullable=False),
        sa.Column("made_by", sa.String(254), nullable=False),
        sa.Column("corrected_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(
            ["incident_id"], ["incidents.id"], name="fk_incident_updates_incident_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_incident_updates"),
    )
    op.create_index("ix_incident_updates_incident_id", "incident_updates", ["incident_id"])


def downgrade() -> None:
    op.drop_column("rollup_progress", "models_number")
    for name in ("model_speeds", "model_days", "incident_updates", "incident_models", "incidents"):
        op.drop_table(name)
