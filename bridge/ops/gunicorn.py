"""How gunicorn serves us: `gunicorn -c python:bridge.ops.gunicorn wsgi:app`. gevent patches before anything else."""

from gevent import monkey

monkey.patch_all()  # a later patch would let psycopg stop the whole worker while it waits

import gc
import os
import sys
from typing import Any

import structlog
from flask import Flask

from bridge.config import Settings, read_settings
from bridge.db import db
from bridge.errors import MisconfiguredError
from bridge.ops import worker as background
from bridge.ops.address import listen_address
from bridge.ops.connect import PREPARED, prepare_channels
from bridge.ops.demo import greet, load_demo
from bridge.ops.env_file import load_env_file
from bridge.ops.gunicorn_worker import GRACE_BEYOND_DRAIN_SECONDS, Response
from bridge.telemetry import configure_logging, log_to_stdout
from bridge.v1.estimate import load_vocabulary

log = structlog.get_logger()


def read_or_exit() -> Settings:
    """The settings; what is wrong with them is printed, a line each, and ends the start."""
    load_env_file()
    try:
        return read_settings()
    except MisconfiguredError as error:
        raise SystemExit("\n".join(error.complaints)) from None


gateway = read_or_exit()
Response.slow_client_seconds = gateway.slow_client_seconds
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
keepalive = 95  # longer than a router keeps its connections, or it would use one that has just closed
graceful_timeout = round(gateway.drain_seconds) + GRACE_BEYOND_DRAIN_SECONDS
sendfile = False  # a file, too, goes out behind its head: see gunicorn_worker.Response
control_socket_disable = True
forwarded_allow_ips = ""  # TRUST_PROXY decides what is believed
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
    """Say what is smaller than asked for, refuse master keys that don't open what is stored, and connect the providers
    that the environment names: a key that was set takes a restart, and no command."""
    if gateway.on_sqlite and gateway.web_concurrency > 1:
        log.warning(f"SQLite has one writer: 1 worker starts instead of {gateway.web_concurrency}.")
    if workers > 1 and not gateway.redis_url:
        log.warning(f"Without REDIS_URL each of the {workers} workers counts limits by itself.")
    if not gateway.mails_go_out and not gateway.development:
        log.warning("Without SMTP_URL no mail is sent: neither low-balance alerts nor the ledger's differences.")
    try:
        app: Flask = server.app.wsgi()
        app.extensions[PREPARED] = prepare_channels(app, gateway)
        with app.app_context():
            db.engine.dispose()
    except MisconfiguredError as error:
        print("\n".join(error.complaints), file=sys.stderr)
        raise SystemExit(1) from None


def when_ready(_server: Any) -> None:
    """In development, print how to sign in and what to paste: from now on connections are accepted."""
    demo = load_demo(gateway) if gateway.development else None
    if demo:
        print(greet(demo, gateway), end="", flush=True)


def pre_fork(_server: Any, _worker: Any) -> None:
    """Load what every worker will need, and let the collector leave alone what they share: its marks would give each a
    copy of every page."""
    load_vocabulary()
    gc.freeze()


def post_fork(_server: Any, worker: Any) -> None:
    """Forget the connections of the parent, without closing them under it."""
    app: Flask = worker.app.wsgi()
    for flask_app in (app, app.extensions["bridge_api"]):
        with flask_app.app_context():
            db.engine.dispose(close=False)


def post_worker_init(worker: Any) -> None:
    """Start what runs beside the requests: only now is gevent's loop the worker's own."""
    background.start(worker.app.wsgi(), worker)


def worker_exit(_server: Any, worker: Any) -> None:
    """Write what is still noted. A worker that never got as far as its app has nothing."""
    if worker.booted:
        background.stop(worker.app.wsgi(), worker)
