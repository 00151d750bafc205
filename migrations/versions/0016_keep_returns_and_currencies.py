"""Returns of payments and operators' decisions have rows; what came, and automatic top-ups' amounts, a currency."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Moment = sa.DateTime(timezone=True)
OLD_KINDS, NEW_KINDS = "kind IN ('checkout', 'auto')", "kind IN ('checkout', 'auto', 'again')"
OLD_STATES = "state IN ('open', 'pending', 'paid', 'failed', 'expired', 'review')"
NEW_STATES = "state IN ('open', 'pending', 'paid', 'failed', 'expired', 'review', 'refunded', 'closed')"
RUNNING = sa.text("kind = 'auto' AND state IN ('open', 'pending')")


def upgrade() -> None:
    _change_checks((OLD_KINDS, OLD_STATES), (NEW_KINDS, NEW_STATES))
    # the defaults stay: a worker that still runs the code before them writes rows without these columns
    op.add_column("payments", sa.Column("returned_minor", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("payments", sa.Column("paid_minor", sa.BigInteger()))
    op.add_column("payments", sa.Column("paid_currency", sa.String(length=3)))
    _count_returned()
    op.add_column("auto_top_ups", sa.Column("currency", sa.String(length=3), nullable=False, server_default=""))
    # a rule was set in the currency of its day: the best witness is the account's newest payment
    op.execute(
        "UPDATE auto_top_ups SET currency = coalesce((SELECT currency FROM payments "
        "WHERE payments.account_id = auto_top_ups.account_id ORDER BY id DESC LIMIT 1), '')"
    )
    op.create_table(
        "payment_returns",
        sa.Column("id", sa.String(length=120), nullable=False),
        sa.Column("payment_intent", sa.String(length=120), nullable=False),
        sa.Column("source", sa.String(length=32), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("undone", sa.Boolean(), nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.CheckConstraint("amount_minor > 0", name="amount"),
        sa.PrimaryKeyConstraint("id", name="pk_payment_returns"),
    )
    op.create_index("ix_payment_returns_payment_intent", "payment_returns", ["payment_intent"])
    op.create_table(
        "payment_decisions",
        sa.Column("id", BigId, nullable=False),
        sa.Column("payment_id", sa.String(length=36), nullable=False),
        sa.Column("action", sa.String(length=10), nullable=False),
        sa.Column("before", sa.String(length=300), nullable=False),
        sa.Column("reason", sa.String(length=500), nullable=False),
        sa.Column("made_by", sa.String(length=254), nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.CheckConstraint("action IN ('settle', 'link', 'close')", name="action"),
        sa.ForeignKeyConstraint(["payment_id"], ["payments.id"], name="fk_payment_decisions_payment_id"),
        sa.PrimaryKeyConstraint("id", name="pk_payment_decisions"),
    )
    op.create_index("ix_payment_decisions_payment_id", "payment_decisions", ["payment_id"])


def downgrade() -> None:
    op.drop_table("payment_decisions")
    op.drop_table("payment_returns")
    op.drop_column("auto_top_ups", "currency")
    for name in ("paid_currency", "paid_minor", "returned_minor"):
        op.drop_column("payments", name)
    # the code before knows of no such payments: it shows them as failed, which books nothing either
    op.execute("UPDATE payments SET state = 'failed' WHERE state IN ('refunded', 'closed')")
    op.execute("UPDATE payments SET kind = 'checkout' WHERE kind = 'again'")
    _change_checks((NEW_KINDS, NEW_STATES), (OLD_KINDS, OLD_STATES))


def _count_returned() -> None:
    """What is back at the provider, of what was taken back here: rounded up, since each part was rounded down."""
    query = "SELECT id, returned_nanos, amount_minor, credit_nanos FROM payments WHERE state = 'paid'"
    bind = op.get_bind()
    for payment_id, nanos, amount, credit in bind.execute(sa.text(f"{query} AND returned_nanos > 0")).all():  # noqa: S608
        change = sa.text("UPDATE payments SET returned_minor = :minor WHERE id = :id")
        bind.execute(change, {"minor": -(-nanos * amount // credit), "id": payment_id})


def _change_checks(before: tuple[str, str], after: tuple[str, str]) -> None:
    with op.batch_alter_table("payments", copy_from=_payments(*before)) as batch:
        for name, check in zip(("kind", "state"), after, strict=True):
            batch.drop_constraint(op.f(f"ck_payments_{name}"), type_="check")
            batch.create_check_constraint(op.f(f"ck_payments_{name}"), check)


def _payments(kinds: str, states: str) -> sa.Table:
    """The table as it stands, for SQLite, which changes a table by copying it and can't tell its checks."""
    return sa.Table(
        "payments",
        sa.MetaData(),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("account_id", BigId, nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("credit_nanos", sa.BigInteger(), nullable=False),
        sa.Column("returned_nanos", sa.BigInteger(), nullable=False),
        sa.Column("payment_intent", sa.String(length=120)),
        sa.Column("customer", sa.String(length=120)),
        sa.Column("payment_method", sa.String(length=120)),
        sa.Column("keeps_card", sa.Boolean(), nullable=False),
        sa.Column("problem", sa.String(length=300)),
        sa.Column("made_by", sa.String(length=254)),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("paid_at", Moment),
        sa.CheckConstraint("amount_minor > 0 AND credit_nanos > 0", name=op.f("ck_payments_amount")),
        sa.CheckConstraint("returned_nanos >= 0", name=op.f("ck_payments_returned")),
        sa.CheckConstraint(kinds, name=op.f("ck_payments_kind")),
        sa.CheckConstraint(states, name=op.f("ck_payments_state")),
        sa.CheckConstraint(
            "state <> 'paid' OR (payment_intent IS NOT NULL AND paid_at IS NOT NULL)", name=op.f("ck_payments_paid")
        ),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_payments_account_id"),
        sa.PrimaryKeyConstraint("id", name="pk_payments"),
        sa.UniqueConstraint("payment_intent", name="uq_payments_payment_intent"),
        sa.Index("ix_payments_account_id", "account_id"),
        sa.Index(
            "uq_payments_running_auto", "account_id", unique=True, postgresql_where=RUNNING, sqlite_where=RUNNING
        ),
    )
