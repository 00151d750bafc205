"""Resumable streams as their clients have them: asked for, left, read on, and put together from their events."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import gevent
import requests

from tests.served import Served
from tests.upstream import PATIENCE_SECONDS

RESUME = {"x-bridge-resume": "true"}
Event = tuple[int, bytes]  # with its number; 0 for one that has none


def split_events(data: bytes) -> list[Event]:
    """The events of a stream; what only keeps it alive is none."""
    return [_read(frame) for frame in data.split(b"\n\n") if frame and not frame.startswith((b":", b"event: ping"))]


def _read(frame: bytes) -> Event:
    if not frame.startswith(b"id: "):
        return 0, frame
    number, _, event = frame.partition(b"\n")
    return int(number[4:]), event


def numbers_of(events: list[Event]) -> list[int]:
    """The numbers alone."""
    return [number for number, _ in events]


@dataclasses.dataclass
class Asked:
    """A resumable stream that somebody began to read."""

    served: Served
    answer: requests.Response
    received: bytes = b""
    _pieces: Iterator[bytes] | None = None  # one for all reads: a generator that is forgotten closes the connection

    @property
    def pieces(self) -> Iterator[bytes]:
        """What comes."""
        self._pieces = self._pieces or self.answer.iter_content(None)
        return self._pieces

    @property
    def request_id(self) -> str:
        return self.answer.headers["x-request-id"]

    @property
    def url(self) -> str:
        return f"{self.served.gateway.base_url}/requests/{self.request_id}"

    def read_until(self, text: bytes) -> list[Event]:
        """Read until this has come; whole events alone."""
        for piece in self.pieces:
            self.received += piece
            if text in self.received and self.received.endswith(b"\n\n"):
                break
        assert text in self.received, self.received
        return split_events(self.received)

    def read_rest(self) -> list[Event]:
        """Read to the end."""
        self.received += b"".join(self.pieces)
        return split_events(self.received)

    def leave(self) -> None:
        """Close the connection, as whoever is killed does."""
        self.answer.close()

    def resume(self, after: int | None = None, **headers: str) -> requests.Response:
        """Go on behind this event."""
        query = "" if after is None else f"?after={after}"
        headers = {**self.served.key.headers, **headers}
        return requests.get(f"{self.url}/stream{query}", headers=headers, stream=True, timeout=PATIENCE_SECONDS)

    def read_on(self, after: int | None = None, **headers: str) -> list[Event]:
        """The events behind this one, to the end."""
        answer = self.resume(after, **headers)
        assert answer.status_code == 200, answer.text
        return split_events(answer.content)

    def end(self) -> requests.Response:
        """DELETE it."""
        return requests.delete(self.url, headers=self.served.key.headers, timeout=PATIENCE_SECONDS)

    def receipt(self) -> dict[str, Any]:
        """Its receipt, once there is one."""
        with gevent.Timeout(PATIENCE_SECONDS):
            while (answer := requests.get(self.url, headers=self.served.key.headers, timeout=60)).status_code == 404:
                gevent.sleep(0.05)
        found: dict[str, Any] = answer.json()
        return found


def ask(served: Served, headers: dict[str, str] | None = None, **more: Any) -> Asked:
    """Ask for a resumable stream."""
    body = {**served.door.ask(served.model, "Hello!", stream=True), **more}
    answer = requests.post(
        f"{served.gateway.site_url}{served.door.path}",
        json=body,
        headers={**served.key.headers, **RESUME, **(headers or {})},
        stream=True,
        timeout=PATIENCE_SECONDS,
    )
    return Asked(served, answer)
