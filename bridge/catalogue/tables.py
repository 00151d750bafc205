"""The tables of the catalogue: models, aliases, prices and channels."""

import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from bridge.conversation.kinds import CHAT
from bridge.db import BigId, Table, UtcDateTime, now_utc


class Model(Table):
    """A public name. `provider` makes the model; `upstream_id` is its name there today (a successor's, if retired)."""

    __tablename__ = "models"
    id: Mapped[str] = mapped_column(sa.String(128), primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(128))
    provider: Mapped[str] = mapped_column(sa.String(32))
    upstream_id: Mapped[str] = mapped_column(sa.String(128))
    context_tokens: Mapped[int] = mapped_column(sa.BigInteger)
    # the context window's if no smaller one is known; 0: it writes nothing
    max_output_tokens: Mapped[int] = mapped_column(sa.BigInteger)
    image_tokens: Mapped[int] = mapped_column(sa.BigInteger, default=0)  # the dearest image; 0: the whole window
    added_tokens: Mapped[int] = mapped_column(sa.BigInteger, default=0)  # the most that its upstream adds to a prompt
    input_modalities: Mapped[list[str]] = mapped_column(sa.JSON, default=lambda: ["text"])
    kinds: Mapped[list[str]] = mapped_column(sa.JSON, default=lambda: [CHAT])  # of the requests that it takes
    thinks: Mapped[bool] = mapped_column(default=False)
    markup_bps: Mapped[int] = mapped_column(default=0)  # on its prices, in hundredths of a percent
    first_content_timeout_seconds: Mapped[int | None]  # also for a whole answer; None: the setting's value
    route_order: Mapped[str] = mapped_column(sa.String(16), default="weight")  # among channels of one priority
    openai_wire: Mapped[str | None] = mapped_column(sa.String(24))  # how OpenAI is asked for it; None: as its name says
    status: Mapped[str] = mapped_column(sa.String(16), default="live")  # live, retired (refused)
    note: Mapped[str | None] = mapped_column(
        sa.String(300)
    )  # shown under the name: "Retired by its maker; served by …"
    # when operators were told that its price is below cost; None: it is not, or nobody was told
    told_below_cost_at: Mapped[datetime.datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime.datetime] = mapped_column(UtcDateTime, default=now_utc)
    __table_args__ = (
        sa.CheckConstraint("status IN ('live', 'retired')", name="status"),
        sa.CheckConstraint("route_order IN ('weight', 'cost', 'latency')", name="route_order"),
        sa.CheckConstraint("openai_wire IN ('chat', 'responses', 'responses_with_tools')", name="openai_wire"),
    )


class Alias(Table):
    """Another name for a model."""

    __tablename__ = "aliases"
    name: Mapped[str] = mapped_column(sa.String(128), primary_key=True)
    model_id: Mapped[str] = mapped_column(sa.ForeignKey("models.id", ondelete="CASCADE"), index=True)


class Price(Table):
    """One version of a model's price, in nano-dollars per million tokens, before markup. A row is never edited; of
    those in effect the newest counts.

    The columns are the prices of ordinary prompts. `tiers` has all tiers with their further classes, and `costs` has
    what the provider charges (see `rates.py`). If `tiers` is None, the columns are everything; if `costs` is None, it
    equals the price."""

    __tablename__ = "prices"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    model_id: Mapped[str] = mapped_column(sa.ForeignKey("models.id", ondelete="CASCADE"), index=True)
    input_nanos_per_mtok: Mapped[int] = mapped_column(sa.BigInteger)
    cached_nanos_per_mtok: Mapped[int] = mapped_column(sa.BigInteger)
    cache_write_nanos_per_mtok: Mapped[int] = mapped_column(sa.BigInteger)  # for the usual few minutes
    cache_write_hour_nanos_per_mtok: Mapped[int] = mapped_column(sa.BigInteger)
    output_nanos_per_mtok: Mapped[int] = mapped_column(sa.BigInteger)
    tiers: Mapped[list[dict[str, int]] | None] = mapped_column(sa.JSON(none_as_null=True))
    costs: Mapped[list[dict[str, int]] | None] = mapped_column(sa.JSON(none_as_null=True))
    source: Mapped[str] = mapped_column(sa.String(200))  # "genai-prices 0.2.3", "operator"
    checked_on: Mapped[datetime.date | None]
    created_at: Mapped[datetime.datetime] = mapped_column(UtcDateTime, default=now_utc)
    effective_at: Mapped[datetime.datetime | None] = mapped_column(UtcDateTime)  # None: from its creation on
    __table_args__ = (
        sa.CheckConstraint(
            "input_nanos_per_mtok >= 0 AND cached_nanos_per_mtok >= 0 AND cache_write_nanos_per_mtok >= 0 "
            "AND cache_write_hour_nanos_per_mtok >= 0 AND output_nanos_per_mtok >= 0",
            name="not_negative",
        ),
    )


