"""Bodies of multipart/form-data: read in memory, nothing is written to a disk, and written to go on."""

import secrets
from collections.abc import Iterable

from msgspec import Struct
from werkzeug.http import parse_options_header

MULTIPART = "multipart/form-data"
MOST_HEAD_BYTES = 4096
# Of what we write: nobody who sends us a picture knows it. One for all, so that what requests have in common is kept.
_OURS = secrets.token_hex(16)


class MalformedForm(ValueError):
    """It is no such body, or not all of it. The words are for whoever sent it."""


class Part(Struct, frozen=True, gc=False):
    """One field of a form; `is_file` where it has a file's name."""

    name: str
    data: bytes
    is_file: bool = False
    file_name: str = ""
    media_type: str = ""


def find_boundary(content_type: str) -> bytes:
    """What stands between the parts. Raises MalformedForm where the header names nothing."""
    kind, options = parse_options_header(content_type)
    boundary = options.get("boundary", "")
    if kind != MULTIPART or not boundary or not boundary.isascii():
        raise MalformedForm("Content-Type names no boundary")
    return boundary.encode()


def read_parts(data: bytes, boundary: bytes, most_parts: int) -> list[Part]:
    """The form's parts, in order. Searching for the boundary runs at the speed of memory, whatever the parts hold.
    Raises MalformedForm."""
    mark = b"--" + boundary
    pieces = data.split(b"\r\n" + mark, most_parts + 1)
    if data.startswith(mark):
        pieces[0] = pieces[0].removeprefix(mark)
    else:
        del pieces[0]  # what stands before the first boundary means nothing
    if not pieces or not pieces[-1].startswith(b"--"):
        raise MalformedForm(f"it has more than {most_parts} fields" if len(pieces) > most_parts else "it has no end")
    return [_read_part(piece) for piece in pieces[:-1]]


def _read_part(piece: bytes) -> Part:
    """A part with its head. Raises MalformedForm."""
    head, gap, data = piece[:MOST_HEAD_BYTES].partition(b"\r\n\r\n")
    if not gap or not head.startswith(b"\r\n"):
        raise MalformedForm("a field has no head, or too long a one")
    try:
        lines = [line.partition(":") for line in head.decode().split("\r\n") if line]
    except UnicodeDecodeError:
        raise MalformedForm("a field's head is no UTF-8") from None
    headers = {name.strip().lower(): value.strip() for name, _, value in lines}
    kind, options = parse_options_header(headers.get("content-disposition"))
    if kind != "form-data" or not options.get("name"):
        raise MalformedForm("a field has no name")
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    data = piece[len(head) + len(gap) :]
    return Part(options["name"], data, "filename" in options, options.get("filename", ""), media_type)


def write_parts(parts: Iterable[Part]) -> tuple[bytes, str]:
    """The body of these parts, and its Content-Type. Their names are ours: nothing in them is quoted."""
    pieces: list[bytes] = []
    for part in parts:
        head = f'--{_OURS}\r\nContent-Disposition: form-data; name="{part.name}"'
        if part.is_file:
            head += f'; filename="{part.file_name}"\r\nContent-Type: {part.media_type}'
        pieces += [f"{head}\r\n\r\n".encode(), part.data, b"\r\n"]
    return b"".join([*pieces, f"--{_OURS}--\r\n".encode()]), f"{MULTIPART}; boundary={_OURS}"
