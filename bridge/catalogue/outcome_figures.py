"""What pages show of how calls of channels ended: by hour, since the hour before this one, and whether a channel has
become slow."""

import dataclasses
import datetime
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from bridge.catalogue.channel_state import UNAVAILABLE, ChannelState, find_state
from bridge.catalogue.listing import ListedModel
from bridge.catalogue.outcomes import FIRST_BOUND_SECONDS, GROWTH, list_answered
from bridge.catalogue.rules import ChannelIndex
from bridge.catalogue.tables import Channel, ChannelOutcome
from bridge.db import db, now_utc
from bridge.providers import stands_in
from bridge.turns import in_slices

HOUR = datetime.timedelta(hours=1)
HOURS = 24
SLOW_TIMES = 2.0
SLOW_BY_SECONDS = 0.3  # a quick channel may take twice as long before anybody notices
FEWEST_LATELY, FEWEST_BEFORE = 20, 50  # answers, before they are compared
COUNTED = ("answered", "failed", "limited", "refused", "missing")
Counts = Mapping[str, int]  # by bucket, as rows have it: to make numbers of thousands took a third of a page's time


@dataclasses.dataclass(slots=True)
class Outcomes:
    """How calls ended in some time, and how long the answered ones took: how many by bucket of time."""

    answered: int = 0
    failed: int = 0
    limited: int = 0
    refused: int = 0
    missing: int = 0
    first: dict[str, int] = dataclasses.field(default_factory=dict)
    whole: dict[str, int] = dataclasses.field(default_factory=dict)

    @property
    def calls(self) -> int:
        """All of them."""
        return self.answered + self.lost

    @property
    def lost(self) -> int:
        """Those that weren't answered."""
        return self.failed + self.limited + self.refused + self.missing

    @property
    def first_p50(self) -> float | None:
        """The median of the time to a first content, in seconds; None if there were no answers."""
        return find_quantile(self.first, 0.5)

    @property
    def first_p95(self) -> float | None:
        """Within how many seconds 95 of 100 answers began."""
        return find_quantile(self.first, 0.95)

    @property
    def whole_p50(self) -> float | None:
        """The median of the time to an answer's end, in seconds."""
        return find_quantile(self.whole, 0.5)

    def add(self, other: "Outcomes") -> None:
        """Add those of another time."""
        self.answered += other.answered
        self.failed += other.failed
        self.limited += other.limited
        self.refused += other.refused
        self.missing += other.missing
        for mine, theirs in ((self.first, other.first), (self.whole, other.whole)):
            for bucket, count in theirs.items():
                mine[bucket] = mine.get(bucket, 0) + count


@dataclasses.dataclass(frozen=True, slots=True)
class ChannelFigures:
    """A channel's last 24 hours by hour; those since the hour before this one (`lately`), and the ones before."""

    hours: dict[datetime.datetime, Outcomes]
    lately: Outcomes
    before: Outcomes

    @property
    def times_as_slow(self) -> float | None:
        """How many times as long as before the first token takes lately; None unless that is worth telling."""
        now, usual = self.lately.first_p50, self.before.first_p50
        few = sum(self.lately.first.values()) < FEWEST_LATELY or sum(self.before.first.values()) < FEWEST_BEFORE
        if few or now is None or usual is None:
            return None
        return now / usual if now >= SLOW_TIMES * usual and now - usual >= SLOW_BY_SECONDS else None

    @property
    def whole_day(self) -> Outcomes:
        """All hours together."""
        return add_up([self.before, self.lately])


NOTHING = ChannelFigures({}, Outcomes(), Outcomes())


def add_up(some: Iterable[Outcomes]) -> Outcomes:
    """All these together."""
    total = Outcomes()
    for one in some:
        total.add(one)
    return total


