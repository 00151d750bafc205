"""A key has a budget for each period at once, a raise that ends, and a budget for each end user; holds say in which
windows they count.

Workers of the version before run on for a moment after this. They read `keys.budget_nanos`, `keys.budget_period` and
`holds.budget_start` with every key and hold, so those columns stay, unused, until the release after this one."""

import datetime
import json
from pathlib import Path

import sqlalchemy as sa
from alembic import context, op

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None

PERIODS = ("day", "week", "month", "total")
AMOUNTS = (*PERIODS, "raise", "user")
PERIOD_OF_KEY = "(SELECT k.budget_period FROM keys k WHERE k.id = {table}.key_id)"
# a total's period is the only one that starts then; of the others only the period that the key has now is known
PERIOD_OF_WINDOW = (
    "CASE WHEN {table}.{start} = '1970-01-01' THEN 'total' "
    f"ELSE coalesce(nullif({PERIOD_OF_KEY}, 'total'), 'day') END"
)


def upgrade() -> None:
    op.execute(
        f"CREATE TABLE kept_budgets AS SELECT b.*, {PERIOD_OF_WINDOW.format(table='b', start='period_start')} AS period "
        "FROM budgets b"
    )
    op.drop_table("budgets")
    op.create_table(
        "budgets",
        sa.Column("key_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("period", sa.String(length=8), nullable=False),
        sa.Column("period_start", sa.Date(), nullable=False),
        sa.Column("scope", sa.String(length=264), nullable=False),
        sa.Column("held_nanos", sa.BigInteger(), nullable=False),
        sa.Column("spent_nanos", sa.BigInteger(), nullable=False),
        sa.Column("refused_at", sa.DateTime(timezone=True)),
        sa.Column("told_percent", sa.Integer(), nullable=False),
        sa.CheckConstraint("held_nanos >= 0 AND spent_nanos >= 0", name="not_negative"),
        sa.PrimaryKeyConstraint("key_id", "period", "period_start", "scope", name="pk_budgets"),
    )
    op.create_index("ix_budgets_period_start", "budgets", ["period_start"])
    op.execute(
        "INSERT INTO budgets (key_id, period, period_start, scope, held_nanos, spent_nanos, told_percent) "
        "SELECT key_id, period, period_start, '', held_nanos, spent_nanos, 0 FROM kept_budgets"
    )
    op.drop_table("kept_budgets")
    op.add_column("holds", sa.Column("budgets", sa.Text()))
    op.execute(
        f"""UPDATE holds SET budgets = '[{{"period":"' || {PERIOD_OF_WINDOW.format(table="holds", start="budget_start")}
        || '","start":"' || cast(budget_start AS text) || '","scope":"","limit_nanos": 0}}]' WHERE budget_start IS NOT NULL"""
    )
    with op.batch_alter_table("keys") as keys:
        for name in AMOUNTS:
            keys.add_column(sa.Column(f"budget_{name}_nanos", sa.BigInteger()))
            keys.create_check_constraint(op.f(f"ck_keys_budget_{name}_nanos"), f"budget_{name}_nanos >= 0")
        keys.add_column(sa.Column("budget_raise_until", sa.DateTime(timezone=True)))
        keys.add_column(
            sa.Column("budget_user_period", sa.String(length=8), nullable=False, server_default="day")
        )
        keys.create_check_constraint(
            op.f("ck_keys_budget_user_period"), "budget_user_period IN ('day', 'week', 'month', 'total')"
        )
    # the defaults stay, for workers that write a row without these
    op.add_column("accounts", sa.Column("budget_mails", sa.Boolean(), nullable=False, server_default=sa.true()))
    for period in PERIODS:
        op.execute(f"UPDATE keys SET budget_{period}_nanos = budget_nanos WHERE budget_period = '{period}'")
    with op.batch_alter_table("keys") as keys:
        keys.alter_column("budget_period", existing_type=sa.String(length=8), nullable=True)
        for name in ("budget_nanos", "budget_period"):
            keys.drop_constraint(op.f(f"ck_keys_{name}"), type_="check")
    _replace_function(Path(__file__))


def downgrade() -> None:
    """A key keeps one of its budgets, that of the longest period."""
    op.drop_column("accounts", "budget_mails")
    op.execute("UPDATE keys SET budget_nanos = NULL, budget_period = 'total'")
    with op.batch_alter_table("keys") as keys:
        keys.alter_column("budget_period", existing_type=sa.String(length=8), nullable=False)
        keys.create_check_constraint(op.f("ck_keys_budget_nanos"), "budget_nanos >= 0")
        keys.create_check_constraint(
            op.f("ck_keys_budget_period"), "budget_period IN ('day', 'week', 'month', 'total')"
        )
    for period in PERIODS:
        op.execute(
            f"UPDATE keys SET budget_period = '{period}', budget_nanos = budget_{period}_nanos "
            f"WHERE budget_{period}_nanos IS NOT NULL"
        )
    with op.batch_alter_table("keys") as keys:
        keys.drop_constraint(op.f("ck_keys_budget_user_period"), type_="check")
        keys.drop_column("budget_user_period")
        keys.drop_column("budget_raise_until")
        for name in AMOUNTS:
            keys.drop_constraint(op.f(f"ck_keys_budget_{name}_nanos"), type_="check")
            keys.drop_column(f"budget_{name}_nanos")
    op.execute(
        "CREATE TABLE kept_budgets AS SELECT b.* FROM budgets b WHERE scope = '' "
        f"AND period = {PERIOD_OF_KEY.format(table='b')}"
    )
    op.drop_table("budgets")
    op.create_table(
        "budgets",
        sa.Column("key_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("period_start", sa.Date(), nullable=False),
        sa.Column("held_nanos", sa.BigInteger(), nullable=False),
        sa.Column("spent_nanos", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("held_nanos >= 0 AND spent_nanos >= 0", name="not_negative"),
        sa.PrimaryKeyConstraint("key_id", "period_start", name="pk_budgets"),
    )
    op.execute(
        "INSERT INTO budgets (key_id, period_start, held_nanos, spent_nanos) "
        "SELECT key_id, period_start, held_nanos, spent_nanos FROM kept_budgets"
    )
    op.drop_table("kept_budgets")
    op.execute("UPDATE holds SET budget_start = NULL")
    _keep_one_window()
    op.drop_column("holds", "budgets")
    _replace_function(Path(context.script.get_revision("0025").path))


def _keep_one_window() -> None:
    """Let each open hold count in the window that is kept."""
    bind = op.get_bind()
    query = "SELECT h.request_id, h.budgets, k.budget_period FROM holds h JOIN keys k ON k.id = h.key_id"
    for request_id, budgets, period in bind.execute(sa.text(f"{query} WHERE h.budgets IS NOT NULL")).all():  # noqa: S608
        for window in json.loads(budgets):
            if (window["period"], window["scope"]) == (period, ""):
                change = sa.text("UPDATE holds SET budget_start = :start WHERE request_id = :id")
                start = sa.bindparam("start", datetime.date.fromisoformat(window["start"]), type_=sa.Date())
                bind.execute(change.bindparams(start, id=request_id))


def _replace_function(revision_file: Path) -> None:
    """PostgreSQL's commit function as that revision has it: a frozen copy of bridge/ledger/commit.sql."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(revision_file.with_suffix(".sql").read_text())
