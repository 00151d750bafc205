"""Bodies that come compressed: what is taken of them, and how they are unpacked without harm."""

import zlib
from collections.abc import Iterator

from bridge.errors import InvalidRequest, UnsupportedMediaType

GZIP = ("gzip", "x-gzip")
PLAIN = ("", "identity")
PIECE_BYTES = 2**18  # unpacking so many takes about a millisecond
_GZIP_HEADER = 16  # added to zlib's window: the data has gzip's header and checksum


def is_gzip(encoding: str) -> bool:
    """Whether a body with this Content-Encoding is to be unpacked. Raises UnsupportedMediaType for an encoding that is
    not taken."""
    named = encoding.strip().lower()
    if named in PLAIN:
        return False
    if named in GZIP:
        return True
    raise UnsupportedMediaType(
        f"Content-Encoding: a body packed as {named[:40]!r} can't be read here. Send it as it is, without "
        "Content-Encoding, or as gzip; in most clients that is the setting for request compression."
    )


def unpack(data: bytes) -> Iterator[bytes]:
    """The body piece by piece. Whoever takes them counts them, and stops where there are too many: a few bytes may
    stand for very many. Raises InvalidRequest (`invalid_json`) for what is no gzip, or not all of it."""
    unpacker = zlib.decompressobj(zlib.MAX_WBITS + _GZIP_HEADER)
    try:
        while not unpacker.eof:
            piece = unpacker.decompress(data, PIECE_BYTES)
            data = unpacker.unconsumed_tail
            if piece:
                yield piece
            elif not unpacker.eof:
                break
    except zlib.error:
        raise _damaged() from None
    if not unpacker.eof or unpacker.unused_data:
        raise _damaged()


def _damaged() -> InvalidRequest:
    return InvalidRequest("The body is no gzip, or not all of it, as Content-Encoding says.", code="invalid_json")
