"""How gunicorn serves us: `gunicorn -c python:bridge.ops.gunicorn wsgi:app`. gevent patches before anything else."""

from gevent import monkey

monkey.patch_all()  # a later patch would let psycopg block the whole worker

import gc
import os
import shutil
import sys
import tempfile
from typing import Any

# before the first counter is made: where each worker keeps what it has counted, so that any of them can add it up
METRICS_DIR = os.environ.get("PROMETHEUS_MULTIPROC_DIR") or tempfile.mkdtemp(prefix="bridge-metrics-")
os.environ["PROMETHEUS_MULTIPROC_DIR"] = METRICS_DIR

import structlog
from flask import Flask
from prometheus_client.multiprocess import mark_process_dead

from bridge.config import Settings, read_settings
from bridge.db import db
from bridge.errors import MisconfiguredError
from bridge.headers import api_headers
from bridge.inference.estimate import load_vocabulary
from bridge.ops import worker as background
from bridge.ops.address import listen_address
from bridge.ops.connect import PREPARED, prepare
from bridge.ops.data_dir import find_data_dir_problem
from bridge.ops.demo import greet, load_demo
from bridge.ops.env_file import load_env_file
from bridge.ops.gunicorn_worker import GRACE_BEYOND_DRAIN_SECONDS, Response, Worker
from bridge.ops.last_stop import LastStop
from bridge.providers import COMPANIES
from bridge.telemetry import configure_logging, log_to_stdout

log = structlog.get_logger()


def read_or_exit() -> Settings:
    """The settings. If something is wrong with them, it is printed, a line each, and the start ends."""
    load_env_file()
    try:
        settings = read_settings(COMPANIES)
    except MisconfiguredError as error:
        raise SystemExit("\n".join(error.problems)) from None
    if problem := find_data_dir_problem(settings):
        raise SystemExit(problem)
    return settings


gateway = read_or_exit()
Response.slow_client_seconds = gateway.slow_client_seconds
Worker.common_headers = api_headers(gateway)
log_to_stdout()
configure_logging(gateway.log_level)

# gunicorn's own settings, by its names
bind = listen_address(gateway)
workers = gateway.workers
worker_class = "bridge.ops.gunicorn_worker.Worker"
logger_class = "bridge.ops.gunicorn_worker.Log"
worker_connections = 4096
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108 - a heartbeat; disks can stall
preload_app = True
keepalive = 95  # longer than a router keeps its connections: otherwise it would use one that has just closed
graceful_timeout = round(gateway.drain_seconds) + GRACE_BEYOND_DRAIN_SECONDS
sendfile = False  # files, too, are sent after their head: see gunicorn_worker.Response
control_socket_disable = True
forwarded_allow_ips = ""  # TRUST_PROXY decides which headers are trusted
logconfig_dict = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"lines": {"()": "bridge.telemetry.LineHandler"}},
    "root": {"handlers": ["lines"], "level": "INFO"},
    "loggers": {
        "gunicorn.error": {"level": "WARNING" if gateway.development else "INFO", "handlers": [], "propagate": True},
        "gunicorn.access": {"level": "ERROR", "handlers": [], "propagate": True},
    },
}


def on_starting(server: Any) -> None:
    """Warn about what the settings leave out, refuse master keys that don't open what is stored, and connect the
    providers that the environment names: a new key takes a restart, and no command."""
    Worker.last_stop = LastStop(server)  # before the first worker is forked
    if gateway.on_sqlite and gateway.web_concurrency > 1:
        log.warning(f"SQLite has one writer: 1 worker starts instead of {gateway.web_concurrency}.")
    if workers > 1 and not gateway.redis_url:
        log.warning(f"Without REDIS_URL each of the {workers} workers counts limits by itself.")
    if not gateway.mails_go_out and not gateway.development:
        log.warning("Without SMTP_URL no mail is sent: neither low-balance alerts nor the ledger's differences.")
    try:
        app: Flask = server.app.wsgi()
        if (shared := app.extensions["bridge_redis"]) and (problem := shared.find_problem()):
            log.warning(problem)
        app.extensions[PREPARED] = prepare(app, gateway)
        with app.app_context():
            db.engine.dispose()
    except MisconfiguredError as error:
        print("\n".join(error.problems), file=sys.stderr)
        raise SystemExit(1) from None


def when_ready(_server: Any) -> None:
    """In development, print how to sign in and what to paste, once connections are accepted."""
    demo = load_demo(gateway) if gateway.development else None
    if demo:
        print(greet(demo, gateway), end="", flush=True)


def pre_fork(server: Any, _worker: Any) -> None:
    """Load what every worker will need, and keep the garbage collector off it: its marks would give each worker a copy
    of every page."""
    load_vocabulary()
    if not gateway.development:  # there a quick start counts for more
        server.app.wsgi().extensions["bridge_warm_pages"]()
    gc.freeze()


def post_fork(_server: Any, worker: Any) -> None:
    """Forget the parent's connections, without closing them."""
    app: Flask = worker.app.wsgi()
    for flask_app in (app, app.extensions["bridge_api"]):
        with flask_app.app_context():
            db.engine.dispose(close=False)


def post_worker_init(worker: Any) -> None:
    """Start the jobs: only now is gevent's loop the worker's own."""
    background.start(worker.app.wsgi(), worker)


def child_exit(_server: Any, worker: Any) -> None:
    """What a worker had going on ends with it; what it has counted stays."""
    mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def on_exit(_server: Any) -> None:
    """Remove the counters' files."""
    shutil.rmtree(METRICS_DIR, ignore_errors=True)


def worker_exit(_server: Any, worker: Any) -> None:
    """Write the pending notes. A worker whose app was never loaded has none."""
    if worker.booted:
        background.stop(worker.app.wsgi(), worker)
