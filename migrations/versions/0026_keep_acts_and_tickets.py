"""Members' names, the audit log, links that are good once, and when a session's member last proved who they are."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Moment = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("members", sa.Column("name", sa.String(length=100), nullable=False, server_default=""))
    op.add_column("members", sa.Column("is_unconfirmed", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("sessions", sa.Column("proven_at", Moment, nullable=True))
    op.add_column("mails", sa.Column("sealed", sa.Text(), nullable=True))
    op.create_table(
        "tickets",
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("purpose", sa.String(length=16), nullable=False),
        sa.Column("member_id", BigId, nullable=True),
        sa.Column("email", sa.String(length=254), nullable=True),
        sa.Column("ends_at", Moment, nullable=False),
        sa.ForeignKeyConstraint(["member_id"], ["members.id"], name="fk_tickets_member_id"),
        sa.PrimaryKeyConstraint("digest", name="pk_tickets"),
    )
    op.create_index("ix_tickets_member_id", "tickets", ["member_id"])
    op.create_index("ix_tickets_ends_at", "tickets", ["ends_at"])
    op.create_table(
        "reset_requests",
        sa.Column("id", BigId, nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_reset_requests"),
    )
    op.create_table(
        "acts",
        sa.Column("id", BigId, nullable=False),
        sa.Column("account_id", BigId, nullable=False),
        sa.Column("what", sa.String(length=32), nullable=False),
        sa.Column("detail", sa.String(length=600), nullable=False),
        sa.Column("made_by", sa.String(length=254), nullable=False),
        sa.Column("network", sa.String(length=64), nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_acts_account_id"),
        sa.PrimaryKeyConstraint("id", name="pk_acts"),
    )
    op.create_index("ix_acts_account_id", "acts", ["account_id"])
    op.create_index("ix_acts_created_at", "acts", ["created_at"])


def downgrade() -> None:
    op.drop_table("acts")
    op.drop_table("reset_requests")
    op.drop_table("tickets")
    op.drop_column("mails", "sealed")
    op.drop_column("sessions", "proven_at")
    op.drop_column("members", "is_unconfirmed")
    op.drop_column("members", "name")
