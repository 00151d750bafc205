"""Who pays, who signs in, and what opens the door to /v1."""

import datetime

import sqlalchemy as sa
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import Mapped, mapped_column

from bridge.db import DEFAULT_GROUP, BigId, Table, UtcDateTime, now_utc

_A_ROLE = "role IN ('owner', 'admin', 'developer', 'billing', 'viewer')"


class Account(Table):
    """Who pays. Limits left empty are the gateway's defaults; 0 is no limit."""

    __tablename__ = "accounts"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(200))
    status: Mapped[str] = mapped_column(sa.String(16), default="active")  # active, suspended
    rpm: Mapped[int | None] = mapped_column(sa.BigInteger)
    tpm: Mapped[int | None] = mapped_column(sa.BigInteger)
    concurrency: Mapped[int | None] = mapped_column(sa.BigInteger)
    spend_day_nanos: Mapped[int | None] = mapped_column(sa.BigInteger)  # by all keys together
    max_keys: Mapped[int | None]
    markup_bps: Mapped[int | None]  # on every model's prices, instead of the model's own; hundredths of a percent
    suspend_reason: Mapped[str] = mapped_column(sa.String(500), default="", server_default="")  # its members read it
    merged_into: Mapped[int | None] = mapped_column(sa.BigInteger, index=True)  # the account that took its members
    group_name: Mapped[str] = mapped_column(sa.String(64), default=DEFAULT_GROUP)  # which channels serve it
    # what its plan gives while that is active; the room of payments writes these
    plan_rpm: Mapped[int | None] = mapped_column(sa.BigInteger)
    plan_tpm: Mapped[int | None] = mapped_column(sa.BigInteger)
    plan_concurrency: Mapped[int | None] = mapped_column(sa.BigInteger)
    plan_group: Mapped[str | None] = mapped_column(sa.String(64))
    # what statements and receipts are made out to
    billing_name: Mapped[str] = mapped_column(sa.String(200), default="")
    billing_address: Mapped[str] = mapped_column(sa.String(500), default="")  # several lines
    tax_id: Mapped[str] = mapped_column(sa.String(50), default="")
    drill_fault: Mapped[str | None] = mapped_column(sa.String(16))  # met by each request first, until:
    drill_until: Mapped[datetime.datetime | None] = mapped_column(UtcDateTime)
    deleted_at: Mapped[datetime.datetime | None] = mapped_column(UtcDateTime)  # suspended ever since
    labels_erased_at: Mapped[datetime.datetime | None] = mapped_column(UtcDateTime)  # those of its usage, after that
    budget_mails: Mapped[bool] = mapped_column(default=True)  # whether owners hear of keys' budgets nearly spent
    owner_mark: Mapped[str | None] = mapped_column(sa.String(24), index=True)  # tells a deleted account's owner again
    created_at: Mapped[datetime.datetime] = mapped_column(UtcDateTime, default=now_utc)
    __table_args__ = (sa.CheckConstraint("status IN ('active', 'suspended')", name="status"),)

    @hybrid_property
    def group(self) -> str:
        """The group in effect: its plan's, otherwise its own."""
        return self.plan_group or self.group_name

    @group.inplace.expression
    @classmethod
    def _select_group(cls) -> sa.ColumnElement[str]:
        return sa.func.coalesce(cls.plan_group, cls.group_name)


class AccountNote(Table):
    """What operators note of an account. Nobody else reads it."""

    __tablename__ = "account_notes"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    account_id: Mapped[int] = mapped_column(sa.ForeignKey("accounts.id"), index=True)
    text: Mapped[str] = mapped_column(sa.String(2000))
    made_by: Mapped[str] = mapped_column(sa.String(254))
    created_at: Mapped[datetime.datetime] = mapped_column(UtcDateTime, default=now_utc)


