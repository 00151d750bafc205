"""gunicorn's settings for a worker that reports on itself: the product's own, with a greenlet that measures and writes.

`VITALS` names the folder in which each worker leaves a file under its process id: how many greenlets it has, and the
longest time for which its event loop was busy, in processor time, so that other processes don't matter. `POOL` sets the
size of the pools of database connections. Nothing of this is in the product."""

import gc
import json
import os
import time
from pathlib import Path
from typing import Any

import bridge.ops.gunicorn as product
from bridge import db as database
from bridge.ops.gunicorn import *  # noqa: F403 - gunicorn reads its settings from here; gevent is patched by it

TICK_SECONDS = 0.005
PATIENCE_SECONDS = 60
WRITE_SECONDS = 0.5
VITALS, POOL = os.environ.get("VITALS", ""), int(os.environ.get("POOL", 0))
engine_options = database.engine_options


def with_small_pool(settings: Any) -> dict[str, Any]:
    return engine_options(settings) | {"pool_size": POOL, "max_overflow": 0, "pool_timeout": PATIENCE_SECONDS}


if POOL:
    database.engine_options = with_small_pool


def look(path: Path) -> None:
    """Measure for as long as the worker lives. A file `reset` beside it resets the longest time."""
    import gevent
    import greenlet

    longest = 0.0
    while True:
        end = time.monotonic() + WRITE_SECONDS
        while time.monotonic() < end:
            before = time.thread_time()
            gevent.sleep(TICK_SECONDS)
            longest = max(longest, time.thread_time() - before)
        if path.with_suffix(".reset").exists():
            path.with_suffix(".reset").unlink()
            longest = 0.0
        count = sum(isinstance(each, greenlet.greenlet) and not each.dead for each in gc.get_objects())
        part = path.with_suffix(".part")
        part.write_text(json.dumps({"greenlets": count, "longest_ms": round(longest * 1000, 1)}))
        part.rename(path)


def post_worker_init(worker: Any) -> None:
    import gevent

    product.post_worker_init(worker)
    if VITALS:
        gevent.spawn(look, Path(VITALS) / f"{os.getpid()}.json")
