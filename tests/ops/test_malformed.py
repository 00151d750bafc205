"""Malformed requests are refused in our error format, over real sockets: JSON, an id, one line in the log, and the end
of the connection."""

import http.client
import io
import json
import socket

import pytest

from tests.gateway import Gateway
from tests.rooms import make_settings
from tests.test_headers import GUARDS

HOST = b"Host: x\r\n"
CHAT = b"POST /v1/chat/completions HTTP/1.1\r\n" + HOST
SECRET = "sk-" + "q" * 40
BEARER = f"Authorization: Bearer {SECRET}\r\n".encode()
MALFORMED = {
    "no request line": (b"hello\r\n\r\n", 400),
    "empty target": (b"GET  HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "lower-case method": (b"get / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "method of odd letters": (b"G\x01T / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "long method": (b"A" * 40 + b" / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "raw bytes in the target": (b"GET /\xff\xfe HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "NUL in the target": (b"GET /v1/\x00 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "asterisk": (b"GET * HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "authority": (b"GET x:80 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "long line": (b"GET /" + b"a" * 10_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
    "endless line": (b"GET /" + b"a" * 100_000, 414),
    "no version": (b"GET /\r\n" + HOST + b"\r\n", 400),
    "odd version": (b"GET / HTTP/x\r\n" + HOST + b"\r\n", 400),
    "version 0.9": (b"GET / HTTP/0.9\r\n" + HOST + b"\r\n", 505),
    "version 2": (b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", 505),
    "HTTP/2's preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x07" * 100, 400),
    "NUL": (b"\x00", 400),
    "header without a colon": (b"GET / HTTP/1.1\r\n" + HOST + SECRET.encode() + b"\r\n\r\n", 400),
    "header without a name": (b"GET / HTTP/1.1\r\n" + HOST + b": x\r\n\r\n", 400),
    "space before the colon": (b"GET / HTTP/1.1\r\n" + HOST + b"Accept : x\r\n\r\n", 400),
    "odd header name": (b"GET / HTTP/1.1\r\n" + HOST + b"a(b: x\r\n\r\n", 400),
    "NUL in a header": (b"GET / HTTP/1.1\r\n" + HOST + b"Authorization: Bearer sk-\x00\r\n\r\n", 400),
    "a lone CR in a header": (b"GET / HTTP/1.1\r\n" + HOST + b"Accept: a\rb: c\r\n\r\n", 400),
    "folded header": (b"GET / HTTP/1.1\r\n" + HOST + b"Accept: a\r\n  b\r\n\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n", 400),
    "large header": (b"GET / HTTP/1.1\r\n" + HOST + b"Accept: " + b"a" * 20_000 + b"\r\n\r\n", 431),
    "many headers": (b"GET / HTTP/1.1\r\n" + HOST + b"Accept: a\r\n" * 200 + b"\r\n", 431),
    "many and large, without an end": (b"GET / HTTP/1.1\r\n" + HOST + (b"A: " + b"a" * 8000 + b"\r\n") * 120, 431),
    "odd expectation": (b"GET / HTTP/1.1\r\n" + HOST + b"Expect: money\r\n\r\n", 417),
    "unknown coding": (CHAT + b"Transfer-Encoding: magic\r\n\r\n", 501),
    "chunked twice": (CHAT + b"Transfer-Encoding: chunked, chunked\r\n\r\n", 400),
    "chunked and a length": (CHAT + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n", 400),
    "two lengths": (CHAT + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcd", 400),
    "the same length twice": (CHAT + b"Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd", 400),
    "negative length": (CHAT + b"Content-Length: -1\r\n\r\n", 400),
    "length that is no number": (CHAT + b"Content-Length: 4x\r\n\r\nabcd", 400),
    "endless length": (CHAT + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n", 400),
}
CHUNKED = CHAT + BEARER + b"Transfer-Encoding: chunked\r\n\r\n"
BODIES = {
    "size that is no number": b"zz\r\nabc\r\n0\r\n\r\n",
    "negative size": b"-3\r\nabc\r\n0\r\n\r\n",
    "no size": b"\r\nabc\r\n",
    "longer than its size": b"3\r\nabcdef\r\n0\r\n\r\n",
    "endless size": b"1" * 20_000,
    "odd extension": b'3;a="\x01"\r\nabc\r\n0\r\n\r\n',
    "forbidden trailer": b"3\r\nabc\r\n0\r\nContent-Length: 3\r\n\r\n",
}


@pytest.fixture(scope="module")
def gateway(databases, tmp_path_factory):
    """A gateway whose log is this file's alone."""
    folder = tmp_path_factory.mktemp("malformed")
    settings = make_settings(folder, database_url=databases.open("sqlite"), public_base_url="https://gateway.example")
    gateway = Gateway(settings, folder / "log")
    yield gateway
    gateway.stop()


def send(gateway: Gateway, data: bytes) -> tuple[http.client.HTTPResponse, bytes, bytes]:
    """The answer, its body, and what came after it until the connection was closed."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=60) as client:
        client.sendall(data)
        received = b""
        while piece := client.recv(2**16):
            received += piece
    played = Played(received)
    answer = http.client.HTTPResponse(played, method="HEAD" if data.startswith(b"HEAD") else "GET")
    answer.begin()
    return answer, answer.read(), played.read()


class Played(io.BytesIO):
    """Lets http.client read as from a socket; the rest can still be read."""

    def makefile(self, _mode: str) -> "Played":
        return self

    def close(self) -> None:
        """Not yet."""


def check_refused(gateway: Gateway, data: bytes, status: int) -> None:
    before = len(gateway.log_lines())
    answer, body, more = send(gateway, data)
    assert (answer.status, more) == (status, b"")
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Connection"] == "close"
    for name in (*GUARDS, "Strict-Transport-Security", "x-request-id", "Access-Control-Allow-Origin"):
        assert len(answer.headers.get_all(name)) == 1, name
    assert answer.headers["Cache-Control"] == "no-store"
    error = json.loads(body)["error"]
    assert set(error) == {"code", "message", "type", "param"}
    assert (error["type"], error["param"]) == ("invalid_request_error", None)
    assert SECRET not in body.decode()
    lines = gateway.log_lines()[before:]
    (line,) = [line for line in lines if line.get("request_id") == answer.headers["x-request-id"]]
    assert (line["event"], line["status"], line["error_code"]) == ("refused", status, error["code"])
    assert not [line for line in lines if line.get("logger", "").startswith("gunicorn")]
    assert SECRET not in gateway.log()
    assert "Traceback" not in gateway.log()


@pytest.mark.parametrize(("data", "status"), MALFORMED.values(), ids=MALFORMED)
def test_what_is_no_request_is_refused_in_the_errors_shape(gateway, data, status):
    check_refused(gateway, data, status)


def test_a_malformed_head_request_gets_no_body(gateway):
    answer, body, more = send(gateway, b"HEAD / HTTP/1.1\r\n" + HOST + b"a(b: x\r\n\r\n")
    assert (answer.status, body, more) == (400, b"", b"")


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_chunks_that_are_none_are_refused_on_api_and_pages(gateway, body):
    key = gateway.make.make_key()
    answer, told, more = send(gateway, CHUNKED.replace(SECRET.encode(), key.secret.encode()) + body)
    assert (answer.status, more) == (400, b"")
    assert json.loads(told)["error"]["code"] == "invalid_json"
    form = b"POST /sign-in HTTP/1.1\r\n" + HOST + b"Content-Type: application/x-www-form-urlencoded\r\n"
    answer, told, more = send(gateway, form + b"Transfer-Encoding: chunked\r\n\r\n" + body)
    assert (answer.status, more) == (400, b"")
    assert b"This request can" in told
    assert answer.headers["x-request-id"].startswith("req_")
    assert "Traceback" not in gateway.log()


def test_a_body_that_nobody_reads_gets_no_second_answer_however_it_goes_on(gateway):
    for body in BODIES.values():
        answer, told, more = send(gateway, CHUNKED + body)  # a wrong key: it is refused before its body is read
        assert (answer.status, json.loads(told)["error"]["code"], more) == (401, "invalid_api_key", b"")
    assert "Traceback" not in gateway.log()


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"OPTIONS * HTTP/1.1", (200, 204, 404)),
        (b"CONNECT x:443 HTTP/1.1", (404, 405)),
        (b"TRACE / HTTP/1.1", (405,)),
        (b"BREW /v1/models HTTP/1.1", (405,)),
        (b"GET http://elsewhere.example/livez HTTP/1.1", (200,)),
        (b"GET //livez HTTP/1.1", (200, 404)),
        (b"GET /../livez HTTP/1.1", (404,)),
        (b"GET /%00 HTTP/1.1", (400, 404)),
        (b"GET ?x HTTP/1.1", (400,)),
        (b"GET /livez#x HTTP/1.0", (200,)),
    ],
)
def test_odd_requests_that_are_some_are_answered_as_such(gateway, line, status):
    answer, _body, more = send(gateway, line + b"\r\n" + HOST + b"Connection: close\r\n\r\n")
    assert answer.status in status
    assert more == b""
    for name in GUARDS:
        assert len(answer.headers.get_all(name)) == 1, name
    assert "Traceback" not in gateway.log()
