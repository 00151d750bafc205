"""The other customer: small requests all the time, whole and streamed, a page, and the router's `/livez`.

`python -m tests.attack.victim` reads who it is from its input as one line of JSON. For each further line it says how it
fared since the line before: its longest wait, that of a request that has not ended yet included."""

import collections
import contextlib
import http.client
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from tests.attack.wire import HOST, SITE, bearer

ASK_SECONDS, LOOK_SECONDS = 0.08, 0.1  # between the beginnings of two requests of one lane
PAGE_SECONDS = 0.3
LANES = 4  # two of whole answers, two of streams: a request every 20 ms
REQUESTS_EACH = 25  # over one connection; the next one may be another worker's
PATIENCE_SECONDS = 60
TICK_SECONDS = 0.005
NICE = -15  # where that is allowed: its figure is the gateway's, not that of a process that has to wait for a core


class Lane:
    """One kind of request, again and again."""

    def __init__(
        self, name: str, port: int, every_seconds: float, request: tuple[str, str, bytes | None, dict[str, str]]
    ):
        self.name, self._port, self._every, self._request = name, port, every_seconds, request
        self.begun: float | None = None
        self.took: list[float] = []
        self.wrong: collections.Counter[str] = collections.Counter()
        self._connection: http.client.HTTPConnection | None = None
        self._asked = 0

    def run(self) -> None:
        """For as long as the process lives."""
        at = time.monotonic()
        while True:
            time.sleep(max(0.0, at - time.monotonic()))
            self.begun = began = time.monotonic()
            fault = self._ask()
            self.took.append(time.monotonic() - began)
            self.begun = None
            if fault:
                self.wrong[fault] += 1
            at = max(at + self._every, time.monotonic())

    def _ask(self) -> str:
        """One request; what was wrong with its answer, or ""."""
        if self._connection is None or self._asked % REQUESTS_EACH == 0:
            if self._connection is not None:
                self._connection.close()
            self._connection = http.client.HTTPConnection(HOST, self._port, timeout=PATIENCE_SECONDS)
        self._asked += 1
        try:
            method, path, body, headers = self._request
            self._connection.request(method, path, body, headers)
            answer = self._connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection = None
            return f"{self.name}: {type(error).__name__}"
        if answer.status != 200:
            return f"{self.name}: {answer.status} {text[:200].decode(errors='replace')}"
        if b'"stream": true' in (body or b"") and b"[DONE]" not in text:
            return f"{self.name}: a stream without its end"
        return ""

    def report(self) -> tuple[list[float], collections.Counter[str]]:
        """What took how long since the last report, and what was wrong."""
        took, wrong = self.took, self.wrong
        self.took, self.wrong = [], collections.Counter()
        begun = self.begun
        return [*took, *([time.monotonic() - begun] if begun else [])], wrong


class Metronome:
    """How long this process itself was kept from running: no wait that is shorter than this says anything."""

    def __init__(self) -> None:
        self.longest = 0.0

    def run(self) -> None:
        while True:
            before = time.monotonic()
            time.sleep(TICK_SECONDS)
            self.longest = max(self.longest, time.monotonic() - before - TICK_SECONDS)


def make_lanes(who: dict[str, Any]) -> list[Lane]:
    """All that it does. `who`: port, key, model, and the cookie of its session, if it looks at pages."""
    port = who["port"]
    lanes = []
    for number in range(LANES):
        body = {"model": who["model"], "messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 20}
        body["stream"] = number % 2 == 1
        request = ("POST", "/v1/chat/completions", json.dumps(body).encode(), bearer(who["key"]))
        lanes.append(Lane("a stream" if body["stream"] else "a whole answer", port, ASK_SECONDS, request))
    browser = {"Host": SITE, "X-Forwarded-For": "203.0.113.200", "X-Forwarded-Proto": "https"}
    page = ("GET", "/dashboard/", None, {**browser, "Cookie": who["cookie"]})
    lanes.append(Lane("a page", port, PAGE_SECONDS, page))
    lanes.append(Lane("/livez", port, LOOK_SECONDS, ("GET", "/livez", None, {})))
    return lanes


def sum_up(lanes: list[Lane], metronome: Metronome) -> dict[str, Any]:
    """What the arena is told."""
    found = [(lane.name, *lane.report()) for lane in lanes]
    worst, what = max((max(took, default=0.0), name) for name, took, _ in found)
    all_took = sorted(one for _, took, _ in found for one in took)
    own, metronome.longest = metronome.longest, 0.0
    return {
        "requests": len(all_took),
        "worst_ms": worst * 1000,
        "worst_of": what,
        "p50_ms": all_took[len(all_took) // 2] * 1000 if all_took else 0.0,
        "wrong": [f"{fault} ({count} times)" for _, _, wrong in found for fault, count in wrong.items()],
        "own_ms": own * 1000,
    }


def start(run: Callable[[], None]) -> None:
    threading.Thread(target=run, daemon=True).start()


def main() -> None:
    lanes, metronome = make_lanes(json.loads(sys.stdin.readline())), Metronome()
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, NICE)
    start(metronome.run)
    for lane in lanes:
        start(lane.run)
        time.sleep(ASK_SECONDS / LANES)
    for _ in sys.stdin:
        print(json.dumps(sum_up(lanes, metronome)), flush=True)
    os._exit(0)  # whatever its lanes wait for


if __name__ == "__main__":
    main()
