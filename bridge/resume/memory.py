"""Resumable streams in the memory of one process."""

import bisect
import time
from collections.abc import Sequence

import msgspec

from bridge.resume.store import (
    CLOSED,
    ENDED,
    FULL,
    GONE,
    HEAD_BYTES,
    KEPT,
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

FORGET_EVERY_SECONDS = 1.0


class _Kept(msgspec.Struct):
    head: Head
    expires_at: float  # monotonic
    headers: Headers = []
    blocks: list[Block] = []
    size: int = HEAD_BYTES

    @property
    def ending(self) -> str:
        return self.blocks[-1].ending if self.blocks else ""


class MemoryStore:
    """See StreamStore. What it keeps ends with its process, which owns all of it."""

    def __init__(self, bounds: Bounds):
        self._bounds = bounds
        self._streams: dict[str, _Kept] = {}
        self._sizes: dict[int, int] = {}  # of what is kept for each account
        self._size = 0
        self._cancelled: list[str] = []
        self._forget_at = 0.0

    def open(self, request_id: str, head: Head) -> None:
        self._forget_expired()
        bounds = self._bounds
        if self._sizes.get(head.account_id, 0) + HEAD_BYTES > bounds.most_account_bytes:
            raise bounds.refuse_account(self._soonest(head.account_id))
        if self._size + HEAD_BYTES > bounds.most_bytes:
            raise bounds.refuse_all(self._soonest())
        self._streams[request_id] = _Kept(head, time.monotonic() + bounds.running_seconds)
        self._count(head.account_id, HEAD_BYTES)

    def drop(self, request_id: str, account_id: int) -> None:
        if (kept := self._streams.pop(request_id, None)) is not None:
            self._count(account_id, -kept.size)

    def write(self, owner: str, appends: Sequence[Append]) -> Written:
        self._forget_expired()
        cancelled, self._cancelled = self._cancelled, []
        return Written([self._append(append) for append in appends], cancelled)

    def find(self, request_id: str) -> tuple[Head, Headers] | None:
        kept = self._look_up(request_id)
        return None if kept is None else (kept.head, kept.headers)

    def read(self, want: Want) -> Found:
        kept = self._look_up(want.request_id)
        if kept is None:
            return Found((), GONE)
        start = bisect.bisect_right(kept.blocks, want.after, key=lambda block: block.last)
        if kept.ending and start == len(kept.blocks) and kept.blocks[-1].last < kept.blocks[-1].first:
            start -= 1  # it has no event, and yet it is behind all of them
        blocks = kept.blocks[start : start + MOST_BLOCKS]
        return Found(blocks, ENDED if kept.ending else RUNNING)

    def cancel(self, request_id: str, owner: str) -> None:
        self._cancelled.append(request_id)

    def close(self) -> None:
        self._streams.clear()

    def _append(self, append: Append) -> str:
        kept, bounds, block = self._look_up(append.request_id), self._bounds, append.block
        if kept is None:
            return GONE
        if kept.ending:
            return CLOSED
        kept.expires_at = time.monotonic() + (bounds.kept_seconds if block.ending else bounds.running_seconds)
        if append.headers:
            kept.headers = append.headers
        used = self._sizes.get(append.account_id, 0)
        full = used + block.size > bounds.most_account_bytes or self._size + block.size > bounds.most_bytes
        if full and block.sealed:
            kept.blocks.append(Block(block.first, block.first - 1, b"", FULL))
            kept.expires_at = time.monotonic() + bounds.kept_seconds
            return FULL
        kept.blocks.append(block)
        kept.size += block.size
        self._count(append.account_id, block.size)
        return KEPT

    def _look_up(self, request_id: str) -> _Kept | None:
        kept = self._streams.get(request_id)
        return kept if kept is not None and kept.expires_at > time.monotonic() else None

    def _count(self, account_id: int, more: int) -> None:
        self._size += more
        size = self._sizes.get(account_id, 0) + more
        if size > 0:
            self._sizes[account_id] = size
        else:
            self._sizes.pop(account_id, None)

    def _soonest(self, account_id: int | None = None) -> float:
        """Seconds until something is forgotten."""
        found = [kept.expires_at for kept in self._streams.values() if account_id in (None, kept.head.account_id)]
        return max(1.0, min(found, default=0.0) - time.monotonic())

    def _forget_expired(self) -> None:
        now = time.monotonic()
        if now < self._forget_at:
            return
        self._forget_at = now + FORGET_EVERY_SECONDS
        for request_id in [each for each, kept in self._streams.items() if kept.expires_at <= now]:
            self.drop(request_id, self._streams[request_id].head.account_id)
