"""Gives a kept stream from behind an event on, and goes on with it for as long as it runs, whichever process runs it.

It asks the store again and again, and all readers of a process at the same moments: they share a trip."""

import functools
import time
from collections.abc import Callable, Iterable, Iterator

import gevent
import msgspec

from bridge.errors import BridgeError, MisconfiguredError, ServiceUnavailable
from bridge.resume.recording import number_events
from bridge.resume.store import AWAY, COMPLETE, ENDED, FULL, GONE, LOST, Block, Head, StreamStore, Want
from bridge.vault import DataKey

LOOK_SECONDS = 0.2
REST_IS_LOST = "The rest of this stream is lost: {}. GET /v1/requests/{{id}} says what was charged."
WHY = {
    LOST: "the process that ran it has ended",
    FULL: "there was no room to keep more of it",
    AWAY: "the store of resumable streams was away",
    GONE: "it is no longer kept",
}


class Listener(msgspec.Struct, frozen=True):
    """Who reads a stream, as far as its reader has to know. `has_left`: nobody is there any more. `must_go`: what to
    end with, if this process stops serving. `write_end` makes an error the stream's last event: with its number, and
    all frames before it where it ends the stream for good. `leave` is called once the reader has ended."""

    keepalive: bytes
    keepalive_seconds: float
    has_left: Callable[[], bool]
    must_go: Callable[[], BridgeError | None]
    write_end: Callable[[BridgeError, int, Iterable[bytes]], bytes]
    leave: Callable[[], None]


class Reader:
    """What the server iterates, and closes at the end."""

    def __init__(self, store: StreamStore, request_id: str, head: Head, after: int, listener: Listener):
        self.after = after
        self._store, self._request_id, self._head, self._listener = store, request_id, head, listener
        self._data_key = _open_key(head.data_key)
        self._done = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        listener, silent_since = self._listener, time.monotonic()
        while not self._done:
            if frames := self._look():
                return frames
            if self._done or listener.has_left():
                break
            if (error := listener.must_go()) is not None:
                return self._end(error)
            if time.monotonic() - silent_since >= listener.keepalive_seconds:
                return listener.keepalive
            gevent.sleep(LOOK_SECONDS - time.monotonic() % LOOK_SECONDS)
        raise StopIteration

    def close(self) -> None:
        """Nobody reads any more."""
        self._done = True
        self._listener.leave()

    def _look(self) -> bytes:
        try:
            found = self._store.read(Want(self._request_id, self.after, self._head.owner))
            frames = b"".join([self._read(block) for block in found.blocks])
        except ServiceUnavailable as error:
            return self._end(error)
        except MisconfiguredError:
            return self._end(_explain(GONE))
        if not found.blocks:
            if found.state == GONE:
                return self._end(_explain(GONE))
            self._done = found.state == ENDED
        return frames

    def _read(self, block: Block) -> bytes:
        frames = b""
        if block.sealed:
            frames = self._unseal(block)
            if self.after >= block.first:
                known = self.after + 1 - block.first
                frames = b"".join([event + b"\n\n" for event in frames.split(b"\n\n")[known:-1]])
            self.after = max(self.after, block.last)
        if block.ending == COMPLETE:
            self._done = True
        elif block.ending:
            end = self._end(_explain(block.ending), self._look_back())
            frames += number_events(end, self.after)[0]
        return frames

    def _end(self, error: BridgeError, so_far: Iterable[bytes] = ()) -> bytes:
        """The error as the last event. It has no number where the stream may go on: whoever asks again does so from the
        event before it."""
        self._done = True
        return self._listener.write_end(error, self.after + 1, so_far)

    def _look_back(self) -> Iterator[bytes]:
        """All that was kept, from the beginning."""
        after = 0
        while True:
            blocks = self._store.read(Want(self._request_id, after, self._head.owner)).blocks
            for block in blocks:
                if block.sealed:
                    yield self._unseal(block)
            if not blocks or blocks[-1].ending:
                return
            after = blocks[-1].last

    def _unseal(self, block: Block) -> bytes:
        return self._data_key.unseal(self._head.piece(block.last), block.sealed)


def _explain(reason: str) -> BridgeError:
    return ServiceUnavailable(REST_IS_LOST.format(WHY[reason]))


@functools.lru_cache(maxsize=64)
def _open_key(sealed: str) -> DataKey:
    return DataKey(sealed)
