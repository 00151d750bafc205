"""gunicorn's settings for a worker that records the longest time for which its event loop was blocked.

It writes the seconds to the file that `STILL` names. Nothing of this is in the product."""

import os
import time
from pathlib import Path
from typing import Any

import bridge.ops.gunicorn as product
from bridge.ops.gunicorn import *  # noqa: F403 - gunicorn reads its settings from here; gevent is patched by it

TICK_SECONDS = 0.01


def look(path: Path) -> None:
    """For as long as the worker lives."""
    import gevent

    longest = 0.0
    while True:
        before = time.monotonic()
        gevent.sleep(TICK_SECONDS)
        if (still := time.monotonic() - before) > longest:
            longest = still
            path.write_text(f"{longest:.3f}")


def post_worker_init(worker: Any) -> None:
    """As the product, and look."""
    import gevent

    product.post_worker_init(worker)
    gevent.spawn(look, Path(os.environ["STILL"]))
