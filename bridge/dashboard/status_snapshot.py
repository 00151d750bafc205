"""What the status page tells: how each model fares now and fared for 90 days, and the incidents.

Everyone is told the same: what accounts without a group of their own have. It is made at most once in ten seconds,
however many look, and anew when an incident or a channel's state changes."""

import dataclasses
import datetime
import functools
import hashlib
import time
import weakref
from collections.abc import Mapping, Sequence

import sqlalchemy as sa
from gevent.lock import RLock

from bridge import versions
from bridge.catalogue import incidents
from bridge.catalogue.channel_events import HEALTH
from bridge.catalogue.incidents import DEGRADED, DOWN, Told, list_incidents, name_models
from bridge.catalogue.listing import TOPIC as CATALOGUE
from bridge.catalogue.model_states import ModelState, list_model_states
from bridge.db import DEFAULT_GROUP, db, now_utc
from bridge.languages import translate, translate_plural
from bridge.ledger.model_days import NO_CALLS, ModelCalls, find_quantile_ms, list_model_calls, list_speeds

KEPT_SECONDS, FIGURES_KEPT_SECONDS = 10.0, 60.0
ONE_DAY = datetime.timedelta(days=1)
NAMED = 3
_making = RLock()


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """A model: its state now, its calls of 90 days, and the time to a first token since yesterday, in milliseconds."""

    state: ModelState
    calls: ModelCalls
    first_p50_ms: int | None
    first_p95_ms: int | None


@dataclasses.dataclass(frozen=True, slots=True)
class Figures:
    """What is counted: calls and times of each model, and the times of all together."""

    calls: Mapping[str, ModelCalls]
    speeds: Mapping[str, Mapping[int, int]]
    p50_ms: int | None
    p95_ms: int | None


@dataclasses.dataclass(frozen=True)
class Status:
    """All that the page tells."""

    checked_at: datetime.datetime
    rows: Sequence[Row]
    open: Sequence[Told]
    earlier: Sequence[Told]
    figures: Figures

    @property
    def kind(self) -> str:
        """The worst: bad, warn, off or "" (all is well)."""
        return _summarize(self.rows, self.open)[0]

    @property
    def title(self) -> str:
        """The worst as a clause, in the reader's language."""
        return _summarize(self.rows, self.open)[1]

    @property
    def text(self) -> str:
        """What that means for calls, in the reader's language."""
        return _summarize(self.rows, self.open)[2]

    @property
    def answered(self) -> int:
        """Of all calls in 90 days, those that were answered."""
        return sum(row.calls.answered for row in self.rows)

    @property
    def calls(self) -> int:
        """How many they were."""
        return sum(row.calls.calls for row in self.rows)

    def count(self, *codes: str) -> int:
        """How many models are in one of these states."""
        return sum(row.state.code in codes for row in self.rows)

    @functools.cached_property
    def tag(self) -> str:
        """What changes with anything that is told, but for the moment of the look."""
        told = (self.rows, self.open, self.earlier, self.figures.p50_ms, self.figures.p95_ms)
        return hashlib.sha256(repr(told).encode()).hexdigest()[:24]


class _Kept:
    """What was made last, and of which database."""

    status: Status | None = None
    figures: Figures | None = None
    made_at = figures_at = 0.0  # monotonic
    engine: "weakref.ref[sa.Engine] | None" = None

    @classmethod
    def forget(cls) -> None:
        cls.status = None

    @classmethod
    def is_of(cls, engine: sa.Engine) -> bool:
        return cls.engine is not None and cls.engine() is engine


for _topic in (incidents.TOPIC, HEALTH, CATALOGUE):
    versions.on_change(_topic, _Kept.forget)


def find_status() -> Status:
    """What is so just now, at most ten seconds old. Five statements where it has to be made."""
    with _making:  # who comes meanwhile waits for the one that makes it
        now, engine = time.monotonic(), db.engine
        if _Kept.status is not None and _Kept.is_of(engine) and now - _Kept.made_at < KEPT_SECONDS:
            return _Kept.status
        if _Kept.figures is None or not _Kept.is_of(engine) or now - _Kept.figures_at >= FIGURES_KEPT_SECONDS:
            _Kept.figures, _Kept.figures_at = _count(), now
        _Kept.engine, _Kept.made_at = weakref.ref(engine), now
        _Kept.status = _make(_Kept.figures)
        return _Kept.status


def forget_status() -> None:
    """Make it anew for whoever looks next, with its figures."""
    _Kept.status = _Kept.figures = None


def _count() -> Figures:
    today = now_utc().date()
    speeds, together = list_speeds(today - ONE_DAY), dict[int, int]()
    for counts in speeds.values():
        for bucket, answers in counts.items():
            together[bucket] = together.get(bucket, 0) + answers
    return Figures(list_model_calls(today), speeds, find_quantile_ms(together, 0.5), find_quantile_ms(together, 0.95))


def _make(figures: Figures) -> Status:
    rows = []
    for state in list_model_states(DEFAULT_GROUP):
        calls, speeds = figures.calls.get(state.id, NO_CALLS), figures.speeds.get(state.id, {})
        if state.code == "answering" and not calls.calls:
            state = dataclasses.replace(state, code="uncalled")  # noqa: PLW2901 - the same model
        times = find_quantile_ms(speeds, 0.5), find_quantile_ms(speeds, 0.95)
        rows.append(Row(state, calls, *times))
    rows.sort(key=lambda row: (row.state.rank, row.state.id))
    told = list_incidents()
    is_open = [one for one in told if one.is_open]
    return Status(now_utc(), rows, is_open, [one for one in told if not one.is_open], figures)


def _summarize(rows: Sequence[Row], is_open: Sequence[Told]) -> tuple[str, str, str]:
    """The worst in words: its kind, a bold clause and a sentence."""
    down = [row.state for row in rows if row.state.code == "not_served"]
    troubled = [row.state for row in rows if row.state.kind == "warn"]
    free = translate("Failed calls cost nothing.")
    if down:
        title = translate_plural("%(names)s is not served.", "%(names)s are not served.", len(down), names=_name(down))
        if troubled:
            return "bad", title, f"{_tell_degraded(troubled)} {free}"
        others = translate("The others can be called. Failed calls cost nothing.")
        return "bad", title, others if len(down) < len(rows) else free
    for effect, kind in ((DOWN, "bad"), (DEGRADED, "warn")):
        written = next((one for one in is_open if one.effect == effect and not one.is_automatic), None)
        if written is not None:
            return kind, translate("%(title)s.", title=written.title), free
    if troubled:
        return "warn", _tell_degraded(troubled), translate("Calls are tried; those that fail cost nothing.")
    if any(row.state.kind == "ok" for row in rows):
        return "", translate("Every model that was called answers."), ""
    return "off", translate("Nothing was called yet."), translate("There is nothing to tell before the first calls.")


def _name(states: Sequence[ModelState]) -> str:
    """`kimi-k2.5`, or `7 Moonshot models` where they are many of one maker."""
    makers = {state.provider for state in states}
    if len(states) > NAMED and len(makers) == 1:
        return translate("%(num)s %(provider)s models", num=len(states), provider=makers.pop())
    return name_models([state.id for state in states])


def _tell_degraded(states: Sequence[ModelState]) -> str:
    return translate_plural("%(names)s is degraded.", "%(names)s are degraded.", len(states), names=_name(states))
