"""Numbers a stream's events as they go out, whoever wrote them: our writers, or an upstream of the same dialect. What
keeps the stream alive becomes an event that counts too, since clients don't take comments for a sign of life."""

import re
from collections.abc import Callable, Iterable, Iterator

import msgspec

from bridge.dialects.responses.writer import Head

_QUICK = re.compile(rb'event: (?P<kind>[\w.]+)\ndata: \{"type":"(?P=kind)","sequence_number":(?P<number>\d+)(?=[,}])')
_KIND = re.compile(rb"event: ([\w.]+)")
CREATED = b"response.created"
ENDS = (b"response.completed", b"response.incomplete", b"response.failed")


class Numbered:
    """The frames of a stream, numbered from 0 without a gap. `at_end` is called before the last event goes out."""

    def __init__(self, frames: Iterable[bytes], head: Head, at_end: Callable[[], None]):
        self._source, self._frames = frames, iter(frames)
        self._head, self._at_end = head, at_end
        self._numbers = head.numbers
        self._created = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        while True:
            if numbered := self._number(next(self._frames)):
                return numbered

    def close(self) -> None:
        """Close the stream."""
        if (close := getattr(self._source, "close", None)) is not None:
            close()

    def _number(self, frames: bytes) -> bytes:
        numbers = self._numbers
        if frames is numbers.run and numbers.first == numbers.next:
            numbers.next += numbers.events
            return frames
        return b"".join([self._number_one(event) for event in frames.split(b"\n\n") if event])

    def _number_one(self, event: bytes) -> bytes:
        if event.startswith(b":"):
            return self._stay_alive()
        quick = _QUICK.match(event)
        named = _KIND.match(event)
        kind = quick["kind"] if quick else named[1] if named else b""
        if kind == CREATED:
            if self._created:  # it was said to keep the stream alive
                return b""
            self._created = True
        if kind in ENDS:
            self._at_end()
        number = self._numbers.next
        self._numbers.next += 1
        if quick:
            return b"%b%d%b\n\n" % (event[: quick.start("number")], number, event[quick.end("number") :])
        before, _, data = event.partition(b"data: ")
        body = msgspec.json.decode(data)
        head = before or b"event: " + str(body.get("type", "")).encode() + b"\n"
        return head + b"data: " + msgspec.json.encode({**body, "sequence_number": number}) + b"\n\n"

    def _stay_alive(self) -> bytes:
        if self._created:
            return self._number(self._head.go_on())
        return self._number(self._head.open())
