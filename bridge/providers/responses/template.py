"""The short way of most of a stream's events: they are like the one before but for their text, their number, and the
padding that hides how long the text is."""

import re
from collections.abc import Sequence

from msgspec import Struct

from bridge.conversation.answer import Channel, Numbers
from bridge.providers.alike import decode_texts

TEXT, PADDING, NUMBER = range(3)
# Where each of the three stands in an event. A quote inside of a text has a backslash before it, so none of these is
# found there.
_FIELDS = (
    (TEXT, re.compile(rb'"delta": ?"((?:[^"\\]|\\.)*+)"')),
    (PADDING, re.compile(rb'"obfuscation": ?"([A-Za-z0-9]++)"')),
    (NUMBER, re.compile(rb'"sequence_number": ?([0-9]++)')),
)
_TEXT_BEGINS = b'"delta":"'  # which no text has inside, for the same reason
_MOST_DIGITS = 9
Pieces = tuple[list[bytes], list[str]]  # as they stand between the quotes, and decoded


class Template(Struct):
    """What is the same in events of one text: what stands `before`, between (`first`, `second`) and `after` the fields
    that differ, which are of these `kinds`, in order. `channel` is whom the text is told, `noted` where it is noted
    beside; `plain`: they have a number, then a text and nothing else. Of the events that were read last, where the
    number comes first: that of the first event, if the others' follow it, and what follows `first` in each."""

    kinds: tuple[int, ...]
    before: bytes
    after: bytes
    first: bytes = b""
    second: bytes = b""
    channel: Channel = ""
    noted: list[str] | None = None
    plain: bool = False
    number: int | None = None
    rests: Sequence[bytes] = ()

    def read(self, whole: bytes, separator: bytes) -> Pieces | None:
        """The texts of these events; None unless all of them are like that."""
        before, after = self.before, self.after
        self.number, self.rests = None, ()
        if not whole.startswith(before) or not whole.endswith(after):
            return None
        if self.plain and (found := self._read_following(whole, separator)) is not None:
            return found
        return self._read_any(whole[len(before) : -len(after)].split(after + separator + before))

    def _read_following(self, whole: bytes, separator: bytes) -> Pieces | None:
        """The quickest way for events with nothing but their numbers and texts: their bytes are what they must be if
        the numbers follow each other. None where that isn't so, or where a number gets another digit."""
        before, after, first = self.before, self.after, self.first
        if separator not in whole:  # mostly a read is one event
            number, _, piece = whole[len(before) : -len(after)].partition(first)
            if len(number) > _MOST_DIGITS or not number.isdigit():
                return None
            self.number, self.rests = int(number), (piece,)
            return _decode([piece])
        start, *others = whole.split(_TEXT_BEGINS)
        if not others:
            return None
        number = start[len(before) : len(_TEXT_BEGINS) - len(first)]
        if len(number) > _MOST_DIGITS or not number.isdigit():
            return None
        tail = len(after) + len(separator) + len(before) + len(number) + len(first) - len(_TEXT_BEGINS)
        pieces = [each[:-tail] for each in others[:-1]]
        pieces.append(others[-1][: -len(after)])
        numbered = map(first.join, zip(Numbers.following(int(number), len(pieces)), pieces, strict=True))
        if before + (after + separator + before).join(numbered) + after != whole:
            return None
        self.number, self.rests = int(number), pieces
        return _decode(pieces)

    def _read_any(self, events: list[bytes]) -> Pieces | None:
        """Any such events, each taken apart by itself."""
        columns: list[Sequence[bytes]] = []
        rests: Sequence[bytes] = events
        for between in filter(None, (self.first, self.second)):
            values, there, rests = zip(*[event.partition(between) for event in rests], strict=True)
            if b"" in there:
                return None
            columns.append(values)
            self.rests = self.rests or rests
        columns.append(rests)
        pieces: Sequence[bytes] = ()
        for kind, column in zip(self.kinds, columns, strict=True):
            if kind == TEXT:
                pieces = column
            elif b"" in column or not (b"".join(column).isdigit() if kind == NUMBER else b"".join(column).isalnum()):
                return None
        if self.kinds[0] == NUMBER and len(columns[0][0]) <= _MOST_DIGITS:
            first = int(columns[0][0])
            self.number = first if list(columns[0]) == Numbers.following(first, len(events)) else None
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
    kinds = tuple(kind for _, _, kind in found)
    plain = kinds == (NUMBER, TEXT) and first.endswith(_TEXT_BEGINS)
    return Template(kinds, before, after, first, second, channel, noted, plain)
