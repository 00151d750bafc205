"""The audit's clients: what each asks for by the seed, and what it has received, word by word."""

import contextlib
import dataclasses
import http.client
import json
import random
import socket
import struct
import time
from collections.abc import Callable, Sequence
from typing import Any

import gevent

from tests.audit.drawn import EMBEDDINGS, IMAGES, EmbeddingsDoor, ImagesDoor
from tests.audit.said import follows, write_prompt
from tests.doors import TEXT_DOORS, Door, Told, read_json

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
VECTORS, PICTURES = ("openai", "text-embedding-3-small"), ("openai", "gpt-image-1")
TEXTS = "completions"  # the door, and the model that it is for
DOORS: dict[str, Door] = {**TEXT_DOORS, EMBEDDINGS: EmbeddingsDoor(), IMAGES: ImagesDoor()}
OF_ONE_DOOR = {TEXTS: (OPENAI, OPENAI), EMBEDDINGS: (VECTORS, VECTORS), IMAGES: (PICTURES, PICTURES)}
SERVED_BY = {**UPSTREAMS, **OF_ONE_DOOR}


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
    resumes: bool = False  # it reads on when its connection has ended

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
        if self.resumes:
            found["x-bridge-resume"] = "true"
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
    last_event: int = 0  # its number, where events have some
    heard: dict[int, int] = dataclasses.field(default_factory=dict)  # of each choice's text
    garbled: bool = False
    told: Told = dataclasses.field(default_factory=Told)
    said: list[Any] = dataclasses.field(default_factory=list)  # the body, or a stream's events but its signs of life

    @property
    def tokens(self) -> int:
        """What was received, in the upstream's tokens."""
        return self.words + self.told.finished


def make_wish(seed: int, number: int, accounts: int, doors: Sequence[str] = tuple(DOORS)) -> Wish:
    """The nth wish of this seed, at one of these doors."""
    chance = random.Random(f"{seed}/wish/{number}")
    door, upstream = chance.choice(doors), chance.choice(list(UPSTREAMS))
    upstream = door if door in OF_ONE_DOOR else upstream
    stream = door not in (EMBEDDINGS, IMAGES) and chance.random() < 0.6
    leaves = chance.random() < 0.15
    by_words = stream and chance.random() < 0.6
    # elsewhere each choice would be a call of its own
    several = (door, upstream) in (("chat", "openai"), (TEXTS, TEXTS), (IMAGES, IMAGES))
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
        resumes=stream and chance.random() < 0.4,
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
    numbered = got.last_event or not got.words  # what an Idempotency-Key has kept for a day has no numbers
    if wish.resumes and numbered and got.status == 200 and got.ended in ("left", "died"):
        _read_on(port, secret, got)
    return got


def _read_on(port: int, secret: str, got: Got) -> None:
    """Go on behind the last event, wherever the gateway is by then; what can't be read any more stays as it was."""
    with contextlib.suppress(OSError, http.client.HTTPException), gevent.Timeout(PATIENCE_SECONDS, False):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
        with contextlib.closing(connection):
            path = f"/v1/requests/{got.request_id}/stream?after={got.last_event}"
            connection.request("GET", path, headers={"Authorization": f"Bearer {secret}"})
            answer = connection.getresponse()
            if answer.status == 200:
                _read_stream(answer, got, again=True)


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


def _read_stream(answer: http.client.HTTPResponse, got: Got, *, again: bool = False) -> None:
    number = 0  # of the event that begins
    while line := answer.readline():
        if line.startswith(b"id: ") and line.endswith(b"\n"):
            number = int(line[4:])
            got.garbled = got.garbled or number != got.last_event + 1
            continue
        if not line.startswith(b"data: ") or not line.endswith(b"\n"):
            continue
        event = "[DONE]" if line == b"data: [DONE]\n" else read_json(line[6:])
        got.wish.door.hear(event, got.told)
        if (said := leave_out_signs_of_life(event)) is not None:
            got.said.append(said)
        _hear(got, got.heard)
        got.last_event = number or got.last_event
        if got.told.end:
            got.ended = got.told.end
            answer.read()
            return
        if not again and got.wish.leaves_after_words is not None and got.words >= got.wish.leaves_after_words:
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
