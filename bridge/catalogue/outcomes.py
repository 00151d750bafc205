"""How calls of channels ended: counted in memory for each channel, model and hour, and written beside the requests.

Each process writes its own row of an hour, whole, whenever something was added. A channel's row has its last calls too,
a letter each. They are written at once where something failed, otherwise every half minute."""

import datetime
import math
import os
import time
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from bridge.catalogue.breaker_states import NOBODY, RouteLike
from bridge.catalogue.channel_events import HEALTH
from bridge.catalogue.channel_state import (
    ANSWERED,
    FAILED,
    JUDGED_CALLS,
    LIMITED,
    MISSING,
    RECENT_CALLS,
    REFUSED,
    is_failing,
)
from bridge.catalogue.model_calls import (
    Kept,
    NewCalls,
    add_calls,
    append_letters,
    find_failing_since,
    list_apart,
    list_doubted,
)
from bridge.catalogue.tables import Channel, ChannelOutcome
from bridge.db import db, now_utc, transaction
from bridge.providers.base import Blame
from bridge.versions import bump

HOUR_SECONDS = 3600
KEPT_DAYS = 30
MOST_WAITING = 10_000  # rows, while the database is away
WRITE_ANSWERS_EVERY_SECONDS = 30.0
FIRST_BOUND_SECONDS = 0.02  # the upper bound of the first bucket; each one's is GROWTH times the one's before it
GROWTH = 1.25
LETTERS = {Blame.RATE: LIMITED, Blame.CREDENTIAL: REFUSED, Blame.SETUP: MISSING, Blame.UPSTREAM: FAILED}
COLUMNS = {ANSWERED: "answered", FAILED: "failed", LIMITED: "limited", REFUSED: "refused", MISSING: "missing"}
NONE: frozenset[str] = frozenset()
_LOG_GROWTH = math.log(GROWTH)


class _Tally:
    """One row: how many calls ended in which way, and the times of those that were answered, by bucket."""

    __slots__ = ("ends", "first", "is_new", "whole")

    def __init__(self) -> None:
        self.ends = dict.fromkeys(COLUMNS, 0)
        self.first: dict[int, int] = {}
        self.whole: dict[int, int] = {}
        self.is_new = True  # whether something was counted since it was written


class _Recent:
    """The last calls of a channel, and those of each of its models, that its row doesn't have yet."""

    __slots__ = ("at", "letters", "models", "resets")

    def __init__(self, resets: int) -> None:
        self.resets = resets
        self.letters = ""
        self.models: dict[str, NewCalls] = {}
        self.at = 0.0

    def add(self, upstream_id: str, letter: str, now: float, is_apart: bool) -> None:
        """One call of this model has ended so. What a model meets that fails apart says nothing of the channel."""
        self.at = now
        if letter == ANSWERED or not is_apart:
            self.letters = (self.letters + letter)[-RECENT_CALLS:]
        if letter == REFUSED:  # the key's, whatever the model
            return
        calls = self.models.get(upstream_id)
        if calls is None:
            calls = self.models[upstream_id] = NewCalls()
        calls.letters = (calls.letters + letter)[-JUDGED_CALLS:]
        calls.at = now

    def blame(self, upstream_id: str, now: float, account_id: int, why: str) -> None:
        """This account met the failure that was just added."""
        calls = self.models.get(upstream_id)
        if calls is None:
            return
        if not calls.failed_for:
            calls.failed_at = now
        calls.failed_for.add(account_id)
        calls.why = why


