"""The audit's clients: what each asks for by the seed, and what it has received, word by word."""

import contextlib
import dataclasses
import http.client
import json
import random
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

import gevent

from tests.audit.said import follows, write_prompt

PATIENCE_SECONDS = 60
RESET = struct.pack("ii", 1, 0)


@dataclasses.dataclass(frozen=True)
class Wish:
    """What a client asks for, and when it leaves: after so many seconds, or so many words of a stream."""

    number: int
    account: int
    prompt: str
    stream: bool
    cap: int | None = None
    choices: int = 1
    wants_usage: bool = False
    idempotency_key: str = ""
    leaves_after_seconds: float | None = None
    leaves_after_words: int | None = None
    by_reset: bool = False

    def body(self, model: str) -> bytes:
        fields: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": self.prompt}]}
        if self.cap is not None:
            fields["max_tokens"] = self.cap
        if self.choices > 1:
            fields["n"] = self.choices
        if self.stream:
            fields["stream"] = True
        if self.wants_usage:
            fields["stream_options"] = {"include_usage": True}
        return json.dumps(fields).encode()


@dataclasses.dataclass
class Got:
    """The result of a wish. `ended`: "done"; "error", a refusal or a stream's last frame; "left", the client left;
    "died", the connection; "refused", before anything was sent."""

    wish: Wish
    key_id: int
    status: int = 0
    request_id: str = ""
    ended: str = "died"
    words: int = 0
    finished: bool = False
    replayed: bool = False
    cost: str = ""
    body: bytes = b""
    garbled: bool = False

    @property
    def tokens(self) -> int:
        """What was received, in the upstream's tokens."""
        return self.words + self.finished

    @property
    def said(self) -> list[bytes]:
        """The body but for a stream's comments."""
        return [line for line in self.body.splitlines() if line and not line.startswith(b":")]


def make_wish(seed: int, number: int, accounts: int) -> Wish:
    """The nth wish of this seed."""
    chance = random.Random(f"{seed}/wish/{number}")
    stream = chance.random() < 0.6
    leaves = chance.random() < 0.15
    by_words = stream and chance.random() < 0.6
    return Wish(
        number,
        account=chance.randrange(accounts),
        prompt=write_prompt(number, chance.randint(0, 60)),
        stream=stream,
        cap=chance.choice((None, 2, 5, 20, 60, 200)),
        choices=chance.choice((1, 1, 1, 1, 2, 3)),
        wants_usage=stream and chance.random() < 0.5,
        idempotency_key=f"audit-{number}" if chance.random() < 0.2 else "",
        leaves_after_seconds=chance.uniform(0, 1.5) if leaves and not by_words else None,
        leaves_after_words=chance.randint(1, 20) if leaves and by_words else None,
        by_reset=chance.random() < 0.5,
    )


def ask(port: int, model: str, secret: str, got: Got) -> Got:
    """Carry out the wish; whatever happens is written into `got`, which is returned."""
    wish = got.wish
    headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
    if wish.idempotency_key:
        headers["Idempotency-Key"] = wish.idempotency_key
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    patience = gevent.Timeout(wish.leaves_after_seconds)
    try:
        connection.connect()
        with patience:
            connection.request("POST", "/v1/chat/completions", wish.body(model), headers)
            answer = connection.getresponse()
            got.status = answer.status
            got.request_id = answer.headers.get("x-request-id", "")
            got.replayed = answer.headers.get("idempotent-replayed") == "true"
            if answer.headers.get("content-type", "").startswith("text/event-stream"):
                _read_stream(answer, got)
            else:
                _read_whole(answer, got)
    except gevent.Timeout as timeout:
        if timeout is not patience:
            raise
        got.ended = "left"
    except ConnectionRefusedError:
        got.ended = "refused"
    except (OSError, http.client.HTTPException):
        pass
    finally:
        _leave(connection, wish.by_reset and got.ended == "left")
    return got


def _leave(connection: http.client.HTTPConnection, by_reset: bool) -> None:
    sock = connection.sock
    with contextlib.suppress(OSError):
        if sock is not None and by_reset:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        elif sock is not None:
            sock.shutdown(socket.SHUT_RDWR)
    connection.close()


def _read_whole(answer: http.client.HTTPResponse, got: Got) -> None:
    got.body = answer.read()
    value = json.loads(got.body, parse_float=str)
    if "error" in value:
        got.ended = "error"
        return
    for choice in value["choices"]:
        _hear(got, {}, 0, choice["message"]["content"])
    got.finished, got.ended = True, "done"
    got.cost = str(value["usage"]["cost"])


def _read_stream(answer: http.client.HTTPResponse, got: Got) -> None:
    last: dict[int, str] = {}
    body = bytearray()
    while line := answer.readline():
        body += line
        if not line.startswith(b"data: ") or not line.endswith(b"\n"):
            continue
        if line == b"data: [DONE]\n":
            got.ended, got.body = "done", bytes(body)
            answer.read()
            return
        event = json.loads(line[6:], parse_float=str)
        if "error" in event:
            got.ended, got.body = "error", bytes(body)
            return
        if event.get("usage"):
            got.cost = str(event["usage"]["cost"])
        for choice in event["choices"]:
            _hear(got, last, choice["index"], choice["delta"].get("content") or "")
            got.finished = got.finished or bool(choice["finish_reason"])
        if got.wish.leaves_after_words is not None and got.words >= got.wish.leaves_after_words:
            got.ended = "left"
            return


def _hear(got: Got, last: dict[int, str], index: int, text: str) -> None:
    for word in text.split():
        got.garbled = got.garbled or not follows(last.get(index), " " + word)
        last[index] = " " + word
        got.words += 1


class KeyRing:
    """API keys of the accounts, each used by one request at a time. So a row in the ledger can belong to only one
    request, even if the client of a broken connection never learnt its request's id."""

    def __init__(self, gateway: Any, accounts: list[Any], each: int, is_away: Callable[[], bool]):
        self._gateway, self._accounts, self._is_away = gateway, accounts, is_away
        self._free = [[gateway.make.make_key(account) for _ in range(each)] for account in accounts]

    def take(self, account: int) -> Any:
        """A key that nobody uses; a new one if there is none, as soon as the database can."""
        end = time.monotonic() + PATIENCE_SECONDS
        while not self._free[account]:
            try:
                if not self._is_away():  # waiting for SQLite would stop this whole process
                    return self._gateway.make.make_key(self._accounts[account])
            except Exception:  # the database was away just then: that is what we are here for
                if time.monotonic() > end:
                    raise
            gevent.sleep(0.2)
        return self._free[account].pop()

    def give_back(self, account: int, key: Any, got: Got) -> None:
        """Give a key back, if its request's id is known; otherwise the key has had its one request."""
        if got.request_id or got.ended == "refused":
            self._free[account].append(key)
