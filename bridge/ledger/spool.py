"""Settlements that the database couldn't take: on disk, and in Redis where there is one, until they are applied, once.

The end of an answer doesn't wait for a database that is away. What is to be charged is written down and synced first;
every worker applies all that it finds before it sweeps, other workers' too: else the sweep of whoever sees the database
back first would end the holds that the others' spools pay for. Settling twice changes nothing, so a line may be found
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

from bridge.ledger.batch import Settlement, as_row
from bridge.ledger.idempotency import Claim

REDIS_LIST = "bridge:spool"
REDIS_WAIT_SECONDS = 2.0
log = structlog.get_logger()


class Spooled(Settlement):
    """A settlement, and what is given again to whoever asks under the same Idempotency-Key."""

    account_id: int = 0
    idempotency_key: str = ""
    sealed: str = ""

    @property
    def claim(self) -> Claim:
        return Claim(self.account_id, self.idempotency_key, self.request_id)


_decode = msgspec.json.Decoder(Spooled).decode
Apply = Callable[[Spooled], None]


class Spool:
    """One file a process, locked while it lives and opened on first use. Anyone may apply it; while its process lives,
    nobody else removes it."""

    def __init__(self, folder: Path, redis_url: str):
        self._folder = folder
        self._redis_url = redis_url
        self._redis: redis.Redis | None = None
        self._file: IO[bytes] | None = None
        self._one_at_a_time = BoundedSemaphore()

    def add(self, settlement: Settlement, claim: Claim | None = None, sealed: str = "") -> bool:
        """Write it down, synced, before this returns, with the answer that is kept for its Idempotency-Key. False where
        neither disk nor Redis took it: the loss is ours."""
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

    def apply(self, settle: Apply) -> int:
        """Hand every settlement found to `settle`, and return how many. What it raises ends the round: the rest stays.

        Costs a look into a folder where there is nothing to do."""
        self.close()  # whose file it was no longer matters: the next settlement opens another
        done = 0
        for path in sorted(self._folder.glob("*.jsonl")) if self._folder.is_dir() else ():
            done += _apply_file(path, settle)
        return done + self._apply_redis(settle)

    def close(self) -> None:
        """Let go of the file, so that whoever comes first may apply it."""
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

    # the copy in Redis, for machines whose disk is gone with them

    def _push(self, line: bytes) -> bool:
        if not self._redis_url:
            return False
        try:
            self._client().rpush(REDIS_LIST, line)
        except redis.RedisError as error:
            log.warning("spool_not_in_redis", error=type(error).__name__)
            return False
        return True

    def _apply_redis(self, settle: Apply) -> int:
        if not self._redis_url:
            return 0
        done = 0
        try:
            client: Any = self._client()
            while (line := client.lindex(REDIS_LIST, 0)) is not None:
                _apply_line(line, settle)
                client.lrem(REDIS_LIST, 1, line)  # after it was settled: a worker that dies here loses nothing
                done += 1
        except redis.RedisError:
            pass  # the counters say that Redis is away; the disk has them as well
        return done

    def _client(self) -> redis.Redis:
        if self._redis is None:
            self._redis = redis.Redis.from_url(
                self._redis_url, socket_timeout=REDIS_WAIT_SECONDS, socket_connect_timeout=REDIS_WAIT_SECONDS
            )
        return self._redis


def _open_new(folder: Path) -> IO[bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / f"{os.getpid()}-{secrets.token_hex(8)}.jsonl").open("ab")
    fcntl.flock(file, fcntl.LOCK_EX)
    handle = os.open(folder, os.O_RDONLY)  # the name, too, has to survive a crash
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    return file


def _apply_file(path: Path, settle: Apply) -> int:
    """Settle each line, then remove the file, unless its process lives: that removes it when it has settled the same
    lines. A worker that is killed in between leaves the file whole, and nothing is done twice."""
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
    try:
        settlement = _decode(line)
    except msgspec.MsgspecError:  # the machine went down while it was written
        log.error("spool_line_unreadable", bytes=len(line))
        return
    settle(settlement)