class OutcomeCounter:
    """What one process has counted."""

    def __init__(self) -> None:
        self._tallies: dict[tuple[int, str, int], _Tally] = {}  # by channel, model ("": all) and hour
        self._recent: dict[int, _Recent] = {}
        self._apart: dict[int, frozenset[str]] = {}  # models that fail apart from their channel: not its failures
        self._unsteady: set[int] = set()  # channels whose last calls weren't all answered, as their rows have it
        self._wrote_at: dict[int, float] = {}  # when the last calls of a channel were written
        self._writer = ""

    def count(
        self,
        route: RouteLike,
        letter: str,
        first_seconds: float | None = None,
        whole_seconds: float | None = None,
        *,
        account_id: int = NOBODY,
        why: str = "",
    ) -> None:
        """One call has ended so. `why`: what a failure was, and `account_id` who met it."""
        now, channel_id = time.time(), route.channel_id
        hour = int(now) // HOUR_SECONDS
        tallies, place = self._tallies, (channel_id, "", hour)
        whole = tallies.get(place)
        if whole is None:
            whole = tallies[place] = _Tally()
        whole.ends[letter] += 1
        whole.is_new = True
        if first_seconds is not None:
            _add(whole.first, first_seconds)
        if whole_seconds is not None:
            _add(whole.whole, whole_seconds)
        place = (channel_id, route.upstream_id, hour)
        part = tallies.get(place)
        if part is None:
            part = tallies[place] = _Tally()
        part.ends[letter] += 1
        part.is_new = True
        recent = self._recent.get(channel_id)
        if recent is None or recent.resets != route.resets:
            recent = self._recent[channel_id] = _Recent(route.resets)
        recent.add(route.upstream_id, letter, now, self.fails_apart(route))
        if letter != ANSWERED:
            recent.blame(route.upstream_id, now, account_id, why)

    def fails_apart(self, route: RouteLike) -> bool:
        """Whether this model fails while others of its channel are answered, as rows had it when they were read."""
        return route.upstream_id in self._apart.get(route.channel_id, NONE)

    def write(self, *, at_the_end: bool = False) -> None:
        """Write what was counted since the last time. What can't be written waits for the next time. Needs an app
        context."""
        now = time.time()
        due = {id_: recent for id_, recent in self._recent.items() if at_the_end or self._is_due(id_, recent, now)}
        new = {place: tally for place, tally in self._tallies.items() if tally.is_new}
        if not due and not new:
            return
        self._writer = self._writer or os.urandom(6).hex()
        for tally in new.values():  # what is counted while this writes is new again
            tally.is_new = False
        self._recent = {id_: recent for id_, recent in self._recent.items() if id_ not in due}
        try:
            with transaction() as session:
                self._write(session, new, due, now)
        except sa.exc.SQLAlchemyError:
            self._keep(new, due)
            raise
        this_hour = int(now) // HOUR_SECONDS
        self._tallies = {place: each for place, each in self._tallies.items() if place[2] >= this_hour or each.is_new}

    def _is_due(self, channel_id: int, recent: _Recent, now: float) -> bool:
        if channel_id in self._unsteady or recent.letters.strip(ANSWERED):
            return True
        return now - self._wrote_at.get(channel_id, 0.0) >= WRITE_ANSWERS_EVERY_SECONDS

    def _keep(self, new: dict[tuple[int, str, int], _Tally], due: dict[int, _Recent]) -> None:
        for tally in new.values():
            tally.is_new = True
        for place in list(self._tallies)[:-MOST_WAITING]:
            del self._tallies[place]
        for channel_id, recent in due.items():
            later = self._recent.get(channel_id)
            if later is None:
                self._recent[channel_id] = recent
            elif later.resets == recent.resets:
                later.letters = (recent.letters + later.letters)[-RECENT_CALLS:]
                later.models = _put_before(recent.models, later.models)

    def _write(
        self, session: Session, new: dict[tuple[int, str, int], _Tally], due: dict[int, _Recent], now: float
    ) -> None:
        ids = {channel_id for channel_id, _, _ in new} | due.keys()
        columns = Channel.id, Channel.resets, Channel.recent, Channel.called_at, Channel.model_calls
        query = sa.select(*columns, Channel.failing_since)
        found = session.execute(query.where(Channel.id.in_(ids)).order_by(Channel.id).with_for_update()).all()
        there = {row.id for row in found}
        rows = [self._write_row(place, tally) for place, tally in sorted(new.items()) if place[0] in there]
        if rows:
            _add_rows(session, rows)
        has_moved = False
        for row in found:
            recent = due.get(row.id)
            self._apart[row.id] = list_apart(row.model_calls)
            if recent is None or recent.resets != row.resets:
                if row.recent.strip(ANSWERED) or row.model_calls:  # others wrote failures: what is answered here counts
                    self._unsteady.add(row.id)
                continue
            letters, at = _append(row.recent, row.called_at, recent)
            models = add_calls(row.model_calls, recent.models)
            self._apart[row.id] = list_apart(models)
            has_moved |= is_failing(letters) != is_failing(row.recent) or _tell(models) != _tell(row.model_calls)
            values = {"recent": letters, "called_at": at, "model_calls": models}
            values["failing_since"] = find_failing_since(row.failing_since, letters, models, at)
            session.execute(sa.update(Channel).where(Channel.id == row.id).values(**values))
            (self._unsteady.add if models or letters.strip(ANSWERED) else self._unsteady.discard)(row.id)
            self._wrote_at[row.id] = now
        if has_moved:
            bump(HEALTH)

    def _write_row(self, place: tuple[int, str, int], tally: _Tally) -> dict[str, Any]:
        channel_id, upstream_id, hour = place
        return {
            "channel_id": channel_id,
            "start": datetime.datetime.fromtimestamp(hour * HOUR_SECONDS, datetime.UTC),
            "upstream_id": upstream_id,
            "writer": self._writer,
            **{COLUMNS[letter]: count for letter, count in tally.ends.items()},
            "first_counts": {str(bucket): count for bucket, count in tally.first.items()},
            "whole_counts": {str(bucket): count for bucket, count in tally.whole.items()},
        }


