"""Which channels are cooling down, as this process sees them; what changes is noted for the operator's page."""

import dataclasses
import datetime
import time
from typing import Protocol

import sqlalchemy as sa
import structlog

from bridge.catalogue.tables import Channel
from bridge.db import now_utc, write
from bridge.providers.base import AttemptFailed, Blame

FAILURES_IN_A_ROW = 5
MAX_COOLDOWN_SECONDS = 300.0
DEFAULT_RATE_COOLDOWN_SECONDS = 5.0
NOTE_ANSWER_EVERY_SECONDS = 60.0
LATENCY_GAIN = 0.2
log = structlog.get_logger()


class RouteLike(Protocol):
    @property
    def channel_id(self) -> int: ...
    @property
    def channel_name(self) -> str: ...
    @property
    def upstream_id(self) -> str: ...


@dataclasses.dataclass(slots=True)
class _State:
    failures: int = 0
    cooldown_seconds: float = 0.0
    out_until: float = 0.0
    limited_until: float = 0.0  # by the upstream's own rate limit
    noted_answer_at: float = -NOTE_ANSWER_EVERY_SECONDS


class Health:
    """The channels' states in one process. A channel is never out for good: past its time it is tried again."""

    def __init__(self, cooldown_seconds: float):
        self._first_cooldown_seconds = cooldown_seconds
        self._channels: dict[int, _State] = {}
        self._misconfigured: dict[tuple[int, str], float] = {}
        self._latencies: dict[tuple[int, str], float] = {}
        self._notes: dict[int, dict[str, object]] = {}

    def seconds_out(self, route: RouteLike, now: float) -> float:
        """How long the channel (or this one model of it) stays out; 0 when it may be used."""
        state = self._channels.get(route.channel_id)
        until = max(state.out_until, state.limited_until) if state else 0.0
        if self._misconfigured:
            until = max(until, self._misconfigured.get((route.channel_id, route.upstream_id), 0.0))
        return max(0.0, until - now)

    def begin(self, route: RouteLike) -> bool:
        """An attempt starts now. False where another request has taken the channel for its probe."""
        return True

    def dropped(self, route: RouteLike) -> None:
        """The attempt ended without a verdict on the channel."""

    def latency_seconds(self, route: RouteLike) -> float | None:
        """A moving average of the time to first content; None where nobody has measured it."""
        return self._latencies.get((route.channel_id, route.upstream_id))

    def succeeded(self, route: RouteLike, first_content_seconds: float | None = None) -> None:
        """The channel answered: it is healthy again. A rate limit lasts as long as it said, since the answer may have
        begun before it."""
        if first_content_seconds is not None:
            name = (route.channel_id, route.upstream_id)
            before = self._latencies.get(name, first_content_seconds)
            self._latencies[name] = before + LATENCY_GAIN * (first_content_seconds - before)
        state = self._channels.setdefault(route.channel_id, _State())
        now = time.monotonic()
        limited_seconds = max(0.0, state.limited_until - now)
        came_back = (
            state.cooldown_seconds > 0 or state.failures > 0 or (state.limited_until > 0 and not limited_seconds)
        )
        if not limited_seconds:
            state.limited_until = 0.0
        state.failures, state.cooldown_seconds, state.out_until = 0, 0.0, 0.0
        self._misconfigured.pop((route.channel_id, route.upstream_id), None)
        if came_back or now - state.noted_answer_at >= NOTE_ANSWER_EVERY_SECONDS:
            state.noted_answer_at = now
            self._note(route, health="cooling" if limited_seconds else "healthy", seconds=limited_seconds)
            self._notes[route.channel_id]["last_answer_at"] = now_utc()

    def failed(self, route: RouteLike, failure: AttemptFailed) -> None:
        """One attempt failed. A request's own fault says nothing about the channel."""
        if failure.blame is Blame.REQUEST:
            return
        state = self._channels.setdefault(route.channel_id, _State())
        now = time.monotonic()
        health = "healthy"
        if failure.blame is Blame.SETUP:
            self._misconfigured[(route.channel_id, route.upstream_id)] = now + self._first_cooldown_seconds
            health = "misconfigured"
        elif failure.blame is Blame.CREDENTIAL:
            health = "out"
            state.cooldown_seconds = MAX_COOLDOWN_SECONDS
            state.out_until = now + MAX_COOLDOWN_SECONDS
        elif failure.blame is Blame.RATE:
            health = "cooling"
            wait = failure.retry_after_seconds or DEFAULT_RATE_COOLDOWN_SECONDS
            state.limited_until = max(state.limited_until, now + min(wait, MAX_COOLDOWN_SECONDS))
        else:
            state.failures += 1
            if state.out_until > now:  # out already: what was under way when it went out is no further failure
                health = "cooling"
            elif state.failures >= FAILURES_IN_A_ROW:
                health = "cooling"
                doubled = state.cooldown_seconds * 2 or self._first_cooldown_seconds
                state.cooldown_seconds = min(doubled, MAX_COOLDOWN_SECONDS)
                state.out_until = now + state.cooldown_seconds
        self._note_failure(route, failure, health, max(0.0, state.out_until - now, state.limited_until - now))

    def _note(self, route: RouteLike, *, health: str, seconds: float) -> None:
        """Add to what is to be written: a failure that an answer follows is still the last one."""
        until = now_utc() + datetime.timedelta(seconds=seconds) if seconds else None
        self._notes.setdefault(route.channel_id, {}).update(health=health, cooling_until=until)

    def _note_failure(self, route: RouteLike, failure: AttemptFailed, health: str, seconds: float) -> None:
        log.warning(
            "attempt_failed",
            channel=route.channel_name,
            blame=failure.blame.value,
            reason=failure.reason,
            health=health,
        )
        self._note(route, health=health, seconds=seconds)
        self._notes[route.channel_id].update(last_error=failure.reason[:300], last_error_at=now_utc())

    def write_notes(self) -> None:
        """Write what changed since the last call to the channels' rows. Needs an app context."""
        notes, self._notes = self._notes, {}
        if not notes:
            return

        def update(connection: sa.Connection) -> None:
            for channel_id, values in notes.items():
                connection.execute(sa.update(Channel).where(Channel.id == channel_id).values(**values))

        write(update)
