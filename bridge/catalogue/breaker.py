"""The breaker: which channels, credentials and models are skipped for a while, and what brings them back. Callers tell
it what happened and when, and it returns the changes (moves). It has no clock, no Redis and no log.

Three things can be out by themselves: a channel, the credential that channels share, and one model of a channel. When
its time is over, each is half-open: one request probes it while the others go elsewhere. A failure that only one
account has met puts it out for that account. Once a second account meets it too, and nobody was answered in between, it
is out for all."""

from collections.abc import Iterable

from bridge.catalogue.breaker_counts import NOTE_ANSWER_EVERY_SECONDS, Record, Window
from bridge.catalogue.breaker_states import (
    MAX_COOLDOWN_SECONDS,
    UNAVAILABLE,
    Answered,
    Closed,
    Counted,
    Move,
    Names,
    Opened,
    Probe,
    ProbeGiven,
    RouteLike,
    SharedState,
    State,
    Verdict,
    common_name,
    judge,
)
from bridge.providers.base import AttemptFailed, Blame

PROBE_SECONDS = 30.0  # a probe without an outcome counts for no longer
OK = 200


class Breaker:
    """What is known about channels. Nothing is out for good: after its time it is probed, and if everything is out, the
    caller tries what is out for the shortest time."""

    def __init__(self, cooldown_seconds: float, first_content_seconds: float):
        self._first_cooldown_seconds = cooldown_seconds
        self._first_content_seconds = first_content_seconds
        self.states: dict[str, State] = {}  # empty while all is well
        self.silent: set[Record] = set()  # those that seem to have fallen silent
        self.changes = 0  # counts this process's own changes, not adopted ones
        self._records: dict[tuple[int, int, str], Record] = {}
        self._windows: dict[str, Window] = {}  # by the channel's name
        self._known: set[str] | None = None  # names of the catalogue's channels and credentials; None: not learnt yet

    # what is asked

    def seconds_out(self, route: RouteLike, now: float, account_id: int) -> float:
        """How long this model of this channel, or its credential, stays out for this account; 0 if it may be used.
        While another request probes it, this is a moment."""
        if not self.states or route.always_on:
            return 0.0
        found = 0.0
        for name in self.names(route).of(account_id):
            state = self.states.get(name)
            if state is not None:
                found = max(found, state.seconds_out(now))
        return found

    def is_silent(self, route: RouteLike, now: float, account_id: int) -> bool:
        """Whether several attempts have been waiting there for much longer than usual, and not all of them another
        account's. This is not a failure yet, but new requests do better elsewhere. Once in a cooldown one request tries
        again."""
        if not self.silent or route.always_on:
            return False
        record = self.record(route)
        if record not in self.silent or not (record.by_several or record.account_id == account_id):
            return False
        return now - record.begun_at < self._first_cooldown_seconds

    def is_well(self, route: RouteLike, now: float, account_id: int) -> bool:
        """Whether nothing at all is known against the channel, not even that its last attempt failed. What another
        account alone has met doesn't count."""
        if self.is_silent(route, now, account_id):
            return False
        return not any(state.concerns(account_id) for state in self._list_states(route, account_id))

    def may_repeat(self, route: RouteLike, now: float, account_id: int) -> bool:
        """Whether asking the same channel once more makes sense: it is not out, or it only fails too often and there is
        no better one."""
        return all(state.unsteady or state.seconds_out(now) == 0 for state in self._list_states(route, account_id))

    def latency_seconds(self, route: RouteLike) -> float | None:
        """The moving average of the time to this model's first content on this channel; None before its first."""
        record = self._records.get((route.channel_id, route.resets, route.upstream_id))
        return record.latency_seconds if record else None

    def record(self, route: RouteLike) -> Record:
        """The counts of this model of this channel, whatever the key; counting begins if there are none."""
        key = (route.channel_id, route.resets, route.upstream_id)
        record = self._records.get(key)
        if record is None:
            names = Names(route)
            window = self._windows.setdefault(names.channel, Window())
            record = self._records[key] = Record(window, names)
        return record

    def names(self, route: RouteLike) -> Names:
        """The names of the route's states: its record's, unless another key of the channel began that one."""
        names = self.record(route).names
        return names if names.key_id == route.key_id else Names(route)

    def _list_states(self, route: RouteLike, account_id: int) -> list[State]:
        if not self.states or route.always_on:
            return []
        found = map(self.states.get, self.names(route).of(account_id))
        return [state for state in found if state is not None]

    # an attempt begins

    def probe(self, name: str, now: float) -> Probe:
        """An attempt that concerns `name` begins. If the state is half-open, this attempt probes it, or another already
        does."""
        state = self.states.get(name)
        if state is None or not state.cooldown_seconds:
            return Probe.NOT_NEEDED
        if state.until > now:
            return Probe.TOO_EARLY
        if state.probe_until > now:
            return Probe.ANOTHERS
        self._change(name, state.probe(now + PROBE_SECONDS))
        return Probe.TAKEN

    def mark_tried(self, name: str) -> None:
        """The attempt begins, since `probe` allowed it: from now on outcomes count for what is out."""
        state = self.states.get(name)
        if state is not None:
            self.states[name] = state.mark_tried()

    def send(self, record: Record, now: float, account_id: int) -> bool:
        """The attempt is under way. Returns whether the channel seems to have fallen silent just now."""
        is_silent = record.begin(now, self._first_content_seconds, account_id)
        if not is_silent or record in self.silent:
            return False
        self.silent.add(record)
        return True

    def hear(self, record: Record) -> None:
        """A first content came from there, or a status: it isn't silent."""
        record.unheard = 0
        if self.silent:
            self.silent.discard(record)

    # an attempt ends

    def answer(self, route: RouteLike, now: float, first_content_seconds: float | None, account_id: int) -> list[Move]:
        """The channel answered, so it is healthy again. A rate limit still lasts for its whole time, since the answer
        may have begun before it."""
        record = self.record(route)
        self.hear(record)
        record.window.add(now, False, account_id)
        if first_content_seconds is not None:
            record.measure(first_content_seconds)
        moves = self._close(record, self.names(route), now, account_id) if self.states else []
        if now - record.noted_at >= NOTE_ANSWER_EVERY_SECONDS:
            record.noted_at = now
            moves.append(Answered())
        return moves

    def fail(
        self, route: RouteLike, failure: AttemptFailed, now: float, account_id: int, *, is_apart: bool = False
    ) -> list[Move]:
        """One attempt failed. A request's own fault says nothing about the channel, and a channel that is always on
        isn't left for any. `is_apart`: this model fails there while others are answered."""
        record = self.record(route)
        if failure.status and failure.status != OK:  # a 200 says nothing until its content comes
            self.hear(record)
        own = self.names(route)
        names = own.of(account_id)
        if failure.blame is Blame.REQUEST or route.always_on:
            return self.give_probes(names)
        verdict = judge(failure, own, account_id, is_apart=is_apart)
        if verdict.name == own.channel:
            record.window.add(now, True, account_id)
        moves = self.give_probes(name for name in names if common_name(name) != verdict.name)
        if failure.blame is Blame.RATE and failure.status != UNAVAILABLE:  # this concerns the key that all share
            return moves + self._limit(verdict, now, None)
        return moves + self._blame(verdict, now)

    def drop(self, route: RouteLike, account_id: int) -> list[Move]:
        """The attempt ended without a verdict: whoever comes next may probe."""
        return self.give_probes(self.names(route).of(account_id))

    def give_probes(self, names: Iterable[str]) -> list[Move]:
        """Give the probes back: the next request may probe these."""
        given: list[Move] = []
        for name in names:
            state = self.states.get(name)
            if state is not None and state.probe_until:
                self._change(name, state.give_probe())
                given.append(ProbeGiven(name))
        return given

    # what all workers know

    def adopt_count(self, verdict: Verdict, count: int, now: float) -> list[Move]:
        """All workers together have seen `count` failures in a row; below zero if one account has met all of them."""
        state = self.states.get(verdict.name)
        if state is None or state.until > now:  # it has answered since, or is out already
            return []
        self.states[verdict.name] = state.count(abs(count), by_several=count > 0)
        return self._open_if_too_many(verdict, now)[0]

    def share(self, name: str) -> None:
        """All workers have heard of the state."""
        state = self.states.get(name)
        if state is not None:
            self.states[name] = state.share()

    def adopt(self, found: Iterable[SharedState], now: float) -> None:
        """Take over what all workers know: add the states of other workers, and drop those that others ended."""
        states = {name: state for name, state in self.states.items() if not state.is_shared}
        for one in found:
            name = common_name(one.name)
            if self._known is not None and self._known.isdisjoint((name, name.partition(":")[0])):
                continue  # the state of a channel that was reset
            states[one.name] = self.states.get(one.name, State()).adopt(one, now)
        self.states = states

    # what is forgotten

    def learn(self, routes: Iterable[RouteLike]) -> list[RouteLike]:
        """Take the routes of a new catalogue, once all of them are read. What was known about other routes is dropped.
        Returns one route of each channel and key."""
        lost_names, lost_keys = {common_name(name) for name in self.states}, set(self._records)
        channels: dict[tuple[int, int, int], RouteLike] = {}
        for route in routes:
            key = (route.channel_id, route.resets, route.upstream_id)
            channels.setdefault((route.channel_id, route.resets, route.key_id), route)
            record = self._records.get(key)
            if lost_names or record is not None:
                names = Names(route)
                lost_names.difference_update(names.all)
                lost_keys.discard(key)
                if record is not None:  # the credential's name may have changed, since other channels share it
                    record.names = names
        self._known = set()
        for route in channels.values():
            names = Names(route)
            self._known.update((names.channel, names.busy, names.rate, names.key))
        self.states = {name: state for name, state in self.states.items() if common_name(name) not in lost_names}
        self._records = {key: record for key, record in self._records.items() if key not in lost_keys}
        self.silent.intersection_update(self._records.values())
        self._windows = {record.names.channel: record.window for record in self._records.values()}
        return list(channels.values())

    def forget_account_states(self, now: float) -> None:
        """Drop what single accounts have met and not met again since. What all workers know expires in Redis."""
        self.states = {
            name: state
            for name, state in self.states.items()
            if state.is_shared or common_name(name) == name or now - state.until < MAX_COOLDOWN_SECONDS
        }

    # what moves

    def _change(self, name: str, state: State) -> None:
        self.states[name] = state
        self.changes += 1

    def _blame(self, verdict: Verdict, now: float) -> list[Move]:
        """Count a failure against a state. After one too many, it is out for the account that met them; it is out for
        all once another account has met it too."""
        state = self.states.get(verdict.name, State())
        if state.stays_out(now):
            return []
        self._change(verdict.name, state.fail(verdict.account_id))
        moves, is_open = self._open_if_too_many(verdict, now)
        if is_open:
            return moves
        window = self._windows.get(verdict.name)  # None unless it is a channel
        if window is not None and window.is_bad():
            return moves + self._open(verdict.of_a_rate(), now, None, unsteady=True)
        if window is not None and window.is_bad_for(verdict.account_id):
            moves += self._open(verdict.of_a_rate(), now, verdict.account_id, unsteady=True)
        moves += self.give_probes([verdict.name])  # so that another account can confirm it, or end it
        return [*moves, Counted(verdict)]

    def _open_if_too_many(self, verdict: Verdict, now: float) -> tuple[list[Move], bool]:
        """After one more failure, put out whatever has failed too often. Also returns whether it is out for all
        accounts."""
        state, own = self.states[verdict.name], self.states.get(verdict.own_name)
        is_one_too_many = state.is_one_too_many(verdict.run)
        if state.by_several and is_one_too_many:
            moves = self.give_probes([verdict.own_name])
            return moves + self._leave(verdict.of_a_run(is_probe=state.cooldown_seconds > 0), now, None), True
        if is_one_too_many or (own is not None and own.is_one_too_many(verdict.run)):
            is_probe = own is not None and own.cooldown_seconds > 0
            return self._leave(verdict.of_a_run(is_probe=is_probe), now, verdict.account_id), False
        return [], False

    def _leave(self, verdict: Verdict, now: float, account_id: int | None) -> list[Move]:
        if verdict.limit_seconds:
            return self._limit(verdict, now, account_id)
        return self._open(verdict, now, account_id)

    def _open(self, verdict: Verdict, now: float, account_id: int | None, *, unsteady: bool = False) -> list[Move]:
        """Put a state out, for one account or all: for the verdict's cooldown, or twice as long as the last time. If it
        is out already, nothing changes."""
        name = verdict.name if account_id is None else verdict.own_name
        state = self.states.get(name, State())
        if state.stays_out(now):
            return []
        before = state.cooldown_seconds
        seconds = min(verdict.cooldown_seconds or before * 2 or self._first_cooldown_seconds, MAX_COOLDOWN_SECONDS)
        self._change(name, state.open(now, seconds, unsteady=unsteady))
        window = self._windows.get(name)
        if window is not None:
            window.clear()
        return [
            Opened(
                name=name,
                account_id=account_id,
                what=verdict.what,
                why=verdict.why,
                seconds=seconds,
                cooldown_seconds=seconds,
                unsteady=unsteady,
                is_news=seconds > before,  # a timeline of equal probes would hide everything else
            )
        ]

    def _limit(self, verdict: Verdict, now: float, account_id: int | None) -> list[Move]:
        """Cool down for an upstream's rate limit; a later, longer one extends it."""
        name, seconds = verdict.name if account_id is None else verdict.own_name, verdict.limit_seconds
        state = self.states.get(name, State())
        if state.until >= now + seconds:
            return []
        self._change(name, state.limit(now + seconds))
        return [
            Opened(
                name=name,
                account_id=account_id,
                what=verdict.what,
                why=verdict.why,
                seconds=seconds,
                is_news=state.until <= now,
            )
        ]

    def _close(self, record: Record, names: Names, now: float, account_id: int) -> list[Move]:
        """An answer came: every state of this route and this account is well again."""
        moves: list[Move] = []
        for name in names.of(account_id):
            state = self.states.get(name)
            if state is None or not state.is_ended_by_an_answer(now):
                continue
            del self.states[name]
            self.changes += 1
            is_common = common_name(name) == name
            if state.cooldown_seconds and is_common:
                record.window.clear()
            elif state.cooldown_seconds:
                record.window.forget(account_id)
            elif state.until:
                record.noted_at = -NOTE_ANSWER_EVERY_SECONDS  # so that the page shows it
            moves.append(Closed(name, bool(state.cooldown_seconds and is_common), name == names.model))
        return moves
