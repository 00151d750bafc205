"""Spools settlements while the database is away: on disk, and in Redis if there is one, until each is applied once.

The end of an answer doesn't wait for a database that is away. Its settlement is written and synced instead. Every
worker applies all spools that it finds, those of other workers too, before it sweeps: otherwise the first sweep would
end holds whose settlements wait in another worker's spool. Settling twice changes nothing, so a line may be found
twice."""

import fcntl
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import msgspec
import redis
import structlog
from gevent import get_hub
from gevent.lock import BoundedSemaphore

from bridge.errors import ServiceUnavailable
from bridge.ledger.batch import Settlement, as_row
from bridge.ledger.idempotency import Claim
from bridge.shared_redis import SharedRedis

REDIS_LIST = "spool"
OLD_REDIS_LIST = "bridge:spool"  # of versions without a prefix: all gateways on one Redis shared it
MOST_OLD = 1000
REDIS_WAIT_SECONDS = 2.0
log = structlog.get_logger()


class Spooled(Settlement):
    """A settlement, with the answer that is kept for its Idempotency-Key."""

    account_id: int = 0
    idempotency_key: str = ""
    sealed: str = ""

    @property
    def claim(self) -> Claim:
        return Claim(self.account_id, self.idempotency_key, self.request_id)


_decode = msgspec.json.Decoder(Spooled).decode
Apply = Callable[[Spooled], None]
FindOurs = Callable[[list[Spooled]], set[str]]


class Spool:
    """One file per process, locked while the process lives and opened on first use. Any process may apply it; only its
    own removes it while that lives."""

    def __init__(self, folder: Path, shared: SharedRedis | None):
        self._folder = folder
        self._shared = shared
        self._redis: redis.Redis | None = None
        self._file: IO[bytes] | None = None
        self._one_at_a_time = BoundedSemaphore()

    def add(self, settlement: Settlement, claim: Claim | None = None, sealed: str = "") -> bool:
        """Write the settlement, synced, before this returns, with the answer that is kept for its Idempotency-Key.
        False if neither disk nor Redis took it: the loss is ours."""
        spooled = Spooled(**as_row(settlement))
        if claim is not None:
            spooled.account_id, spooled.idempotency_key, spooled.sealed = claim.account_id, claim.key, sealed
        line = msgspec.json.encode(spooled) + b"\n"
        with self._one_at_a_time:
            on_disk = get_hub().threadpool.apply(self._append, (line,))
        in_redis = self._push(line)
        if not on_disk and not in_redis:
            log.error("settlement_lost", request_id=settlement.request_id, price_nanos=settlement.price_nanos)
        return bool(on_disk or in_redis)

    def apply(self, settle: Apply, find_ours: FindOurs) -> int:
        """Pass every settlement to `settle`, and return how many there were. If `settle` raises, the round ends and the
        rest stays. `find_ours` says which requests are known here, of those that may be another gateway's.

        If there is nothing to do, this costs one look into a folder."""
        self.close()  # any process may apply our file now: the next settlement opens another
        done = 0
        for path in sorted(self._folder.glob("*.jsonl")) if self._folder.is_dir() else ():
            done += _apply_file(path, settle)
        return done + self._apply_redis(settle, find_ours)

    def close(self) -> None:
        """Close and unlock the file, so that any process may apply it."""
        with self._one_at_a_time:
            file, self._file = self._file, None
            if file is not None:
                file.close()

    def _append(self, line: bytes) -> bool:
        try:
            if self._file is None:
                self._file = _open_new(self._folder)
            self._file.write(line)
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            log.error("spool_not_written", error=type(error).__name__)
            return False
        return True

    # the copy in Redis, for machines that lose their disk

    def _push(self, line: bytes) -> bool:
        if self._shared is None:
            return False
        try:
            self._client(self._shared).rpush(self._shared.key(REDIS_LIST), line)
        except redis.RedisError as error:
            log.warning("spool_not_in_redis", error=type(error).__name__)
            return False
        return True

    def _apply_redis(self, settle: Apply, find_ours: FindOurs) -> int:
        if self._shared is None:
            return 0
        if not self._shared.prefix:  # what waits there must be settled before anything is swept
            raise ServiceUnavailable("The spool in Redis can't be read yet.")
        done = 0
        try:
            client: Any = self._client(self._shared)
            ours = self._shared.key(REDIS_LIST)
            while (line := client.lindex(ours, 0)) is not None:
                _apply_line(line, settle)
                client.lrem(ours, 1, line)  # after settling it: a worker that dies here loses nothing
                done += 1
            done += _apply_old(client, settle, find_ours)
        except redis.RedisError:
            pass  # the counters say that Redis is away; the disk has them as well
        return done

    def _client(self, shared: SharedRedis) -> redis.Redis:
        if self._redis is None:
            self._redis = shared.connect(REDIS_WAIT_SECONDS)
        return self._redis


def _apply_old(client: Any, settle: Apply, find_ours: FindOurs) -> int:
    """Settle what a version without a prefix has left, also while its last workers finish during a deploy. Settlements
    of other gateways' requests stay."""
    done = start = 0
    while lines := client.lrange(OLD_REDIS_LIST, start, start + MOST_OLD - 1):
        found = [(line, spooled) for line in lines if (spooled := _read(line))]
        ours = find_ours([spooled for _, spooled in found]) if found else set()
        for line, spooled in found:
            if spooled.request_id in ours:
                settle(spooled)
                client.lrem(OLD_REDIS_LIST, 1, line)
                done += 1
                start -= 1
        start += len(lines)
    return done


def _open_new(folder: Path) -> IO[bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / f"{os.getpid()}-{secrets.token_hex(8)}.jsonl").open("ab")
    fcntl.flock(file, fcntl.LOCK_EX)
    handle = os.open(folder, os.O_RDONLY)  # the file's name must survive a crash too
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    return file


def _apply_file(path: Path, settle: Apply) -> int:
    """Settle each line, then remove the file. If its process lives, that process removes it after settling the same
    lines. If a worker is killed in between, the file stays whole, and nothing is done twice."""
    try:
        file = path.open("rb")
    except OSError:
        return 0
    with file:
        ours = _lock(file)
        lines = file.readlines()
        if not ours and lines and not lines[-1].endswith(b"\n"):
            lines.pop()  # it is being written
        for line in lines:
            _apply_line(line, settle)
        if ours:
            path.unlink(missing_ok=True)
    return len(lines)


def _lock(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _apply_line(line: bytes, settle: Apply) -> None:
    settlement = _read(line)
    if settlement is None:  # the machine crashed while it was written
        log.error("spool_line_unreadable", bytes=len(line))
        return
    settle(settlement)


def _read(line: bytes) -> Spooled | None:
    try:
        return _decode(line)
    except msgspec.MsgspecError:
        return None
