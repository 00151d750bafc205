"""Checks channels that nobody uses: one small request through each that has had no call for a while, so that what
pages say of it is true, and an outage is over before a customer meets it. Of channels in use, it checks the models that
one account alone has seen fail.

What a check finds goes through the breaker as any request's outcome does, and needs nobody to confirm it. What it costs
is the operator's own."""

import dataclasses
import datetime
import time
from collections.abc import Collection, Mapping

import sqlalchemy as sa
from gevent.pool import Pool

from bridge.catalogue.breaker_states import OURS
from bridge.catalogue.model_calls import list_doubted
from bridge.catalogue.own_calls import add_own_call
from bridge.catalogue.routing import Route, ServedModel
from bridge.catalogue.tables import Channel
from bridge.catalogue.testing import ChannelTest, ask_channel
from bridge.conversation.kinds import CHAT, COMPLETIONS, EMBEDDINGS
from bridge.db import db, now_utc, transaction
from bridge.inference.services import Services
from bridge.providers import STAND_INS
from bridge.providers.base import Blame
from bridge.turns import in_slices

AT_ONCE = 8  # a channel that says nothing for 30 seconds must not hold up the others
MOST_TOKENS, MOST_THINKING_TOKENS = 1, 16  # of an answer: some providers take no less from models that think
MOST_CHARACTERS = 300
ASKED = (CHAT, COMPLETIONS, EMBEDDINGS)  # kinds of requests that cost next to nothing: never pictures
Choice = tuple[ServedModel, Route]


def check_idle(services: Services) -> None:
    """Check each channel that is due. If several workers look at the same moment, one of them checks each channel."""
    waiting = _list_due(services)
    if not waiting:
        return
    routes = _choose_routes(services, waiting)
    taken = _claim(services, list(routes))
    pool = Pool(AT_ONCE)
    for channel_id in taken:
        pool.spawn(_check, services, channel_id, *routes[channel_id])
    pool.join()


@dataclasses.dataclass(frozen=True, slots=True)
class _Due:
    """A channel to check: `asked` are the models that its upstream lacked, or that one account alone saw fail. Of one
    that is in use only those are asked."""

    asked: Collection[str]
    is_idle: bool


def _begin_period(services: Services) -> datetime.datetime:
    return now_utc() - datetime.timedelta(seconds=services.settings.probe_seconds)


def _is_idle(services: Services) -> sa.ColumnElement[bool]:
    return sa.func.coalesce(Channel.called_at, Channel.created_at) < _begin_period(services)


def _due(services: Services) -> sa.ColumnElement[bool]:
    """Channels without a call, or with a model that may fail, and without a check within the period."""
    before = _begin_period(services)
    may_fail = Channel.model_calls.is_not(None)
    was_left_alone = Channel.probed_at.is_(None) | (Channel.probed_at < before)
    is_connected = ~Channel.from_environment | Channel.sealed_key.is_not(None)
    return (
        Channel.enabled
        & Channel.probes
        & Channel.provider.not_in(STAND_INS)
        & is_connected
        & (_is_idle(services) | may_fail)
        & was_left_alone
    )


def _list_due(services: Services) -> dict[int, _Due]:
    """Each channel that is due."""
    columns = Channel.id, Channel.refused_models, Channel.model_calls, _is_idle(services).label("is_idle")
    rows = db.session.execute(sa.select(*columns).where(_due(services))).all()
    db.session.commit()
    found = {}
    for row in rows:
        doubted = list_doubted(row.model_calls)
        if row.is_idle or doubted:
            found[row.id] = _Due({*(row.refused_models or ()), *doubted}, bool(row.is_idle))
    return found


def _claim(services: Services, channel_ids: list[int]) -> list[int]:
    """Those of the channels that this call checks: one conditional statement decides."""
    with transaction() as session:
        statement = sa.update(Channel).where(_due(services), Channel.id.in_(channel_ids)).values(probed_at=now_utc())
        found = session.scalars(statement.returning(Channel.id).execution_options(synchronize_session=False))
        return sorted(found)


def _choose_routes(services: Services, waiting: Mapping[int, _Due]) -> dict[int, Choice]:
    """For each channel the model that is asked: one that its upstream lacked, once its time is over, or one in doubt,
    otherwise the cheapest. Channels that are out until later, or have only models that draw, are left out."""
    now, health = time.monotonic(), services.health
    best: dict[int, tuple[tuple[bool, bool, int, int, str], Choice]] = {}
    for model in in_slices(services.catalogue.models.values()):
        if model.retired or not model.kinds.intersection(ASKED):
            continue
        for route in model.routes:
            due = waiting.get(route.channel_id)
            if due is None or health.seconds_out(route, now, OURS) > 0:
                continue
            is_asked = route.upstream_id in due.asked
            if not (is_asked or due.is_idle):
                continue
            rates = model.price.costs[0] if model.price else None
            price = rates.input + rates.output if rates else 2**62
            place = (not is_asked, model.thinks, _place_of(model), price, model.id)
            if route.channel_id not in best or place < best[route.channel_id][0]:
                best[route.channel_id] = place, (model, route)
    return {channel_id: choice for channel_id, (_, choice) in best.items()}


def _place_of(model: ServedModel) -> int:
    return min(place for place, kind in enumerate(ASKED) if kind in model.kinds)


def _check(services: Services, channel_id: int, model: ServedModel, route: Route) -> None:
    """Ask one channel, tell the breaker how that ended, and note what it said and cost."""
    health = services.health
    with services.app.app_context():
        channel = db.session.get(Channel, channel_id)
        if channel is None or not health.begin(route, OURS):  # a customer's request tries it at this moment
            return
        record = health.sent(route, OURS)
        most = MOST_THINKING_TOKENS if model.thinks else MOST_TOKENS
        try:
            test = ask_channel(channel, model, route.upstream_id, route.sealed_key, most_tokens=most)
        except BaseException:
            health.dropped(route, OURS)
            raise
        health.heard(record)
        if test.ok:
            seconds = test.took_ms / 1000
            health.succeeded(route, seconds, seconds, account_id=OURS)
        elif test.failure is None or test.failure.blame is Blame.REQUEST:
            health.dropped(route, OURS)
        else:
            health.failed(route, test.failure, account_id=OURS)
        _note(channel_id, test)


def _note(channel_id: int, test: ChannelTest) -> None:
    with transaction() as session:
        channel = session.get(Channel, channel_id, populate_existing=True)
        if channel is not None:
            channel.probe_said = f"{test.detail} {test.took_ms} ms"[:MOST_CHARACTERS]
            add_own_call(session, channel.name, test.cost_nanos)
