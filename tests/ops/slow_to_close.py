"""gunicorn's settings for workers that stand still before they close a listener, as on a machine that has other things
to do. A worker makes the file that `CLOSING` names when it gets there, and stays until there is the one of `GO_ON`."""

import os
from pathlib import Path
from typing import Any

import bridge.ops.gunicorn as product
from bridge.ops.gunicorn import *  # noqa: F403 - gunicorn reads its settings from here; gevent is patched by it

LOOK_SECONDS = 0.02


def post_worker_init(worker: Any) -> None:
    """As the product, with a slower close."""
    from gevent import monkey
    from gevent.server import StreamServer

    product.post_worker_init(worker)
    close, sleep = StreamServer.close, monkey.get_original("time", "sleep")  # gevent's would let the worker accept

    def stand_still_and_close(server: StreamServer) -> None:
        Path(os.environ["CLOSING"]).touch()
        while not Path(os.environ["GO_ON"]).exists():
            sleep(LOOK_SECONDS)
        close(server)

    StreamServer.close = stand_still_and_close
