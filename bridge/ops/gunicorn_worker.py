"""gunicorn's gevent worker, which also closes idle connections once it is told to stop."""

from typing import Any

import gevent
from gunicorn.glogging import Logger
from gunicorn.workers.ggevent import GeventWorker

LOOK_SECONDS = 0.25


class Log(Logger):
    """gunicorn's own log without its access line: it would be put together for each request and then thrown away."""

    def access(self, *arguments: Any, **more: Any) -> None:
        """Nothing: a request's line is ours to write."""


class IdleLimit(gevent.Timeout):
    """The time that a connection may wait for its next request, noted while it waits."""

    def __init__(self, seconds: float, idle: dict[Any, "IdleLimit"]):
        super().__init__(seconds, False)
        self._idle = idle

    def __enter__(self) -> "IdleLimit":
        self._idle[gevent.getcurrent()] = self
        super().__enter__()
        return self

    def __exit__(self, *about: Any) -> Any:
        self._idle.pop(gevent.getcurrent(), None)
        return super().__exit__(*about)


class Worker(GeventWorker):
    """Else a router that keeps its connections open would make every deploy wait for the whole grace time."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.idle: dict[Any, IdleLimit] = {}

    def timeout_ctx(self) -> IdleLimit:
        return IdleLimit(self.cfg.keepalive, self.idle)

    def run(self) -> None:
        gevent.spawn(self._close_idle)
        super().run()

    def _close_idle(self) -> None:
        while True:
            gevent.sleep(LOOK_SECONDS)
            if not self.alive:
                for connection, limit in list(self.idle.items()):
                    connection.kill(limit, block=False)  # as if its time were up
