"""One request to /v1: its caller, its id, its limits' windows, and the headers of its answer."""

import datetime
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

import msgspec
from flask import Response
from werkzeug.http import HTTP_STATUS_CODES

from bridge.accounts.keys import Caller
from bridge.conversation.answer import Dialect, ErrorWriter
from bridge.counters.windows import Window
from bridge.dialects.chat.writer import write_chat_error
from bridge.dialects.messages.errors import write_messages_error
from bridge.errors import BridgeError
from bridge.headers import NO_STORE, CommonHeaders, ReadyHeaders
from bridge.inference.ask import Ask
from bridge.inference.drill import DRILL
from bridge.inference.plan import Plan
from bridge.inference.resumable import Follower
from bridge.inference.services import Services
from bridge.inference.shares import Share
from bridge.inference.watch import Client
from bridge.ledger.idempotency import Claim
from bridge.limits.limits import Admission, admit
from bridge.resume.recording import Recording
from bridge.telemetry import new_request_id
from bridge.v1.client import HttpClient

JSON = ("Content-Type", "application/json")
STREAM_HEADERS = (
    ("Content-Type", "text/event-stream; charset=utf-8"),
    ("Cache-Control", "no-cache"),
    ("X-Accel-Buffering", "no"),
)


class ReadyResponse(Response):
    """An answer that is ready: its headers are a list and its body is an iterable of bytes. Werkzeug's own would check
    both again, at a fifth of a request's cost."""

    def __init__(
        self,
        body: Iterable[bytes],
        status: int,
        headers: Iterable[tuple[str, str]],
        common: CommonHeaders,
        length: int | None = None,
    ):
        self.response = body
        self.ready_status = f"{status} {HTTP_STATUS_CODES.get(status, 'UNKNOWN')}"
        self.ready_headers = ReadyHeaders(headers, common, length)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Any:
        try:
            start_response(self.ready_status, self.ready_headers)
        except BaseException:  # a stream whose frames nobody will ask for must end too
            if hasattr(self.response, "close"):
                self.response.close()
            raise
        return self.response


