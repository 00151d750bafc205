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

from bridge.catalogue.breaker_states import RouteLike
from bridge.catalogue.tables import Channel, ChannelEvent
from bridge.db import db, now_utc, transaction
from bridge.providers.blame.scrubbing import scrub
from bridge.versions import bump

HEALTH = "health"  # the topic whose number goes up when a channel's state changes
KEPT_DAYS = 30
MOST_WAITING = 1000  # while the database is away
MOST_CHARACTERS = 300
SHOWN_EVENTS = 50
log = structlog.get_logger()


@dataclasses.dataclass(slots=True)
class Note:
    """Something that happened to a channel: answered, failed, out, cooling, misconfigured or back. `upstream_id` is the
    upstream's name of the model; "" if the whole channel is back. `is_event`: the timeline shows it. `account_id`: it
    concerns this account alone."""

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


def process_name() -> str:
    """This process's name among all processes: host and process id."""
    return f"{socket.gethostname()[:80]}:{os.getpid()}"


class NoteBuffer:
    """The notes of one process until they are written. For answers and failures, only the last one of each channel is
    kept."""

    def __init__(self) -> None:
        self.sharing: dict[str, dict[int, RouteLike]] = {}  # credential -> its channels
        self._answered: dict[tuple[int, str], Note] = {}
        self._failed: dict[int, Note] = {}
        self._changed: deque[Note] = deque(maxlen=MOST_WAITING)

    def answered(self, note: Note) -> None:
        self._answered[note.channel_id, note.upstream_id] = note

    def failed(self, note: Note) -> None:
        self._failed[note.channel_id] = note

    def changed(self, note: Note) -> None:
        """Add the note for its channel, or for all channels that share its credential."""
        for other in self._list_sharing(note):
            if other.channel_id != note.channel_id:
                self._changed.append(dataclasses.replace(note, channel_id=other.channel_id, resets=other.resets))
        self._changed.append(note)

    def write_log(self, note: Note) -> None:
        """Write it to the log."""
        whose = {} if note.account_id is None else {"account_id": note.account_id}
        shared = len(self._list_sharing(note))
        event, seconds = f"channel_{note.what}", note.seconds
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
        for note in notes:
            row = rows.get(note.channel_id)
            if row is not None and row.resets == note.resets:
                _apply(session, row, note)
        if any(_has_changed(row) for row in rows.values()):
            bump(HEALTH)


def _has_changed(row: Channel) -> bool:
    """Whether a note has changed what the channel's models are listed as."""
    changed = sa.inspect(row).attrs
    return any(changed[name].history.has_changes() for name in ("health", "cooling_until", "refused_models"))


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
    """Reset the channel's health, in the caller's transaction. With `bump("catalogue")` every worker does the same."""
    channel.health, channel.cooling_until, channel.refused_models, channel.told_at = "unknown", None, None, None
    channel.resets = (channel.resets or 0) + 1


def record_test(name: str, ok: bool, said: str) -> None:
    """Record the result of a channel's test. A passed test brings the channel back in every worker within a second."""
    with transaction() as session:
        query = sa.select(Channel).where(Channel.name == name).with_for_update()
        row = session.scalars(query.execution_options(populate_existing=True)).one_or_none()
        if row is None:
            return
        _add_event(session, row.id, "tested", f"{'Passed' if ok else 'Failed'}: {said}")
        if not ok:
            row.last_error, row.last_error_at = scrub(said), now_utc()
            return
        if row.health in ("cooling", "out") or row.refused_models:
            _add_event(session, row.id, "back", "It passed its test.")
        told_at = row.told_at  # kept, so that operators get the mail that it is back
        forget_health(row)
        row.health, row.last_answer_at, row.told_at = "healthy", now_utc(), told_at
        bump("catalogue")


def _add_event(
    session: Session,
    channel_id: int,
    what: str,
    why: str,
    seconds: float = 0.0,
    at: datetime.datetime | None = None,
) -> None:
    session.add(
        ChannelEvent(
            channel_id=channel_id,
            at=at or now_utc(),
            what=what,
            why=scrub(why)[:MOST_CHARACTERS],
            seconds=round(seconds) or None,
            process=process_name(),
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
