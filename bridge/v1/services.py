"""What the requests of one process share: settings, ledger writer, counters, catalogue, channel health, connections."""

import contextlib
import datetime
import math
import time
from collections.abc import Iterator, Sequence
from typing import Any

import gevent
from flask import Flask

from bridge import versions
from bridge.accounts.keys import Caller, find_callers, note_use, recall_caller
from bridge.batcher import Batcher
from bridge.catalogue.health import Health
from bridge.catalogue.routing import Catalogue, Route, load_catalogue
from bridge.catalogue.upstreams import open_channel
from bridge.config import Settings
from bridge.counters import Counters
from bridge.db import db, now_utc
from bridge.errors import ServiceUnavailable
from bridge.ledger.spool import Spool
from bridge.ledger.writer import Writer
from bridge.v1.retries import RetryBudget
from bridge.v1.shares import Shares

TOPIC = "catalogue"
DATABASE_WAIT_SECONDS = 3.0
KEY_NOTED_FOR = datetime.timedelta(minutes=1)


class Services:
    """One per app. Nothing here opens a connection before its first use, so that it may be made before a fork."""

    def __init__(self, app: Flask, settings: Settings, counters: Counters):
        self.app = app
        self.settings = settings
        self.counters = counters
        self.writer = Writer(settings)
        self.spool = Spool(settings.data_path / "spool", settings.redis_url)
        self.streams: set[Any] = set()  # the open ones, which a job asks for what they have delivered
        self.health = Health(settings.cooldown_seconds, settings.redis_url, settings.first_content_timeout_seconds)
        self.retries = RetryBudget(settings.retries_always)
        self.in_flight = 0
        self.shares = Shares(settings)
        self.body_bytes = 0
        self.stop_streams_at = math.inf  # monotonic; set when the worker drains
        self.waiting: set[Any] = set()  # greenlets that wait for whole answers, to be told when it has drained
        self.broken_off = 0  # answers that the drain has ended
        self.keys_used: dict[int, datetime.datetime] = {}  # a job writes them to the keys' rows
        self._keys_noted: dict[int, datetime.datetime] = {}  # when it wrote which of them within the last minute
        self._callers = Batcher(self._find_callers)
        self._catalogue: Catalogue | None = None
        self._catalogue_number = -1
        self._reading: gevent.Greenlet[[], Exception | None] | None = None
        self._upstreams: dict[tuple[int, str | None, str | None], Any] = {}

    @property
    def draining(self) -> bool:
        """Whether this process was told to stop."""
        return self.stop_streams_at != math.inf

    def restarts(self) -> ServiceUnavailable:
        """What an answer ends with that the drain breaks off; counted."""
        self.broken_off += 1
        return ServiceUnavailable("The gateway restarts; ask again.")

    def find_caller(self, secret: str) -> Caller:
        """Who calls, from memory if it is there. Raises InvalidApiKey."""
        caller = recall_caller(secret)
        if caller is None:
            with in_time():  # all who wait share one look: the database has few connections
                caller = self._callers.ask(secret, withdraw=True)
        return caller

    def _find_callers(self, secrets: list[str]) -> Sequence[Caller | Exception]:
        with in_time(), self.app.app_context():
            return find_callers(secrets)

    @property
    def catalogue(self) -> Catalogue:
        """The snapshot in force, read anew when its number has changed or a price takes effect."""
        known = self._catalogue
        if known is None or not versions.is_fresh() or self._is_outdated(known):
            with in_time():
                with self.app.app_context():
                    versions.ensure_fresh(db.engine)
                while self._catalogue is None or self._is_outdated(self._catalogue):
                    self._await_catalogue()
        assert self._catalogue is not None
        return self._catalogue

    def _await_catalogue(self) -> None:
        """Return when it was read once more. All that wait share one reading, which ends however long they wait: were
        it given up with them, a large catalogue would never be read. Raises what the reading met."""
        if self._reading is None:
            self._reading = gevent.spawn(self._read_catalogue)
        fault = self._reading.get()
        if fault is not None:
            raise fault

    def _read_catalogue(self) -> Exception | None:
        """Read the catalogue and swap it whole; what went wrong is returned, for all that wait to raise."""
        try:
            with self.app.app_context():
                number = versions.number(TOPIC)
                catalogue = load_catalogue()
            self._catalogue, self._catalogue_number = catalogue, number
            self.health.learn(route for model in catalogue.models.values() for route in model.routes)
        except Exception as error:
            return error
        finally:
            self._reading = None
        return None

    def _is_outdated(self, catalogue: Catalogue) -> bool:
        """Whether something of it was changed since, or a price that was entered before has taken effect."""
        return versions.number(TOPIC) != self._catalogue_number or time.time() >= catalogue.changes_at

    def upstream(self, route: Route) -> Any:
        """The connections to a channel's upstream; opened anew when its address or key has changed."""
        name = (route.channel_id, route.base_url, route.sealed_key)
        upstream = self._upstreams.get(name)
        if upstream is None:
            upstream = self._upstreams[name] = open_channel(route, self.settings)
        return upstream

    def write_keys_used(self, all_of_them: bool = False) -> None:
        """Write when keys were last used: each soon after its first use and then once a minute, for there may be
        thousands a second; or, at the end, all that is known. Needs an app context."""
        now = now_utc()
        self._keys_noted = {key_id: at for key_id, at in self._keys_noted.items() if now - at < KEY_NOTED_FOR}
        due = {key_id: at for key_id, at in self.keys_used.items() if all_of_them or key_id not in self._keys_noted}
        self.keys_used = {key_id: at for key_id, at in self.keys_used.items() if key_id not in due}
        note_use(due)
        self._keys_noted |= dict.fromkeys(due, now)


@contextlib.contextmanager
def in_time() -> Iterator[None]:
    """Nobody waits longer than this for a database that says nothing. Raises ServiceUnavailable."""
    with gevent.Timeout(DATABASE_WAIT_SECONDS) as limit:
        try:
            yield
        except gevent.Timeout as timeout:
            if timeout is not limit:
                raise
            raise ServiceUnavailable("The database can't be reached. You were not charged.") from None
