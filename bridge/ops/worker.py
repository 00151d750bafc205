"""What runs in every worker beside its requests: starts the jobs, repeats each, and watches for the drain."""

import functools
import time
from collections.abc import Callable
from typing import Any

import gevent
import sqlalchemy as sa
import structlog
from flask import Flask

from bridge import versions
from bridge.db import db
from bridge.inference.services import Services
from bridge.metrics import note_job
from bridge.ops.connect import PREPARED, keep_trying
from bridge.ops.jobs import list_jobs, write_notes
from bridge.ops.memory import give_back_large_blocks
from bridge.payments.checkout import load_library
from bridge.turns import share_processor

DRAIN_LOOK_SECONDS = 0.25
log = structlog.get_logger()


def start(app: Flask, gunicorn_worker: Any = None) -> None:
    """Start the background greenlets of this process. Called once, after the fork."""
    give_back_large_blocks()
    share_processor()
    services: Services = app.extensions["bridge_services"]
    settings = services.settings
    with app.app_context():
        try:
            versions.poll(db.engine)
        except sa.exc.SQLAlchemyError as error:  # gunicorn would stop the whole server for a worker that doesn't start
            log.warning("started_without_database", error=type(error).__name__)
    if not app.extensions.get(PREPARED, True):
        gevent.spawn(keep_trying, app, settings)
    if settings.top_ups_open:
        load_library()
    for job in list_jobs(settings):
        if job.wanted:
            run_every(app, job.seconds, functools.partial(job.run, services), name=job.name, at_once=job.at_once)
    if gunicorn_worker is not None:
        gunicorn_worker.is_busy = services.recorder.is_busy
        gevent.spawn(_watch_drain, services, gunicorn_worker)


def stop(app: Flask, gunicorn_worker: Any = None) -> None:
    """Write the pending notes, close the ledger's connection, and log how the drain went, if there was one."""
    services: Services = app.extensions["bridge_services"]
    services.notes.add_up(services.in_flight, len(services.streams))
    if services.draining:
        broken_off = services.broken_off
        finished, cut = gunicorn_worker.finished - broken_off, gunicorn_worker.cut
        log.info("drained", finished=max(0, finished), broken_off=broken_off, cut=cut)
    with app.app_context():
        try:
            write_notes(services, at_the_end=True)
        except sa.exc.SQLAlchemyError as error:
            log.warning("notes_lost", error=type(error).__name__)
    services.recorder.close()
    services.spool.close()
    services.writer.close()


def run_every(
    app: Flask, seconds: float, task: Callable[[], None], *, name: str, at_once: bool = False
) -> "gevent.Greenlet[[], None]":
    """Run the task again and again in a greenlet. A failure is logged, and the task runs again next time."""

    def run() -> None:
        if not at_once:
            gevent.sleep(seconds)
        while True:
            begun, finished_at = time.monotonic(), None
            try:
                with app.app_context():
                    task()
                finished_at = time.time()
            except Exception:
                log.exception("background_task_failed", task=name)
            note_job(name, time.monotonic() - begun, finished_at)
            gevent.sleep(seconds)

    return gevent.spawn(run)


def _watch_drain(services: Services, gunicorn_worker: Any) -> None:
    """Once the worker stops taking requests, give answers DRAIN_SECONDS to finish. Streams check this themselves;
    requests that wait for a whole answer are notified."""
    while gunicorn_worker.alive:
        gevent.sleep(DRAIN_LOOK_SECONDS)
    services.stop_streams_at = time.monotonic() + services.settings.drain_seconds
    while True:
        gevent.sleep(max(DRAIN_LOOK_SECONDS, services.stop_streams_at - time.monotonic()))
        for waiting in list(services.waiting):
            services.waiting.discard(waiting)
            waiting.kill(services.restarts(), block=False)
