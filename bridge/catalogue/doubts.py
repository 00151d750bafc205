"""Doubts: failures of a channel that one account alone has met. Other accounts still use the channel and may be
answered. So operators are told after some time in which nobody was answered, and told again once somebody is."""

import dataclasses
from collections.abc import Mapping

from bridge.catalogue.breaker_states import State
from bridge.catalogue.channel_events import OF_A_MODEL, Note, NoteBuffer
from bridge.db import now_utc

UNREFUTED_SECONDS = 10.0


@dataclasses.dataclass(slots=True)
class _Doubt:
    note: Note
    since: float
    announced: bool = False


class Doubts:
    """The doubts of one process, by the name of the state that all accounts share. That state is gone once somebody was
    answered, in any worker."""

    def __init__(self, notes: NoteBuffer):
        self._notes = notes
        self._doubts: dict[str, _Doubt] = {}

    def add(self, name: str, note: Note, now: float) -> None:
        """One account has met a failure, for the first time or again."""
        doubt = self._doubts.setdefault(name, _Doubt(note, now))
        doubt.note = note
        if doubt.announced:
            self._notes.changed(note)

    def review(self, states: Mapping[str, State], now: float, *, at_the_end: bool = False) -> None:
        """Note the doubts that have lasted long enough. Drop those that an answer refuted, and those that other
        accounts share."""
        for name, doubt in list(self._doubts.items()):
            state = states.get(name)
            if state is not None and not state.until:
                if not doubt.announced and (at_the_end or now - doubt.since >= UNREFUTED_SECONDS):
                    doubt.announced = True
                    self._notes.changed(doubt.note)
                continue
            del self._doubts[name]
            if state is None and doubt.announced:
                self._notes.changed(_note_back(doubt.note))


def _note_back(note: Note) -> Note:
    upstream_id = note.upstream_id if note.what in OF_A_MODEL else ""
    return dataclasses.replace(
        note, what="back", why="It answers again.", seconds=0.0, upstream_id=upstream_id, is_event=True, at=now_utc()
    )
