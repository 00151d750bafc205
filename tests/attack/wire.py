"""HTTP to the gateway on this machine and nowhere else: requests, connections that are left half sent, forms.

It stands on the standard library alone, so that the processes of the attack start at once."""

import collections
import concurrent.futures
import contextlib
import dataclasses
import http.client
import json
import re
import resource
import socket
import urllib.parse
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

HOST, SITE = "127.0.0.1", "gateway.example"
PATIENCE_SECONDS = 20
CSRF = re.compile(r'name="csrf_token" value="([^"]+)"')
Tally = dict[str, int]


@dataclasses.dataclass(frozen=True)
class Answer:
    """An answer: its status, headers, the beginning of its body, and the body's length."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    text: str
    length: int
    cookies: tuple[str, ...] = ()


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}


def ask(
    port: int,
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes | Iterable[bytes] | None = None,
    kept_bytes: int = 2**16,
) -> Answer:
    """One request on a connection of its own, its answer read to the end. Raises OSError or HTTPException."""
    with contextlib.closing(http.client.HTTPConnection(HOST, port, timeout=PATIENCE_SECONDS)) as connection:
        connection.request(method, path, body, dict(headers))
        answer = connection.getresponse()
        kept, length = b"", 0
        while piece := answer.read1(2**16):
            kept += piece[: max(0, kept_bytes - length)]
            length += len(piece)
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(
            answer.status, found, kept.decode(errors="replace"), length, tuple(answer.msg.get_all("Set-Cookie") or ())
        )


def chat(port: int, secret: str, model: str, content: Any = "Hello!", **more: Any) -> Answer:
    """A chat completion."""
    body = {"model": model, "messages": [{"role": "user", "content": content}], "max_tokens": 20, **more}
    return ask(port, "POST", "/v1/chat/completions", bearer(secret), json.dumps(body).encode())


def say_status(call: Callable[[], Answer]) -> str:
    """The status, or how the connection ended instead."""
    try:
        return str(call().status)
    except TimeoutError:
        return "no answer"
    except (OSError, http.client.HTTPException):
        return "closed"


def together(calls: Sequence[Callable[[], Answer]], at_once: int) -> Tally:
    """Make all the calls, this many at once; returns how they ended."""
    with concurrent.futures.ThreadPoolExecutor(at_once) as threads:
        return dict(collections.Counter(threads.map(say_status, calls)))


def hold_open(port: int, sent: bytes, count: int) -> list[socket.socket]:
    """Connections on which only this much was sent."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, count + 500), hard), hard))
    found = []
    for _ in range(count):
        connection = socket.create_connection((HOST, port), timeout=PATIENCE_SECONDS)
        connection.sendall(sent)
        found.append(connection)
    return found


class Browser:
    """A browser at the pages, behind a proxy that sends its address and that it uses https."""

    def __init__(self, port: int, address: str = "203.0.113.1"):
        self._port = port
        self._cookies: dict[str, str] = {}
        self.headers = {"Host": SITE, "X-Forwarded-For": address, "X-Forwarded-Proto": "https"}
        self.headers |= {"Referer": f"https://{SITE}/sign-in"}

    @property
    def cookie(self) -> str:
        """The header's value."""
        return "; ".join(f"{name}={value}" for name, value in self._cookies.items())

    def get(self, path: str) -> Answer:
        return self._ask("GET", path, None, {})

    def post(self, path: str, page: str, **fields: str) -> Answer:
        """Open a page, and send its form."""
        return self.send(path, self.read_token(page), **fields)

    def read_token(self, page: str) -> str:
        """The token of a page's form; "" where it has none."""
        found = CSRF.search(self.get(page).text)
        return found[1] if found else ""

    def send(self, path: str, token: str, **fields: str) -> Answer:
        """A form with a token that was read before."""
        body = urllib.parse.urlencode({**fields, "csrf_token": token}).encode()
        return self._ask("POST", path, body, {"Content-Type": "application/x-www-form-urlencoded"})

    def sign_in(self, email: str, password: str) -> Answer:
        return self.post("/sign-in", "/sign-in", email=email, password=password)

    def _ask(self, method: str, path: str, body: bytes | None, more: dict[str, str]) -> Answer:
        cookies = {"Cookie": self.cookie} if self._cookies else {}
        answer = ask(self._port, method, path, {**self.headers, **cookies, **more}, body, kept_bytes=2**20)
        for each in answer.cookies:
            name, _, value = each.partition(";")[0].partition("=")
            self._cookies[name] = value
        return answer
