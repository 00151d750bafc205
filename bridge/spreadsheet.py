"""Writes rows as CSV, in pieces, safe to open in a spreadsheet."""

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

PIECE_CHARACTERS = 2**15
FORMULA_SIGNS = "=+-@\u2212"
LEADING = ("\t", "\r", "\n")  # some programs take these alone for a formula
_HARMLESS = re.compile(r"[A-Za-z0-9][^;|\t\r\n]*")
_PARTING = re.compile(r"([;|]|(?<=[^\t\r\n])[\t\r\n]+)")
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?", re.ASCII)


def write_csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """The rows beneath their columns' names. No text becomes a formula, whoever wrote it; numbers stay."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_write_cell(value) for value in row])
        if buffer.tell() > PIECE_CHARACTERS:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()


def defuse(text: str) -> str:
    """The text, marked as text if a spreadsheet could take it for a formula. That covers full-width signs, which some
    read as the same, signs after characters that some skip, and signs after the cell separators of other countries."""
    if _HARMLESS.fullmatch(text):
        return text
    return "".join(piece if place % 2 else _mark(piece) for place, piece in enumerate(_PARTING.split(text)))


def _mark(piece: str) -> str:
    signs = unicodedata.normalize("NFKC", piece)
    seen = (sign for sign in signs if sign != '"' and unicodedata.category(sign)[0] not in "CZ")
    return f"'{piece}" if next(seen, " ") in FORMULA_SIGNS or piece[:1] in LEADING else piece


def _write_cell(value: object) -> object:
    return defuse(value) if isinstance(value, str) and not _NUMBER.fullmatch(value) else value
