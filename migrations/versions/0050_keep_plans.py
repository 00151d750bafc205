"""Subscription plans: what is sold by the month, who has it, what of it an account has now, and the fees among the
payments."""

import sqlalchemy as sa
from alembic import op

revision = "0050"
down_revision = "0049"
branch_labels = None
depends_on = None

BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Moment = sa.DateTime(timezone=True)
RUNNING = sa.text("kind = 'auto' AND state IN ('open', 'pending')")
LIVE = sa.text("state IN ('active', 'past_due')")
OLD_CHECKS = {"amount": "amount_minor > 0 AND credit_nanos > 0", "kind": "kind IN ('checkout', 'auto', 'again')"}
NEW_CHECKS = {
    "amount": "amount_minor > 0 AND (credit_nanos > 0 OR credit_nanos = 0 AND invoice IS NOT NULL)",
    "kind": "kind IN ('checkout', 'auto', 'plan', 'again')",
}
QUOTAS = ("plan_rpm", "plan_tpm", "plan_concurrency")
DECISIONS = "id, payment_id, action, before, reason, made_by, created_at"


def upgrade() -> None:
    op.create_table(
        "plans",
        sa.Column("id", BigId, nullable=False),
        sa.Column("code", sa.String(16), nullable=False),
        sa.Column("name", sa.String(60), nullable=False),
        sa.Column("description", sa.String(300), nullable=False),
        sa.Column("fee_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("worth_nanos", sa.BigInteger(), nullable=False),
        sa.Column("credit_nanos", sa.BigInteger(), nullable=False),
        sa.Column("rpm", sa.BigInteger()),
        sa.Column("tpm", sa.BigInteger()),
        sa.Column("concurrency", sa.BigInteger()),
        sa.Column("group_name", sa.String(64)),
        sa.Column("is_listed", sa.Boolean(), nullable=False),
        sa.Column("sold_until", Moment),
        sa.Column("stripe_price", sa.String(120)),
        sa.Column("made_by", sa.String(254), nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.CheckConstraint("fee_minor > 0 AND worth_nanos > 0 AND credit_nanos >= 0", name="amounts"),
        sa.CheckConstraint("rpm >= 0 AND tpm >= 0 AND concurrency >= 0", name="quotas"),
        sa.PrimaryKeyConstraint("id", name="pk_plans"),
        sa.UniqueConstraint("code", name="uq_plans_code"),
        sa.UniqueConstraint("name", name="uq_plans_name"),
    )
    op.create_table(
        "subscriptions",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("account_id", BigId, nullable=False),
        sa.Column("plan_id", BigId, nullable=False),
        sa.Column("next_plan_id", BigId),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("stripe_subscription", sa.String(120)),
        sa.Column("customer", sa.String(120)),
        sa.Column("period_start", Moment),
        sa.Column("period_end", Moment),
        sa.Column("paid_from", Moment),
        sa.Column("ends_at", Moment),
        sa.Column("must_end", sa.Boolean(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("asked_at", Moment, nullable=False),
        sa.Column("made_by", sa.String(254), nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.CheckConstraint("state IN ('open', 'active', 'past_due', 'ended', 'left')", name="state"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_subscriptions_account_id"),
        sa.ForeignKeyConstraint(["plan_id"], ["plans.id"], name="fk_subscriptions_plan_id"),
        sa.ForeignKeyConstraint(["next_plan_id"], ["plans.id"], name="fk_subscriptions_next_plan_id"),
        sa.PrimaryKeyConstraint("id", name="pk_subscriptions"),
        sa.UniqueConstraint("stripe_subscription", name="uq_subscriptions_stripe_subscription"),
    )
    op.create_index("ix_subscriptions_account_id", "subscriptions", ["account_id"])
    op.create_index("ix_subscriptions_plan_id", "subscriptions", ["plan_id"])
    op.create_index(
        "uq_subscriptions_live", "subscriptions", ["account_id"], unique=True, postgresql_where=LIVE, sqlite_where=LIVE
    )
    for name in QUOTAS:
        op.add_column("accounts", sa.Column(name, sa.BigInteger()))
    op.add_column("accounts", sa.Column("plan_group", sa.String(64)))
    _set_decisions_aside()
    with op.batch_alter_table("payments", copy_from=_payments(OLD_CHECKS)) as batch:
        batch.add_column(sa.Column("subscription_id", sa.String(36)))
        batch.add_column(sa.Column("plan_id", BigId))
        batch.add_column(sa.Column("period_start", Moment))
        batch.add_column(sa.Column("invoice", sa.String(120)))
        for name, check in NEW_CHECKS.items():
            batch.drop_constraint(op.f(f"ck_payments_{name}"), type_="check")
            batch.create_check_constraint(op.f(f"ck_payments_{name}"), check)
        batch.create_unique_constraint("uq_payments_invoice", ["invoice"])
        batch.create_unique_constraint(
            "uq_payments_subscription_id_period_start", ["subscription_id", "period_start"]
        )
        batch.create_foreign_key("fk_payments_subscription_id", "subscriptions", ["subscription_id"], ["id"])
        batch.create_foreign_key("fk_payments_plan_id", "plans", ["plan_id"], ["id"])
    _bring_decisions_back()


def downgrade() -> None:
    """Fees become top-ups: the credit that they bought stays booked. Those that bought none have no place there."""
    _set_decisions_aside()
    with op.batch_alter_table("payments", copy_from=_payments(NEW_CHECKS, with_plans=True)) as batch:
        batch.drop_constraint("fk_payments_plan_id", type_="foreignkey")
        batch.drop_constraint("fk_payments_subscription_id", type_="foreignkey")
        batch.drop_constraint("uq_payments_subscription_id_period_start", type_="unique")
        batch.drop_constraint("uq_payments_invoice", type_="unique")
        for name in OLD_CHECKS:
            batch.drop_constraint(op.f(f"ck_payments_{name}"), type_="check")
        for name in ("invoice", "period_start", "plan_id", "subscription_id"):
            batch.drop_column(name)
    op.execute("UPDATE payments SET kind = 'checkout' WHERE kind = 'plan'")
    op.execute("DELETE FROM payments WHERE credit_nanos = 0")
    with op.batch_alter_table("payments", copy_from=_payments({})) as batch:
        for name, check in OLD_CHECKS.items():
            batch.create_check_constraint(op.f(f"ck_payments_{name}"), check)
    _bring_decisions_back()
    op.drop_column("accounts", "plan_group")
    for name in QUOTAS:
        op.drop_column("accounts", name)
    op.drop_table("subscriptions")
    op.drop_table("plans")


def _set_decisions_aside() -> None:
    """SQLite changes `payments` by copying it, and what refers to a table keeps it from being dropped."""
    if op.get_bind().dialect.name == "sqlite":
        op.execute("CREATE TABLE kept_decisions AS SELECT * FROM payment_decisions")
        op.drop_table("payment_decisions")


def _bring_decisions_back() -> None:
    if op.get_bind().dialect.name != "sqlite":
        op.execute("DELETE FROM payment_decisions WHERE payment_id NOT IN (SELECT id FROM payments)")
        return
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
    op.execute(
        f"INSERT INTO payment_decisions ({DECISIONS}) SELECT {DECISIONS} FROM kept_decisions "  # noqa: S608
        "WHERE payment_id IN (SELECT id FROM payments)"
    )
    op.drop_table("kept_decisions")


def _payments(checks: dict[str, str], *, with_plans: bool = False) -> sa.Table:
    """The table as it stands, for SQLite, which can't tell its checks."""
    of_plans = (
        sa.Column("subscription_id", sa.String(36)),
        sa.Column("plan_id", BigId),
        sa.Column("period_start", Moment),
        sa.Column("invoice", sa.String(120)),
        sa.UniqueConstraint("invoice", name="uq_payments_invoice"),
        sa.UniqueConstraint("subscription_id", "period_start", name="uq_payments_subscription_id_period_start"),
        sa.ForeignKeyConstraint(["subscription_id"], ["subscriptions.id"], name="fk_payments_subscription_id"),
        sa.ForeignKeyConstraint(["plan_id"], ["plans.id"], name="fk_payments_plan_id"),
    )
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
        sa.Column("returned_minor", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("bonus_nanos", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("bonus_returned_nanos", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("paid_minor", sa.BigInteger()),
        sa.Column("paid_currency", sa.String(length=3)),
        sa.Column("payment_intent", sa.String(length=120)),
        sa.Column("customer", sa.String(length=120)),
        sa.Column("payment_method", sa.String(length=120)),
        sa.Column("keeps_card", sa.Boolean(), nullable=False),
        sa.Column("problem", sa.String(length=300)),
        sa.Column("made_by", sa.String(length=254)),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("paid_at", Moment),
        *(of_plans if with_plans else ()),
        sa.CheckConstraint("returned_nanos >= 0", name=op.f("ck_payments_returned")),
        *(sa.CheckConstraint(check, name=op.f(f"ck_payments_{name}")) for name, check in checks.items()),
        sa.CheckConstraint(
            "state IN ('open', 'pending', 'paid', 'failed', 'expired', 'review', 'refunded', 'closed')",
            name=op.f("ck_payments_state"),
        ),
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
