"""GET /metrics: what all workers of this machine have counted, and how things stand now, for Prometheus."""

import hmac
import os
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa
from flask import Blueprint, Flask, abort, current_app, request
from flask.wrappers import Response
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest, multiprocess
from prometheus_client.core import GaugeMetricFamily

from bridge.catalogue.channel_state import STATES, find_state
from bridge.catalogue.tables import Channel
from bridge.config import Settings
from bridge.db import db, now_utc
from bridge.extensions import anyone_may_enter
from bridge.ledger.tables import Hold
from bridge.mail.outbox import count_mails
from bridge.metrics import NANOS_PER_DOLLAR

SHARED = "PROMETHEUS_MULTIPROC_DIR"  # where the library keeps what each worker has counted
metrics = Blueprint("metrics", __name__)


def register(app: Flask) -> None:
    """Add the route."""
    app.register_blueprint(metrics)


@metrics.get("/metrics")
@anyone_may_enter
def show_metrics() -> Response:
    """The metrics as text. 404 while METRICS_TOKEN is empty, 401 without it as a bearer token."""
    settings: Settings = current_app.config["BRIDGE"]
    if not settings.metrics_token:
        abort(404)
    given = request.headers.get("Authorization", "").removeprefix("Bearer ").encode("utf-8", "replace")
    if not hmac.compare_digest(given, settings.metrics_token.encode()):
        return Response("Send METRICS_TOKEN as a bearer token.\n", 401, {"WWW-Authenticate": "Bearer"}, "text/plain")
    counted = REGISTRY
    if SHARED in os.environ:
        counted = CollectorRegistry()
        multiprocess.MultiProcessCollector(counted)  # type: ignore[no-untyped-call]
    standing = CollectorRegistry()
    standing.register(_Standing(settings))
    return Response(generate_latest(counted) + generate_latest(standing), 200, content_type=CONTENT_TYPE_LATEST)


class _Standing:
    """How things stand at this moment, by the database. It is the same on every worker and machine."""

    def __init__(self, settings: Settings):
        self._settings = settings

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The families of Prometheus' format; none from a database that doesn't answer."""
        up = GaugeMetricFamily("bridge_database_up", "Whether the database answers.")
        try:
            families = [*_list_holds(), _list_channels(), _count_mails(), self._weigh_spool()]
        except sa.exc.SQLAlchemyError:
            db.session.rollback()
            families = [self._weigh_spool()]
            up.add_metric([], 0)
        else:
            up.add_metric([], 1)
        yield up
        yield from families

    def _weigh_spool(self) -> GaugeMetricFamily:
        """What of the spool waits on this machine's disk."""
        spool: Path = self._settings.data_path / "spool"
        found = GaugeMetricFamily("bridge_spool_bytes", "Settlements on disk that wait for the database.")
        found.add_metric([], sum(path.stat().st_size for path in spool.glob("*.jsonl")))
        return found


def _list_holds() -> tuple[GaugeMetricFamily, ...]:
    held = sa.func.coalesce(sa.func.sum(Hold.amount_nanos), 0)
    query = sa.select(sa.func.count(Hold.request_id), held, sa.func.min(Hold.deadline_at))
    number, nanos, first = db.session.execute(query).one()
    late = max(0.0, (now_utc() - first).total_seconds()) if first is not None else 0.0
    figures = (
        ("bridge_holds", "Requests that hold money.", number),
        ("bridge_held_dollars", "What they hold.", int(nanos) / NANOS_PER_DOLLAR),
        ("bridge_hold_overdue_seconds", "For how long the oldest hold should have ended; 0 is well.", late),
    )
    return tuple(GaugeMetricFamily(name, text, value) for name, text, value in figures)


def _list_channels() -> GaugeMetricFamily:
    text = "1 for the state that a channel is in."
    found = GaugeMetricFamily("bridge_channel_state", text, labels=("channel", "state"))
    for channel in db.session.scalars(sa.select(Channel).order_by(Channel.name)):
        now = find_state(channel).code
        for code in STATES:
            found.add_metric((channel.name, code), int(code == now))
    return found


def _count_mails() -> GaugeMetricFamily:
    found = GaugeMetricFamily("bridge_mails", "Mails of the outbox that wait, or failed.", labels=("state",))
    mails = count_mails()
    for state, number in (("waiting", mails.waiting), ("failed", mails.failed)):
        found.add_metric((state,), number)
    return found