def _add(counts: dict[int, int], seconds: float) -> None:
    bucket = 0 if seconds <= FIRST_BOUND_SECONDS else math.ceil(math.log(seconds / FIRST_BOUND_SECONDS) / _LOG_GROWTH)
    counts[bucket] = counts.get(bucket, 0) + 1


def _add_rows(session: Session, rows: list[dict[str, Any]]) -> None:
    insert: Any = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    statement = insert(ChannelOutcome)
    columns = [*COLUMNS.values(), "first_counts", "whole_counts"]
    key = ["channel_id", "start", "upstream_id", "writer"]
    changes = {name: statement.excluded[name] for name in columns}
    session.execute(statement.on_conflict_do_update(index_elements=key, set_=changes), rows)


def _append(known: str, called_at: datetime.datetime | None, recent: _Recent) -> tuple[str, datetime.datetime]:
    """The channel's last calls and when the last of them ended. What ended before the failures that others have
    written since is put before those."""
    at = datetime.datetime.fromtimestamp(recent.at, datetime.UTC)
    is_late = called_at is not None and at < called_at
    letters = append_letters(known, recent.letters, is_late=is_late, most=RECENT_CALLS)
    return letters, called_at if called_at is not None and is_late else at


def _tell(models: Kept | None) -> tuple[frozenset[str], frozenset[str]]:
    """What listings say of these."""
    return list_apart(models), list_doubted(models)


def _put_before(earlier: dict[str, NewCalls], later: dict[str, NewCalls]) -> dict[str, NewCalls]:
    """The calls of both, of each model in order."""
    found = dict(earlier)
    for name, calls in later.items():
        first = earlier.get(name)
        if first is not None:
            calls.letters = (first.letters + calls.letters)[-JUDGED_CALLS:]
            calls.failed_for |= first.failed_for
            calls.why, calls.failed_at = calls.why or first.why, first.failed_at or calls.failed_at
        found[name] = calls
    return found


def delete_old_outcomes() -> None:
    """Forget what is older than 30 days."""
    with transaction() as session:
        old = now_utc() - datetime.timedelta(days=KEPT_DAYS)
        session.execute(sa.delete(ChannelOutcome).where(ChannelOutcome.start < old))


def list_answered(since: datetime.datetime) -> dict[tuple[int, str], tuple[int, int]]:
    """How many calls of each channel and model were answered since then, a whole hour, and how many were not."""
    table = ChannelOutcome
    lost = table.failed + table.limited + table.refused + table.missing
    query = sa.select(table.channel_id, table.upstream_id, sa.func.sum(table.answered), sa.func.sum(lost))
    query = query.where(table.start >= since, table.upstream_id != "").group_by(table.channel_id, table.upstream_id)
    return {(id_, name): (int(answered), int(failed)) for id_, name, answered, failed in db.session.execute(query)}
