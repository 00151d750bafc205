"""What the attackers' own processes do: `python -m tests.attack.senders NAME`, with its arguments as JSON on its input.

Each is bounded in number and in time, yields to all else on the machine, and prints what came of it as JSON."""

import concurrent.futures
import contextlib
import functools
import json
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from tests.attack.bodies import BODIES
from tests.attack.wire import (
    HOST,
    PATIENCE_SECONDS,
    Answer,
    Browser,
    Tally,
    ask,
    bearer,
    chat,
    hold_open,
    say_status,
    together,
)

PAUSE_SECONDS = 0.02


def send_bodies(port: int, key: str, models: list[str], kinds: list[str], count: int) -> Tally:
    """Each kind of body so many times to each of the models, two at once."""
    found: Counter[str] = Counter()
    for kind in kinds:
        for model in models:
            body = BODIES[kind](model)
            headers = bearer(key) | ({"Content-Encoding": "gzip"} if kind == "bomb" else {})
            call = functools.partial(ask, port, "POST", "/v1/chat/completions", headers, body)
            for status, number in together([call] * count, 2).items():
                found[f"{kind} {status}"] += number
            time.sleep(PAUSE_SECONDS)
    return dict(found)


def send_chunks(port: int, key: str, model: str, count: int, size: int) -> Tally:
    """Bodies that come in chunks of a byte or so, as quickly as they are taken."""
    body = json.dumps(
        {"model": model, "messages": [{"role": "user", "content": "x" * size}], "max_tokens": 20}
    ).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n"
    sent = head.encode() + b"Transfer-Encoding: chunked\r\n\r\n"
    sent += b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    return _send_raw(port, [sent] * count, at_once=2)


def send_heads(port: int, key: str, count: int) -> Tally:
    """Heads as large as they may be, and larger; long paths and queries; cookies without end."""
    lines = "".join(f"X-Header-{number}: {'x' * 4000}\r\n" for number in range(60))
    heads = [
        f"GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n{lines}\r\n",
        f"GET /v1/models?{'a=b&' * 5000} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n",
        f"GET /dashboard/usage?{'key=1&' * 600} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        f"GET /sign-in HTTP/1.1\r\nHost: x\r\nConnection: close\r\nCookie: {'a=b; ' * 1500}\r\n\r\n",
        f"GET /v1/models/{'%41' * 2000} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        f"Authorization: Bearer {key}\r\n\r\n",
        f"GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {'sk-' * 2000}\r\n\r\n",
    ]
    return _send_raw(port, [head.encode() for head in heads] * count, at_once=4)


def hold_half_sent(port: int, sent: list[str], count: int, seconds: float) -> Tally:
    """So many connections on which one of these was sent and no more, for so long; what they were told meanwhile."""
    found: Counter[str] = Counter()
    with contextlib.ExitStack() as stack:
        connections = []
        for one in sent:
            for _ in range(0, count // len(sent), 50):
                opened = hold_open(port, one.encode(), 50)
                connections += [stack.enter_context(connection) for connection in opened]
                time.sleep(PAUSE_SECONDS)
        time.sleep(seconds)
        for connection in connections:
            found[_read_status(connection, wait=False)] += 1
    return dict(found)


def await_half_sent(port: int, sent: list[str], count: int, seconds: float) -> Tally:
    """The same, until each of them was answered, or not within so many seconds."""
    found: Counter[str] = Counter()
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(each) for one in sent for each in hold_open(port, one.encode(), count)]
        until = time.monotonic() + seconds
        for connection in connections:
            connection.settimeout(max(0.01, until - time.monotonic()))
            found[_read_status(connection, wait=True)] += 1
    return dict(found)


def read_models(port: int, key: str, models: list[str], count: int, stream: bool | None = None) -> Tally:
    """Ask each of these models so often, whole or streamed or both, and read all that comes."""
    found: Counter[str] = Counter()
    for model in models:
        for streams in (False, True) if stream is None else (stream,):
            call = functools.partial(chat, port, key, model, stream=streams)
            for status, number in together([call] * count, 2).items():
                found[f"{model} {status}"] += number
    return dict(found)


def provoke(port: int, key: str, model: str, content: str, count: int) -> Tally:
    """One request after the other whose words make the upstream fail."""
    return dict(Counter(say_status(functools.partial(chat, port, key, model, content)) for _ in range(count)))


def leave_early(port: int, key: str, model: str, words: str, count: int, kibibytes: int, seconds: float) -> Tally:
    """So many streams at once with so large prompts, which all leave after so many seconds, unanswered."""
    content = words + " Tell me a story." * (kibibytes * 1024 // 17)
    body = {"model": model, "messages": [{"role": "user", "content": content}], "max_tokens": 100, "stream": True}
    data = json.dumps(body).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
    sent = f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data
    with contextlib.ExitStack() as stack:
        for connection in hold_open(port, sent, count):
            stack.enter_context(connection)
        time.sleep(seconds)
    return {"left": count}


def get(port: int, paths: list[str], headers: dict[str, str], count: int, at_once: int = 2) -> Tally:
    """Each of the paths so often."""
    call = functools.partial
    return together([call(ask, port, "GET", path, headers) for path in paths for _ in range(count)], at_once)


def guess(port: int, tries: list[list[str]], password: str, at_once: int) -> Tally:
    """Sign-ins with a wrong password: pairs of who it should be, and from where, each by a browser of its own."""
    browsers = [(Browser(port, address), email) for email, address in tries]
    with concurrent.futures.ThreadPoolExecutor(4) as threads:  # it is the guesses that come at once
        tokens = list(threads.map(lambda pair: pair[0].read_token("/sign-in"), browsers))
    calls: list[Callable[[], Answer]] = [
        functools.partial(browser.send, "/sign-in", token, email=email, password=password)
        for (browser, email), token in zip(browsers, tokens, strict=True)
    ]
    return together(calls, at_once)


def _send_raw(port: int, all_sent: Iterable[bytes], at_once: int) -> Tally:
    def send(sent: bytes) -> str:
        with socket.create_connection((HOST, port), timeout=PATIENCE_SECONDS) as connection:
            with contextlib.suppress(OSError):  # it may be refused before it is read
                connection.sendall(sent)
            return _read_status(connection, wait=True)

    with concurrent.futures.ThreadPoolExecutor(at_once) as threads:
        return dict(Counter(threads.map(send, all_sent)))


def _read_status(connection: socket.socket, wait: bool) -> str:
    """What it was answered: a status, `closed`, or `no answer`."""
    if not wait:
        connection.settimeout(0.001)
    try:
        head = connection.recv(2**12)
    except TimeoutError:
        return "no answer"
    except OSError:
        return "closed"
    return head.split()[1].decode() if head.startswith(b"HTTP/") else "closed"


SENDERS = (
    send_bodies,
    send_chunks,
    send_heads,
    hold_half_sent,
    await_half_sent,
    read_models,
    provoke,
    leave_early,
    get,
    guess,
)


def main() -> None:
    send = next(one for one in SENDERS if one.__name__ == sys.argv[1])
    arguments: dict[str, Any] = json.loads(sys.stdin.read())
    print(json.dumps(send(**arguments)))


if __name__ == "__main__":
    main()
