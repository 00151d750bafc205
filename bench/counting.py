"""gunicorn's settings for a gateway that says with each page how many SQL statements it took: the product's own, and a
listener at SQLAlchemy. Nothing of this is in the product."""

from gevent import monkey

monkey.patch_all()

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import sqlalchemy as sa
from gevent import getcurrent

from bridge.ops import gunicorn
from bridge.ops.gunicorn import *  # noqa: F403 - gunicorn reads its settings from here

HEADER = "x-bench-statements"
asked: Counter[int] = Counter()  # by greenlet: a request has one of its own, and so has each job beside it


@sa.event.listens_for(sa.Engine, "before_cursor_execute")
def count(*_: object) -> None:
    """Count one statement."""
    asked[id(getcurrent())] += 1


def post_worker_init(worker: Any) -> None:  # type: ignore[no-redef]  # in place of the product's
    """Do what the product's does, and add the count to each answer."""
    gunicorn.post_worker_init(worker)
    serve = worker.wsgi

    def serve_and_tell(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        asked.pop(id(getcurrent()), None)

        def start(status: str, headers: list[tuple[str, str]], *more: object) -> Any:
            return start_response(status, [*headers, (HEADER, str(asked.pop(id(getcurrent()), 0)))], *more)

        answer: Iterable[bytes] = serve(environ, start)
        return answer

    worker.wsgi = serve_and_tell
