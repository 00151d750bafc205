"""Channels in every state, with a day of calls behind them: for looking at the operators' pages."""

import datetime
import random

import sqlalchemy as sa

from bridge.catalogue.channel_events import record_test
from bridge.catalogue.channel_state import ANSWERED, FAILED, LIMITED, OF_SEVERAL, REFUSED
from bridge.catalogue.editing import add_channel, find_channel, update_channel
from bridge.catalogue.outcome_figures import list_hours
from bridge.catalogue.tables import Channel, ChannelEvent, ChannelOutcome
from bridge.db import now_utc, transaction

HOURS_SLOW = 6
SPREAD = ((-1, 0.3), (0, 0.4), (1, 0.2), (4, 0.1))  # of an hour's answers over buckets
# a model that its upstream has dropped, for all, and one that crashes on one account's prompts
APART = {"at": 1_790_000_000.0, "since": 1_790_000_000.0, "beside": True, "apart": True, "why": "500"}
DROPPED = {
    "gpt-4o": {**APART, "calls": FAILED * 10, "by": OF_SEVERAL},
    "gpt-4.1": {**APART, "calls": FAILED * 3, "by": 1},
}
# name, provider, its last calls, columns, calls an hour (0: none), bucket of the usual first token
CHANNELS = (
    ("anthropic-a", "anthropic", FAILED * 10, {"last_error": "connection refused"}, 0, 0),
    ("moonshot", "moonshot", REFUSED, {"health": "out", "last_error": "402: its balance is used up"}, 40, 14),
    ("google-eu", "gemini", ANSWERED * 100, {"last_error": "500"}, 400, 17),
    ("anthropic-b", "anthropic", ANSWERED * 99 + LIMITED, {"health": "cooling", "last_error": "429"}, 300, 18),
    ("openai-main", "openai", ANSWERED * 100, {"model_calls": DROPPED}, 600, 14),
    ("deepseek", "deepseek", ANSWERED * 96 + FAILED + ANSWERED * 3, {"last_error": "500"}, 90, 16),
    ("azure-spare", "openai", "", {}, 0, 0),
    ("lab-ollama", "openai", ANSWERED, {"enabled": False}, 0, 0),
)


def add_channels() -> str:
    """Add them; the name of one that has become slow, with limits and a timeline. Needs an app context."""
    now = now_utc()
    for name, provider, recent, columns, calls, bucket in CHANNELS:
        add_channel(name, provider, api_key=f"sk-key-of-{name}", models=None)
        values = {"recent": recent, "called_at": now if recent else None, **columns}
        values["last_error_at"] = now - datetime.timedelta(minutes=3) if columns.get("last_error") else None
        if columns.get("health") == "cooling":
            values["cooling_until"] = now + datetime.timedelta(minutes=2)
        with transaction() as session:
            session.execute(sa.update(Channel).where(Channel.name == name).values(**values))
        if calls:
            _add_hours(find_channel(name).id, calls, bucket, slow=name == "google-eu")
    update_channel("google-eu", rpm=600, tpm=400_000, concurrency=32)
    record_test("google-eu", True, "gemini-2.5-flash answered. 1020 ms", cost_nanos=3_000, by="ops@bridge.example")
    with transaction() as session:
        id_, ago = find_channel("google-eu").id, now - datetime.timedelta(hours=20)
        why = "429 RESOURCE_EXHAUSTED"
        session.add(ChannelEvent(channel_id=id_, at=ago, what="cooling", why=why, seconds=30, process="host:7"))
    return "google-eu"


def _add_hours(channel_id: int, calls: int, bucket: int, *, slow: bool) -> None:
    drawn, hours = random.Random(channel_id), list_hours()
    with transaction() as session:
        for place, start in enumerate(hours):
            late = max(0, place - (len(hours) - HOURS_SLOW)) if slow else 0
            count, middle = drawn.randrange(calls // 2, calls), bucket + late
            counts = {
                str(middle + step): round(count * share) for step, share in ((-1, 0.3), (0, 0.4), (1, 0.2), (4, 0.1))
            }
            session.add(
                ChannelOutcome(
                    channel_id=channel_id,
                    start=start,
                    upstream_id="",
                    writer="a stage",
                    answered=count,
                    failed=late + (place % 7 == 3) * 2,
                    limited=0,
                    refused=0,
                    missing=0,
                    first_counts=counts,
                    whole_counts=counts,
                )
            )
