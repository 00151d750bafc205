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
from tests.doors import DOORS, Door, Told, read_json

PATIENCE_SECONDS = 60
RESET = struct.pack("ii", 1, 0)
# who serves the models: a provider or several, and what each calls them
OPENAI, CLAUDE, GEMINI = ("openai", "gpt-4o"), ("anthropic", "claude-sonnet-4-5"), ("gemini", "gemini-2.0-flash")
UPSTREAMS = {
    "openai": (OPENAI, OPENAI, OPENAI),
    "responses": (OPENAI, OPENAI, OPENAI),
    "anthropic": (CLAUDE, CLAUDE),
    "gemini": (GEMINI, GEMINI),
    "any": (OPENAI, CLAUDE, GEMINI),
}


@dataclasses.dataclass(frozen=True)
class Wish:
    """What a client asks for, by which door and of whom, and when it leaves: after so many seconds, or so many words of
    a stream."""

    number: int
    account: int
    prompt: str
    stream: bool
    door_name: str = "chat"
    upstream: str = "openai"
    cap: int | None = None
    choices: int = 1
    wants_usage: bool = False
    tag: str = ""
    idempotency_key: str = ""
    leaves_after_seconds: float | None = None
    leaves_after_words: int | None = None
    by_reset: bool = False

    @property
    def door(self) -> Door:
        return DOORS[self.door_name]

    def body(self, model: str) -> bytes:
        fields = self.door.ask(model, self.prompt, stream=self.stream, cap=self.cap)
        if self.choices > 1:
            fields["n"] = self.choices
        if not self.wants_usage:  # the other doors tell it unasked
            fields.pop("stream_options", None)
        return json.dumps(fields).encode()

    @property
    def headers(self) -> dict[str, str]:
        """Those beside the key's."""
        found = {"Content-Type": "application/json"}
        if self.idempotency_key:
            found["Idempotency-Key"] = self.idempotency_key
        if self.tag:
            found["x-bridge-tags"] = self.tag
        return found


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
    replayed: bool = False
    garbled: bool = False
    told: Told = dataclasses.field(default_factory=Told)
    said: list[Any] = dataclasses.field(default_factory=list)  # the body, or a stream's events but its signs of life

    @property
    def tokens(self) -> int:
        """What was received, in the upstream's tokens."""
        return self.words + self.told.finished


def make_wish(seed: int, number: int, accounts: int) -> Wish:
    """The nth wish of this seed."""
    chance = random.Random(f"{seed}/wish/{number}")
    stream = chance.random() < 0.6
    leaves = chance.random() < 0.15
    by_words = stream and chance.random() < 0.6
    door, upstream = chance.choice(list(DOORS)), chance.choice(list(UPSTREAMS))
    several = door == "chat" and upstream == "openai"  # elsewhere each choice would be a call of its own
    return Wish(
        number,
        account=chance.randrange(accounts),
        prompt=write_prompt(number, chance.randint(0, 60)),
        stream=stream,
        door_name=door,
        upstream=upstream,
        # Responses take no cap below 16
        cap=chance.choice((None, 16, 20, 60, 200) if "responses" in (door, upstream) else (None, 2, 5, 20, 60, 200)),
        choices=chance.choice((1, 1, 2, 3)) if several else 1,
        wants_usage=stream and chance.random() < 0.5,
        tag=f"audit={number}" if chance.random() < 0.3 else "",
        idempotency_key=f"audit-{number}" if chance.random() < 0.2 else "",
        leaves_after_seconds=chance.uniform(0, 1.5) if leaves and not by_words else None,
        leaves_after_words=chance.randint(1, 20) if leaves and by_words else None,
        by_reset=chance.random() < 0.5,
    )


def ask(port: int, model: str, secret: str, got: Got) -> Got:
    """Carry out the wish; whatever happens is written into `got`, which is returned."""
    wish = got.wish
    headers = {"Authorization": f"Bearer {secret}", **wish.headers}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    patience = gevent.Timeout(wish.leaves_after_seconds)
    try:
        connection.connect()
        with patience:
            connection.request("POST", wish.door.path, wish.body(model), headers)
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
    body = read_json(answer.read())
    got.wish.door.read(body, got.told)
    got.said, got.ended = [body], got.told.end
    _hear(got, {})


def _read_stream(answer: http.client.HTTPResponse, got: Got) -> None:
    heard: dict[int, int] = {}
    while line := answer.readline():
        if not line.startswith(b"data: ") or not line.endswith(b"\n"):
            continue
        event = "[DONE]" if line == b"data: [DONE]\n" else read_json(line[6:])
        got.wish.door.hear(event, got.told)
        if (said := leave_out_signs_of_life(event)) is not None:
            got.said.append(said)
        _hear(got, heard)
        if got.told.end:
            got.ended = got.told.end
            answer.read()
            return
        if got.wish.leaves_after_words is not None and got.words >= got.wish.leaves_after_words:
            got.ended = "left"
            return


def leave_out_signs_of_life(event: Any) -> Any:
    """The event, but for its number; None for one that only bridges a silence."""
    if event == "[DONE]" or "type" not in event:
        return event
    if event["type"] in ("ping", "response.in_progress"):
        return None
    return {name: value for name, value in event.items() if name != "sequence_number"}


def _hear(got: Got, heard: dict[int, int]) -> None:
    """Look at the words that are new; `heard` is how much of each choice's text is known."""
    for index, text in got.told.texts.items():
        start = heard.get(index, 0)
        last = " " + text[:start].split()[-1] if start else None
        for word in text[start:].split():
            got.garbled = got.garbled or not follows(last, " " + word)
            last = " " + word
            got.words += 1
        heard[index] = len(text)


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
