"""How a change reaches every worker: the database has a number per topic, which each worker reads once a second.

What a worker has in memory is valid only while `is_fresh()`: its last look at the numbers is younger than the time that
`wait_until_seen()` waits. So when that returns, every worker has seen the change, or reads the database."""

import math
import time
from collections.abc import Callable

import gevent
import sqlalchemy as sa
from gevent.lock import RLock
from sqlalchemy.orm import Mapped, mapped_column

from bridge.config import Settings
from bridge.db import Table, db
from bridge.errors import ServiceUnavailable

MARGIN_SECONDS = 0.25
_RAISE = sa.text(
    "INSERT INTO versions (topic, number) VALUES (:topic, 1)"
    " ON CONFLICT (topic) DO UPDATE SET number = versions.number + 1"
)


class Version(Table):
    """A number that goes up with every change of its topic ("keys", "catalogue"); workers read it once a second."""

    __tablename__ = "versions"
    topic: Mapped[str] = mapped_column(sa.String(32), primary_key=True)
    number: Mapped[int] = mapped_column(sa.BigInteger, default=0)


class _Seen:
    """The numbers that this process saw last. `looked_at` is the monotonic start of that look; `max_age_seconds` is how
    long it is valid."""

    def __init__(self, max_age_seconds: float) -> None:
        self.numbers: dict[str, int] = {}
        self.looked_at = -math.inf
        self.failed_at = -math.inf
        self.max_age_seconds = max_age_seconds


class _Process:
    """The process's state, which is replaced whole when an app is made: a look that began earlier then changes
    nothing."""

    seen = _Seen(Settings.version_poll_seconds + MARGIN_SECONDS)


_looking = RLock()
_callbacks: dict[str, list[Callable[[], None]]] = {}


def watch_versions(settings: Settings) -> None:
    """Start with nothing seen; a look is valid for as long as the settings say. Called by create_app()."""
    _Process.seen = _Seen(settings.version_poll_seconds + MARGIN_SECONDS)
    for callbacks in _callbacks.values():
        for callback in callbacks:
            callback()


def bump(topic: str) -> None:
    """Raise the topic's number, in the session's transaction: it commits with the change that it announces."""
    db.session.execute(_RAISE, {"topic": topic})


def poll(engine: sa.Engine) -> None:
    """Read all numbers once, and call back for each that changed."""
    seen, started = _Process.seen, time.monotonic()
    with engine.connect() as connection:
        numbers = {row.topic: row.number for row in connection.execute(sa.select(Version.topic, Version.number))}
    if started < seen.looked_at:  # a slow look, overtaken by a later one
        return
    changed = [topic for topic, number in numbers.items() if seen.numbers.get(topic, 0) != number]
    seen.numbers, seen.looked_at = numbers, started
    for topic in changed:
        for callback in _callbacks.get(topic, ()):
            callback()


def ensure_fresh(engine: sa.Engine) -> None:
    """Return once the values in memory may be used: at once, or after one look, which all waiting requests share.

    Under load a look may come late. If each request then asked the database itself, the load would only grow. If the
    database doesn't answer, all of them share that failure too, instead of waiting one after another. Raises
    SQLAlchemyError or ServiceUnavailable."""
    asked_at = time.monotonic()
    with _looking:
        if is_fresh() or _Process.seen.looked_at >= asked_at:
            return
        if _Process.seen.failed_at >= asked_at:
            raise ServiceUnavailable("The database can't be reached. You were not charged.")
        try:
            poll(engine)
        except BaseException:  # also when this request gives up waiting
            _Process.seen.failed_at = time.monotonic()
            raise


def number(topic: str) -> int:
    """The topic's number as last seen; 0 before the first change."""
    return _Process.seen.numbers.get(topic, 0)


def select_number(topic: str) -> sa.Select[int]:
    """A query for the topic's number as it is, for whoever may not be a second late."""
    return sa.select(Version.number).where(Version.topic == topic)


def is_fresh() -> bool:
    """Whether values read at the number last seen may still be used without asking the database."""
    return time.monotonic() - _Process.seen.looked_at < _Process.seen.max_age_seconds


def on_change(topic: str, callback: Callable[[], None]) -> None:
    """Call back whenever this process sees that the topic's number changed. The callback must not wait."""
    _callbacks.setdefault(topic, []).append(callback)


def wait_until_seen(settings: Settings) -> None:
    """Return when every worker must have seen what was committed before this call. Needs an app context.

    On SQLite one worker serves. If that is us, one look is enough; a command is not the worker."""
    if settings.on_sqlite and is_fresh():
        poll(db.engine)
        return
    gevent.sleep(settings.version_poll_seconds + MARGIN_SECONDS)
