"""Rows as CSV, in pieces, for whoever opens them with a spreadsheet."""

import csv
import io
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

PIECE_CHARACTERS = 2**15
FORMULA_SIGNS = "=+-@\u2212"


def write_csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """The rows beneath their columns' names. What a customer may have written has to be defused."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(columns)
    for row in rows:
        writer.writerow(row)
        if buffer.tell() > PIECE_CHARACTERS:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()


def defuse(text: str) -> str:
    """A text that a spreadsheet would take for a formula, marked as text: also in full width, which some read as the
    same, and behind what they leave out."""
    first = unicodedata.normalize("NFKC", text).lstrip(" \t\r\n\v\f\u200b\ufeff")[:1]
    return f"'{text}" if first in FORMULA_SIGNS and first or text.startswith(("\t", "\r", "\n")) else text
