"""Opens and closes incidents by itself: told by the channels' last calls, as every page is.

One incident is of one cause, the provider whose channels fail, and names all of its models. The database has at most
one open incident of a cause, so that workers who look at the same moment open one, and what a worker that died has left
is found by the next look of another."""

import dataclasses
import datetime
from collections.abc import Iterable, Mapping
from typing import Any, cast

import sqlalchemy as sa
import structlog
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from bridge.catalogue.channel_state import ANSWERED, fails_for
from bridge.catalogue.incident_tables import Incident, IncidentModel
from bridge.catalogue.incidents import (
    AUTOMATIC,
    DEGRADED,
    DOWN,
    RESOLVED,
    add_update,
    bump_incidents,
    forget_kept,
    name_models,
)
from bridge.catalogue.rules import ChannelIndex
from bridge.catalogue.tables import Channel, Model
from bridge.db import db, now_utc, read_plain, transaction
from bridge.providers import stands_in

OPEN = Incident.cause.is_not(None) & Incident.closed_at.is_(None)
# what may fail, before it is looked at more closely
DOUBTFUL = Channel.enabled & (
    (Channel.health == "out")
    | Channel.refused_models.is_not(None)
    | ((Channel.recent == "") & Channel.health.not_in(("unknown", "healthy")))
    | ((Channel.recent != "") & Channel.recent.not_like(f"%{ANSWERED}"))
)
log = structlog.get_logger()


@dataclasses.dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong with a model: all of its channels fail (down) or some do (degraded), and the provider of the first
    that does."""

    effect: str
    cause: str


def find_troubles(models: Iterable[Any], channels: Iterable[Any], known: Mapping[str, str]) -> dict[str, Trouble]:
    """The models with trouble among those that are offered. `known` has the effect of those that had trouble before:
    whom an operator has left without any channel since then is not better off."""
    index, found = ChannelIndex(channels), {}
    for model in models:
        if model.status == "retired" or stands_in(model.provider):
            continue
        serving = index.of(model)
        failing = [channel for channel, upstream_id in serving if fails_for(channel, upstream_id)]
        if failing:
            found[model.id] = Trouble(DOWN if len(failing) == len(serving) else DEGRADED, failing[0].provider)
        elif not serving and model.id in known:
            found[model.id] = Trouble(known[model.id], model.provider)
    return found


def watch_incidents(quiet_seconds: float) -> None:
    """Open, continue and close what the channels' states call for. An incident closes once none of its models has
    failed for so many seconds. Needs an app context."""
    looks = sa.select(sa.select(Channel.id).where(DOUBTFUL).exists() | sa.select(Incident.id).where(OPEN).exists())
    is_wanted = db.session.scalar(looks)
    db.session.commit()
    if not is_wanted:
        return
    with transaction() as session:
        # whoever comes second waits here, and then sees what the first has done
        rows = list(session.scalars(_select_open().with_for_update()))
        members = _read_members(session, rows)
        known = {id_: one.effect for each in members.values() for id_, one in each.items() if one.ended_at is None}
        troubles = find_troubles(read_plain(Model), list(read_plain(Channel)), known)
        new = _assign(rows, members, troubles)
        has_changed = False
        for row in rows:
            mine = members[row.id]
            has_changed |= _continue(session, row, mine, troubles, new.pop(row.cause or "", []), quiet_seconds)
        for cause, ids in sorted(new.items()):
            has_changed |= _open(session, cause, {id_: troubles[id_].effect for id_ in sorted(ids)})
        if has_changed:
            bump_incidents()
    if has_changed:
        forget_kept()


def _select_open() -> sa.Select[Incident]:
    return sa.select(Incident).where(OPEN).order_by(Incident.id).execution_options(populate_existing=True)


def _read_members(session: Session, rows: Iterable[Incident]) -> dict[int, dict[str, IncidentModel]]:
    members: dict[int, dict[str, IncidentModel]] = {row.id: {} for row in rows}
    query = sa.select(IncidentModel).where(IncidentModel.incident_id.in_(members))
    for one in session.scalars(query.execution_options(populate_existing=True)):
        members[one.incident_id][one.model_id] = one
    return members


def _assign(
    rows: Iterable[Incident], members: Mapping[int, Mapping[str, IncidentModel]], troubles: Mapping[str, Trouble]
) -> dict[str, list[str]]:
    """The models with trouble that no open incident names, by their causes."""
    named = {id_ for row in rows for id_ in members[row.id]}
    found: dict[str, list[str]] = {}
    for id_, trouble in troubles.items():
        if id_ not in named:
            found.setdefault(trouble.cause, []).append(id_)
    return found


def _open(session: Session, cause: str, effects: Mapping[str, str]) -> bool:
    """Whether this look opened the incident, and no other worker's."""
    insert: Any = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    worst = _find_worst(effects.values())
    statement = insert(cast("sa.Table", Incident.__table__)).values(
        cause=cause, title="", effect=worst, state="investigating", opened_at=now_utc(), opened_by=AUTOMATIC
    )
    one_open = {"index_elements": ["cause"], "index_where": Incident.closed_at.is_(None)}
    number = session.scalar(statement.on_conflict_do_nothing(**one_open).returning(Incident.__table__.c.id))
    if number is None:
        return False
    row = session.get_one(Incident, number, populate_existing=True)
    session.add_all(IncidentModel(incident_id=number, model_id=id_, effect=effect) for id_, effect in effects.items())
    add_update(session, row, "investigating", f"Noticed automatically. {_describe(effects)}", AUTOMATIC)
    log.warning("incident_opened", incident=number, cause=cause, effect=worst, models=list(effects)[:10])
    return True


