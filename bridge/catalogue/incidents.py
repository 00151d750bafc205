"""Incidents as people read and write them: those that are open, those of the last 90 days, their updates and
corrections. `incident_watch.py` opens and closes others by itself."""

import dataclasses
import datetime
import weakref
from collections.abc import Collection, Iterable, Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bridge import versions
from bridge.acts import Actor, record_act, write_change
from bridge.catalogue.incident_tables import MAX_TEXT, MAX_TITLE, Incident, IncidentModel, IncidentUpdate
from bridge.catalogue.names import find_model_ids
from bridge.db import db, now_utc, transaction
from bridge.errors import InvalidRequest, NotFound
from bridge.languages import join_names, to_translate, translate, translate_plural

TOPIC = "incidents"
AUTOMATIC = "automatic"
DOWN, DEGRADED, NO_EFFECT = "down", "degraded", "none"
EFFECTS = {
    DOWN: to_translate("Calls fail"),
    DEGRADED: to_translate("Some calls fail or take longer"),
    NO_EFFECT: to_translate("None on calls"),
}
RESOLVED = "resolved"
STATES = {
    "investigating": to_translate("Investigating"),
    "identified": to_translate("Identified"),
    "monitoring": to_translate("Monitoring"),
    RESOLVED: to_translate("Resolved"),
}
SHOWN_DAYS = 90
MOST_SHOWN = 100
MOST_MODELS = 500
NAMED = 2
TROUBLED, WELL = "!", "."  # behind a model's id, where a statement reads many at once


@dataclasses.dataclass(frozen=True, slots=True)
class Update:
    """What was said of an incident."""

    id: int
    at: datetime.datetime
    state: str
    text: str
    made_by: str
    corrected_at: datetime.datetime | None

    @property
    def word(self) -> str:
        """Its state, as pages say it."""
        return translate(STATES[self.state])


@dataclasses.dataclass(frozen=True, slots=True)
class Told:
    """An incident as it is told: `models` are all that it is about, `troubled` those that still have trouble, and
    `updates` what was said, the newest first. `wrote_title` is the operator's; "" where it is named after its
    models."""

    id: int
    wrote_title: str
    effect: str
    state: str
    opened_at: datetime.datetime
    opened_by: str
    ended_at: datetime.datetime | None
    is_open: bool
    models: tuple[str, ...]
    troubled: tuple[str, ...]
    updates: tuple[Update, ...] = ()

    @property
    def is_automatic(self) -> bool:
        """Whether it was opened by itself, and closes so."""
        return self.opened_by == AUTOMATIC

    @property
    def is_told_to_customers(self) -> bool:
        """Whether customers who use its models see a banner: their calls fail, or an operator has written of it. What
        other channels make up for by themselves is no news to them."""
        said = any(update.made_by != AUTOMATIC for update in self.updates)
        return self.effect == DOWN or (self.effect == DEGRADED and (said or not self.is_automatic))

    @property
    def title(self) -> str:
        """What it is about, in a clause."""
        if self.wrote_title:
            return self.wrote_title
        named = self.troubled or self.models if self.is_open else self.models
        names, number = name_models(named), len(named)
        if self.effect == DOWN and self.is_open:
            return translate_plural("%(names)s is not served", "%(names)s are not served", number, names=names)
        if self.effect == DOWN:
            return translate_plural("%(names)s was not served", "%(names)s were not served", number, names=names)
        if self.is_open:
            return translate_plural("%(names)s is degraded", "%(names)s are degraded", number, names=names)
        return translate_plural("%(names)s was degraded", "%(names)s were degraded", number, names=names)

    @property
    def seconds(self) -> float:
        """How long it lasted, or has lasted so far."""
        return ((self.ended_at or now_utc()) - self.opened_at).total_seconds()


class _Kept:
    """The open incidents as they were read last, and of which database and number that is true."""

    found: tuple[Told, ...] | None = None
    engine: "weakref.ref[sa.Engine] | None" = None
    number = -1

    @classmethod
    def forget(cls) -> None:
        if versions.number(TOPIC) != cls.number:
            cls.found = None


versions.on_change(TOPIC, _Kept.forget)


def name_models(ids: Sequence[str]) -> str:
    """`a`, `a and b`, or `a, b and 58 more`."""
    if len(ids) <= NAMED + 1:
        return join_names(ids)
    return translate("%(names)s and %(num)s more", names=", ".join(ids[:NAMED]), num=len(ids) - NAMED)


