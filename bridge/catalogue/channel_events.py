"""What happens to channels, as operators see it: gathered in memory, written beside the requests, kept for 30 days."""

import dataclasses
import datetime
import os
import socket
from collections import deque
from collections.abc import Collection, Iterable

import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session

from bridge.catalogue.breaker_states import OURS, RouteLike
from bridge.catalogue.channel_state import ANSWERED, FAILED, RECENT_CALLS, REFUSED
from bridge.catalogue.key_health import bring_key_back, fail_key, follow_keys, name_key, rest_key, test_key
from bridge.catalogue.model_calls import NewCalls, add_calls, find_failing_since
from bridge.catalogue.own_calls import add_own_call
from bridge.catalogue.tables import Channel, ChannelEvent, ChannelKey
from bridge.db import db, now_utc, transaction
from bridge.providers.blame.scrubbing import scrub
from bridge.versions import bump

HEALTH = "health"  # the topic whose number goes up when a channel's state changes
KEPT_DAYS = 30
MOST_WAITING = 1000  # while the database is away
MOST_CHARACTERS = 300
SHOWN_EVENTS = 50
OF_A_MODEL = ("misconfigured", "resting")  # what happens to one model of a channel
log = structlog.get_logger()


@dataclasses.dataclass(slots=True)
class Note:
    """Something that happened to a channel: answered, failed, out, cooling, misconfigured, resting (the
    model alone) or back. `upstream_id` is the upstream's name of the model; "" if the whole channel is back.
    `is_event`: the timeline shows it. `account_id`: it concerns this account alone."""

    channel_id: int
    channel_name: str
    resets: int
    upstream_id: str
    credential: str
    what: str
    why: str
    seconds: float
    is_credential: bool
    at: datetime.datetime
    is_event: bool = True
    account_id: int | None = None
    key_id: int = 0  # the key that it was met with, 0 where the channel has but one
    is_of_key: bool = False  # it concerns this key alone


def process_name() -> str:
    """This process's name among all processes: host and process id."""
    return f"{socket.gethostname()[:80]}:{os.getpid()}"


class NoteBuffer:
    """The notes of one process until they are written. For answers and failures, only the last one of each channel is
    kept."""

    def __init__(self) -> None:
        self.sharing: dict[str, dict[int, RouteLike]] = {}  # credential -> its channels, each by its key
        self._answered: dict[tuple[int, str, int], Note] = {}
        self._failed: dict[tuple[int, int], Note] = {}
        self._changed: deque[Note] = deque(maxlen=MOST_WAITING)

    def answered(self, note: Note) -> None:
        self._answered[note.channel_id, note.upstream_id, note.key_id] = note

    def failed(self, note: Note) -> None:
        self._failed[note.channel_id, note.key_id] = note

    def changed(self, note: Note) -> None:
        """Add the note for its channel, or for all channels that share its credential."""
        for other in self._list_sharing(note):
            if other.channel_id != note.channel_id:
                theirs = dataclasses.replace(note, channel_id=other.channel_id, resets=other.resets)
                theirs.key_id, theirs.is_of_key = other.key_id, bool(other.key_id)
                self._changed.append(theirs)
        self._changed.append(note)

    def write_log(self, note: Note) -> None:
        """Write it to the log."""
        whose: dict[str, int | str] = {} if note.account_id is None else {"account_id": note.account_id}
        shared = len(self._list_sharing(note))
        event, seconds = f"channel_{note.what}", note.seconds
        if note.what in OF_A_MODEL:
            whose["model"] = note.upstream_id
        log.warning(event, channel=note.channel_name, why=note.why, seconds=seconds, shared=shared, **whose)

    def _list_sharing(self, note: Note) -> Collection[RouteLike]:
        return self.sharing.get(note.credential, {}).values() if note.is_credential else ()

    def take(self) -> list[Note]:
        """Take all notes out: what failed, what changed, what answered, each in order."""
        notes = [*self._failed.values(), *self._changed, *self._answered.values()]
        for kept in (self._failed, self._changed, self._answered):
            kept.clear()
        return notes

    def write(self) -> None:
        """Write the notes. If the database fails, they wait for the next time. Needs an app context."""
        notes = self.take()
        if not notes:
            return
        try:
            write_notes(notes)
        except sa.exc.SQLAlchemyError:
            self._changed.extendleft(reversed(notes))
            raise


