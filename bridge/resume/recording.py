"""Numbers the events of resumable streams and keeps them. One greenlet of a process writes what all of them have said
since the last time: a chunk never costs a trip of its own."""

import contextlib
import itertools
import secrets
import time
from collections.abc import Callable

import gevent
import structlog
from gevent.event import Event

from bridge.config import Settings
from bridge.errors import InvalidRequest, ServiceUnavailable
from bridge.resume.memory import MemoryStore
from bridge.resume.redis import RedisStore
from bridge.resume.store import AWAY, COMPLETE, KEPT, LOST, Append, Block, Bounds, Head, Headers, StreamStore
from bridge.shared_redis import SharedRedis
from bridge.vault import DataKey

HEADER = "x-bridge-resume"
FLUSH_SECONDS = 0.2
HURRY_SECONDS = 0.02  # for a stream's end; others that end meanwhile go along
SAY_EVERY_SECONDS = 0.5  # that this process lives; it hears then which requests are to end
MOST_AT_ONCE = 64  # blocks in one trip
MOST_WAITING_BYTES = 4 * 2**20  # of a stream, while the store is away
STALLED_SECONDS = 0.5
log = structlog.get_logger()


_FIELDS = [b"\n\nid: %d\n" % number for number in range(4096)]  # of most streams all that they need


def number_events(frames: bytes, number: int) -> tuple[bytes, int]:
    """The same events, each with the next number as its id, and the last one's number."""
    if frames.find(b"\n\n") == len(frames) - 2:
        return b"id: %d\n%b" % (number + 1, frames), number + 1
    events = frames.split(b"\n\n")
    events.pop()
    first, last = number + 1, number + len(events)
    parts = [b"\n\n"] * (2 * len(events) + 1)  # whose slices are quicker to fill than each event is to write
    parts[:-1:2] = _FIELDS[first : last + 1] if last < len(_FIELDS) else _write_fields(first, last)
    parts[1::2] = events
    return b"".join(parts)[2:], last


def _write_fields(first: int, last: int) -> list[bytes]:
    return [b"\n\nid: %d\n" % number for number in range(first, last + 1)]


class Recording:
    """The events of one stream on their way to the store. `number` is that of the last one.

    Whoever drives the stream calls `add` and `end`; the recorder calls the rest."""

    def __init__(self, recorder: "Recorder", request_id: str, head: Head, data_key: DataKey):
        self.request_id, self.head = request_id, head
        self.number = 0
        self.kept_pieces = 0  # of the answer's text, in those events that the store has
        self.headers: Headers | None = None  # of the answer, until they are kept
        self.handed_at = 0.0  # monotonic, while the client is given something
        self.take_over: Callable[[], None] | None = None  # goes on without the client
        self.cancelled = False  # somebody wants the request to be ended
        self.is_kept = True  # all of it, so far
        self.is_closed = False  # the store takes no more of it
        self.over = False  # nobody drives it any more
        self._recorder, self._data_key = recorder, data_key
        self._pieces = 0
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._ending = ""
        self._sent: tuple[Append, int] | None = None  # on its way, with the pieces up to its end
        self._last_sent = 0

    def add(self, frames: bytes, pieces: int) -> bytes:
        """Number these events, and have them kept."""
        numbered, self.number = number_events(frames, self.number)
        self._pieces = pieces
        if self.is_kept:
            self._waiting.append(numbered)
            self._waiting_bytes += len(numbered)
        return numbered

    def end(self, ending: str = COMPLETE) -> None:
        """There are no more events. The first call counts."""
        self._ending = self._ending or ending
        self._recorder.hurry()

    def leave(self) -> None:
        """Nobody drives it any more."""
        self.end(LOST)  # unless it has ended
        self.over = True

    def drive(self, run: Callable[[], None]) -> None:
        """Have its stream driven without a client."""
        self._recorder.drive(run)

    def drop(self) -> None:
        """Forget it: its request was refused, or failed before its first event."""
        self._recorder.drop(self)

    # what the recorder calls

    def is_stalled(self, now: float) -> bool:
        """Whether the client takes nothing, so that somebody else has to go on."""
        return bool(self.handed_at) and now - self.handed_at > STALLED_SECONDS

    def take(self) -> Append | None:
        """What is to be kept next: the same again until it has arrived."""
        if self._sent is None:
            if self.is_closed:
                return None
            data, self._waiting, self._waiting_bytes = b"".join(self._waiting), [], 0
            if not data and not self._ending:
                return None
            first, last = self._last_sent + 1, self.number if data else self._last_sent
            sealed = self._data_key.seal(self.head.piece(last), data) if data else b""
            self._send(Block(first, last, sealed, self._ending), self._pieces)
            assert self._sent is not None
        return self._sent[0]

    def arrived(self, append: Append, state: str) -> None:
        """What became of it."""
        if self._sent is None or self._sent[0] is not append:
            return
        pieces, self._sent = self._sent[1], None
        if state == KEPT:
            self.kept_pieces, self._last_sent, self.headers = pieces, append.block.last, None
            self.is_closed = bool(append.block.ending)
        else:
            log.warning("stream_not_kept", request_id=self.request_id, state=state)
            self._give_up()
            self.is_closed = True

    def keep_no_more(self) -> None:
        """The store was away for too long: what it has is closed once it is back."""
        log.warning("stream_not_kept", request_id=self.request_id, state=AWAY)
        self._give_up()
        self._send(Block(self._last_sent + 1, self._last_sent, b"", AWAY), self.kept_pieces)

    @property
    def waits_for_too_much(self) -> bool:
        return self._waiting_bytes > MOST_WAITING_BYTES

    def _send(self, block: Block, pieces: int) -> None:
        self._sent = Append(self.request_id, self.head.account_id, block, self.headers), pieces

    def _give_up(self) -> None:
        self.is_kept, self._waiting, self._waiting_bytes = False, [], 0


