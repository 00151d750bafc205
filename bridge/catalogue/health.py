"""The breaker (`breaker.py` decides) with a clock, a log and what all workers know.

With Redis, all workers share what is known (`health_shared.py`). What happened is noted for operators
(`channel_events.py`, `doubts.py`). Only `begin` may wait, and only for a request that probes."""

import functools
import time
from collections.abc import Iterable

import structlog

from bridge.catalogue.breaker import PROBE_SECONDS, Breaker
from bridge.catalogue.breaker_counts import Record
from bridge.catalogue.breaker_states import (
    NOBODY,
    Answered,
    Closed,
    Counted,
    Move,
    Opened,
    Probe,
    ProbeGiven,
    RouteLike,
    SharedState,
    Verdict,
    common_name,
    is_of_key,
)
from bridge.catalogue.channel_events import Note, NoteBuffer
from bridge.catalogue.channel_state import ANSWERED
from bridge.catalogue.doubts import Doubts
from bridge.catalogue.health_shared import SharedHealth
from bridge.catalogue.outcomes import LETTERS, OutcomeCounter
from bridge.db import now_utc
from bridge.providers.base import AttemptFailed, Blame
from bridge.shared_redis import SharedRedis
from bridge.turns import in_slices

FIRST_CONTENT_SECONDS = 60.0
WELL = (0.0, False)
log = structlog.get_logger()


