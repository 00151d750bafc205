"""gunicorn's settings for workers that note when their event loop was busy: the product's own, with a greenlet that
looks. In processor time: what else the machine does is no matter. Nothing of this is in the product.

`BUSY` names the folder in which each worker leaves a file: a line with the moment and the milliseconds for each time
that the others had to wait for longer than a moment."""

import os
import time
from pathlib import Path
from typing import Any

import bridge.ops.gunicorn as product
from bridge.ops.gunicorn import *  # noqa: F403 - gunicorn reads its settings from here; gevent is patched by it

TICK_SECONDS = 0.005
WORTH_NOTING_SECONDS = 0.02
BUSY = os.environ.get("BUSY", "")


def look(path: Path) -> None:
    """For as long as the worker lives."""
    import gevent

    while True:
        before = time.thread_time()
        gevent.sleep(TICK_SECONDS)
        busy = time.thread_time() - before
        if busy > WORTH_NOTING_SECONDS:
            with path.open("a") as file:
                file.write(f"{time.monotonic()} {busy * 1000}\n")


def post_worker_init(worker: Any) -> None:
    import gevent

    product.post_worker_init(worker)
    gevent.spawn(look, Path(BUSY) / f"{os.getpid()}.busy")