class OwnPrice(Table):
    """What one account, or each account of a group, pays for one model: the list price with another markup, or unit
    prices of its own."""

    __tablename__ = "own_prices"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    account_id: Mapped[int | None] = mapped_column(sa.ForeignKey("accounts.id"))
    group_name: Mapped[str | None] = mapped_column(sa.String(64))
    model_id: Mapped[str] = mapped_column(sa.ForeignKey("models.id", ondelete="CASCADE"), index=True)
    markup_bps: Mapped[int | None]
    rates: Mapped[dict[str, int] | None] = mapped_column(sa.JSON(none_as_null=True))  # by class, as in `Price.tiers`
    note: Mapped[str] = mapped_column(sa.String(200), default="")  # why, for operators
    made_by: Mapped[str] = mapped_column(sa.String(254))
    created_at: Mapped[datetime.datetime] = mapped_column(UtcDateTime, default=now_utc)
    __table_args__ = (
        sa.CheckConstraint("(account_id IS NULL) <> (group_name IS NULL)", name="whose"),
        sa.CheckConstraint("(markup_bps IS NULL) <> (rates IS NULL)", name="either"),
        sa.UniqueConstraint("account_id", "model_id", name="uq_own_prices_account_id_model_id"),
        sa.UniqueConstraint("group_name", "model_id", name="uq_own_prices_group_name_model_id"),
    )


class Member(Table):
    """A person who signs in to an account."""

    __tablename__ = "members"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    account_id: Mapped[int] = mapped_column(sa.ForeignKey("accounts.id"), index=True)
    email: Mapped[str] = mapped_column(sa.String(254), unique=True)  # lower case
    password_hash: Mapped[str] = mapped_column(sa.String(200))
    role: Mapped[str] = mapped_column(sa.String(16), default="owner")
    is_operator: Mapped[bool] = mapped_column(default=False)
    operator_role: Mapped[str | None] = mapped_column(sa.String(16))  # see operators.py; None of an operator: owner
    name: Mapped[str] = mapped_column(sa.String(100), default="")
    time_zone: Mapped[str] = mapped_column(sa.String(64), default="")  # of the times on pages; empty: the browser's
    language: Mapped[str] = mapped_column(sa.String(8), default="")  # of the pages; empty: the browser's
    created_at: Mapped[datetime.datetime] = mapped_column(UtcDateTime, default=now_utc)
    last_sign_in_at: Mapped[datetime.datetime | None] = mapped_column(UtcDateTime)
    # as the two of Key: whether the address was confirmed, of a time when it needn't be at first
    __table_args__ = (sa.Column[bool]("is_unconfirmed", sa.Boolean(), nullable=False, server_default=sa.false()),)
    __mapper_args__ = {"exclude_properties": ["is_unconfirmed"]}  # noqa: RUF012 - as SQLAlchemy has it


class Membership(Table):
    """That a member belongs to an account, and what they may do there. `Member.account_id` is the one of their accounts
    that they look at. An empty budget is none."""

    __tablename__ = "memberships"
    account_id: Mapped[int] = mapped_column(sa.ForeignKey("accounts.id"), primary_key=True, autoincrement=False)
    member_id: Mapped[int] = mapped_column(
        sa.ForeignKey("members.id"), primary_key=True, autoincrement=False, index=True
    )
    role: Mapped[str] = mapped_column(sa.String(16))  # see roles.py
    budget_month_nanos: Mapped[int | None] = mapped_column(sa.BigInteger)  # of all of the member's keys here together
    joined_at: Mapped[datetime.datetime] = mapped_column(UtcDateTime, default=now_utc)
    seen_at: Mapped[datetime.datetime | None] = mapped_column(UtcDateTime)
    __table_args__ = (
        sa.CheckConstraint(_A_ROLE, name="role"),
        sa.CheckConstraint("budget_month_nanos >= 0", name="budget_month_nanos"),
    )


class Invitation(Table):
    """That somebody was asked by mail to join an account. Only the SHA-256 of the link's secret is kept."""

    __tablename__ = "invitations"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    account_id: Mapped[int] = mapped_column(sa.ForeignKey("accounts.id"))
    email: Mapped[str] = mapped_column(sa.String(254))  # lower case
    role: Mapped[str] = mapped_column(sa.String(16))
    budget_month_nanos: Mapped[int | None] = mapped_column(sa.BigInteger)
    invited_by: Mapped[str] = mapped_column(sa.String(254))
    digest: Mapped[bytes] = mapped_column(sa.LargeBinary(32), unique=True)
    created_at: Mapped[datetime.datetime] = mapped_column(UtcDateTime, default=now_utc)
    ends_at: Mapped[datetime.datetime] = mapped_column(UtcDateTime)
    __table_args__ = (
        sa.UniqueConstraint("account_id", "email", name="uq_invitations_account_id_email"),
        sa.CheckConstraint(_A_ROLE, name="role"),
        sa.CheckConstraint("budget_month_nanos >= 0", name="budget_month_nanos"),
    )