def list_open(number: int | None = None) -> tuple[Told, ...]:
    """The open incidents, the worst first, from memory while that is known to be true: every page asks. `number` is
    that of TOPIC, just read; None: as it was last seen."""
    is_known = number is not None or versions.is_fresh()
    number, engine = versions.number(TOPIC) if number is None else number, db.engine
    is_same = _Kept.number == number and _Kept.engine is not None and _Kept.engine() is engine
    if _Kept.found is not None and is_same and is_known:
        return _Kept.found
    found = tuple(_read(Incident.closed_at.is_(None)))
    _Kept.found, _Kept.engine, _Kept.number = found, weakref.ref(engine), number
    return found


def list_incidents(limit: int = MOST_SHOWN) -> list[Told]:
    """Those that are open, the worst first, then those of the last 90 days, the newest first."""
    since = now_utc() - datetime.timedelta(days=SHOWN_DAYS)
    return _read(sa.or_(Incident.closed_at.is_(None), Incident.opened_at >= since), limit)


def find_incident(incident_id: int) -> Told:
    """One of them. Raises NotFound."""
    found = _read(Incident.id == incident_id)
    if not found:
        raise NotFound("There is no such incident.")
    return found[0]


def find_told(found: Iterable[Told], used: Collection[str]) -> Told | None:
    """The worst of these that customers who use such models are to be told of: of a model of theirs that still has
    trouble, or of the gateway itself."""
    wanted = set(used)
    mine = (one for one in found if not one.models or not wanted.isdisjoint(one.troubled))
    return next((one for one in mine if one.is_told_to_customers), None)


def _read(which: sa.ColumnElement[bool], limit: int = MOST_SHOWN) -> list[Told]:
    """One statement: each incident with its models in one text, once for each of its updates."""
    order = (Incident.closed_at.is_not(None), Incident.opened_at.desc(), Incident.id)
    ids = sa.select(Incident.id).where(which).order_by(*order).limit(limit).scalar_subquery()
    one = IncidentModel.model_id + sa.case((IncidentModel.ended_at.is_(None), TROUBLED), else_=WELL)
    models = sa.select(sa.func.aggregate_strings(one, "\n")).where(IncidentModel.incident_id == Incident.id)
    query = sa.select(Incident, models.correlate(Incident).scalar_subquery(), IncidentUpdate)
    query = query.outerjoin(IncidentUpdate, IncidentUpdate.incident_id == Incident.id).where(Incident.id.in_(ids))
    rows: dict[int, tuple[Incident, str, list[IncidentUpdate]]] = {}
    for row, text, update in db.session.execute(
        query.order_by(*order, IncidentUpdate.id.desc()).execution_options(populate_existing=True)
    ):
        updates = rows.setdefault(row.id, (row, text or "", []))[2]
        if update is not None:
            updates.append(update)
    found = [_tell(*each) for each in rows.values()]
    return sorted(found, key=lambda one: (not one.is_open, one.is_open and list(EFFECTS).index(one.effect)))


def _tell(row: Incident, text: str, updates: Iterable[IncidentUpdate]) -> Told:
    models = sorted(text.split("\n")) if text else []
    return Told(
        id=row.id,
        wrote_title=row.title,
        effect=row.effect,
        state=row.state,
        opened_at=row.opened_at,
        opened_by=row.opened_by,
        ended_at=None if row.closed_at is None else row.well_since or row.closed_at,
        is_open=row.closed_at is None,
        models=tuple(one[:-1] for one in models),
        troubled=tuple(one[:-1] for one in models if one[-1] == TROUBLED),
        updates=tuple(Update(one.id, one.at, one.state, one.text, one.made_by, one.corrected_at) for one in updates),
    )


def open_incident(
    title: str, text: str, actor: Actor, *, models: Collection[str] = (), effect: str = DOWN, state: str = ""
) -> int:
    """Tell customers of trouble. `models` are ids or aliases; none: the gateway itself. Returns its number. Raises
    InvalidRequest."""
    title, text, state = _check_title(title), _check_text(text), _check_state(state or "investigating")
    if effect not in EFFECTS:
        raise InvalidRequest(f"The effects are {', '.join(EFFECTS)}.", param="effect")
    if state == RESOLVED:
        raise InvalidRequest("An incident opens in another state; resolve it afterwards.", param="state")
    ids = _find_models(models)
    with transaction() as session:
        row = Incident(title=title, effect=effect, state=state, opened_at=now_utc(), opened_by=actor.by)
        session.add(row)
        session.flush()
        session.add_all(IncidentModel(incident_id=row.id, model_id=id_, effect=effect) for id_ in ids)
        add_update(session, row, state, text, actor.by)
        record_act(session, None, "incident_opened", actor, f"{row.id}: {title}; {', '.join(ids)}".rstrip("; "))
        bump_incidents()
        number = row.id
    forget_kept()
    return number


