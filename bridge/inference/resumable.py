"""A stream that goes on when its client leaves, so that it can be read on from anywhere (`x-bridge-resume`).

While the client is there it drives the stream itself, as any other client does. A greenlet takes over once it has left,
or takes nothing for a moment."""

import time
from collections.abc import Callable, Iterable, Iterator

import structlog

from bridge.errors import InvalidRequest
from bridge.inference.ask import Ask
from bridge.inference.attempts import Attempts
from bridge.inference.purchase import Purchase
from bridge.inference.stream import Stream
from bridge.ledger.batch import Mark
from bridge.resume.reader import Reader
from bridge.resume.recording import Recording
from bridge.resume.store import LOST

log = structlog.get_logger()


class Follower:
    """The client of a resumable stream, as the engine sees it. It may come and go: only who ends the request leaves."""

    is_slow = False

    def __init__(self, recording: Recording):
        self._recording = recording

    def has_left(self) -> bool:
        """Whether the request is to end."""
        return self._recording.cancelled

    def close_slow(self) -> None:
        """Nothing: no client keeps the stream waiting."""


class ResumableStream(Stream):
    """See Stream."""

    def __init__(self, ask: Ask, attempts: Attempts, purchase: Purchase):
        super().__init__(ask, attempts, purchase)
        assert ask.recording is not None
        self.recording: Recording = ask.recording

    @property
    def handed(self) -> int:
        """Pieces of the answer's text that are in the frames given so far."""
        return self._handed

    def __next__(self) -> bytes:
        if self.recording.cancelled and not self._purchase.settled:
            return self._cancel()
        try:
            return super().__next__()
        except StopIteration:
            if self.recording.cancelled and not self._purchase.settled:
                return self._cancel()
            raise

    def mark(self) -> Mark | None:
        """See Stream: delivered is what can be read, also when this process is gone."""
        if self.recording.is_kept:
            self._sent = self.recording.kept_pieces
        return super().mark()

    def _cancel(self) -> bytes:
        """What was delivered is charged, as if the client had left; then whoever still reads is told."""
        self.close()
        self._first = b""
        error = InvalidRequest("This request was ended by DELETE /v1/requests/{id}.", code="request_ended")
        return self._write_error(error)


class Resumable:
    """What the server iterates, and closes when the client has left. `frames` are the stream's as its dialect sends
    them; `keepalive` is what among them is no event. `open_reader` reads the stream from behind an event on."""

    def __init__(
        self,
        stream: ResumableStream,
        frames: Iterable[bytes],
        keepalive: bytes,
        recording: Recording,
        open_reader: Callable[[int], Reader],
    ):
        self._stream, self._frames, self._keepalive = stream, iter(frames), keepalive
        self._recording, self._open_reader = recording, open_reader
        self._reader: Reader | None = None
        self._given = 0  # the last event that the client was given
        self._driven = False  # by a greenlet
        self._over = False
        recording.take_over = self._take_over

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._driven:
            if self._reader is None:
                self._reader = self._open_reader(self._given)
            return next(self._reader)
        recording = self._recording
        recording.handed_at = 0.0
        frames = self._step()
        self._given = recording.number
        recording.handed_at = time.monotonic()
        return frames

    def close(self) -> None:
        """The client has all of it, or has left: then the stream goes on without."""
        if self._reader is not None:
            self._reader.close()
        if self._over:
            self._finish()
        else:
            self._take_over()

    def _step(self) -> bytes:
        """The next frames, numbered and to be kept."""
        try:
            frames = next(self._frames)
        except StopIteration:
            self._over = True
            self._recording.end()
            raise
        except BaseException:
            self._over = True
            self._recording.end(LOST)
            raise
        if frames is self._keepalive:
            return frames
        return self._recording.add(frames, self._stream.handed)

    def _take_over(self) -> None:
        if not self._driven and not self._over:
            self._driven, self._recording.handed_at = True, 0.0
            self._recording.drive(self._drive)

    def _drive(self) -> None:
        """Read the upstream to its end. What nobody could read any more is not paid any further."""
        try:
            while self._recording.is_kept:
                self._step()
        except StopIteration:
            pass
        except Exception:
            log.exception("unexpected", request_id=self._recording.request_id)
        finally:
            self._over = True
            self._finish()

    def _finish(self) -> None:
        self._stream.close()
        self._recording.leave()
