"""One request to /v1: who calls, under which id, how the limits stand, and the headers that every answer carries."""

import dataclasses
import time
from collections.abc import Iterable
from typing import Any

from flask import Response
from werkzeug.http import HTTP_STATUS_CODES

from bridge.accounts.keys import Caller
from bridge.counters import Window
from bridge.errors import BridgeError
from bridge.headers import ReadyHeaders
from bridge.limits.limits import Admission
from bridge.telemetry import new_request_id
from bridge.v1.services import Services
from bridge.v1.shares import Share

EXPOSED = ", ".join(
    ["x-request-id", "retry-after", "retry-after-ms", "x-should-retry"]
    + [f"x-bridge-{name}" for name in ("cost", "attempts", "dropped", "clamped")]
    + ["idempotent-replayed"]
    + [f"x-ratelimit-{what}-{of}" for of in ("requests", "tokens") for what in ("limit", "remaining", "reset")]
)
CORS = (("Access-Control-Allow-Origin", "*"), ("Access-Control-Expose-Headers", EXPOSED))
JSON = ("Content-Type", "application/json")


class ReadyResponse(Response):
    """An answer that is ready: its headers are a list and its body an iterable of bytes. Werkzeug's own would look at
    both once more, at a fifth of what a request costs."""

    def __init__(
        self, body: Iterable[bytes], status: int, headers: Iterable[tuple[str, str]], length: int | None = None
    ):
        self.response = body
        self.ready_status = f"{status} {HTTP_STATUS_CODES.get(status, 'UNKNOWN')}"
        self.ready_headers = ReadyHeaders(headers)
        self.ready_headers.length = length

    def __call__(self, environ: Any, start_response: Any) -> Any:
        try:
            start_response(self.ready_status, self.ready_headers)
        except BaseException:  # a stream that nobody will ask for frames has to end all the same
            if hasattr(self.response, "close"):
                self.response.close()
            raise
        return self.response


@dataclasses.dataclass(slots=True)
class Visit:
    """What is known of the request so far. `leave()` ends it, once: also when the answer is a stream that goes on."""

    services: Services
    environ: dict[str, Any]
    request_id: str
    started: float
    caller: Caller | None = None
    admission: Admission | None = None
    windows: dict[str, Window] = dataclasses.field(default_factory=dict)
    reserved_tokens: int = 0
    body_bytes: int = 0
    share: Share | None = None
    left: bool = False
    attempts: int = 0  # calls of an upstream

    @classmethod
    def open(cls, services: Services, environ: dict[str, Any]) -> "Visit":
        services.in_flight += 1
        return cls(services, environ, new_request_id(), time.monotonic())

    def header(self, name: str) -> str:
        """A request header by its WSGI name, or ""."""
        value: str = self.environ.get(name, "")
        return value

    def take_share(self, account_id: int) -> Share:
        """Count the request to its account's part of this worker, until it leaves."""
        share = self.services.shares.take(account_id)
        self.share = share
        return share

    def keep_body(self, count: int) -> None:
        """So many more bytes of the body are in memory."""
        self.body_bytes += count
        self.services.body_bytes += count
        if self.share is not None:
            self.share.body_bytes += count

    def drop_body(self) -> None:
        """The body's bytes are no longer needed."""
        self.keep_body(-self.body_bytes)

    def leave(self, used_tokens: int = 0) -> None:
        """Count the tokens that were used, give the leases back, and make room for the next request."""
        if self.left:
            return
        self.left = True
        self.services.in_flight -= 1
        self.drop_body()
        if self.share is not None:
            self.services.shares.give_back(self.share)
        if self.admission is not None:
            self.admission.true_up(self.services.counters, used_tokens)

    def answer_headers(self) -> list[tuple[str, str]]:
        found = [("x-request-id", self.request_id), *CORS]
        for kind, name in (("rpm", "requests"), ("tpm", "tokens")):
            window = self.windows.get(kind)
            if window:
                found += (
                    (f"x-ratelimit-limit-{name}", str(window.limit)),
                    (f"x-ratelimit-remaining-{name}", str(window.remaining)),
                    (f"x-ratelimit-reset-{name}", format_duration(window.reset_seconds)),
                )
        return found

    def answer(self, data: bytes, status: int = 200, more: Iterable[tuple[str, str]] = ()) -> Response:
        """A whole answer of ready bytes."""
        headers = [JSON, ("Content-Length", str(len(data))), *self.answer_headers(), *more]
        return ReadyResponse([data], status, headers, len(data))

    def refuse(self, error: BridgeError) -> Response:
        """The error as an answer."""
        attempts = ("x-bridge-attempts", str(self.attempts))
        return self.answer(error.body(), error.status, [*error.headers(), attempts])


def format_duration(seconds: float) -> str:
    """Seconds in the format of OpenAI's rate limit headers: 6m0s, 1.5s, 120ms."""
    milliseconds = max(0, round(seconds * 1000))
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    text = f"{rest / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + text