class Channel(Table):
    """One upstream endpoint with a provider key of the operator. Lowest priority number first, then by weight."""

    __tablename__ = "channels"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(64), unique=True)
    provider: Mapped[str] = mapped_column(sa.String(32))
    base_url: Mapped[str | None] = mapped_column(sa.String(500))  # None: the provider's own
    sealed_key: Mapped[str | None] = mapped_column(sa.Text)
    key_last_four: Mapped[str | None] = mapped_column(sa.String(4))
    sealed_wire: Mapped[str | None] = mapped_column(sa.Text)  # its own headers, query and proxy (`channel_wire.py`)
    models: Mapped[dict[str, str] | None] = mapped_column(sa.JSON)  # public -> upstream; None: all of its provider
    priority: Mapped[int] = mapped_column(default=1)
    weight: Mapped[int] = mapped_column(default=1)
    cost_bps: Mapped[int] = mapped_column(default=10_000)  # hundredths of a percent of the provider's price
    groups: Mapped[list[str] | None] = mapped_column(sa.JSON(none_as_null=True))  # groups of accounts; None: all
    pass_fields: Mapped[list[str] | None] = mapped_column(sa.JSON(none_as_null=True))  # also let through
    rpm: Mapped[int | None] = mapped_column(sa.BigInteger)  # the operator's own limits; None is none
    tpm: Mapped[int | None] = mapped_column(sa.BigInteger)
    concurrency: Mapped[int | None] = mapped_column(sa.BigInteger)
    enabled: Mapped[bool] = mapped_column(default=True)
    from_environment: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime.datetime] = mapped_column(UtcDateTime, default=now_utc)
    # what the workers reported last; only pages use it
    health: Mapped[str] = mapped_column(sa.String(16), default="unknown")  # unknown, healthy, cooling, out
    cooling_until: Mapped[datetime.datetime | None] = mapped_column(UtcDateTime)
    last_error: Mapped[str | None] = mapped_column(sa.String(300))
    last_error_at: Mapped[datetime.datetime | None] = mapped_column(UtcDateTime)
    last_answer_at: Mapped[datetime.datetime | None] = mapped_column(UtcDateTime)
    refused_models: Mapped[list[str] | None] = mapped_column(sa.JSON(none_as_null=True))  # the upstream lacks these
    resets: Mapped[int] = mapped_column(sa.BigInteger, default=0)  # how often its health began afresh
    # its last calls, the oldest first: a letter each, see outcomes.py
    recent: Mapped[str] = mapped_column(sa.String(100), default="")
    called_at: Mapped[datetime.datetime | None] = mapped_column(UtcDateTime)  # when the last of them ended
    # those of the models whose last calls weren't all answered, by the upstream's name: see model_calls.py
    model_calls: Mapped[dict[str, Any] | None] = mapped_column(sa.JSON(none_as_null=True))
    failing_since: Mapped[datetime.datetime | None] = mapped_column(UtcDateTime)  # it, or a model of it
    probes: Mapped[bool] = mapped_column(default=True)  # whether it is checked while nobody uses it
    probed_at: Mapped[datetime.datetime | None] = mapped_column(UtcDateTime)
    probe_said: Mapped[str | None] = mapped_column(sa.String(300))  # what the last check found
    always_on: Mapped[bool] = mapped_column(default=False)  # it never leaves by itself, however often it fails
    incidents: Mapped[int] = mapped_column(default=0)  # how many operators were told of; told_at is the open one's
    told_at: Mapped[datetime.datetime | None] = mapped_column(UtcDateTime)
    told_failing_at: Mapped[datetime.datetime | None] = mapped_column(UtcDateTime)  # when operators were told of that
    __table_args__ = (sa.CheckConstraint("priority >= 0 AND weight >= 1", name="order"),)


