"""How a change reaches every worker: a number per topic in the database, which each worker reads once a second.

What a worker keeps in memory counts only while `is_fresh()`: its last look at the numbers is younger than the time
that `wait_until_seen()` waits. So when that returns, every worker has either seen the change or reads the database."""

import math
import time
from collections.abc import Callable

import gevent
import sqlalchemy as sa
from gevent.lock import RLock

from bridge.config import Settings
from bridge.db import db
from bridge.errors import ServiceUnavailable

MARGIN_SECONDS = 0.25
_versions = sa.table("versions", sa.column("topic", sa.String), sa.column("number", sa.BigInteger))
_RAISE = sa.text(
    "INSERT INTO versions (topic, number) VALUES (:topic, 1)"
    " ON CONFLICT (topic) DO UPDATE SET number = versions.number + 1"
)


class _Seen:
    """What this process saw last. `looked_at` is the monotonic start of that look; `max_age_seconds` is how long it
    counts."""

    def __init__(self, max_age_seconds: float) -> None:
        self.numbers: dict[str, int] = {}
        self.looked_at = -math.inf
        self.failed_at = -math.inf
        self.max_age_seconds = max_age_seconds


_seen = _Seen(Settings.version_poll_seconds + MARGIN_SECONDS)
_looking = RLock()
_callbacks: dict[str, list[Callable[[], None]]] = {}


def watch_versions(settings: Settings) -> None:
    """Begin anew: nothing is seen yet, and a look counts as long as the settings say. Called by create_app()."""
    global _seen
    _seen = _Seen(settings.version_poll_seconds + MARGIN_SECONDS)
    for callbacks in _callbacks.values():
        for callback in callbacks:
            callback()


def bump(topic: str) -> None:
    """Raise the topic's number, in the session's transaction: it commits with the change it announces."""
    db.session.execute(_RAISE, {"topic": topic})


def poll(engine: sa.Engine) -> None:
    """Read all numbers once, and call back for each that changed."""
    seen, started = _seen, time.monotonic()
    with engine.connect() as connection:
        numbers = {row.topic: row.number for row in connection.execute(sa.select(_versions))}
    if started < seen.looked_at:  # a slow look, overtaken by a later one
        return
    changed = [topic for topic, number in numbers.items() if seen.numbers.get(topic, 0) != number]
    seen.numbers, seen.looked_at = numbers, started
    for topic in changed:
        for callback in _callbacks.get(topic, ()):
            callback()


def ensure_fresh(engine: sa.Engine) -> None:
    """Return once what is kept in memory may be used: at once, or after one look, which all that wait for it share.

    Under load a look may come late. If each request then asked the database by itself, the load would only grow; and if
    it doesn't answer, each would wait for those before it: they share the failure, too. Raises SQLAlchemyError or
    ServiceUnavailable."""
    asked_at = time.monotonic()
    with _looking:
        if is_fresh() or _seen.looked_at >= asked_at:
            return
        if _seen.failed_at >= asked_at:
            raise ServiceUnavailable("The database can't be reached. You were not charged.")
        try:
            poll(engine)
        except BaseException:  # also those who gave up waiting
            _seen.failed_at = time.monotonic()
            raise


def number(topic: str) -> int:
    """The topic's number as last seen; 0 before the first change."""
    return _seen.numbers.get(topic, 0)


def is_fresh() -> bool:
    """Whether what was learnt at the number last seen may still be used without asking the database."""
    return time.monotonic() - _seen.looked_at < _seen.max_age_seconds


def on_change(topic: str, callback: Callable[[], None]) -> None:
    """Call back whenever this process sees that the topic's number changed. The callback must not wait."""
    _callbacks.setdefault(topic, []).append(callback)


def wait_until_seen(settings: Settings) -> None:
    """Return when every worker must have seen what was committed before this call. Needs an app context.

    On SQLite the worker that serves is the only one: if that is us, one look is enough. A command is not it."""
    if settings.on_sqlite and is_fresh():
        poll(db.engine)
        return
    gevent.sleep(settings.version_poll_seconds + MARGIN_SECONDS)