def post_update(incident_id: int, state: str, text: str, actor: Actor) -> None:
    """Say what is known now. The state `resolved` closes it. What was opened by itself can't be resolved while its
    models still fail, and what is closed stays so. Raises InvalidRequest and NotFound."""
    text, state = _check_text(text), _check_state(state)
    with transaction() as session:
        row = _lock(session, incident_id)
        if row.closed_at is not None and state != RESOLVED:
            raise InvalidRequest("It is resolved: open another one for new trouble.", param="state")
        if state == RESOLVED and row.closed_at is None:
            _close(session, row)
        before = row.state
        add_update(session, row, state, text, actor.by)
        what = "incident_closed" if state == RESOLVED and before != RESOLVED else "incident_updated"
        record_act(session, None, what, actor, f"{row.id}: {write_change('state', before, state)}; {text}")
        bump_incidents()
    forget_kept()


def correct_update(update_id: int, text: str, actor: Actor) -> None:
    """Put right what was said. Both versions are in the audit log. Raises InvalidRequest and NotFound."""
    text = _check_text(text)
    with transaction() as session:
        update = session.get(IncidentUpdate, update_id, populate_existing=True, with_for_update=True)
        if update is None:
            raise NotFound("There is no such update.")
        if update.text == text:
            return
        record_act(session, None, "incident_corrected", actor, f"{update.incident_id}: {update.text} → {text}")
        update.text, update.corrected_at = text, now_utc()
        bump_incidents()
    forget_kept()


def correct_incident(incident_id: int, title: str, effect: str, actor: Actor) -> None:
    """Name it otherwise, or put its effect right. An empty title names it after its models, and the effect of what was
    opened by itself is measured. Raises InvalidRequest and NotFound."""
    with transaction() as session:
        row = _lock(session, incident_id)
        title = title.strip()
        if title or row.cause is None:
            title = _check_title(title)
        if effect not in EFFECTS:
            raise InvalidRequest(f"The effects are {', '.join(EFFECTS)}.", param="effect")
        if row.cause is not None and effect != row.effect:
            raise InvalidRequest("Its effect is measured: it can't be corrected by hand.", param="effect")
        if (row.title, row.effect) == (title, effect):
            return
        changes = f"{write_change('title', row.title, title)}; {write_change('effect', row.effect, effect)}"
        record_act(session, None, "incident_corrected", actor, f"{row.id}: {changes}")
        row.title, row.effect = title, effect
        bump_incidents()
    forget_kept()


def add_update(session: Session, row: Incident, state: str, text: str, made_by: str) -> None:
    """Add what is said to an incident, which is in this state from now on, in the caller's transaction."""
    row.state = state
    session.add(IncidentUpdate(incident_id=row.id, at=now_utc(), state=state, text=text, made_by=made_by))


def bump_incidents() -> None:
    """Tell every worker, in the session's transaction."""
    versions.bump(TOPIC)


def forget_kept() -> None:
    """This process reads the open incidents anew: it need not wait for its next look at the numbers."""
    _Kept.forget()


def _close(session: Session, row: Incident) -> None:
    models = list(session.scalars(sa.select(IncidentModel).where(IncidentModel.incident_id == row.id)))
    failing = sorted(model.model_id for model in models if model.ended_at is None)
    if row.cause is not None and failing:
        said = f"{name_models(failing)} still fail{'s' if len(failing) == 1 else ''}"
        raise InvalidRequest(f"{said}: this incident closes by itself when that is over.", param="state")
    row.closed_at = now_utc()
    for model in models:
        model.ended_at = model.ended_at or row.closed_at


def _lock(session: Session, incident_id: int) -> Incident:
    row = session.get(Incident, incident_id, populate_existing=True, with_for_update=True)
    if row is None:
        raise NotFound("There is no such incident.")
    return row


def _find_models(names: Collection[str]) -> list[str]:
    if len(names) > MOST_MODELS:
        raise InvalidRequest(f"Name at most {MOST_MODELS} models, or none for all.", param="models")
    found = find_model_ids(names) if names else {}
    if missing := [name for name in names if name not in found]:
        raise InvalidRequest(f"There is no model {missing[0][:128]!r}.", param="models")
    return sorted(set(found.values()))


def _check_title(title: str) -> str:
    title = " ".join(title.split())
    if not title or len(title) > MAX_TITLE:
        raise InvalidRequest(f"Say in 1 to {MAX_TITLE} characters what it is about.", param="title")
    return title


def _check_text(text: str) -> str:
    text = text.strip()
    if not text or len(text) > MAX_TEXT:
        raise InvalidRequest(f"Write 1 to {MAX_TEXT:,} characters for customers.", param="text")
    return text


def _check_state(state: str) -> str:
    if state not in STATES:
        raise InvalidRequest(f"The states are {', '.join(STATES)}.", param="state")
    return state
