"""Roll-ups of settled requests by hour and by day, and a number on each usage row that says how far they reach."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Moment = sa.DateTime(timezone=True)

# Rows from before have no number: they are rolled up here, once, and count as rolled up ever after.
ROLL_UP = """
INSERT INTO usage_rollups (
  account_id, span, start, key_id, model_id, channel_name, outcome, requests,
  charge_nanos, cost_nanos, loss_nanos, prompt_tokens, cached_tokens, completion_tokens, reasoning_tokens)
SELECT account_id, '{span}', {start} AS start, key_id, model_id, coalesce(channel_name, '') AS channel_name,
  CASE WHEN outcome = 'client_gone' THEN 'client_gone' WHEN state = 'released' THEN 'failed'
       WHEN outcome = 'complete' THEN 'complete' ELSE 'cut' END AS ending,
  count(*), sum(charge_nanos), sum(cost_nanos), sum(loss_nanos), sum(prompt_tokens), sum(cached_tokens),
  sum(completion_tokens), sum(reasoning_tokens)
FROM usage GROUP BY 1, 2, 3, 4, 5, 6, 7
"""
STARTS = {
    "postgresql": "date_trunc('{span}', created_at, 'UTC')",
    "sqlite": "strftime('{format}', created_at)",
}
FORMATS = {"hour": "%Y-%m-%d %H:00:00.000000", "day": "%Y-%m-%d 00:00:00.000000"}
TRIGGER = """
CREATE TRIGGER usage_number AFTER INSERT ON usage WHEN NEW.number IS NULL BEGIN
  UPDATE usage SET number = (SELECT coalesce(max(number), 0) + 1 FROM usage) WHERE rowid = NEW.rowid;
END
"""


def upgrade() -> None:
    engine = op.get_bind().dialect.name
    op.create_table(
        "usage_rollups",
        sa.Column("account_id", BigId, autoincrement=False, nullable=False),
        sa.Column("span", sa.String(length=4), nullable=False),
        sa.Column("start", Moment, nullable=False),
        sa.Column("key_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("model_id", sa.String(length=128), nullable=False),
        sa.Column("channel_name", sa.String(length=64), nullable=False),
        sa.Column("outcome", sa.String(length=12), nullable=False),
        *(
            sa.Column(name, sa.BigInteger(), nullable=False)
            for name in (
                *("requests", "charge_nanos", "cost_nanos", "loss_nanos"),
                *("prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens"),
            )
        ),
        sa.CheckConstraint("span IN ('hour', 'day')", name="span"),
        sa.PrimaryKeyConstraint(
            *("account_id", "span", "start", "key_id", "model_id", "channel_name", "outcome"), name="pk_usage_rollups"
        ),
    )
    op.create_index("ix_usage_rollups_span", "usage_rollups", ["span", "start"])
    progress = op.create_table(
        "rollup_progress",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("id = 1", name="one"),
        sa.PrimaryKeyConstraint("id", name="pk_rollup_progress"),
    )
    op.bulk_insert(progress, [{"id": 1, "number": 0}])
    op.add_column("usage", sa.Column("number", sa.BigInteger()))
    op.create_index("ix_usage_number", "usage", ["number"])
    if engine == "postgresql":
        op.execute("CREATE SEQUENCE usage_number OWNED BY usage.number")
        op.execute("ALTER TABLE usage ALTER COLUMN number SET DEFAULT nextval('usage_number')")
    else:
        op.execute(TRIGGER)
    for span, form in FORMATS.items():
        op.execute(sa.text(_escape(ROLL_UP.format(span=span, start=STARTS[engine].format(span=span, format=form)))))


def _escape(statement: str) -> str:
    return statement.replace(":00", r"\:00")  # no parameters


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TRIGGER usage_number")
    op.drop_index("ix_usage_number", "usage")
    op.drop_column("usage", "number")  # and its sequence
    op.drop_table("rollup_progress")
    op.drop_table("usage_rollups")
