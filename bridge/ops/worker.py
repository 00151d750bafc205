"""What runs in every worker beside its requests: looks at the versions, the sweeper, notes, the drain's watch."""

import time
from typing import Any

import gevent
import sqlalchemy as sa
import structlog
from flask import Flask

from bridge import versions
from bridge.catalogue.channel_events import delete_old_events
from bridge.db import db
from bridge.errors import ServiceUnavailable
from bridge.ledger.alerts import tell_low_balances
from bridge.ledger.idempotency import delete_expired_keys
from bridge.ledger.rollups import roll_up
from bridge.ledger.sweep import apply_spools, sweep
from bridge.mail.outbox import send_due
from bridge.ops.channel_alerts import tell_of_channels
from bridge.ops.connect import PREPARED, keep_trying
from bridge.ops.margin_alerts import tell_of_losses
from bridge.ops.nightly import check_nightly
from bridge.payments.auto import detach_forgotten, top_up_due
from bridge.payments.checkout import load_library
from bridge.reasoning.reasoning import forget_reasoning
from bridge.v1.services import Services

NOTES_EVERY_SECONDS = 2.0
MARK_EVERY_SECONDS = 2.0
FORGET_EVERY_SECONDS = 600.0
ROLL_UP_EVERY_SECONDS = 15.0
NIGHTLY_LOOK_SECONDS = 60.0
MARGIN_LOOK_SECONDS = 30.0
DRAIN_LOOK_SECONDS = 0.25
log = structlog.get_logger()


def start(app: Flask, gunicorn_worker: Any = None) -> None:
    """Start the background greenlets of this process. Called once, after the fork."""
    services: Services = app.extensions["bridge_services"]
    settings = services.settings
    with app.app_context():
        try:
            versions.poll(db.engine)
        except sa.exc.SQLAlchemyError as error:  # gunicorn would end all of us for a worker that doesn't start
            log.warning("started_without_database", error=type(error).__name__)
    if not app.extensions.get(PREPARED, True):
        gevent.spawn(keep_trying, app, settings)
    every(app, settings.version_poll_seconds, lambda: versions.poll(db.engine))
    every(app, settings.sweep_seconds, lambda: resolve(services), at_once=True)
    if settings.redis_url:
        every(app, settings.version_poll_seconds, services.health.exchange, at_once=True)
    every(app, MARK_EVERY_SECONDS, lambda: mark_streams(services))
    every(app, NOTES_EVERY_SECONDS, lambda: write_notes(services))
    every(app, FORGET_EVERY_SECONDS, forget_reasoning)
    every(app, FORGET_EVERY_SECONDS, delete_expired_keys)
    every(app, FORGET_EVERY_SECONDS, delete_old_events)
    every(app, ROLL_UP_EVERY_SECONDS, roll_up)
    every(app, settings.mail_seconds, lambda: tell_low_balances(settings))
    every(app, settings.mail_seconds, lambda: tell_of_channels(settings))
    every(app, settings.mail_seconds, lambda: send_due(settings))
    every(app, MARGIN_LOOK_SECONDS, lambda: tell_of_losses(settings), at_once=True)
    every(app, NIGHTLY_LOOK_SECONDS, lambda: check_nightly(settings), at_once=True)
    if settings.top_ups_open:
        load_library()
        every(app, settings.auto_top_up_seconds, lambda: top_up_due(settings))
        every(app, settings.auto_top_up_seconds, lambda: detach_forgotten(settings))
    if gunicorn_worker is not None:
        gevent.spawn(_watch_drain, services, gunicorn_worker)


def stop(app: Flask, gunicorn_worker: Any = None) -> None:
    """Write what is still noted, close the ledger's connection, and say how the drain went, if there was one."""
    services: Services = app.extensions["bridge_services"]
    if services.draining:
        broken_off = services.broken_off
        finished, cut = gunicorn_worker.finished - broken_off, gunicorn_worker.cut
        log.info("drained", finished=max(0, finished), broken_off=broken_off, cut=cut)
    with app.app_context():
        try:
            write_notes(services, at_the_end=True)
        except sa.exc.SQLAlchemyError as error:
            log.warning("notes_lost", error=type(error).__name__)
    services.spool.close()
    services.writer.close()


def resolve(services: Services) -> None:
    """End what nobody else will: spooled settlements and, once all of them are in, the holds past their deadline."""
    try:
        apply_spools(services.spool, services.writer)
    except ServiceUnavailable:
        log.warning("spool_waits")
        return
    sweep(services.writer)


def mark_streams(services: Services) -> None:
    """Note what the open streams have delivered since the last time: a worker that is killed charges so much. Those
    that their client keeps open for too long are closed."""
    for stream in list(services.streams):
        stream.let_go()
    services.writer.note([mark for stream in list(services.streams) if (mark := stream.mark()) is not None])


def every(app: Flask, seconds: float, task: Any, at_once: bool = False) -> None:
    """Run the task again and again in a greenlet; what goes wrong once is said, and tried again next time."""

    def run() -> None:
        if not at_once:
            gevent.sleep(seconds)
        while True:
            try:
                with app.app_context():
                    task()
            except Exception:
                log.exception("background_task_failed", task=getattr(task, "__qualname__", ""))
            gevent.sleep(seconds)

    gevent.spawn(run)


def write_notes(services: Services, at_the_end: bool = False) -> None:
    """Channels' health and keys' last use, gathered since the last time."""
    services.health.write_notes()
    services.write_keys_used(all_of_them=at_the_end)


def _watch_drain(services: Services, gunicorn_worker: Any) -> None:
    """Once the worker stops taking requests, answers have DRAIN_SECONDS to finish. Streams see it for themselves; those
    that wait for a whole answer are told."""
    while gunicorn_worker.alive:
        gevent.sleep(DRAIN_LOOK_SECONDS)
    services.stop_streams_at = time.monotonic() + services.settings.drain_seconds
    while True:
        gevent.sleep(max(DRAIN_LOOK_SECONDS, services.stop_streams_at - time.monotonic()))
        for waiting in list(services.waiting):
            services.waiting.discard(waiting)
            waiting.kill(services.restarts(), block=False)
