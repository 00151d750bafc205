"""Holds what the requests of one process share: settings, ledger writer, counters, catalogue, channel health,
connections."""

import contextlib
import datetime
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import gevent
import structlog
from flask import Flask

from bridge import versions
from bridge.accounts.key_use import record_use
from bridge.accounts.keys import Caller, find_callers, recall_caller
from bridge.batcher import Batcher
from bridge.catalogue.health import Health
from bridge.catalogue.routing import Catalogue, Route, count_rows, load_catalogue
from bridge.catalogue.upstreams import open_channel
from bridge.config import Settings
from bridge.counters.windows import Counters
from bridge.db import db, now_utc
from bridge.errors import MisconfiguredError, ServiceUnavailable
from bridge.headers import api_headers
from bridge.inference.last_minute import LastMinute
from bridge.inference.lessons import Lessons
from bridge.inference.retries import RetryBudget
from bridge.inference.shares import Shares
from bridge.inference.upstream import Upstream
from bridge.ledger.attempt_errors import AttemptErrors
from bridge.ledger.batch import Mark
from bridge.ledger.spool import Spool
from bridge.ledger.writer import Writer
from bridge.limits.refusals import RefusalCounter
from bridge.metrics import Notes
from bridge.providers.base import AttemptFailed, Blame
from bridge.resume.recording import Recorder
from bridge.shared_redis import SharedRedis

TOPIC = "catalogue"
LARGE_CATALOGUE = 1000  # models and channels of models, in all
RELOAD_PATIENCE_SECONDS = 0.1
KEY_NOTED_FOR = datetime.timedelta(minutes=1)
log = structlog.get_logger()


class OpenStream(Protocol):
    """A stream that goes on."""

    def mark(self) -> Mark | None:
        """What of it was delivered since the last mark."""
        ...

    def let_go(self) -> None:
        """Close it if its client takes too long."""
        ...


