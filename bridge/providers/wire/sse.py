"""Splits bytes into server-sent events, by the bytes alone. Lines end in LF, CRLF or CR.

Two things are read that the standard has otherwise, since some servers send them: events with one line end between them
instead of two, and a last event that nothing follows. Either counts only where the data is a whole JSON object, to
which nothing could be added."""

import msgspec

from bridge.providers.base import AttemptFailed, Blame

DONE = b"[DONE]"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
LARGE_BYTES = 4096  # of an event: from there on it is not looked at with every read
MAX_LINES = 2**16  # of an event: each line costs, and no server writes so many


class EventSplitter:
    """Cuts a stream of bytes into the `data` of its events, wherever the reads fall. Comments and other fields are
    dropped; several data lines of an event are joined by LF. See the HTML standard, section 9.2."""

    __slots__ = ("_ends_in_cr", "_line_by_line", "_max_bytes", "_pieces", "_rest", "_waiting")

    def __init__(self, max_event_bytes: int):
        self._rest = b""
        self._ends_in_cr = False
        self._line_by_line = False  # each line of data is an event, and no blank line ends it
        self._max_bytes = max_event_bytes
        self._pieces: list[bytes] = []  # what came of a large event since it was looked at, and how much that is
        self._waiting = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The data of all events that these bytes complete. Raises AttemptFailed for an event beyond the limits."""
        if not self._rest and not self._ends_in_cr and data.startswith(b"data: ") and data.count(b"\n") == 2:
            # nearly always a read is one event of one line, and there is nothing to cut
            breaks = data.count(b"\r")
            if breaks == 0 and data.endswith(b"\n\n"):
                return [event] if (event := data[6:-2].strip()) else []
            if breaks == 2 and data.endswith(b"\r\n\r\n"):
                return [event] if (event := data[6:-4].strip()) else []
        return [event for block in self.feed_blocks(data) if (event := data_of(block))]

    def feed_blocks(self, data: bytes) -> list[bytes]:
        """The same events, as the blocks of lines that they are: `data_of` reads one."""
        whole, separator = self.feed_whole(data)
        return whole.split(separator) if separator else []

    def feed_whole(self, data: bytes) -> tuple[bytes, bytes]:
        """The same blocks, not yet split, and what separates them: nothing where there are none."""
        if len(self._rest) > LARGE_BYTES:
            data = self._gather(data)
            if not data:
                return b"", b""
        if self._ends_in_cr or b"\r" in data:
            whole = self._take_crlf(data)
            if whole:
                return whole, b"\r\n\r\n"
            data = self._with_lf_alone(data)
        if self._rest:
            data = self._rest + data
        whole, separator, self._rest = data.rpartition(b"\n\n")
        if self._rest and (self._line_by_line or b"\ndata:" in self._rest) and (lines := self._take_lines()):
            whole, separator = whole + separator + lines, b"\n\n"
        if len(self._rest) > self._max_bytes:
            raise AttemptFailed(Blame.UPSTREAM, "an event is larger than the limit")
        return whole, separator

    def flush(self) -> bytes:
        """The data of an event that only lacks its end, when nothing more has come; b"" where there is none."""
        if self._pieces:
            self._rest += self._with_lf_alone(self._take_pieces())
        event = data_of(self._rest)
        if not (event == DONE or _is_whole(event) or split_joined(event)):
            return b""
        self._rest = b""
        return event

    def _gather(self, data: bytes) -> bytes:
        """What came since the last look, once there may be an end in it; else b"". A large event would otherwise be
        copied and searched with every read, at a cost that grows with the square of its size."""
        last = self._pieces[-1] if self._pieces else b"\r" if self._ends_in_cr else self._rest
        near = last[-1:] + data
        self._pieces.append(data)
        self._waiting += len(data)
        if len(self._rest) + self._waiting > self._max_bytes + LARGE_BYTES:
            raise AttemptFailed(Blame.UPSTREAM, "an event is larger than the limit")
        ended = b"\n\n" in near or b"\n\r" in near or b"\r\r" in near
        if not ended and self._waiting < len(self._rest) // 4:
            return b""
        if self._rest.count(b"\n") > MAX_LINES:
            raise AttemptFailed(Blame.UPSTREAM, "an event has more lines than the limit")
        return self._take_pieces()

    def _take_pieces(self) -> bytes:
        data = b"".join(self._pieces)
        self._pieces, self._waiting = [], 0
        return data

    def _take_lines(self) -> bytes:
        """The complete lines of what is left, if they are events with one line end between them."""
        lines, _, rest = self._rest.rpartition(b"\n")
        found = [line[5:].strip() for line in lines.split(b"\n") if line.startswith(b"data:")]
        if not found or not (found[-1] == DONE or _is_whole(found[-1])):
            return b""
        if not self._line_by_line and (b"\ndata:" not in self._rest or not _is_whole(found[0])):
            return b""
        self._line_by_line, self._rest = True, rest
        return lines

    def _take_crlf(self, data: bytes) -> bytes:
        """The blocks of a stream whose events are one line each, ended by CRLF: without rewriting its line ends. None
        of them where anything else is among these bytes."""
        if self._ends_in_cr or b"\n" in self._rest:
            return b""
        whole, _, rest = (self._rest + data).rpartition(b"\r\n\r\n")
        breaks = 2 * whole.count(b"\r\n\r\n") + 2
        if not whole or data.count(b"\n") != breaks or data.count(b"\r") != breaks or len(rest) > self._max_bytes:
            return b""
        self._rest = rest
        return whole

    def _with_lf_alone(self, data: bytes) -> bytes:
        """CRLF and CR become LF. A CR at the end counts at once; an LF that follows in the next read does not."""
        if not data:
            return data
        if self._ends_in_cr and data.startswith(b"\n"):
            data = data[1:]
        self._ends_in_cr = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def data_of(block: bytes) -> bytes:
    """The data of one event, or b"" for a comment and the like."""
    if block.startswith(b"data:") and b"\n" not in block:  # nearly always
        return block[5:].strip()
    block = block.removeprefix(BYTE_ORDER_MARK)  # before a stream's first event
    # one LF may lead: of three in a row, the first two ended the event before
    lines = [line[5:].removeprefix(b" ") for line in block.split(b"\n") if line.startswith(b"data:") or line == b"data"]
    return b"\n".join(lines).strip()


def split_joined(event: bytes) -> list[bytes]:
    """The events that one stands for whose lines are each a whole one: of a server that puts no blank line between
    them. Nothing where it isn't that."""
    lines = [line.strip() for line in event.split(b"\n")]
    found = [line for line in lines if line]
    return found if len(found) > 1 and all(line == DONE or _is_whole(line) for line in found) else []


def _is_whole(data: bytes) -> bool:
    """Whether this is a JSON object that holds something."""
    if not data.startswith(b"{") or not data.endswith(b"}") or data == b"{}":
        return False
    try:
        msgspec.json.decode(data, type=msgspec.Raw)
    except msgspec.MsgspecError:
        return False
    return True