def _continue(  # noqa: PLR0913 - an incident, its models, and what is found now
    session: Session,
    row: Incident,
    mine: dict[str, IncidentModel],
    troubles: Mapping[str, Trouble],
    new: list[str],
    quiet_seconds: float,
) -> bool:
    """Bring an open incident up to date. Whether anybody can see the difference."""
    now, worse, has_changed = now_utc(), {}, False
    for id_ in sorted(new):
        mine[id_] = IncidentModel(incident_id=row.id, model_id=id_, effect=troubles[id_].effect)
        session.add(mine[id_])
        worse[id_] = troubles[id_].effect
    for id_, one in mine.items():
        trouble = troubles.get(id_)
        if trouble is None:
            has_changed |= one.ended_at is None
            one.ended_at = one.ended_at or now
            continue
        if (one.ended_at, one.effect) != (None, trouble.effect):
            if trouble.effect == DOWN and one.effect != DOWN:
                worse[id_] = DOWN
            one.ended_at, one.effect, has_changed = None, trouble.effect, True
    if worse:
        add_update(session, row, row.state, _describe(worse), AUTOMATIC)
    effects = [one.effect for one in mine.values() if one.ended_at is None]
    if effects:
        worst = _find_worst(effects)
        has_changed |= bool(worse) or worst != row.effect
        row.effect, row.well_since = worst, None
        return has_changed
    row.well_since = row.well_since or now
    return _close_when_quiet(session, row, now, quiet_seconds) or has_changed


def _close_when_quiet(session: Session, row: Incident, now: datetime.datetime, quiet_seconds: float) -> bool:
    if row.well_since is None or (now - row.well_since).total_seconds() < quiet_seconds:
        return False
    row.closed_at = now
    add_update(session, row, RESOLVED, "All of its models can be called again.", AUTOMATIC)
    log.info("incident_closed", incident=row.id, cause=row.cause)
    return True


def _find_worst(effects: Iterable[str]) -> str:
    return DOWN if DOWN in effects else DEGRADED


def _describe(effects: Mapping[str, str]) -> str:
    """What customers notice: of which models all calls fail, and which have less behind them."""
    down = [id_ for id_, effect in effects.items() if effect == DOWN]
    fewer = [id_ for id_, effect in effects.items() if effect != DOWN]
    parts = []
    if down:
        parts.append(f"Calls for {name_models(down)} fail and cost nothing.")
    if fewer:
        parts.append(f"Calls for {name_models(fewer)} are answered, with less in reserve than usual.")
    return " ".join(parts)
