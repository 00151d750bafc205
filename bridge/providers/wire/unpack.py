"""Unpacks bodies that come compressed although we asked for none that is, a bounded piece at a time."""

import zlib
from collections.abc import Callable
from typing import Protocol

import brotli

from bridge.json_types import Json
from bridge.providers.base import AttemptFailed, Blame

MOST_BYTES = 2**16  # of one piece: what comes out is counted like any body, so a small one can't fill the memory
ANY_HEADER = 47  # zlib's own or gzip's
NO_HEADER = -15  # what some mean by deflate
Read = Callable[[float], bytes | None]


class Decoder(Protocol):
    """What a coding has to know; `unpack` of nothing gives what is left of the piece before."""

    @property
    def finished(self) -> bool: ...

    def unpack(self, data: bytes) -> bytes: ...


class Unpacked:
    """The plain body of a packed one. `read` and `read_some` are as an Answer's."""

    def __init__(self, read: Read, coding: str):
        self._read_packed = read
        self._decoder = _open_decoder(coding)
        self._is_plain: bool | None = None  # some say that it is packed, and it is not
        self._more = False  # unpacked bytes may be left

    def read_some(self, timeout_seconds: float) -> bytes | None:
        """The next of it; None after that much silence, b"" at the end. Raises AttemptFailed when it is cut or none."""
        while True:
            if self._more:
                data: bytes | None = b""
            else:
                data = self._read_packed(timeout_seconds)
                if not data:
                    if data == b"" and not self._decoder.finished and self._is_plain is False:
                        raise AttemptFailed(Blame.UPSTREAM, "the answer was cut off")
                    return data
                if self._is_plain is None:
                    self._is_plain = data.lstrip()[:1] in (b"{", b"[", b":", b"d", b"e")
                if self._is_plain:
                    return data
            try:
                found = self._decoder.unpack(data or b"")
            except (zlib.error, brotli.error):
                raise AttemptFailed(Blame.UPSTREAM, "the answer can't be unpacked") from None
            self._more = bool(found)
            if found:
                return found


def _open_decoder(coding: str) -> Decoder:
    name = coding.strip().lower().removeprefix("x-")
    if name in ("gzip", "deflate"):
        return _Zlib()
    if name == "br":
        return _Brotli()
    raise AttemptFailed(Blame.UPSTREAM, "the answer is packed in a way that we can't read")


class _Zlib:
    def __init__(self) -> None:
        self._decoder: Json = zlib.decompressobj(ANY_HEADER)
        self._begun = False
        self.finished = False
        self._rest = b""

    def unpack(self, data: bytes) -> bytes:
        data, self._rest = self._rest + data, b""
        found, before = self._unpack(data), len(data)
        while not found and self.finished and len(self._rest) < before:  # members that hold nothing
            data, before, self._rest = self._rest, len(self._rest), b""
            found = self._unpack(data)
        return found

    def _unpack(self, data: bytes) -> bytes:
        if len(data) < 2 and not self._begun:  # by two bytes it is known which of them it is
            self._rest = data
            return b""
        if self.finished:
            if not data.strip(b"\0"):
                return b""
            self._decoder, self._begun = zlib.decompressobj(ANY_HEADER), False  # one more member
            self.finished = False
        try:
            found: bytes = self._decoder.decompress(data, MOST_BYTES)
        except zlib.error:
            if self._begun:
                raise
            self._decoder = zlib.decompressobj(NO_HEADER)
            found = self._decoder.decompress(data, MOST_BYTES)
        self._begun = self._begun or bool(found)
        self.finished = self._decoder.eof
        self._rest = self._decoder.unused_data if self.finished else self._decoder.unconsumed_tail
        return found


class _Brotli:
    def __init__(self) -> None:
        self._decoder: Json = brotli.Decompressor()
        self._rest = b""

    @property
    def finished(self) -> bool:
        return bool(self._decoder.is_finished())

    def unpack(self, data: bytes) -> bytes:
        if self.finished:
            return b""
        if not self._decoder.can_accept_more_data():
            self._rest += data
            data = b""
        else:
            data, self._rest = self._rest + data, b""
        found: bytes = self._decoder.process(data, output_buffer_limit=MOST_BYTES)
        return found
