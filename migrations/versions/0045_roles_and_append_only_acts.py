"""Operators have roles: until now each might do everything, so they are owners. The audit log's lines can't be changed,
nor deleted before their time; they say from where operators did what. What one operator alone may not decide waits for
another."""

import sqlalchemy as sa
from alembic import op

revision = "0045"
down_revision = "0044"
branch_labels = None
depends_on = None

# A day less than a line is kept, so that no clock keeps the nightly deletion from its work. A deleted account's lines
# go with its people. Where a later migration makes the table anew on SQLite, it has to make the triggers anew too.
ON_SQLITE = (
    """
    CREATE TRIGGER acts_are_not_changed BEFORE UPDATE ON acts
    BEGIN SELECT RAISE(ABORT, 'The audit log is append-only: a line can''t be changed.'); END
    """,
    """
    CREATE TRIGGER acts_are_not_deleted BEFORE DELETE ON acts
    WHEN OLD.created_at > datetime('now', '-364 days')
      AND NOT EXISTS (SELECT 1 FROM accounts WHERE id = OLD.account_id AND deleted_at IS NOT NULL)
    BEGIN SELECT RAISE(ABORT, 'The audit log is append-only: a line is kept for a year.'); END
    """,
)
ON_POSTGRESQL = (
    """
    CREATE FUNCTION keep_acts() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF TG_OP = 'DELETE' THEN
        IF OLD.created_at <= now() - interval '364 days'
          OR EXISTS (SELECT 1 FROM accounts WHERE id = OLD.account_id AND deleted_at IS NOT NULL)
        THEN RETURN OLD; END IF;
        RAISE EXCEPTION 'The audit log is append-only: a line is kept for a year.';
      END IF;
      RAISE EXCEPTION 'The audit log is append-only: a line can''t be changed.';
    END $$
    """,
    """
    CREATE TRIGGER acts_are_kept BEFORE UPDATE OR DELETE ON acts FOR EACH ROW EXECUTE FUNCTION keep_acts()
    """,
    """
    CREATE TRIGGER acts_are_not_emptied BEFORE TRUNCATE ON acts FOR EACH STATEMENT EXECUTE FUNCTION keep_acts()
    """,
)


def upgrade() -> None:
    # `is_operator` stays true of all of them: a worker that still runs the code before it asks that alone
    op.add_column("members", sa.Column("operator_role", sa.String(16)))
    members = sa.table("members", sa.column("is_operator", sa.Boolean), sa.column("operator_role", sa.String))
    op.execute(members.update().where(members.c.is_operator).values(operator_role="owner"))
    op.add_column("acts", sa.Column("is_operators", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("acts", sa.Column("operators_network", sa.String(64), nullable=False, server_default=""))
    acts = sa.table(
        "acts",
        *(sa.column("network", sa.String), sa.column("made_by", sa.String), sa.column("is_operators", sa.Boolean)),
    )
    of_operators = acts.update().where(acts.c.network == "", acts.c.made_by != "command")
    op.execute(of_operators.values(is_operators=True))
    _create_approvals()
    for statement in ON_POSTGRESQL if op.get_bind().dialect.name == "postgresql" else ON_SQLITE:
        op.execute(statement)


def _create_approvals() -> None:
    moment, big = sa.DateTime(timezone=True), sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "approvals",
        sa.Column("id", big, primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("account_id", big, sa.ForeignKey("accounts.id", name="fk_approvals_account_id")),
        sa.Column("request_id", sa.String(64)),
        sa.Column("amount_nanos", sa.BigInteger(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("codes_expire_at", moment),
        sa.Column("note", sa.String(500), nullable=False),
        sa.Column("once", sa.String(64)),
        sa.Column("asked_by", sa.String(254), nullable=False),
        sa.Column("decided_by", sa.String(254)),
        sa.Column("outcome", sa.String(300), nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("ends_at", moment, nullable=False),
        sa.Column("decided_at", moment),
        sa.PrimaryKeyConstraint("id", name="pk_approvals"),
        sa.UniqueConstraint("once", name="uq_approvals_once"),
        sa.CheckConstraint("kind IN ('balance', 'refund', 'codes')", name=op.f("ck_approvals_kind")),
    )
    op.create_index("ix_approvals_account_id", "approvals", ["account_id"])
    op.create_index("ix_approvals_state_id", "approvals", ["state", "id"])


def downgrade() -> None:
    op.drop_table("approvals")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP TRIGGER acts_are_kept ON acts")
        op.execute("DROP TRIGGER acts_are_not_emptied ON acts")
        op.execute("DROP FUNCTION keep_acts()")
    else:
        op.execute("DROP TRIGGER acts_are_not_changed")
        op.execute("DROP TRIGGER acts_are_not_deleted")
    op.drop_column("acts", "operators_network")
    op.drop_column("acts", "is_operators")
    op.drop_column("members", "operator_role")