class Services:
    """One per app. Nothing here opens a connection before its first use, so that it may be made before a fork."""

    def __init__(self, app: Flask, settings: Settings, counters: Counters, shared: SharedRedis | None):
        self.app = app
        self.settings = settings
        self.counters = counters
        self.common_headers = api_headers(settings)
        self.writer = Writer(settings)
        self.spool = Spool(settings.data_path / "spool", shared)
        self.recorder = Recorder(settings, shared)
        self.streams: set[OpenStream] = set()  # which a job asks for what they have delivered
        self.health = Health(settings.cooldown_seconds, shared, settings.first_content_timeout_seconds)
        self.lessons = Lessons()
        self.retries = RetryBudget(settings.retries_always)
        self.in_flight = 0
        self.last_minute = LastMinute()
        self.shares = Shares(settings)
        self.refusals = RefusalCounter()
        self.attempt_errors = AttemptErrors()
        self.notes = Notes()
        self.stop_streams_at = math.inf  # monotonic; set when the worker drains
        self.waiting: set[gevent.Greenlet[..., object]] = (
            set()
        )  # greenlets that wait for whole answers, to be told when it has drained
        self.broken_off = 0  # answers that the drain has ended
        self.keys_used: dict[int, datetime.datetime] = {}  # a job writes them to the keys' rows
        self._keys_noted: dict[int, datetime.datetime] = {}  # when it wrote which of them within the last minute
        self.model_lists: dict[object, tuple[object, float, bytes, str]] = {}  # GET /v1/models, by who may see what
        self._callers = Batcher(self._find_callers)
        self._catalogue: Catalogue | None = None
        self._catalogue_number = -1
        self._coming_rows = 0  # of the snapshot that is read, or was read last
        self._outdated_since: float | None = None  # monotonic
        self._reading: gevent.Greenlet[[], Exception | None] | None = None
        self._upstreams: dict[tuple[int, str | None, str | None, str | None], Upstream] = {}

    def let_enter(self) -> None:
        """One more request is here, until it leaves."""
        self.in_flight += 1

    def let_leave(self) -> None:
        """One request has left."""
        self.in_flight -= 1

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
            with self.in_time():  # all who wait share one look: the database has few connections
                caller = self._callers.ask(secret, withdraw=True)
        return caller

    def _find_callers(self, secrets: list[str]) -> Sequence[Caller | Exception]:
        with self.in_time(), self.app.app_context():
            return find_callers(secrets)

    @contextlib.contextmanager
    def in_time(self) -> Iterator[None]:
        """Nobody waits longer than this for a database that says nothing. Raises ServiceUnavailable."""
        with gevent.Timeout(self.settings.database_wait_seconds) as limit:
            try:
                yield
            except gevent.Timeout as timeout:
                if timeout is not limit:
                    raise
                raise ServiceUnavailable("The database can't be reached. You were not charged.") from None

    @property
    def catalogue(self) -> Catalogue:
        """The snapshot in force, read anew when its number has changed or a price takes effect. Of a large one, which
        takes its time to read, the one before it counts for a few seconds more, unless a price in that has ended."""
        known = self._catalogue
        if known is not None and versions.is_fresh() and not self._is_outdated(known):
            return known
        with self.in_time():
            with self.app.app_context():
                versions.ensure_fresh(db.engine)
            while True:
                known = self._catalogue
                if known is not None and not self._is_outdated(known):
                    return known
                if self._await_catalogue(None if known is None else self._patience_seconds()):
                    continue
                if known is not None and self._may_outlast(known):
                    return known
                self._await_catalogue()

    def read_catalogue_ahead(self) -> None:
        """Begin to read the catalogue if it has changed, before a request asks for it."""
        if self._catalogue is not None and self._is_outdated(self._catalogue):
            self._begin_reading()

    def _begin_reading(self) -> "gevent.Greenlet[[], Exception | None]":
        if self._outdated_since is None:
            self._outdated_since = time.monotonic()
        if self._reading is None:
            self._reading = gevent.spawn(self._read_catalogue)
        return self._reading

    def _patience_seconds(self) -> float:
        """How long a request still waits for the next snapshot before it takes the one before it."""
        now = time.monotonic()
        return max(0.0, (self._outdated_since or now) + RELOAD_PATIENCE_SECONDS - now)

    def _may_outlast(self, catalogue: Catalogue) -> bool:
        """Whether this snapshot may be used while the next one is read: one of them is so large that this takes
        long."""
        if max(catalogue.size, self._coming_rows) < LARGE_CATALOGUE or time.time() >= catalogue.changes_at:
            return False
        since = self._outdated_since
        return since is None or time.monotonic() - since < self.settings.database_wait_seconds

    def _await_catalogue(self, patience_seconds: float | None = None) -> bool:
        """Whether it was read once more by then. All that wait share one reading, which ends however long they wait:
        were it given up with them, a large catalogue would never be read. Raises what the reading met."""
        reading = self._begin_reading()
        reading.join(patience_seconds)
        if not reading.ready():
            return False
        if reading.value is not None:
            raise reading.value
        return True

    def _read_catalogue(self) -> Exception | None:
        """Read the catalogue and swap it whole; what went wrong is returned, for all that wait to raise."""
        try:
            with self.app.app_context():
                number, self._coming_rows = versions.number(TOPIC), count_rows()
                catalogue = load_catalogue()
            self._catalogue, self._catalogue_number, self._outdated_since = catalogue, number, None
            self.health.learn(route for model in catalogue.models.values() for route in model.routes)
        except Exception as error:  # noqa: BLE001 - it goes on in all who wait
            log.warning("catalogue_not_read", error=type(error).__name__)
            return error
        finally:
            self._reading = None
        return None

    def name_model(self, asked: str) -> str:
        """The id of the model that has this name or alias in the last snapshot; "" if none has."""
        known = self._catalogue
        if known is None:
            return ""
        return asked if asked in known.models else known.aliases.get(asked, "")

    def list_out(self, model_ids: Iterable[str], account_id: int) -> list[str]:
        """Of these models those that no channel can answer for this account now, as far as this process knows. For
        pages: it reads nothing."""
        models, now = self._catalogue.models if self._catalogue else {}, time.monotonic()
        return [
            model_id
            for model_id in model_ids
            if (model := models.get(model_id)) is not None
            and model.routes
            and all(self.health.seconds_out(route, now, account_id) > 0 for route in model.routes)
        ]

    def _is_outdated(self, catalogue: Catalogue) -> bool:
        """Whether something of it was changed since, or a price that was entered before has taken effect."""
        return versions.number(TOPIC) != self._catalogue_number or time.time() >= catalogue.changes_at

    def upstream(self, route: Route) -> Upstream:
        """The connections to a channel's upstream; opened anew when its address, key or headers have changed. Raises
        AttemptFailed where no master key opens its key: other channels can be asked."""
        name = (route.channel_id, route.base_url, route.sealed_key, route.sealed_wire)
        upstream = self._upstreams.get(name)
        if upstream is None:
            try:
                upstream = self._upstreams[name] = open_channel(route, self.settings)
            except MisconfiguredError:
                raise AttemptFailed(Blame.CREDENTIAL, "none of FERNET_KEYS opens the channel's key") from None
        return upstream

    def note_let_in(self, key_id: int, at: datetime.datetime) -> None:
        """The ledger has set the worst case of a request of this key aside."""
        self.last_minute.let_in()
        self.keys_used[key_id] = at

    def write_keys_used(self, all_of_them: bool = False) -> None:
        """Write when keys were last used: each soon after its first use and then once a minute, for there may be
        thousands a second; or, at the end, all that is known. Needs an app context."""
        now = now_utc()
        self._keys_noted = {key_id: at for key_id, at in self._keys_noted.items() if now - at < KEY_NOTED_FOR}
        due = {key_id: at for key_id, at in self.keys_used.items() if all_of_them or key_id not in self._keys_noted}
        self.keys_used = {key_id: at for key_id, at in self.keys_used.items() if key_id not in due}
        record_use(due)
        self._keys_noted |= dict.fromkeys(due, now)
