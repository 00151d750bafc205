"""By which of its dialects OpenAI is asked for a model."""

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # written out, since a column that SQLite adds can bring its constraint only so; both engines read it alike
    op.execute(
        "ALTER TABLE models ADD COLUMN openai_wire VARCHAR(24) "
        "CONSTRAINT ck_models_openai_wire CHECK (openai_wire IN ('chat', 'responses', 'responses_with_tools'))"
    )


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.drop_constraint("ck_models_openai_wire", "models")  # SQLite drops it with its column
    op.drop_column("models", "openai_wire")