class MemberSession(Table):
    """A member's session, found by the SHA-256 of the secret in the cookie. It is over when the row is gone, at
    `ends_at`, or some time after `used_at`, which is updated every few minutes. `proven_at` is when its member last
    proved who they are, `second_factor_at` when they last did so by a second factor or a passkey in this session."""

    __tablename__ = "sessions"
    digest: Mapped[bytes] = mapped_column(sa.LargeBinary(32), primary_key=True)
    member_id: Mapped[int] = mapped_column(sa.ForeignKey("members.id"), index=True)
    made_at: Mapped[datetime.datetime] = mapped_column(UtcDateTime)
    used_at: Mapped[datetime.datetime] = mapped_column(UtcDateTime)
    ends_at: Mapped[datetime.datetime] = mapped_column(UtcDateTime)
    user_agent: Mapped[str] = mapped_column(sa.String(200))
    network: Mapped[str] = mapped_column(sa.String(64))  # an IPv4 address, or a subscriber's part of IPv6
    proven_at: Mapped[datetime.datetime | None] = mapped_column(UtcDateTime)
    second_factor_at: Mapped[datetime.datetime | None] = mapped_column(UtcDateTime)


class Ticket(Table):
    """Something that is good for one purpose, once, until `ends_at`: the link in a mail, for example. Only the SHA-256
    of its secret is kept."""

    __tablename__ = "tickets"
    digest: Mapped[bytes] = mapped_column(sa.LargeBinary(32), primary_key=True)
    purpose: Mapped[str] = mapped_column(sa.String(16))
    member_id: Mapped[int | None] = mapped_column(sa.ForeignKey("members.id"), index=True)
    email: Mapped[str | None] = mapped_column(sa.String(254))
    ends_at: Mapped[datetime.datetime] = mapped_column(UtcDateTime, index=True)


class ResetRequest(Table):
    """An address for which somebody wants to reset the password. A job looks whether there is such a member, so that
    the page neither knows nor shows it."""

    __tablename__ = "reset_requests"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    email: Mapped[str] = mapped_column(sa.String(254))


class SecondFactor(Table):
    """The secret from which a member's phone makes codes. `last_step` is the half minute of the last code that was
    taken, so that none is taken twice."""

    __tablename__ = "second_factors"
    member_id: Mapped[int] = mapped_column(sa.ForeignKey("members.id"), primary_key=True, autoincrement=False)
    sealed: Mapped[str] = mapped_column(sa.Text)
    last_step: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    since: Mapped[datetime.datetime] = mapped_column(UtcDateTime)


class RecoveryCode(Table):
    """A code that stands in for a lost phone, as its SHA-256. It is gone once it was used."""

    __tablename__ = "recovery_codes"
    digest: Mapped[bytes] = mapped_column(sa.LargeBinary(32), primary_key=True)
    member_id: Mapped[int] = mapped_column(sa.ForeignKey("members.id"), index=True)


class Passkey(Table):
    """A key pair of a member's device (WebAuthn): its public half, and how often the device says that it was used."""

    __tablename__ = "passkeys"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    member_id: Mapped[int] = mapped_column(sa.ForeignKey("members.id"), index=True)
    credential_id: Mapped[bytes] = mapped_column(sa.LargeBinary(1023), unique=True)
    public_key: Mapped[bytes] = mapped_column(sa.LargeBinary(2048))
    sign_count: Mapped[int] = mapped_column(sa.BigInteger)
    name: Mapped[str] = mapped_column(sa.String(60))
    created_at: Mapped[datetime.datetime] = mapped_column(UtcDateTime)
    used_at: Mapped[datetime.datetime | None] = mapped_column(UtcDateTime)