class Health:
    """What one process knows about its channels and, with Redis, what all processes know."""

    def __init__(
        self,
        cooldown_seconds: float,
        shared: SharedRedis | None = None,
        first_content_seconds: float = FIRST_CONTENT_SECONDS,
    ):
        self._breaker = Breaker(cooldown_seconds, first_content_seconds)
        self._notes = NoteBuffer()
        self._doubts = Doubts(self._notes)
        self._outcomes = OutcomeCounter()
        self._shared = SharedHealth(shared, lambda: self._breaker.changes, self._adopt) if shared else None

    # what the relay asks for every request; while all is well, the answer is ready

    @property
    def all_well(self) -> bool:
        """Whether nothing at all is known against any channel."""
        return not self._breaker.states and not self._breaker.silent

    def rank(self, route: RouteLike, now: float, account_id: int = NOBODY) -> tuple[float, bool]:
        """A rank, the lower the better: by how long the route is out, and among those that are not out, silent ones
        last."""
        breaker = self._breaker
        if not breaker.states and not breaker.silent:
            return WELL
        return breaker.seconds_out(route, now, account_id), breaker.is_silent(route, now, account_id)

    def seconds_out(self, route: RouteLike, now: float, account_id: int = NOBODY) -> float:
        """How long the route stays out for this account; 0 if it may be used."""
        return self._breaker.seconds_out(route, now, account_id) if self._breaker.states else 0.0

    def is_silent(self, route: RouteLike, now: float, account_id: int = NOBODY) -> bool:
        """Whether the route seems to have fallen silent, so that others come before it."""
        return self._breaker.is_silent(route, now, account_id) if self._breaker.silent else False

    def is_well(self, route: RouteLike, now: float, account_id: int = NOBODY) -> bool:
        """Whether nothing at all is known against the route."""
        return self.all_well or self._breaker.is_well(route, now, account_id)

    def may_repeat(self, route: RouteLike, now: float, account_id: int = NOBODY) -> bool:
        """Whether asking the route once more makes sense."""
        return not self._breaker.states or self._breaker.may_repeat(route, now, account_id)

    def latency_seconds(self, route: RouteLike) -> float | None:
        """How long a first content takes there, on average; None before the first."""
        return self._breaker.latency_seconds(route)

    # what the relay tells

    def begin(self, route: RouteLike, account_id: int = NOBODY) -> bool:
        """An attempt starts now. If the channel is half-open, this request probes it. False if a request of any worker
        already does, so this one should go elsewhere if it can. Only then is Redis asked."""
        breaker = self._breaker
        if not breaker.states or route.always_on:
            return True
        now = time.monotonic()
        taken: list[str] = []
        for name in breaker.names(route).of(account_id):
            if name not in breaker.states:  # nearly all have no state
                continue
            probe = breaker.probe(name, now)
            if probe is Probe.NOT_NEEDED:
                continue
            if probe is Probe.ANOTHERS or (probe is Probe.TAKEN and not self._is_agreed(name)):
                self._carry_out(breaker.give_probes(taken), route)
                return False
            if probe is Probe.TAKEN:
                taken.append(name)
            breaker.mark_tried(name)
        return True

    def _is_agreed(self, name: str) -> bool:
        """Whether no other worker probes this state. Waits for Redis."""
        return self._shared is None or self._shared.take_probe(name, PROBE_SECONDS)

    def sent(self, route: RouteLike, account_id: int = NOBODY) -> Record:
        """The attempt is under way, and the channel has not answered yet. Returns the record to pass to `heard`."""
        record = self._breaker.record(route)
        if self._breaker.send(record, time.monotonic(), account_id):
            log.warning("channel_silent", channel=route.channel_name, model=route.upstream_id, waiting=record.unheard)
        return record

    def heard(self, record: Record) -> None:
        """A first content came from the channel, so it isn't silent."""
        self._breaker.hear(record)

    def succeeded(
        self,
        route: RouteLike,
        first_content_seconds: float | None = None,
        whole_seconds: float | None = None,
        *,
        account_id: int = NOBODY,
    ) -> None:
        """The channel answered: it is healthy again."""
        self._outcomes.count(route, ANSWERED, first_content_seconds, whole_seconds)
        moves = self._breaker.answer(route, time.monotonic(), first_content_seconds, account_id)
        if moves:
            self._carry_out(moves, route)

    def failed(self, route: RouteLike, failure: AttemptFailed, *, account_id: int = NOBODY) -> None:
        """One attempt failed. A request's own fault says nothing about the channel."""
        if failure.blame is not Blame.REQUEST:
            log.warning("attempt_failed", channel=route.channel_name, blame=failure.blame.value, reason=failure.reason)
            self._notes.failed(_note(route, "failed", failure.reason))
            self._outcomes.count(route, LETTERS[failure.blame], account_id=account_id, why=failure.reason)
        is_apart = self._outcomes.fails_apart(route)
        moves = self._breaker.fail(route, failure, time.monotonic(), account_id, is_apart=is_apart)
        self._carry_out(moves, route)

    def dropped(self, route: RouteLike, account_id: int = NOBODY) -> None:
        """The attempt ended without a verdict: whoever comes next may probe."""
        if self._breaker.states:
            self._carry_out(self._breaker.drop(route, account_id), route)

    # what runs beside the requests

    def learn(self, routes: Iterable[RouteLike]) -> None:
        """Take the routes of a new catalogue, once all of them are read. What was known about other routes is
        dropped."""
        sharing: dict[str, dict[int, RouteLike]] = {}
        for route in self._breaker.learn(in_slices(routes)):
            if route.credential:
                sharing.setdefault(route.credential, {})[route.channel_id] = route
        self._notes.sharing = sharing

    def exchange(self) -> None:
        """Hear from Redis what the other workers found."""
        if self._shared is not None:
            self._shared.exchange()

    def write_notes(self, *, at_the_end: bool = False) -> None:
        """Write what happened since the last call to the channels' rows, their timeline and their counts. Needs an app
        context."""
        self._breaker.forget_account_states(time.monotonic())
        self._doubts.review(self._breaker.states, time.monotonic(), at_the_end=at_the_end)
        self._notes.write()
        self._outcomes.write(at_the_end=at_the_end)

    # what follows from a move: other workers and operators are told

    def _carry_out(self, moves: Iterable[Move], route: RouteLike) -> None:
        for move in moves:
            match move:
                case Opened():
                    self._share_opened(move, route)
                case Closed():
                    self._share_closed(move, route)
                case Counted():
                    self._share_counted(move.verdict, route)
                case ProbeGiven() if self._shared is not None:
                    self._shared.give_probe(move.name)
                case Answered():
                    self._notes.answered(_note(route, "answered"))

    def _share_opened(self, move: Opened, route: RouteLike) -> None:
        is_credential = common_name(move.name).startswith("key:")
        note = _note(route, move.what, move.why, move.seconds, is_credential=is_credential)
        note.is_of_key = bool(route.key_id) and is_of_key(move.name)
        note.is_event, note.account_id = move.is_news, move.account_id

        def hear(is_first: int | None) -> None:
            """The first worker notes it; without Redis each process does."""
            if is_first is not None:
                self._breaker.share(move.name)
            if is_first == 0:
                return
            self._notes.write_log(note)
            if note.account_id is None:
                self._notes.changed(note)
            else:
                self._doubts.add(common_name(move.name), note, time.monotonic())

        if self._shared is None:
            hear(None)
        else:
            times = round(move.seconds * 1000), round(move.cooldown_seconds * 1000)
            self._shared.send(("open", move.name, move.what, *times, int(move.unsteady)), hear)

    def _share_closed(self, move: Closed, route: RouteLike) -> None:
        note = _note(route, "back", "It answers again.", is_credential=move.name.startswith("key:"))
        note.upstream_id = route.upstream_id if move.is_model else ""
        note.is_of_key = bool(route.key_id) and is_of_key(move.name)

        def hear(was_open: int | None) -> None:
            if move.is_news and was_open != 0:
                self._notes.write_log(note)
                self._notes.changed(note)

        if self._shared is None:
            hear(None)
        else:
            self._shared.send(("close", move.name), hear)

    def _share_counted(self, verdict: Verdict, route: RouteLike) -> None:
        if self._shared is not None:
            hear = functools.partial(self._hear_count, verdict, route)
            self._shared.send(("fail", verdict.name, verdict.account_id), hear)

    def _hear_count(self, verdict: Verdict, route: RouteLike, count: int | None) -> None:
        if count is not None:
            self._carry_out(self._breaker.adopt_count(verdict, count, time.monotonic()), route)

    def _adopt(self, found: Iterable[SharedState]) -> None:
        self._breaker.adopt(found, time.monotonic())


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
        key_id=route.key_id,
    )