def write_notes(notes: Iterable[Note]) -> None:
    """Apply the notes to the channels' rows and the timeline. Notes from before a channel's reset are ignored."""
    notes = list(notes)
    ids = {note.channel_id for note in notes}
    with transaction() as session:
        query = sa.select(Channel).where(Channel.id.in_(ids)).order_by(Channel.id).with_for_update()
        rows = {row.id: row for row in session.scalars(query.execution_options(populate_existing=True))}
        keys = _read_keys(session, notes)
        for note in notes:
            row = rows.get(note.channel_id)
            if row is not None and row.resets == note.resets:
                key = keys.get(note.key_id) if note.key_id else None
                if key is not None and _apply_to_key(session, row, key, note):
                    follow_keys(row, [each for each in keys.values() if each.channel_id == row.id], note.at)
                else:
                    _apply(session, row, note)
        if any(_has_changed(row) for row in rows.values()):
            bump(HEALTH)


def _has_changed(row: Channel) -> bool:
    """Whether a note has changed what the channel's models are listed as."""
    changed = sa.inspect(row).attrs
    return any(changed[name].history.has_changes() for name in ("health", "cooling_until", "refused_models"))


def _read_keys(session: Session, notes: Iterable[Note]) -> dict[int, ChannelKey]:
    """All keys of the channels that have several and are noted. Their channels are locked."""
    ids = {note.channel_id for note in notes if note.key_id}
    if not ids:
        return {}
    query = sa.select(ChannelKey).where(ChannelKey.channel_id.in_(ids)).order_by(ChannelKey.id)
    return {key.id: key for key in session.scalars(query.execution_options(populate_existing=True))}


def _apply_to_key(session: Session, row: Channel, key: ChannelKey, note: Note) -> bool:
    """Note it on one key of several. Returns whether that is all, since it concerns this key alone."""
    if note.what == "failed":
        fail_key(key, note.why, note.at)
    elif note.what in ("answered", "back"):
        was_away = bring_key_back(key, note.at)
        if was_away or note.is_of_key:
            row.last_answer_at = note.at
            if was_away:
                _add_event(session, row.id, "back", f"Key {name_key(key)} answers again.", at=note.at)
            return note.is_of_key
    elif note.is_of_key:
        rest_key(key, note.what, note.why, note.at + datetime.timedelta(seconds=note.seconds), note.at)
        row.last_error, row.last_error_at = key.last_error, note.at
        if note.is_event:
            _add_event(session, row.id, note.what, f"Key {name_key(key)}: {note.why}", note.seconds, note.at)
        return True
    return False


def _apply(session: Session, row: Channel, note: Note) -> None:  # noqa: C901 - one case for each kind of note
    is_event = note.is_event
    if note.what == "answered":
        row.last_answer_at = note.at
        rests = row.cooling_until is not None and row.cooling_until > note.at
        if not rests and row.health != "healthy":
            if row.health in ("cooling", "out"):
                _add_event(session, row.id, "back", "It answers again.", at=note.at)
            row.health, row.cooling_until = "healthy", None
        return
    if note.what == "back":
        row.last_answer_at = note.at
        if not _bring_back(row, note.upstream_id):
            return
    else:
        row.last_error, row.last_error_at = scrub(note.why), note.at
        if note.what == "failed":
            if row.health == "unknown":
                row.health = "failing"
            return
        until = note.at + datetime.timedelta(seconds=note.seconds)
        if note.what == "resting":  # a model of it, as its calls tell: the channel goes on
            return
        if note.what == "misconfigured":
            row.refused_models = sorted({*(row.refused_models or ()), note.upstream_id})
        elif note.what == "out" and note.is_credential:
            row.health, row.cooling_until = "out", until
        elif row.health != "out":
            is_longer = row.health != "cooling" or row.cooling_until is None or row.cooling_until < until
            row.health, row.cooling_until = "cooling", until if is_longer else row.cooling_until
    if is_event:
        why = f"{note.upstream_id}: {note.why}" if note.what == "misconfigured" else note.why
        _add_event(session, row.id, note.what, why, note.seconds, note.at)


def _bring_back(row: Channel, upstream_id: str) -> bool:
    """Mark one model, or the whole channel, as back. Returns whether that is news."""
    refused = row.refused_models or []
    if upstream_id:
        row.refused_models = [name for name in refused if name != upstream_id] or None
        return upstream_id in refused
    was_away = row.health in ("cooling", "out")
    row.health, row.cooling_until = "healthy", None
    return was_away


