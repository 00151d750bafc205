"""The short way of most of a stream's events: they are like the one before but for their text, their number, and the
padding that hides how long the text is."""

import re
from collections.abc import Sequence

from msgspec import Struct

from bridge.conversation.answer import Channel
from bridge.providers.alike import decode_texts

TEXT, PADDING, NUMBER = range(3)
# Where each of the three stands in an event. A quote inside of a text has a backslash before it, so none of these is
# found there.
_FIELDS = (
    (TEXT, re.compile(rb'"delta": ?"((?:[^"\\]|\\.)*+)"')),
    (PADDING, re.compile(rb'"obfuscation": ?"([A-Za-z0-9]++)"')),
    (NUMBER, re.compile(rb'"sequence_number": ?([0-9]++)')),
)
Pieces = tuple[list[bytes], list[str]]  # as they stand between the quotes, and decoded


class Template(Struct):
    """What is the same in events of one text: what stands `before`, between (`first`, `second`) and `after` the fields
    that differ, which are of these `kinds`, in order. `channel` is whom the text is told, `noted` where it is noted
    beside."""

    kinds: tuple[int, ...]
    before: bytes
    after: bytes
    first: bytes = b""
    second: bytes = b""
    channel: Channel = ""
    noted: list[str] | None = None

    def read(self, whole: bytes, separator: bytes) -> Pieces | None:
        """The texts of these events; None unless all of them are like that."""
        before, after, first = self.before, self.after, self.first
        if not whole.startswith(before) or not whole.endswith(after):
            return None
        inner = whole[len(before) : -len(after)]
        if separator in inner:
            return self._read_all(inner.split(after + separator + before))
        if not first:
            return _decode([inner])
        value, _, rest = inner.partition(first)  # nearly always a read is one event
        if not self.second:
            text, number = (value, rest) if self.kinds[0] == TEXT else (rest, value)
            return _decode([text]) if number.isdigit() else None
        middle, _, last = rest.partition(self.second)
        return self._check([[value], [middle], [last]])

    def _read_all(self, events: list[bytes]) -> Pieces | None:
        columns: list[Sequence[bytes]] = []
        rests: Sequence[bytes] = events
        for between in (self.first, self.second):
            if between:
                values, there, rests = zip(*[event.partition(between) for event in rests], strict=True)
                if b"" in there:
                    return None
                columns.append(values)
        return self._check([*columns, rests])

    def _check(self, columns: list[Sequence[bytes]]) -> Pieces | None:
        """The texts, if all of them are such, and everything beside them is what it should be."""
        pieces: Sequence[bytes] = ()
        for kind, values in zip(self.kinds, columns, strict=True):
            if kind == TEXT:
                pieces = values
            elif not (b"".join(values).isdigit() if kind == NUMBER else b"".join(values).isalnum()):
                return None
        return _decode(list(pieces))


def _decode(pieces: list[bytes]) -> Pieces | None:
    texts = None if b"" in pieces else decode_texts(pieces)
    return None if texts is None else (pieces, texts)


def find_template(block: bytes, channel: Channel, noted: list[str] | None) -> Template | None:
    """What the next events may have in common with this one; None where that can't be told by its bytes."""
    found = []
    for kind, pattern in _FIELDS:
        spans = [match.span(1) for match in pattern.finditer(block)]
        if len(spans) > 1 or (not spans and kind == TEXT):
            return None
        found += [(*span, kind) for span in spans]
    found.sort()
    places = [0, *(place for start, end, _ in found for place in (start, end)), len(block)]
    constant = [block[start:end] for start, end in zip(places[::2], places[1::2], strict=True)]
    before, *between, after = constant
    if b"" in constant:
        return None
    first, second = [*between, b"", b""][:2]
    return Template(tuple(kind for _, _, kind in found), before, after, first, second, channel, noted)
