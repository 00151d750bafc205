"""The breaker: which channels, credentials and models are passed over for a while, why, and what brings them back
(`breaker.py` has its arithmetic).

Three things can be out by themselves: a channel, the credential that channels share, and one model of a channel. After
its time each is half-open: one request probes it while the others go elsewhere. Where there is Redis, all workers share
what is known (`health_shared.py`); what happened is noted for operators (`channel_events.py`). Nothing here waits but
`begin`, and that only for who probes."""

import time
from collections.abc import Iterable

import structlog

from bridge.catalogue.breaker import (
    FAILURES_IN_A_ROW,
    NOTE_ANSWER_EVERY_SECONDS,
    RATE_FAILED_PERCENT,
    Names,
    Record,
    RouteLike,
    State,
    Window,
)
from bridge.catalogue.channel_events import Note, NoteBook
from bridge.catalogue.health_shared import SharedHealth, SharedState
from bridge.db import now_utc
from bridge.providers.base import AttemptFailed, Blame

MAX_COOLDOWN_SECONDS = 300.0
DEFAULT_RATE_COOLDOWN_SECONDS = 5.0
PROBE_SECONDS = 60.0  # a probe that nobody hears of again counts for no longer
FIRST_CONTENT_SECONDS = 60.0
WELL = (0.0, False)
OK = 200
NOBODY = 0  # no account has this id
log = structlog.get_logger()


