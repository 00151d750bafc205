"""Models, aliases, prices and channels, and the numbers by which workers notice a change."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Moment = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "models",
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("provider", sa.String(length=32), nullable=False),
        sa.Column("upstream_id", sa.String(length=128), nullable=False),
        sa.Column("context_tokens", sa.BigInteger(), nullable=False),
        sa.Column("max_output_tokens", sa.BigInteger(), nullable=False),
        sa.Column("default_output_tokens", sa.BigInteger(), nullable=False),
        sa.Column("image_tokens", sa.BigInteger(), nullable=False),
        sa.Column("input_modalities", sa.JSON(), nullable=False),
        sa.Column("thinks", sa.Boolean(), nullable=False),
        sa.Column("first_content_timeout_seconds", sa.Integer()),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("note", sa.String(length=300)),
        sa.Column("created_at", Moment, nullable=False),
        sa.CheckConstraint("status IN ('live', 'retired')", name="status"),
        sa.PrimaryKeyConstraint("id", name="pk_models"),
    )
    op.create_table(
        "aliases",
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("model_id", sa.String(length=128), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_aliases_model_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("name", name="pk_aliases"),
    )
    op.create_index("ix_aliases_model_id", "aliases", ["model_id"])
    op.create_table(
        "prices",
        sa.Column("id", BigId, nullable=False),
        sa.Column("model_id", sa.String(length=128), nullable=False),
        sa.Column("input_nanos_per_mtok", sa.BigInteger(), nullable=False),
        sa.Column("cached_nanos_per_mtok", sa.BigInteger(), nullable=False),
        sa.Column("output_nanos_per_mtok", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.String(length=200), nullable=False),
        sa.Column("checked_on", sa.Date()),
        sa.Column("created_at", Moment, nullable=False),
        sa.CheckConstraint(
            "input_nanos_per_mtok >= 0 AND cached_nanos_per_mtok >= 0 AND output_nanos_per_mtok >= 0",
            name="not_negative",
        ),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_prices_model_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_prices"),
    )
    op.create_index("ix_prices_model_id", "prices", ["model_id"])
    op.create_table(
        "channels",
        sa.Column("id", BigId, nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("provider", sa.String(length=32), nullable=False),
        sa.Column("base_url", sa.String(length=500)),
        sa.Column("sealed_key", sa.Text()),
        sa.Column("key_last_four", sa.String(length=4)),
        sa.Column("models", sa.JSON()),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("weight", sa.Integer(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("from_environment", sa.Boolean(), nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("health", sa.String(length=16), nullable=False),
        sa.Column("cooling_until", Moment),
        sa.Column("last_error", sa.String(length=300)),
        sa.Column("last_error_at", Moment),
        sa.Column("last_answer_at", Moment),
        sa.CheckConstraint("priority >= 0 AND weight >= 1", name="order"),
        sa.PrimaryKeyConstraint("id", name="pk_channels"),
        sa.UniqueConstraint("name", name="uq_channels_name"),
    )
    op.create_table(
        "versions",
        sa.Column("topic", sa.String(length=32), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("topic", name="pk_versions"),
    )


def downgrade() -> None:
    op.drop_table("versions")
    op.drop_table("channels")
    op.drop_table("prices")
    op.drop_table("aliases")
    op.drop_table("models")
