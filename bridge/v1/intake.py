"""What comes from an upstream while it streams: its bytes, as frames for the client, until its answer has ended.

An answer has ended when it has said so: how each choice ended is enough. What follows then, the counts and an end
mark, is waited for a moment only, and not missed where it stays away."""

import time
from collections.abc import Callable, Iterator
from typing import Any

from bridge.providers.base import AttemptFailed, Blame, StreamReader
from bridge.providers.recast import begins_json, skip_prologue
from bridge.v1.overrun import Overrun

TICK_SECONDS = 1.0  # how often a silent upstream lets us look at the client, the clock and the drain


class Intake:
    """One stream of an upstream. `reader` is another one once the answer shows to be JSON: `open_json` makes it.
    `received` are the bytes that have come."""

    __slots__ = ("_comment", "_end_seconds", "_open_json", "_overrun", "reader", "received")

    def __init__(
        self,
        reader: Any,
        open_json: Callable[[], StreamReader] | None = None,
        end_seconds: float = 3.0,
        most_tokens: int | None = None,
    ):
        self.reader: Any = reader
        self.received = 0
        self._open_json = open_json
        self._comment = b""  # of one before the answer: what has come of its last line
        self._end_seconds = end_seconds
        self._overrun = Overrun(most_tokens)

    def frames(self, answer: Any) -> Iterator[bytes]:
        """The frames as they come; b"" for bytes without any, and for each moment of silence. Raises AttemptFailed for
        an answer that has no end."""
        reader, overrun = self.reader, self._overrun
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
                frames = reader.feed(data)
            elif data is None:
                frames = reader.pause()
            else:
                frames = self._end_reading(cut)
            if frames and not data:
                overrun.look_at = 0  # they may have been kept back since long
            if self.received > overrun.look_at:
                yield from overrun.look(reader.text, frames, self.received)
            else:
                yield frames
        for frames in self._await_rest(answer):
            yield from overrun.look(reader.text, frames, self.received)

    def _choose_reader(self, data: bytes) -> tuple[Any, bytes]:
        """The reader for an answer that begins like this, and that beginning, of which blanks and comments are none."""
        if self._open_json is None:
            return self.reader, data
        data = self._comment + data
        rest = skip_prologue(data)
        self._comment = b"" if rest else data[max(data.rfind(b"\n"), data.rfind(b"\r")) + 1 :]
        if begins_json(rest):
            self.reader = self._open_json()
        return self.reader, rest

    def _end_reading(self, cut: AttemptFailed | None) -> bytes:
        """The body has ended, or was cut: the last frames, if the answer was whole. Raises AttemptFailed."""
        failure = cut or AttemptFailed(Blame.UPSTREAM, "the stream ended without an end")
        try:
            frames: bytes = self.reader.end()
        except AttemptFailed as unreadable:
            raise cut or unreadable from None
        if not self.reader.ended:
            failure.frames = frames
            raise failure
        return frames

    def _await_rest(self, answer: Any) -> Iterator[bytes]:
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