class Visit(msgspec.Struct):
    """What is known about the request so far. `leave()` ends it once, also if the answer is a stream that goes on."""

    services: Services
    environ: WSGIEnvironment
    request_id: str
    started: float
    caller: Caller | None = None
    admission: Admission | None = None
    windows: dict[str, Window] = msgspec.field(default_factory=dict)
    reserved_tokens: int = 0
    body_bytes: int = 0
    share: Share | None = None
    left: bool = False
    attempts: int = 0  # calls of an upstream
    model: str = ""  # as it was asked for, once that is known
    write_error: ErrorWriter = write_chat_error
    outlet: Callable[[Iterable[bytes]], Iterable[bytes]] | None = None  # what a dialect does to streams as they go out

    @classmethod
    def open(cls, services: Services, environ: WSGIEnvironment, write_error: ErrorWriter = write_chat_error) -> "Visit":
        services.let_enter()
        return cls(services, environ, new_request_id(), time.monotonic(), write_error=write_error)

    def ask(self, plan: Plan, dialect: Dialect, claim: Claim | None = None, recording: Recording | None = None) -> Ask:
        """The request to the engine."""
        caller, environ, services = self.caller, self.environ, self.services
        assert caller is not None
        deadline = self.started + services.settings.total_timeout_seconds
        client: Client = HttpClient(environ) if recording is None else Follower(recording)
        times, drill = (self.started, deadline), environ.get(DRILL)
        return Ask(services, self.request_id, *times, caller, plan, dialect, self, client, claim, drill, recording)

    def identify(self, caller: Caller) -> None:
        """Set the caller."""
        self.caller = caller

    def admit(self, *, requests: int, tokens: int, lease_seconds: float) -> None:
        """Count the request against the limits of its key and account. Raises RateLimitExceeded."""
        assert self.caller is not None
        counters = self.services.counters
        try:
            self.admission = admit(
                counters, self.caller, self.request_id, requests=requests, tokens=tokens, lease_seconds=lease_seconds
            )
        except BridgeError as error:
            self.windows = dict(getattr(error, "windows", {}))
            raise
        self.windows = self.admission.windows
        self.reserved_tokens = tokens

    def answer_for(self, request_id: str) -> None:
        """From here on the answer has the id of an earlier request, whose answer is given again."""
        self.request_id = request_id

    def header(self, name: str) -> str:
        """A request header by its WSGI name, or ""."""
        value: str = self.environ.get(name, "")
        return value

    def take_share(self, account_id: int) -> Share:
        """Count the request in its account's share of this worker, until it leaves."""
        share = self.services.shares.take(account_id)
        self.share = share
        return share

    def keep_body(self, count: int) -> None:
        """Count these bytes of the body as memory in use."""
        assert self.share is not None  # which is taken before the body is read
        self.body_bytes += count
        self.services.shares.keep_body(self.share, count)

    def drop_body(self) -> None:
        """The body's bytes are no longer in use."""
        if self.body_bytes:
            self.keep_body(-self.body_bytes)

    def count_attempt(self) -> None:
        """Count one more call of an upstream."""
        self.attempts += 1

    def leave(self, used_tokens: int = 0) -> None:
        """Count the tokens that were used, give the leases back, and make room for the next request."""
        if self.left:
            return
        self.left = True
        self.services.let_leave()
        self.drop_body()
        if self.share is not None:
            self.services.shares.give_back(self.share)
        if self.admission is not None:
            self.admission.true_up(self.services.counters, used_tokens)

    def answer_headers(self) -> list[tuple[str, str]]:
        """The headers of this request alone, beside the common ones."""
        found = [("x-request-id", self.request_id)]
        if self.write_error is write_messages_error:  # Anthropic's name of it
            found.append(("request-id", self.request_id))
        for kind, name in (("rpm", "requests"), ("tpm", "tokens")):
            window = self.windows.get(kind)
            if window:
                found += (
                    (f"x-ratelimit-limit-{name}", str(window.limit)),
                    (f"x-ratelimit-remaining-{name}", str(window.remaining)),
                    (f"x-ratelimit-reset-{name}", format_duration(window.reset_seconds)),
                )
        if self.windows and self.write_error is write_messages_error:
            found += list_anthropic_limits(self.windows)
        return found

    def answer(
        self,
        data: bytes,
        status: int = 200,
        more: Iterable[tuple[str, str]] = (),
        stored: tuple[str, str] = NO_STORE,
    ) -> Response:
        """A whole answer of ready bytes. `stored` is its Cache-Control."""
        headers = [JSON, ("Content-Length", str(len(data))), stored, *self.answer_headers(), *more]
        return ReadyResponse([data], status, headers, self.services.common_headers, len(data))

    def stream(self, frames: Iterable[bytes], more: Iterable[tuple[str, str]]) -> Response:
        """An answer that the server iterates, and closes if it can be closed."""
        headers = [*STREAM_HEADERS, *self.answer_headers(), *more]
        frames = frames if self.outlet is None else self.outlet(frames)
        return ReadyResponse(frames, 200, headers, self.services.common_headers)

    def refuse(self, error: BridgeError) -> Response:
        """The error as an answer."""
        status, body = self.write_error(error, self.request_id)
        return self.answer(body, status, [*error.headers(), ("x-bridge-attempts", str(self.attempts))])


# A limit of tokens counts prompt and answer together: it is the one of either.
ANTHROPIC_LIMITS = {"rpm": ("requests",), "tpm": ("tokens", "input-tokens", "output-tokens")}
EXPOSED_LIMITS = ", ".join(
    f"anthropic-ratelimit-{name}-{what}"
    for names in ANTHROPIC_LIMITS.values()
    for name in names
    for what in ("limit", "remaining", "reset")
)


def list_anthropic_limits(windows: Mapping[str, Window]) -> Iterator[tuple[str, str]]:
    """The limits of the key by Anthropic's names of them, and its moments in time. A browser may read them too, which
    is said here alone: they would lengthen every answer otherwise."""
    now = time.time()
    yield "Access-Control-Expose-Headers", EXPOSED_LIMITS
    for kind, names in ANTHROPIC_LIMITS.items():
        if window := windows.get(kind):
            reset = datetime.datetime.fromtimestamp(math.ceil(now + window.reset_seconds), datetime.UTC)
            for name in names:
                yield f"anthropic-ratelimit-{name}-limit", str(window.limit)
                yield f"anthropic-ratelimit-{name}-remaining", str(window.remaining)
                yield f"anthropic-ratelimit-{name}-reset", reset.strftime("%Y-%m-%dT%H:%M:%SZ")


def format_duration(seconds: float) -> str:
    """Seconds in the format of OpenAI's rate limit headers: 6m0s, 1.5s, 120ms."""
    milliseconds = max(0, round(seconds * 1000))
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    text = f"{rest / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + text
