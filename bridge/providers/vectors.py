"""Vectors as upstreams give them and as clients want them: numbers, or base64 of little-endian float32."""

import binascii
import math
import struct

import msgspec
from msgspec import Raw, Struct

from bridge.conversation.answer import Completion
from bridge.conversation.embedding import EmbeddingRequest
from bridge.conversation.usage import Counts
from bridge.providers.base import AttemptFailed, Blame, refuse

FLOAT_BYTES = 4
# Of a vector in an answer: the longest known ones have 4,096 numbers of at most 24 characters each.
VECTOR_BYTES = 96 * 1024
_decode_floats = msgspec.json.Decoder(list[float]).decode
_decode_text = msgspec.json.Decoder(str).decode
_NUMERALS = b"0123456789+-.eE, \t\r\n"
_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="


class Wanted(Struct, frozen=True):
    """What the answer has to hold: so many vectors, of so many numbers each if the client said it, in this form."""

    count: int
    dimensions: int | None
    base64: bool

    @classmethod
    def by(cls, request: EmbeddingRequest, count: int) -> "Wanted":
        """So many of this request's inputs."""
        return cls(count, request.dimensions, request.base64)


def write_vector(numbers: list[float], base64: bool) -> Raw:
    """The numbers in the client's form. Raises AttemptFailed for what is none."""
    if not numbers or not math.isfinite(sum(numbers)):
        raise AttemptFailed(Blame.UPSTREAM, "the answer has a vector that is none")
    if not base64:
        return Raw(msgspec.json.encode(numbers))
    try:
        packed = struct.pack(f"<{len(numbers)}f", *numbers)
    except (OverflowError, struct.error):
        raise AttemptFailed(Blame.UPSTREAM, "the answer has a vector that is none") from None
    return Raw(b'"%b"' % binascii.b2a_base64(packed, newline=False))


def read_vector(raw: Raw, wanted: Wanted) -> tuple[Raw, int]:
    """A vector in either form as the client wants it, and how many numbers it has. One that has that form already
    passes as it is. Raises AttemptFailed for what is none."""
    written = bytes(raw)
    if written[:1] == b'"':
        if wanted.base64 and (count := _count_packed(written)):
            return raw, count
        try:
            packed = binascii.a2b_base64(_decode_text(written), strict_mode=True)
        except (ValueError, msgspec.DecodeError):
            packed = b""
        count, rest = divmod(len(packed), FLOAT_BYTES)
        if rest or not count:
            raise AttemptFailed(Blame.UPSTREAM, "the answer has a vector that is none")
        if wanted.base64:
            return raw, count
        return write_vector(list(struct.unpack(f"<{count}f", packed)), False), count
    if not wanted.base64 and (count := _count_numbers(written)):
        return raw, count
    try:
        numbers = _decode_floats(written)
    except msgspec.DecodeError:
        raise AttemptFailed(Blame.UPSTREAM, "the answer has a vector that is none") from None
    return write_vector(numbers, wanted.base64), len(numbers)


def _count_packed(written: bytes) -> int:
    """How many numbers are in this JSON text, if it is plainly base64 of whole ones; otherwise 0. Decoding it would
    cost five times as much."""
    if written.translate(None, _LETTERS) != b'""':
        return 0
    letters = written[1:-1].rstrip(b"=")
    padding = len(written) - 2 - len(letters)
    count, rest = divmod((len(written) - 2) // 4 * 3 - padding, FLOAT_BYTES)
    return 0 if b"=" in letters or padding > 2 or (len(written) - 2) % 4 or rest else count


def _count_numbers(written: bytes) -> int:
    """How many numbers are in this JSON value, if it is a list of nothing else; otherwise 0. Reading them would cost
    ten times as much."""
    if written.translate(None, _NUMERALS) != b"[]" or written[1:-1].isspace() or len(written) == len(b"[]"):
        return 0
    return written.count(b",") + 1


def finish_vectors(
    vectors: list[Raw], lengths: set[int], wanted: Wanted, usage: Counts | None, odd: bool
) -> Completion:
    """The answer. Raises AttemptFailed where it isn't a vector for each input, all of one length; and the client's 400
    where that is another one than it asked for."""
    if len(vectors) != wanted.count or len(lengths) != 1:
        raise AttemptFailed(Blame.UPSTREAM, "the answer has not one vector for each input")
    [length] = lengths
    if wanted.dimensions not in (None, length):
        message = f"dimensions: this model makes vectors of {length} numbers here. Leave it out, or ask for that many."
        raise refuse("dimensions", message, "unsupported_parameter")
    return Completion((), usage, "stop", [], mended={"index of a vector"} if odd else frozenset(), vectors=vectors)
