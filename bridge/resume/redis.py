"""Resumable streams in Redis: any process reads what another has kept, also when that one is gone.

Requests that wait at the same moment share a trip, so a thousand readers need one connection. A stream whose process no
longer renews its lease was lost with it: the first reader that looks ends it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import redis

from bridge.batcher import Batcher
from bridge.errors import BridgeError, ServiceUnavailable
from bridge.resume.store import (
    ENDED,
    GONE,
    HEAD_BYTES,
    MOST_BLOCKS,
    RUNNING,
    Append,
    Block,
    Bounds,
    Found,
    Head,
    Headers,
    Want,
    Written,
)
from bridge.shared_redis import SharedRedis, log_redis_away

WAIT_SECONDS = 2.0
HEAD, HEADERS = b"0-1", b"0-2"
FOLDER = Path(__file__).parent
Opening = tuple[str, Head]
Result = TypeVar("Result")
_decode_head = msgspec.json.Decoder(Head).decode
_decode_headers = msgspec.json.Decoder(Headers).decode


class RedisStore:
    """See StreamStore."""

    def __init__(self, shared: SharedRedis, bounds: Bounds):
        self._shared, self._bounds = shared, bounds
        self._client = shared.connect(WAIT_SECONDS)
        self._open_all, self._drop_one = self._register("open"), self._register("drop")
        self._write_all, self._read_all = self._register("write"), self._register("read")
        self._openings: Batcher[Opening, BridgeError | None] = Batcher(self._run_openings)
        self._wants: Batcher[Want, Found] = Batcher(self._run_wants)
        self._finds: Batcher[str, tuple[Head, Headers] | None] = Batcher(self._run_finds)

    def open(self, request_id: str, head: Head) -> None:
        refusal = self._ask(lambda: self._openings.ask((request_id, head)))
        if refusal is not None:
            raise refusal

    def drop(self, request_id: str, account_id: int) -> None:
        self._ask(lambda: self._call(self._drop_one, (request_id, account_id)))

    def write(self, owner: str, appends: Sequence[Append]) -> Written:
        bounds = self._bounds
        head = [owner, *map(_in_ms, (bounds.lease_seconds, bounds.running_seconds, bounds.kept_seconds))]
        sent: list[Any] = [*head, bounds.most_bytes, bounds.most_account_bytes]
        for append in appends:
            block = append.block
            headers = b"" if append.headers is None else msgspec.json.encode(append.headers)
            sent += (append.request_id, append.account_id, block.first, block.last, block.sealed, block.ending)
            sent += (headers, block.size)
        states, cancelled = self._ask(lambda: self._call(self._write_all, sent))
        return Written([state.decode() for state in states], [request_id.decode() for request_id in cancelled])

    def find(self, request_id: str) -> tuple[Head, Headers] | None:
        return self._ask(lambda: self._finds.ask(request_id))

    def read(self, want: Want) -> Found:
        return self._ask(lambda: self._wants.ask(want))

    def cancel(self, request_id: str, owner: str) -> None:
        def run() -> None:
            name = self._shared.key(f"resume-cancel:{owner}")
            with self._client.pipeline(transaction=False) as pipeline:
                pipeline.rpush(name, request_id)
                pipeline.pexpire(name, _in_ms(self._bounds.running_seconds))
                pipeline.execute()

        self._ask(run)

    def close(self) -> None:
        self._client.close()

    def _register(self, name: str) -> Any:
        return self._client.register_script((FOLDER / "sizes.lua").read_text() + (FOLDER / f"{name}.lua").read_text())

    def _call(self, script: Any, arguments: Sequence[Any]) -> Any:
        return script(args=[self._shared.key(""), *arguments])

    def _key(self, request_id: str) -> str:
        return self._shared.key(f"resume:{request_id}")

    def _ask(self, run: Callable[[], Result]) -> Result:
        try:
            return run()
        except redis.RedisError as error:
            log_redis_away(error)
            raise ServiceUnavailable(
                "The store of resumable streams can't be reached: wait, or ask without x-bridge-resume."
            ) from None

    def _run_openings(self, openings: list[Opening]) -> list[BridgeError | None]:
        bounds = self._bounds
        sent: list[Any] = [_in_ms(bounds.running_seconds), openings[0][1].owner, _in_ms(bounds.lease_seconds)]
        sent += (bounds.most_bytes, bounds.most_account_bytes, HEAD_BYTES)
        for request_id, head in openings:
            sent += (request_id, head.account_id, msgspec.json.encode(head))
        return [self._read_refusal(answer) for answer in self._call(self._open_all, sent)]

    def _read_refusal(self, answer: Any) -> BridgeError | None:
        if not answer:
            return None
        full, wait_ms = answer
        refuse = self._bounds.refuse_account if full == b"account" else self._bounds.refuse_all
        return refuse(int(wait_ms) / 1000)

    def _run_wants(self, wants: list[Want]) -> list[Found]:
        sent: list[Any] = [_in_ms(self._bounds.kept_seconds), MOST_BLOCKS]
        for want in wants:
            sent += (want.request_id, want.after, want.owner)
        return [_read_found(answer) for answer in self._call(self._read_all, sent)]

    def _run_finds(self, request_ids: list[str]) -> list[tuple[Head, Headers] | None]:
        with self._client.pipeline(transaction=False) as pipeline:
            for request_id in request_ids:
                pipeline.xrange(self._key(request_id), HEAD.decode(), HEADERS.decode())
            return [_read_head(entries) for entries in pipeline.execute()]


def _in_ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _read_found(answer: Any) -> Found:
    if isinstance(answer, bytes):
        return Found((), {b"gone": GONE, b"ended": ENDED}.get(answer, RUNNING))
    return Found([_read_block(entry_id, fields) for entry_id, fields in answer])


def _read_block(entry_id: bytes, fields: list[bytes]) -> Block:
    first, sealed, ending = int(fields[1]), fields[3], fields[5].decode()
    last = int(entry_id.partition(b"-")[0]) if sealed else first - 1
    return Block(first, last, sealed, ending)


def _read_head(entries: list[tuple[bytes, dict[bytes, bytes]]]) -> tuple[Head, Headers] | None:
    found = dict(entries)
    if HEAD not in found:
        return None
    headers = found.get(HEADERS)
    return _decode_head(found[HEAD][b"h"]), _decode_headers(headers[b"h"]) if headers else []
