"""Takes in what an upstream streams, and gives its bytes as frames for the client, until its answer has ended.

An answer has ended when it has said how each choice ended. What follows, its counts and an end mark, is waited for only
a moment, and not missed where it stays away."""

import time
from collections.abc import Callable, Iterator
from typing import Protocol

from bridge.inference.overrun import Cut, Overrun, keep_none
from bridge.providers.base import AttemptFailed, Blame, StreamReader
from bridge.providers.recast import BLANKS, begins_json, skip_prologue
from bridge.turns import LARGE_BYTES, by_size, rest

TICK_SECONDS = 1.0  # how often a silent upstream lets us look at the client, the clock and the drain


class Readable(Protocol):
    """The body of an upstream's answer."""

    def read_some(self, timeout_seconds: float) -> bytes | None: ...


class Intake:
    """Takes in one upstream's stream. `reader` is replaced once the answer turns out to be JSON: `open_json` makes the
    new one. `received` counts the bytes that have come."""

    __slots__ = ("_comment", "_end_seconds", "_open_json", "_overrun", "_read_up_to", "reader", "received")

    def __init__(
        self,
        reader: StreamReader,
        open_json: Callable[[], StreamReader] | None = None,
        end_seconds: float = 3.0,
        most_tokens: int | None = None,
        cut: Cut = keep_none,
    ):
        self.reader = reader
        self.received = self._read_up_to = 0
        self._open_json = open_json
        self._comment = b""  # how one begins that has not ended yet, before the answer
        self._end_seconds = end_seconds
        self._overrun = Overrun(most_tokens, cut)

    def frames(self, answer: Readable) -> Iterator[bytes]:
        """The frames as they come; b"" for bytes without any, and for each moment of silence. Raises AttemptFailed for
        an answer that has no end."""
        reader, overrun, rest_at = self.reader, self._overrun, LARGE_BYTES
        while not reader.ended:
            cut = None
            try:
                data = answer.read_some(TICK_SECONDS)
            except AttemptFailed as failure:
                cut, data = failure, b""
            if data:
                if not self.received:
                    reader, data = self._choose_reader(data)
                self.received += len(data)
                frames = self._feed(reader, data)
                if self.received > rest_at:  # a read that needn't wait gives nobody else a turn
                    rest()
                    rest_at = self.received + LARGE_BYTES
            elif data is None:
                frames = by_size(self.received, reader.pause)
            else:
                frames = self._end_reading(cut)
            if frames and not data:
                overrun.look_soon()  # they may have been kept back since long
            if self.received > overrun.look_at:
                yield from overrun.look(reader.text, frames, self.received)
            else:
                yield frames
        for frames in self._await_rest(answer):
            yield from overrun.look(reader.text, frames, self.received)

    def _feed(self, reader: StreamReader, data: bytes) -> bytes:
        """The frames of these bytes. What has come since the last frames may be one event, which is read with its last
        byte."""
        frames = by_size(self.received - self._read_up_to, reader.feed, data)
        if frames:
            self._read_up_to = self.received
        return frames

    def _choose_reader(self, data: bytes) -> tuple[StreamReader, bytes]:
        """The reader for an answer that begins like this, and that beginning, of which blanks and comments are none."""
        if self._open_json is None:
            return self.reader, data
        data = self._comment + data
        rest = skip_prologue(data)
        line = data[max(data.rfind(b"\n"), data.rfind(b"\r")) + 1 :].lstrip(BLANKS)
        self._comment = b"" if rest else line[:1]  # whatever it says, and however long
        if begins_json(rest):
            self.reader = self._open_json()
        return self.reader, rest

    def _end_reading(self, cut: AttemptFailed | None) -> bytes:
        """The body has ended, or was cut: the last frames, if the answer was whole. Raises AttemptFailed."""
        failure = cut or AttemptFailed(Blame.UPSTREAM, "the stream ended without an end")
        try:
            frames = by_size(self.received, self.reader.end)
        except AttemptFailed as unreadable:
            raise cut or unreadable from None
        if not self.reader.ended:
            failure.frames = frames
            raise failure
        return frames

    def _await_rest(self, answer: Readable) -> Iterator[bytes]:
        """What follows the answer's end, for as long as it may take."""
        reader, until = self.reader, time.monotonic() + self._end_seconds
        while not reader.finished and (left := until - time.monotonic()) > 0:
            try:
                data = answer.read_some(min(left, TICK_SECONDS))
            except AttemptFailed:
                break  # nothing but the end mark was cut off
            if data:
                self.received += len(data)
                yield reader.feed(data)
            elif data is None:
                yield reader.pause()
            else:
                break
        yield reader.end()