class Recorder:
    """All recordings of this process, and the store that they go to. It opens nothing before its first use, so that it
    may be made before a fork."""

    def __init__(self, settings: Settings, shared: SharedRedis | None):
        self._bounds = Bounds.of(settings)
        self._store = _open_store(settings, shared, self._bounds)
        self._owner = ""
        self._data_key: DataKey | None = None  # of this process
        self._serials = itertools.count()
        self._running: dict[str, Recording] = {}
        self._drivers: set[gevent.Greenlet[[], None]] = set()
        self._wake = Event()
        self._greenlet: gevent.Greenlet[[], None] | None = None
        self._reached_at = 0.0  # monotonic, when the store last answered
        self._said_at = 0.0  # and when it was last told that we live

    @property
    def store(self) -> StreamStore:
        """Raises InvalidRequest where there is none."""
        if self._store is None:
            raise InvalidRequest(
                f"This gateway can't keep streams to go on with: leave {HEADER} out.",
                param=HEADER,
                code="unsupported_parameter",
            )
        return self._store

    def open(self, request_id: str, account_id: int, endpoint: str, model: str) -> Recording:
        """Begin to keep a stream. Raises InvalidRequest, RateLimitExceeded, Overloaded and ServiceUnavailable."""
        store = self.store
        if self._data_key is None:
            self._owner, self._data_key = secrets.token_hex(8), DataKey()
        head = Head(account_id, self._owner, endpoint, model, self._data_key.sealed, next(self._serials))
        store.open(request_id, head)
        recording = self._running[request_id] = Recording(self, request_id, head, self._data_key)
        if self._greenlet is None:
            self._reached_at = time.monotonic()
            self._greenlet = gevent.spawn(self._serve)
        return recording

    def drop(self, recording: Recording) -> None:
        """Forget a recording that never began."""
        recording.over = True
        self._running.pop(recording.request_id, None)
        with contextlib.suppress(ServiceUnavailable):  # it expires by itself
            self.store.drop(recording.request_id, recording.head.account_id)

    def drive(self, run: Callable[[], None]) -> None:
        """Go on with a stream that nobody reads here, in a greenlet that a worker which stops waits for."""
        driver = gevent.spawn(run)
        self._drivers.add(driver)
        driver.link(self._drivers.discard)

    def is_busy(self) -> bool:
        """Whether streams go on without a client."""
        return bool(self._drivers)

    def hurry(self) -> None:
        """Write soon."""
        self._wake.set()

    def close(self) -> None:
        """Write what is left, and close the store."""
        if self._store is not None:
            if self._running:
                self._flush()
            self._store.close()

    def _serve(self) -> None:
        while self._running:
            if self._wake.wait(FLUSH_SECONDS):
                gevent.sleep(HURRY_SECONDS)
            self._wake.clear()
            try:
                self._flush()
            except Exception:
                log.exception("streams_not_kept")
        self._greenlet = None

    def _flush(self) -> None:
        running, now = list(self._running.values()), time.monotonic()
        for recording in running:
            if recording.take_over is not None and recording.is_stalled(now):
                recording.take_over()
        batch: list[tuple[Recording, Append]] = []
        try:
            for recording in running:
                if (append := recording.take()) is not None:
                    batch.append((recording, append))
                if len(batch) == MOST_AT_ONCE:
                    self._write(batch)
                    batch = []
            if batch or now - self._said_at >= SAY_EVERY_SECONDS:
                self._write(batch)
        except ServiceUnavailable:
            self._go_without(running)
        for recording in running:
            if recording.over and recording.is_closed:
                self._running.pop(recording.request_id, None)

    def _write(self, batch: list[tuple[Recording, Append]]) -> None:
        written = self.store.write(self._owner, [append for _, append in batch])
        self._reached_at = self._said_at = time.monotonic()
        for (recording, append), state in zip(batch, written.states, strict=True):
            recording.arrived(append, state)
        for request_id in written.cancelled:
            if (found := self._running.get(request_id)) is not None:
                found.cancelled = True

    def _go_without(self, running: list[Recording]) -> None:
        """The store is away. Its readers take this process for dead once its lease has ended, so nothing is kept from
        then on; what is kept is closed once the store is back."""
        away_seconds = time.monotonic() - self._reached_at
        for recording in running:
            too_long = away_seconds > self._bounds.lease_seconds or recording.waits_for_too_much
            if recording.is_kept and not recording.is_closed and too_long:
                recording.keep_no_more()
            if recording.over and away_seconds > self._bounds.kept_seconds:
                self._running.pop(recording.request_id, None)


def _open_store(settings: Settings, shared: SharedRedis | None, bounds: Bounds) -> StreamStore | None:
    """Redis, or memory where one process serves all; None where a reader could come to another process in vain."""
    if not settings.max_resume_bytes:
        return None
    if shared is not None:
        return RedisStore(shared, bounds)
    return MemoryStore(bounds) if settings.workers == 1 else None
