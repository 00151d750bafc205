"""A body in many small chunks is read unchanged; others run meanwhile, and the number of chunks is limited."""

import json
import socket
from collections.abc import Iterator

import gevent
import pytest
from gunicorn.http.errors import ParseException
from gunicorn.http.unreader import IterUnreader

from bridge.ops.chunks import MOST_CHUNKS, SLICE_CHUNKS, Chunks
from tests.gateway import Gateway
from tests.served import HELLO, Served
from tests.upstream import PATIENCE_SECONDS, ScriptedUpstream, says

END = b"0\r\n\r\n"


class Asked:
    """The part of a request that the reader uses."""

    limit_request_field_size = 8190
    max_buffer_headers = 65_536


def split(data: bytes, size: int = 1) -> bytes:
    """The bytes in chunks of this size."""
    pieces = (data[start : start + size] for start in range(0, len(data), size))
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + END


def read(sent: bytes, piece: int = 8192) -> bytes:
    """What the reader returns, in whatever pieces the body arrives."""
    arriving: Iterator[bytes] = (sent[start : start + piece] for start in range(0, len(sent), piece))
    reader, found = Chunks(Asked(), IterUnreader(arriving)), []
    while data := reader.read(2**16):
        found.append(data)
    return b"".join(found)


@pytest.mark.parametrize("size", [1, 7, 4096])
@pytest.mark.parametrize("piece", [3, 8192])
def test_what_was_sent_is_read(size: int, piece: int):
    data = bytes(range(256)) * 40
    assert read(split(data, size), piece) == data


def test_others_run_between_the_slices_of_many_chunks():
    turns = 0

    def look() -> None:
        nonlocal turns
        while True:
            gevent.sleep(0)
            turns += 1

    looking = gevent.spawn(look)
    read(split(b"x" * 10 * SLICE_CHUNKS))
    looking.kill()
    assert turns >= 9


def test_more_chunks_than_any_client_makes_are_refused():
    assert len(read(split(b"x" * MOST_CHUNKS))) == MOST_CHUNKS
    with pytest.raises(ParseException):
        read(split(b"x" * (MOST_CHUNKS + 1)))


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("letters", "status"), [(5000, b"200"), (MOST_CHUNKS, b"400")])
def test_a_gateway_takes_a_body_byte_by_byte_to_an_end(
    gateway: Gateway, upstream: ScriptedUpstream, letters: int, status: bytes
):
    served = Served(gateway, upstream.base_url)
    upstream.plays(says("Hello"))
    body = json.dumps(
        {"model": served.model, "messages": HELLO, "max_tokens": 5, "metadata": {"pad": "u" * letters}}
    ).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {served.key.secret}\r\n"
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=PATIENCE_SECONDS) as client:
        client.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + split(body))
        answer = client.recv(2**16)
    assert answer.startswith(b"HTTP/1.1 " + status), answer[:300]
    assert b"x-request-id" in answer