class Identity(Table):
    """An account at a sign-in service by which a member signs in too, under the service's own id for it."""

    __tablename__ = "identities"
    service: Mapped[str] = mapped_column(sa.String(16), primary_key=True)
    subject: Mapped[str] = mapped_column(sa.String(255), primary_key=True)
    member_id: Mapped[int] = mapped_column(sa.ForeignKey("members.id"))
    label: Mapped[str] = mapped_column(sa.String(100))
    created_at: Mapped[datetime.datetime] = mapped_column(UtcDateTime)
    __table_args__ = (sa.UniqueConstraint("member_id", "service", name="uq_identities_member_id_service"),)


_OF_PLAYGROUND = sa.text("is_playground AND revoked_at IS NULL")


class Key(Table):
    """An `sk-…` secret, stored as its SHA-256. Where a limit is empty, 0, or above the account's, the account's
    counts."""

    __tablename__ = "keys"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    account_id: Mapped[int] = mapped_column(sa.ForeignKey("accounts.id"), index=True)
    member_id: Mapped[int | None] = mapped_column(sa.BigInteger, index=True)  # whose it is; None: the account's
    name: Mapped[str] = mapped_column(sa.String(100))
    digest: Mapped[bytes] = mapped_column(sa.LargeBinary(32), unique=True)
    last_four: Mapped[str] = mapped_column(sa.String(4), index=True)
    old_digest: Mapped[bytes | None] = mapped_column(sa.LargeBinary(32), unique=True)  # of the secret before it
    old_until: Mapped[datetime.datetime | None] = mapped_column(UtcDateTime)  # which works until then
    rpm: Mapped[int | None] = mapped_column(sa.BigInteger)
    tpm: Mapped[int | None] = mapped_column(sa.BigInteger)
    concurrency: Mapped[int | None] = mapped_column(sa.BigInteger)
    budget_day_nanos: Mapped[int | None] = mapped_column(sa.BigInteger)
    budget_week_nanos: Mapped[int | None] = mapped_column(sa.BigInteger)
    budget_month_nanos: Mapped[int | None] = mapped_column(sa.BigInteger)
    budget_total_nanos: Mapped[int | None] = mapped_column(sa.BigInteger)
    budget_raise_nanos: Mapped[int | None] = mapped_column(sa.BigInteger)  # on top of each of these
    budget_raise_until: Mapped[datetime.datetime | None] = mapped_column(UtcDateTime)
    budget_user_nanos: Mapped[int | None] = mapped_column(sa.BigInteger)  # of each end user
    # day, week, month, total
    budget_user_period: Mapped[str] = mapped_column(sa.String(8), default="day", server_default="day")
    models: Mapped[list[str] | None] = mapped_column(sa.JSON)  # public names; None allows all
    addresses: Mapped[list[str] | None] = mapped_column(sa.JSON)  # networks in CIDR; None allows all
    created_at: Mapped[datetime.datetime] = mapped_column(UtcDateTime, default=now_utc)
    expires_at: Mapped[datetime.datetime | None] = mapped_column(UtcDateTime)
    disabled_at: Mapped[datetime.datetime | None] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime.datetime | None] = mapped_column(UtcDateTime)
    last_used_at: Mapped[datetime.datetime | None] = mapped_column(UtcDateTime)
    # an operator's fault drill was sent with it; what it asked for is none of the customer's figures
    is_drill: Mapped[bool] = mapped_column(default=False, server_default=sa.false())
    # our own pages ask by it: of those that are not revoked, a member has one in each account
    is_playground: Mapped[bool] = mapped_column(default=False, server_default=sa.false())
    __table_args__ = (
        sa.Index(
            "uq_keys_playground",
            *("account_id", "member_id"),
            unique=True,
            postgresql_where=_OF_PLAYGROUND,
            sqlite_where=_OF_PLAYGROUND,
        ),
        sa.CheckConstraint("budget_user_period IN ('day', 'week', 'month', 'total')", name="budget_user_period"),
        *(
            sa.CheckConstraint(f"budget_{name}_nanos >= 0", name=f"budget_{name}_nanos")
            for name in ("day", "week", "month", "total", "raise", "user")
        ),
        # Workers of the version before 0034 read these, and may run for a moment beside ours, which neither read nor
        # write them. The release after that drops them.
        sa.Column("budget_nanos", sa.BigInteger()),
        sa.Column("budget_period", sa.String(8)),
    )
    __mapper_args__ = {"exclude_properties": ["budget_nanos", "budget_period"]}  # noqa: RUF012 - as SQLAlchemy has it