class Health:
    """What one process knows of its channels, and, with Redis, what all do. A channel is never out for good: past its
    time it is probed, and the caller tries whoever is out for the shortest time if there is nobody else."""

    def __init__(
        self, cooldown_seconds: float, redis_url: str = "", first_content_seconds: float = FIRST_CONTENT_SECONDS
    ):
        self._first_cooldown_seconds = cooldown_seconds
        self._first_content_seconds = first_content_seconds
        self._states: dict[str, State] = {}  # empty while all is well
        self._silent: set[Record] = set()  # those that seem to have fallen silent; only this process knows
        self._records: dict[tuple[int, int, str], Record] = {}
        self._windows: dict[tuple[int, int], Window] = {}
        self._known: set[str] | None = None  # names that a route of the catalogue has; None: not learnt yet
        self._moves = 0  # goes up with each change that this process makes
        self._notes = NoteBook()
        self._shared = SharedHealth(redis_url, lambda: self._moves, self._adopt) if redis_url else None

    # what the relay asks and tells

    def seconds_out(self, route: RouteLike, now: float) -> float:
        """How long the channel (its credential, this model of it) stays out; 0 when it may be used. While another
        request probes it, a moment."""
        if not self._states:
            return 0.0
        found = 0.0
        for name in self._record(route).names.all:
            state = self._states.get(name)
            if state is not None:
                found = max(found, state.seconds_out(now))
        return found

    def is_silent(self, route: RouteLike, now: float) -> bool:
        """Whether several attempts have been waiting there for much longer than usual. It is no failure yet, but those
        who come now do better elsewhere. Once in a cooldown one looks again."""
        if not self._silent:
            return False
        record = self._record(route)
        return record in self._silent and now - record.begun_at < self._first_cooldown_seconds

    def rank(self, route: RouteLike, now: float) -> tuple[float, bool]:
        """The lower, the better to ask: for how long it is out, and of those that aren't the silent last."""
        if not self._states and not self._silent:
            return WELL
        return self.seconds_out(route, now), self.is_silent(route, now)

    def is_well(self, route: RouteLike, now: float) -> bool:
        """Whether nothing at all is known against the channel, not even that its last attempt failed."""
        if self.all_well:
            return True
        return not (self.is_silent(route, now) or any(name in self._states for name in self._record(route).names.all))

    def may_repeat(self, route: RouteLike, now: float) -> bool:
        """Whether asking the same channel once more makes sense: it is not out, or only fails too often, and there is
        no better one."""
        if not self._states:
            return True
        found = [self._states.get(name) for name in self._record(route).names.all]
        return all(state is None or state.unsteady or state.seconds_out(now) == 0 for state in found)

    @property
    def all_well(self) -> bool:
        """Whether nothing at all is known against any channel."""
        return not self._states and not self._silent

    def begin(self, route: RouteLike) -> bool:
        """An attempt starts now. A half-open channel is taken for this request's probe: False if another one, of
        whatever worker, has it already, so that this request goes elsewhere if it can. Redis is asked only then."""
        if not self._states:
            return True
        now = time.monotonic()
        taken: list[str] = []
        for name in self._record(route).names.all:
            state = self._states.get(name)
            if state is None or not state.cooldown_seconds:
                continue
            if state.until <= now:
                if state.probe_until > now or not self._take_probe(name, state, now):
                    for other in taken:
                        self._give_probe(other, self._states.get(other))
                    return False
                taken.append(name)
            state.tried = True
        return True

    def sent(self, route: RouteLike) -> Record:
        """The attempt that began is under way: from now on the channel is listened for. What `heard` is to be told."""
        record = self._record(route)
        if record.begin(time.monotonic(), self._first_content_seconds) and record not in self._silent:
            self._silent.add(record)
            log.warning("channel_silent", channel=route.channel_name, model=route.upstream_id, waiting=record.unheard)
        return record

    def heard(self, record: Record) -> None:
        """A first content came from there, or a status: it isn't silent."""
        record.unheard = 0
        if self._silent:
            self._silent.discard(record)

    def succeeded(
        self, route: RouteLike, first_content_seconds: float | None = None, *, account_id: int = NOBODY
    ) -> None:
        """The channel answered: it is healthy again. A rate limit lasts as long as it said, since the answer may have
        begun before it."""
        record, now = self._record(route), time.monotonic()
        self.heard(record)
        record.window.add(now, False, account_id)
        if first_content_seconds is not None:
            record.measure(first_content_seconds)
        if self._states:
            self._clear(route, record, now)
        if now - record.noted_at >= NOTE_ANSWER_EVERY_SECONDS:
            record.noted_at = now
            self._notes.answered(_note(route, "answered"))

    def failed(self, route: RouteLike, failure: AttemptFailed, *, account_id: int = NOBODY) -> None:
        """One attempt failed. A request's own fault says nothing about the channel."""
        record = self._record(route)
        names = record.names
        if failure.status and failure.status != OK:  # which says nothing until its content comes
            self.heard(record)
        if failure.blame is Blame.REQUEST:
            self._give_probes(names.all)
            return
        log.warning("attempt_failed", channel=route.channel_name, blame=failure.blame.value, reason=failure.reason)
        self._notes.failed(_note(route, "failed", failure.reason))
        now = time.monotonic()
        if failure.blame is Blame.RATE:
            seconds = min(failure.retry_after_seconds or DEFAULT_RATE_COOLDOWN_SECONDS, MAX_COOLDOWN_SECONDS)
            self._give_probes(names.all)
            self._limit(names.rate, route, seconds, failure.reason, now)
        elif failure.blame is Blame.CREDENTIAL:
            self._give_probes((names.channel, names.model))
            self._put_out(names.key, route, "out", failure.reason, now, cooldown=MAX_COOLDOWN_SECONDS)
        elif failure.blame is Blame.SETUP:
            self._give_probes((names.channel, names.key))
            self._put_out(names.model, route, "misconfigured", failure.reason, now)
        else:
            self._give_probes((names.key, names.model))
            record.window.add(now, True, account_id)
            self._count(names.channel, route, failure.reason, now)

    def dropped(self, route: RouteLike) -> None:
        """The attempt ended without a verdict: whoever comes next may probe."""
        if self._states:
            self._give_probes(self._record(route).names.all)

    def latency_seconds(self, route: RouteLike) -> float | None:
        """The moving average of the time to this model's first content on this channel; None before its first."""
        record = self._records.get((route.channel_id, route.resets, route.upstream_id))
        return record.latency_seconds if record else None

    # what runs beside the requests

    def learn(self, routes: Iterable[RouteLike]) -> None:
        """Take the routes of a new catalogue: what is known of others is forgotten."""
        known: set[str] = set()
        keys: set[tuple[int, int, str]] = set()
        routes = list(routes)
        self._notes.learn(routes)
        for route in routes:
            key, names = (route.channel_id, route.resets, route.upstream_id), Names(route)
            known.update(names.all)
            keys.add(key)
            if key in self._records:  # the credential may have another name, since others have it too
                self._records[key].names = names
        self._known = known
        self._states = {name: state for name, state in self._states.items() if name in known}
        self._records = {key: record for key, record in self._records.items() if key in keys}
        self._silent.intersection_update(self._records.values())
        self._windows = {key[:2]: record.window for key, record in self._records.items()}

    def exchange(self) -> None:
        """Hear from Redis what the other workers found."""
        if self._shared is not None:
            self._shared.exchange()

    def write_notes(self) -> None:
        """Write what happened since the last call to the channels' rows and their timeline. Needs an app context."""
        self._notes.write()

    # what moves

    def _record(self, route: RouteLike) -> Record:
        key = (route.channel_id, route.resets, route.upstream_id)
        record = self._records.get(key)
        if record is None:
            record = self._records[key] = Record(self._windows.setdefault(key[:2], Window()), Names(route))
        return record

    def _count(self, name: str, route: RouteLike, reason: str, now: float) -> None:
        """A failure that puts the channel out if it is one too many."""
        state = self._states.setdefault(name, State())
        if state.cooldown_seconds:
            self._put_out(name, route, "out", f"The probe failed: {reason}", now)
            return
        state.failures += 1
        self._moves += 1
        if state.failures >= FAILURES_IN_A_ROW:
            self._put_out(name, route, "out", f"{FAILURES_IN_A_ROW} failures in a row, the last: {reason}", now)
        elif self._record(route).window.is_bad():
            why = f"At least {RATE_FAILED_PERCENT} % of a minute's attempts failed, the last: {reason}"
            self._put_out(name, route, "out", why, now, unsteady=True)
        elif self._shared is not None:
            self._shared.tell(("fail", name), lambda count: self._hear_count(name, route, reason, count))

    def _hear_count(self, name: str, route: RouteLike, reason: str, count: int | None) -> None:
        """How many failures in a row all workers have seen."""
        if count is None:
            return
        state = self._states.get(name)
        if state is None or state.cooldown_seconds:  # it answered since, or is out already
            return
        state.is_shared = True
        if count >= FAILURES_IN_A_ROW:
            why = f"{FAILURES_IN_A_ROW} failures in a row, of all workers, the last: {reason}"
            self._put_out(name, route, "out", why, time.monotonic())

    def _put_out(
        self,
        name: str,
        route: RouteLike,
        what: str,
        why: str,
        now: float,
        *,
        cooldown: float | None = None,
        unsteady: bool = False,
    ) -> None:
        """Put out for `cooldown` seconds, or twice as long as the last time. What is out already stays as it is, and
        what was under way when it went out is no further failure."""
        state = self._states.setdefault(name, State())
        before = state.cooldown_seconds
        if before and (state.until > now or not state.tried):
            return
        seconds = min(cooldown or before * 2 or self._first_cooldown_seconds, MAX_COOLDOWN_SECONDS)
        state.until, state.cooldown_seconds = now + seconds, seconds
        state.failures, state.probe_until, state.tried, state.unsteady = 0, 0.0, False, unsteady
        if name == (record := self._record(route)).names.channel:
            record.window.clear()
        note = _note(route, what, why, seconds, is_credential=name.startswith("key:"))
        note.is_event = seconds > before  # a timeline of equal failed probes would hide all else
        self._tell_open(name, what, seconds, seconds, note, unsteady)

    def _limit(self, name: str, route: RouteLike, seconds: float, why: str, now: float) -> None:
        """Cool down for an upstream's rate limit; a later, longer one extends it."""
        state = self._states.setdefault(name, State())
        is_news = state.until <= now
        if state.until >= now + seconds:
            return
        state.until = now + seconds
        note = _note(route, "cooling", why, seconds)
        note.is_event = is_news
        self._tell_open(name, "cooling", seconds, 0.0, note)

    def _tell_open(
        self, name: str, what: str, seconds: float, cooldown: float, note: Note, unsteady: bool = False
    ) -> None:
        self._moves += 1

        def hear(is_first: int | None) -> None:
            """Whoever was first notes it; without Redis each process does."""
            if is_first is not None and (state := self._states.get(name)) is not None:
                state.is_shared = True
            if is_first != 0:
                self._notes.changed(note)

        if self._shared is None:
            hear(None)
        else:
            times = round(seconds * 1000), round(cooldown * 1000)
            self._shared.tell(("open", name, what, *times, int(unsteady)), hear)

    def _clear(self, route: RouteLike, record: Record, now: float) -> None:
        """An answer came: whatever concerns this route is well again."""
        for name in self._record(route).names.all:
            state = self._states.get(name)
            if state is None:
                continue
            if not state.is_ended_by_an_answer(now):
                continue
            del self._states[name]
            self._moves += 1
            note = None
            if state.cooldown_seconds:
                record.window.clear()
                is_model = name == record.names.model
                note = _note(route, "back", "It answers again.", is_credential=name.startswith("key:"))
                note.upstream_id = route.upstream_id if is_model else ""
            elif state.until:
                record.noted_at = -NOTE_ANSWER_EVERY_SECONDS  # the page is to hear of it
            self._tell_closed(name, note)

    def _tell_closed(self, name: str, note: Note | None) -> None:
        def hear(was_open: int | None) -> None:
            if note is not None and was_open != 0:
                self._notes.changed(note)

        if self._shared is None:
            hear(None)
        else:
            self._shared.tell(("close", name), hear)

    # probes

    def _take_probe(self, name: str, state: State, now: float) -> bool:
        state.probe_until = now + PROBE_SECONDS
        self._moves += 1
        return self._shared is None or self._shared.take_probe(name, PROBE_SECONDS)

    def _give_probes(self, names: Iterable[str]) -> None:
        for name in names:
            self._give_probe(name, self._states.get(name))

    def _give_probe(self, name: str, state: State | None) -> None:
        if state is not None and state.probe_until:
            state.probe_until, state.tried = 0.0, False
            self._moves += 1
            if self._shared is not None:
                self._shared.give_probe(name)

    def _adopt(self, found: Iterable[SharedState]) -> None:
        """Take over what Redis has: others' states come, and those that others ended go."""
        now, before = time.monotonic(), self._states
        states = {name: state for name, state in before.items() if not state.is_shared}
        for one in found:
            if self._known is not None and one.name not in self._known:
                continue  # of a channel that began afresh
            state = before.get(one.name) or State()
            state.failures, state.cooldown_seconds, state.is_shared = one.failures, one.cooldown_seconds, True
            state.unsteady = one.unsteady
            if one.seconds_left > 0:
                state.tried = state.tried and state.until > now
                state.until = now + one.seconds_left
            else:
                state.until = min(state.until, now)
            state.probe_until = now + one.probe_seconds_left if one.probe_seconds_left > 0 else 0.0
            states[one.name] = state
        self._states = states


def _note(route: RouteLike, what: str, why: str = "", seconds: float = 0.0, *, is_credential: bool = False) -> Note:
    return Note(
        channel_id=route.channel_id,
        channel_name=route.channel_name,
        resets=route.resets,
        upstream_id=route.upstream_id,
        credential=route.credential,
        what=what,
        why=why,
        seconds=seconds,
        is_credential=is_credential,
        at=now_utc(),
    )