def find_quantile(counts: Counts, share: float) -> float | None:
    """The time that this share of the counted ones took at most, in seconds, to within an eighth; None of nothing."""
    total = sum(counts.values())
    if not total:
        return None
    passed, wanted = 0, share * total
    for bucket, count in sorted((int(name), count) for name, count in counts.items()):
        upper = FIRST_BOUND_SECONDS * GROWTH**bucket
        if passed + count >= wanted:
            lower = upper / GROWTH if bucket else 0.0
            return lower + (upper - lower) * (wanted - passed) / count
        passed += count
    return upper


def list_hours(now: datetime.datetime | None = None) -> list[datetime.datetime]:
    """The starts of the last 24 hours, this one included."""
    this = (now or now_utc()).replace(minute=0, second=0, microsecond=0)
    return [this - HOUR * ago for ago in range(HOURS - 1, -1, -1)]


def find_lately() -> datetime.datetime:
    """Since when figures are `lately`: the start of the hour before this one."""
    return list_hours()[-2]


def read_figures(channel_id: int | None = None) -> dict[int, ChannelFigures]:
    """The last 24 hours of each channel that was called in them, without the times to answers' ends; or all of one. One
    statement."""
    hours, table = list_hours(), ChannelOutcome.__table__.c
    ends = table.whole_counts if channel_id is not None else sa.literal(None)
    query = sa.select(table.channel_id, table.start, *(table[name] for name in COUNTED), table.first_counts, ends)
    query = query.where(table.start >= hours[0], table.upstream_id == "")
    if channel_id is not None:
        query = query.where(table.channel_id == channel_id)
    found: dict[int, dict[datetime.datetime, Outcomes]] = {}
    rows: Iterable[Any] = db.session.execute(query)
    for id_, start, answered, failed, limited, refused, missing, first, whole in in_slices(rows):
        one = Outcomes(answered, failed, limited, refused, missing, first, whole or {})
        by_hour = found.setdefault(id_, {})
        if start in by_hour:
            by_hour[start].add(one)
        else:
            by_hour[start] = one
    return {id_: _make_figures(by_hour, hours[-2]) for id_, by_hour in found.items()}


def _make_figures(by_hour: dict[datetime.datetime, Outcomes], lately: datetime.datetime) -> ChannelFigures:
    parts = ([one for start, one in by_hour.items() if (start >= lately) is late] for late in (True, False))
    return ChannelFigures(by_hour, *(add_up(part) for part in parts))


def list_states(
    channels: Iterable[Channel], figures: Mapping[int, ChannelFigures] | None = None
) -> dict[str, ChannelState]:
    """The state of each channel, by its name. `figures` as they were read; None: they are read."""
    figures, now = read_figures() if figures is None else figures, now_utc()
    return {
        channel.name: find_state(channel, now, figures.get(channel.id, NOTHING).times_as_slow) for channel in channels
    }


@dataclasses.dataclass(frozen=True, slots=True)
class Served:
    """Models as calls since `find_lately()` found them: how many were called, how many of those were answered, and the
    names of the others; those whose every channel fails, called or not; and whether the sandbox alone answers some real
    model."""

    called: int
    answered: int
    unanswered: list[str]
    failing: list[str]
    is_made_up: bool


def find_served(models: Iterable[ListedModel], channels: Iterable[Channel]) -> Served:
    """What became of these models' calls. `channels` must be all channels. One statement."""
    counts, index = list_answered(find_lately()), ChannelIndex(channels)
    called, answered, is_made_up = 0, 0, False
    unanswered, failing = [], []
    for model in in_slices(models):
        if model.status == "retired" or not (serving := index.of(model)):
            continue
        is_made_up |= not stands_in(model.provider) and all(stands_in(channel.provider) for channel, _ in serving)
        if model.status == UNAVAILABLE:
            failing.append(model.id)
        ends = [counts[place] for channel, name in serving if (place := (channel.id, name)) in counts]
        if not ends:
            continue
        called += 1
        if any(good for good, _ in ends):
            answered += 1
        else:
            unanswered.append(model.id)
    return Served(called, answered, unanswered, failing, is_made_up)
