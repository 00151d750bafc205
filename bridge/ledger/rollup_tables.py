"""The roll-ups: sums of settled requests by hour and by day, and how far they reach. Only `rollups.py`,
`label_rollups.py`, `totals.py` and `model_days.py` write these tables."""

import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from bridge.db import BigId, Table, UtcDateTime
from bridge.ledger.tables import UsageRecord


class UsageRollup(Table):
    """The sums of the settled requests of one account, key, model, channel ("" for none) and ending that began in one
    hour or one day (UTC). They are made from usage rows, which hold every figure too."""

    __tablename__ = "usage_rollups"
    account_id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=False)
    span: Mapped[str] = mapped_column(sa.String(4), primary_key=True)  # hour, day
    start: Mapped[datetime.datetime] = mapped_column(UtcDateTime, primary_key=True)
    key_id: Mapped[int] = mapped_column(sa.BigInteger, primary_key=True, autoincrement=False)
    model_id: Mapped[str] = mapped_column(sa.String(128), primary_key=True)
    channel_name: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    outcome: Mapped[str] = mapped_column(sa.String(12), primary_key=True)  # complete, failed, client_gone, cut
    requests: Mapped[int] = mapped_column(sa.BigInteger)
    charge_nanos: Mapped[int] = mapped_column(sa.BigInteger)
    cost_nanos: Mapped[int] = mapped_column(sa.BigInteger)
    loss_nanos: Mapped[int] = mapped_column(sa.BigInteger)
    prompt_tokens: Mapped[int] = mapped_column(sa.BigInteger)
    cached_tokens: Mapped[int] = mapped_column(sa.BigInteger)
    completion_tokens: Mapped[int] = mapped_column(sa.BigInteger)
    reasoning_tokens: Mapped[int] = mapped_column(sa.BigInteger)
    uncharged_tokens: Mapped[int] = mapped_column(sa.BigInteger)
    uncharged_nanos: Mapped[int] = mapped_column(sa.BigInteger)
    __table_args__ = (
        sa.Index("ix_usage_rollups_span", "span", "start"),
        sa.CheckConstraint("span IN ('hour', 'day')", name="span"),
    )


class LabelRollup(Table):
    """The same sums by day, of the requests of one end user or with one tag. The label "" is the sum of all labels that
    came after an account's first few hundred of a day; see label_rollups.py."""

    __tablename__ = "label_rollups"
    account_id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(sa.String(8), primary_key=True)  # end_user, tag
    start: Mapped[datetime.datetime] = mapped_column(UtcDateTime, primary_key=True)
    label: Mapped[str] = mapped_column(sa.String(256), primary_key=True)
    key_id: Mapped[int] = mapped_column(sa.BigInteger, primary_key=True, autoincrement=False)
    model_id: Mapped[str] = mapped_column(sa.String(128), primary_key=True)
    outcome: Mapped[str] = mapped_column(sa.String(12), primary_key=True)
    requests: Mapped[int] = mapped_column(sa.BigInteger)
    charge_nanos: Mapped[int] = mapped_column(sa.BigInteger)
    cost_nanos: Mapped[int] = mapped_column(sa.BigInteger)
    loss_nanos: Mapped[int] = mapped_column(sa.BigInteger)
    prompt_tokens: Mapped[int] = mapped_column(sa.BigInteger)
    cached_tokens: Mapped[int] = mapped_column(sa.BigInteger)
    completion_tokens: Mapped[int] = mapped_column(sa.BigInteger)
    reasoning_tokens: Mapped[int] = mapped_column(sa.BigInteger)
    uncharged_tokens: Mapped[int] = mapped_column(sa.BigInteger)
    uncharged_nanos: Mapped[int] = mapped_column(sa.BigInteger)
    __table_args__ = (sa.CheckConstraint("kind IN ('end_user', 'tag')", name="kind"),)


class HourTotal(Table):
    """What all customers together used in one hour (UTC), without operators' fault drills; see totals.py."""

    __tablename__ = "hour_totals"
    start: Mapped[datetime.datetime] = mapped_column(UtcDateTime, primary_key=True)
    requests: Mapped[int] = mapped_column(sa.BigInteger)
    failed: Mapped[int] = mapped_column(sa.BigInteger)
    charge_nanos: Mapped[int] = mapped_column(sa.BigInteger)
    cost_nanos: Mapped[int] = mapped_column(sa.BigInteger)


class AccountDay(Table):
    """The same of one account and one day (UTC)."""

    __tablename__ = "account_days"
    start: Mapped[datetime.datetime] = mapped_column(UtcDateTime, primary_key=True)
    account_id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=False)
    requests: Mapped[int] = mapped_column(sa.BigInteger)
    failed: Mapped[int] = mapped_column(sa.BigInteger)
    charge_nanos: Mapped[int] = mapped_column(sa.BigInteger)
    cost_nanos: Mapped[int] = mapped_column(sa.BigInteger)


class ModelDay(Table):
    """How many calls of a model were answered on one day (UTC), and how many failed by us or by providers; see
    model_days.py."""

    __tablename__ = "model_days"
    day: Mapped[datetime.date] = mapped_column(primary_key=True)
    model_id: Mapped[str] = mapped_column(sa.String(128), primary_key=True)
    answered: Mapped[int] = mapped_column(sa.BigInteger)
    failed: Mapped[int] = mapped_column(sa.BigInteger)


class ModelSpeed(Table):
    """How many answers of a model on one day began within the time of a bucket, and not within that of the one before
    it."""

    __tablename__ = "model_speeds"
    day: Mapped[datetime.date] = mapped_column(primary_key=True)
    model_id: Mapped[str] = mapped_column(sa.String(128), primary_key=True)
    bucket: Mapped[int] = mapped_column(sa.SmallInteger, primary_key=True, autoincrement=False)
    answers: Mapped[int] = mapped_column(sa.BigInteger)


class RollupProgress(Table):
    """The number of the last usage row that is rolled up, of the last whose labels are, of the last in the totals, and
    of the last in the models' days; one row. Every change of roll-ups locks it first."""

    __tablename__ = "rollup_progress"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(sa.BigInteger)
    labels_number: Mapped[int] = mapped_column(sa.BigInteger, default=0)  # never above `number`
    totals_number: Mapped[int] = mapped_column(sa.BigInteger, default=0, server_default="0")  # likewise
    models_number: Mapped[int] = mapped_column(sa.BigInteger, default=0, server_default="0")  # likewise
    __table_args__ = (sa.CheckConstraint("id = 1", name="one"),)


# On PostgreSQL a sequence gives the numbers. SQLite has one writer at a time, so the next number is the largest plus
# one.
sa.event.listen(
    UsageRecord.__table__,
    "after_create",
    sa.DDL(  # type: ignore[no-untyped-call]  # SQLAlchemy left its constructor without types
        "CREATE TRIGGER usage_number AFTER INSERT ON usage WHEN NEW.number IS NULL BEGIN"
        " UPDATE usage SET number = (SELECT coalesce(max(number), 0) + 1 FROM usage) WHERE rowid = NEW.rowid; END"
    ).execute_if(dialect="sqlite"),
)