def forget_health(channel: Channel) -> None:
    """Reset the channel's health, in the caller's transaction. With `bump("catalogue")` every worker does the same. How
    its last calls ended stays: `forget_calls`."""
    channel.health, channel.cooling_until, channel.refused_models, channel.told_at = "unknown", None, None, None
    channel.resets = (channel.resets or 0) + 1


def forget_calls(channel: Channel) -> None:
    """Forget how the channel's last calls ended, in the caller's transaction: another key or address has its own."""
    channel.recent, channel.called_at, channel.probed_at, channel.probe_said = "", None, None, None
    channel.model_calls, channel.failing_since, channel.told_failing_at = None, None, None


def record_test(  # noqa: PLR0913 - what there is to say of a test
    name: str,
    ok: bool,
    said: str,
    *,
    ended: str | None = None,
    cost_nanos: int | None = None,
    by: str = "",
    key_id: int = 0,
    upstream_id: str = "",
) -> None:
    """Record the result of a channel's test. A passed test brings the channel back in every worker within a second.
    `ended`: how the call ended, a letter, or "" where that says nothing of the channel. `cost_nanos`: what it cost;
    None if nothing was sent. `by`: who tested it. `key_id`: the key of several that it was made with; that this one is
    refused says nothing of the channel. `upstream_id`: the model that was asked, by the upstream's name."""
    with transaction() as session:
        query = sa.select(Channel).where(Channel.name == name).with_for_update()
        row = session.scalars(query.execution_options(populate_existing=True)).one_or_none()
        if row is None:
            return
        _add_event(session, row.id, "tested", f"{'Passed' if ok else 'Failed'}: {said}", by=by)
        key = session.get(ChannelKey, key_id, populate_existing=True) if key_id else None
        if key is not None:
            test_key(key, ok, said, now_utc())
        ended = (ANSWERED if ok else FAILED) if ended is None else ended
        if ended and not (key is not None and ended == REFUSED):
            _add_call(row, ended, upstream_id, said)
            bump(HEALTH)
        if cost_nanos is not None:
            add_own_call(session, name, cost_nanos)
        if not ok:
            row.last_error, row.last_error_at = scrub(said)[:MOST_CHARACTERS], now_utc()
            return
        if row.health in ("cooling", "out") or row.refused_models:
            _add_event(session, row.id, "back", "It passed its test.")
        told_at = row.told_at  # kept, so that operators get the mail that it is back
        forget_health(row)
        row.health, row.last_answer_at, row.told_at = "healthy", now_utc(), told_at
        bump("catalogue")


def _add_call(row: Channel, letter: str, upstream_id: str, said: str) -> None:
    """A call of ours has ended so."""
    now = now_utc()
    row.recent, row.called_at = ((row.recent or "") + letter)[-RECENT_CALLS:], now
    if upstream_id and letter != REFUSED:
        failed_for = set() if letter == ANSWERED else {OURS}
        new = NewCalls(letter, now.timestamp(), now.timestamp(), failed_for, said)
        row.model_calls = add_calls(row.model_calls, {upstream_id: new})
    row.failing_since = find_failing_since(row.failing_since, row.recent, row.model_calls, now)


def _add_event(
    session: Session,
    channel_id: int,
    what: str,
    why: str,
    seconds: float = 0.0,
    at: datetime.datetime | None = None,
    by: str = "",
) -> None:
    session.add(
        ChannelEvent(
            channel_id=channel_id,
            at=at or now_utc(),
            what=what,
            why=scrub(why)[:MOST_CHARACTERS],
            seconds=round(seconds) or None,
            process=(by or process_name())[:100],
        )
    )


def list_events(channel: Channel, limit: int = SHOWN_EVENTS) -> list[ChannelEvent]:
    """What happened to the channel, the newest first."""
    query = sa.select(ChannelEvent).where(ChannelEvent.channel_id == channel.id)
    return list(db.session.scalars(query.order_by(ChannelEvent.at.desc(), ChannelEvent.id.desc()).limit(limit)))


def delete_old_events() -> None:
    """Forget what is older than 30 days."""
    with transaction() as session:
        old = now_utc() - datetime.timedelta(days=KEPT_DAYS)
        session.execute(sa.delete(ChannelEvent).where(ChannelEvent.at < old))
