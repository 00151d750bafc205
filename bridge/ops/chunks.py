"""gunicorn's reader of chunked bodies, which lets others run while thousands of chunks are parsed."""

from collections.abc import Iterator
from typing import Any

import gevent
from gunicorn.http.body import ChunkedReader
from gunicorn.http.errors import InvalidChunkSize

SLICE_CHUNKS = 500  # parsed before others run: some five milliseconds
REST_SECONDS = 0.001  # after a sleep of zero gevent may not check other sockets
MOST_CHUNKS = 2**16  # half a kibibyte each in the largest body: no real client writes single bytes


class Chunks(ChunkedReader):
    """gunicorn's reader, in slices, with at most MOST_CHUNKS chunks."""

    def parse_chunked(self, unreader: Any) -> Iterator[bytes]:
        """The pieces as they come. Raises ParseException, also for more than MOST_CHUNKS."""
        for number, piece in enumerate(super().parse_chunked(unreader), 1):
            if number > MOST_CHUNKS:
                raise InvalidChunkSize(b"too many chunks")
            if number % SLICE_CHUNKS == 0:
                gevent.sleep(REST_SECONDS)
            yield piece