class ChannelKey(Table):
    """One of several keys of a channel, with its own health. A channel with a single key has no rows here; one with
    several has a row for each, and `Channel.sealed_key` is that of the first."""

    __tablename__ = "channel_keys"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    channel_id: Mapped[int] = mapped_column(sa.ForeignKey("channels.id", ondelete="CASCADE"), index=True)
    sealed: Mapped[str] = mapped_column(sa.Text)
    last_four: Mapped[str] = mapped_column(sa.String(4))
    note: Mapped[str] = mapped_column(sa.String(64), default="")  # the operator's own word for it
    created_at: Mapped[datetime.datetime] = mapped_column(UtcDateTime, default=now_utc)
    # what the workers reported last; only pages use it
    health: Mapped[str] = mapped_column(sa.String(16), default="unknown")  # unknown, healthy, failing, cooling, out
    cooling_until: Mapped[datetime.datetime | None] = mapped_column(UtcDateTime)
    last_error: Mapped[str | None] = mapped_column(sa.String(300))
    last_error_at: Mapped[datetime.datetime | None] = mapped_column(UtcDateTime)
    last_answer_at: Mapped[datetime.datetime | None] = mapped_column(UtcDateTime)
    told_at: Mapped[datetime.datetime | None] = mapped_column(UtcDateTime)  # when operators were told that it is out


class ChannelEvent(Table):
    """Why a channel was left or taken back, or what its test said. Kept for 30 days."""

    __tablename__ = "channel_events"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    channel_id: Mapped[int] = mapped_column(sa.ForeignKey("channels.id", ondelete="CASCADE"))
    at: Mapped[datetime.datetime] = mapped_column(UtcDateTime, default=now_utc)
    what: Mapped[str] = mapped_column(sa.String(16))
    why: Mapped[str] = mapped_column(sa.String(300))  # no address, no key
    seconds: Mapped[int | None]  # how long the channel is left
    process: Mapped[str] = mapped_column(sa.String(100))  # host and process id; of a test, who asked for it
    __table_args__ = (
        sa.CheckConstraint("what IN ('out', 'cooling', 'misconfigured', 'back', 'tested')", name="what"),
        sa.Index("ix_channel_events_channel_id", "channel_id", "at"),
        sa.Index("ix_channel_events_at", "at"),
    )


class ChannelOutcome(Table):
    """How the calls of one channel and hour (UTC) ended, as one process counted them; kept for 30 days. The row of a
    model has its calls alone; the one without a model has all of the channel's, with their times.

    `writer` is the process, drawn at its start. It writes the whole hour again and again, so that a write that is
    repeated counts nothing twice."""

    __tablename__ = "channel_outcomes"
    channel_id: Mapped[int] = mapped_column(sa.ForeignKey("channels.id", ondelete="CASCADE"), primary_key=True)
    start: Mapped[datetime.datetime] = mapped_column(UtcDateTime, primary_key=True)
    upstream_id: Mapped[str] = mapped_column(sa.String(128), primary_key=True)  # the upstream's name; "": all of them
    writer: Mapped[str] = mapped_column(sa.String(16), primary_key=True)
    answered: Mapped[int] = mapped_column(sa.BigInteger)
    failed: Mapped[int] = mapped_column(sa.BigInteger)  # no answer, a broken one, or a 5xx
    limited: Mapped[int] = mapped_column(sa.BigInteger)  # the upstream's rate limit
    refused: Mapped[int] = mapped_column(sa.BigInteger)  # 401, 402 or 403
    missing: Mapped[int] = mapped_column(sa.BigInteger)  # the upstream has no such model
    first_counts: Mapped[dict[str, int]] = mapped_column(sa.JSON)  # answers by their time to a first content: buckets
    whole_counts: Mapped[dict[str, int]] = mapped_column(sa.JSON)  # and to their end
    __table_args__ = (sa.Index("ix_channel_outcomes_start", "start"),)


class OwnCall(Table):
    """What tests and checks of one channel cost the operator on one day (UTC). It outlives the channel."""

    __tablename__ = "own_calls"
    day: Mapped[datetime.date] = mapped_column(primary_key=True)
    channel_name: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    calls: Mapped[int] = mapped_column(sa.BigInteger)
    cost_nanos: Mapped[int] = mapped_column(sa.BigInteger)
