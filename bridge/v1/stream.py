"""A streamed answer: frames as they come, keep-alives while the upstream is silent, one settlement whatever ends it."""

import contextlib
import dataclasses
import functools
import socket
import time
from collections.abc import Generator, Iterator
from typing import Any

import gevent
import msgspec
import structlog
from flask import Response

from bridge.catalogue.routing import Route
from bridge.errors import BridgeError, UpstreamError
from bridge.ledger.batch import Mark
from bridge.ledger.charge_rules import LEFT_EARLY_PAID
from bridge.limits.abandoned_streams import take_free_one
from bridge.providers import PROVIDERS
from bridge.providers.base import AttemptFailed, Blame, Outgoing, Provider, StreamOrder, Usage
from bridge.providers.recast import JsonReader
from bridge.v1.answers import note_mended, read_failure, usage_body
from bridge.v1.choices import ParallelAnswer, ParallelReader, call_all
from bridge.v1.counts import find_usage
from bridge.v1.intake import TICK_SECONDS, Intake
from bridge.v1.relay import Relay
from bridge.v1.visit import ReadyResponse
from bridge.v1.watch import Watch, has_left, watch_drain

CHARACTERS_PER_TOKEN = 4  # rather too many, so that a mark says too little
CLIENT_SLOW = "bridge.client_slow"  # the server says so in the environ, and closes us
KEEPALIVE = b": keep-alive\n\n"
log = structlog.get_logger()
STREAM_HEADERS = (
    ("Content-Type", "text/event-stream; charset=utf-8"),
    ("Cache-Control", "no-cache"),
    ("X-Accel-Buffering", "no"),
)


def answer_stream(relay: Relay) -> Response:
    """The stream, once its first content is there or ten seconds have passed. Raises what the client is told else."""
    stream = Stream(relay)
    try:
        stream.open()
    except BaseException:
        stream.close()
        raise
    return ReadyResponse(stream, 200, [*STREAM_HEADERS, *relay.visit.answer_headers(), *relay.adapted_headers()])


class Stream:
    """What the server iterates for frames and closes at the end, also when the client hangs up or never reads."""

    def __init__(self, relay: Relay):
        self._relay = relay
        self._settings = relay.services.settings
        self._work = self._relay_frames()
        self._first = b""
        self._left = False  # the client, before it got anything
        self._answer: Any = None
        self._reader: Any = None
        self._delivered = False
        self._sent_at = time.monotonic()
        self._handed = 0  # pieces of the answer that the server has got from us
        self._sent = 0  # and those that it has sent: it has come back for more
        self._marked = 0
        relay.services.streams.add(self)
        self._recorded: list[bytes] | None = None if relay.claim is None else []  # what goes out, to be given again
        self._socket: socket.socket | None = relay.visit.environ.get("gunicorn.socket")

    # what the server calls

    def open(self) -> None:
        """Wait for the first frames, at most OPEN_STREAM_AFTER_SECONDS. Raises BridgeError when all channels failed."""
        limit = self._sent_at + self._settings.open_stream_after_seconds
        try:
            for frames in self._work:
                if frames:
                    self._first = frames
                    break
                if self._client_gone():
                    self._left = True
                    break
                if time.monotonic() >= limit:
                    self._first = KEEPALIVE
                    break
        except BridgeError as error:
            if self._client_gone():  # nobody is left to be told, and no attempt delivered anything
                self._left = True
                self._close_answer()
                return
            self._relay.refused(error)
            raise

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        self._sent = self._handed
        if self._first:
            frames, self._first = self._first, b""
            if frames is not KEEPALIVE:
                self._delivered = True
                self._note_handed(frames)
            return frames
        if self._left:
            raise StopIteration
        try:
            for frames in self._work:
                if frames:
                    self._delivered = True
                    self._sent_at = time.monotonic()
                    self._note_handed(frames)
                    return frames
                if self._client_gone():
                    break
                if time.monotonic() - self._sent_at >= self._settings.keepalive_seconds:
                    self._sent_at = time.monotonic()
                    return KEEPALIVE
        except BridgeError as error:
            if self._client_gone():
                self._close_answer()
                raise StopIteration from None
            self._relay.settle("failed", None, source="none", status=200, error_code=error.code)
            return error_frame(error)
        raise StopIteration

    def mark(self) -> Mark | None:
        """What was delivered, for the sweeper, if there is more of it than last time. Never more than the client has:
        a piece is a token at least, unless it is shorter than tokens are. None under an Idempotency-Key: its answer
        would be lost with the worker, and whoever asks again pays for another."""
        sent, reader = self._sent, self._reader
        if reader is None or sent <= self._marked or self._relay.settled or self._relay.claim is not None:
            return None
        self._marked = sent
        pieces = reader.text[:sent]
        completion = min(len(pieces), sum(map(len, pieces)) // CHARACTERS_PER_TOKEN)
        return self._relay.mark(reader.usage, completion)

    def let_go(self) -> None:
        """Close a client that took so long over a piece that its hold would be swept next: for less than is due."""
        late = time.monotonic() - self._relay.deadline > self._settings.hold_grace_seconds / 2
        if late and self._socket is not None and not self._relay.settled:
            self._relay.visit.environ[CLIENT_SLOW] = True
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def _note_handed(self, frames: bytes) -> None:
        if self._reader is not None:
            self._handed = len(self._reader.text)
        if self._recorded is not None:
            self._recorded.append(frames)

    def _written(self, last: bytes) -> bytes:
        """For the same Idempotency-Key: what was delivered, and how it ended."""
        return b"".join([*(self._recorded or ()), last])

    def close(self) -> None:
        """Shut the upstream, and settle if nothing has yet: then the client left. Safe to call twice."""
        self._relay.services.streams.discard(self)
        try:
            self._work.close()  # which ends a call that is still under way
            if self._answer is not None:
                self._answer.close()
            if not self._relay.settled:
                self._settle_client_gone()
        finally:
            self._relay.visit.leave()

    # the frames

    def _relay_frames(self) -> Generator[bytes, None, None]:
        """Frames, or b"" for a moment of silence. Raises BridgeError while nothing was delivered."""
        relay = self._relay
        for route in relay.routes():
            if len(relay.attempts) > 1:
                yield b""  # a moment to see whether the client is still there
            try:
                yield from self._attempt(route)
            except AttemptFailed as failure:
                if not self._delivered:
                    self._close_answer()
                    relay.failed(failure)
                    continue
                relay.broke_off(failure)
                yield self._break_off(UpstreamError(failure.message or "The provider broke off its answer."))
                return
            relay.answered()
            note_mended(relay, self._reader.mended)
            yield self._finish()
            return
        raise relay.failover.explain()

    def _attempt(self, route: Route) -> Iterator[bytes]:
        """One channel's frames. Until content has come they are kept back, so that the next channel may be tried."""
        relay = self._relay
        provider, outgoing, timeouts = PROVIDERS[route.provider], relay.write(route), relay.timeouts()
        watch = Watch(relay, timeouts)
        yield from self._connect(route, outgoing)
        answer = self._answer
        if answer.status != 200:
            raise read_failure(provider, answer, timeouts)
        intake = self._open_intake(provider, outgoing)
        reader, kept = intake.reader, b""
        self._reader = reader
        try:
            for frames in intake.frames(answer):
                now = time.monotonic()
                if relay.first_content_at is None:
                    reader = self._reader = intake.reader  # another one, where it was JSON that came
                    if frames and reader.started:
                        relay.first_content_at = now
                        relay.failover.heard()
                        relay.visit.drop_body()
                kept += frames
                if reader.started:
                    frames, kept = kept, b""
                    yield frames
                    if frames:  # what the client took to read it is no silence of the upstream's
                        watch.moved(now)
                else:
                    yield b""  # however busy the upstream is: until there is content, the client may leave
                if not reader.ended:
                    watch.check(now, intake.received, reader.started, self._delivered)
        except AttemptFailed as failure:
            if self._delivered and failure.frames:  # they are charged, so they are delivered
                yield failure.frames
            raise
        if not reader.finish_reason:
            raise AttemptFailed(Blame.UPSTREAM, "the stream ended without a finish reason")
        if kept:
            yield kept

    def _open_intake(self, provider: Provider, outgoing: Outgoing) -> Intake:
        """What reads the answer, or all of them where each gives one choice."""
        relay = self._relay
        order = StreamOrder(
            relay.answer_id,
            relay.offer.name,
            int(relay.created_at.timestamp()),
            relay.plan.request.wants_usage,
            self._settings.max_event_bytes,
            choices=relay.offer.choices,
        )
        if relay.calls == 1:
            return self._open_one(provider, outgoing, order, relay.most_output_tokens())
        most = relay.most_output_tokens() // relay.calls
        orders = [dataclasses.replace(order, index=index, parallel=True, choices=1) for index in range(relay.calls)]
        intakes = [self._open_one(provider, outgoing, one, most) for one in orders]
        self._answer.read_by(intakes)
        return Intake(ParallelReader(intakes, self._answer.said))

    def _open_one(self, provider: Provider, outgoing: Outgoing, order: StreamOrder, most_tokens: int) -> Intake:
        return Intake(
            provider.open_reader(outgoing, order),
            functools.partial(JsonReader, provider, outgoing, order),
            end_seconds=self._settings.end_mark_seconds,
            most_tokens=most_tokens,
        )

    def _connect(self, route: Route, outgoing: Outgoing) -> Iterator[bytes]:
        """Send the request in a greenlet of its own: this one looks at the client while the upstream thinks."""
        relay = self._relay
        self._close_answer()
        upstream, timeouts = relay.services.upstream(route), relay.timeouts()
        call = gevent.spawn(_send, upstream, outgoing, timeouts, relay.calls)
        try:
            while not call.ready():
                call.join(TICK_SECONDS)
                if not call.ready():
                    watch_drain(self._relay, self._delivered)
                    yield b""
        except BaseException:
            call.kill()
            if call.value is not None and not isinstance(call.value, BaseException):
                call.value.close()  # it came in the very moment in which nobody waits for it any more
            raise
        result = call.get()
        if isinstance(result, BridgeError | AttemptFailed):
            raise result
        self._answer = result

    # the ends

    def _finish(self) -> bytes:
        """The capture, then the tail that it pays for: usage, if asked for, and [DONE]."""
        relay, reader = self._relay, self._reader
        relay.keep_reasoning(reader.kept)
        usage, source = self._usage(ended=True)
        relay.settle(
            "complete",
            usage,
            source=source,
            status=200,
            finish_reason=reader.finish_reason,
            empty=not reader.started and not usage.completion_tokens,
            answer=lambda: self._written(self._write_tail(usage)),
        )
        return self._write_tail(usage)

    def _write_tail(self, usage: Usage) -> bytes:
        relay, tail = self._relay, b"data: [DONE]\n\n"
        if relay.plan.request.wants_usage:
            chunk = {
                "id": relay.answer_id,
                "object": "chat.completion.chunk",
                "created": self._reader.created,
                "model": relay.offer.name,
                "choices": [],
                "usage": usage_body(usage, relay.charge_nanos),
            }
            tail = b"data: " + msgspec.json.encode(chunk) + b"\n\n" + tail
        return tail

    def _break_off(self, error: BridgeError) -> bytes:
        """Prompt and what was received are charged; then the error, and no [DONE]."""
        usage, source = self._usage()
        last = error_frame(error)
        self._relay.settle(
            "cut", usage, source=source, status=200, error_code=error.code, answer=lambda: self._written(last)
        )
        return last

    def _settle_client_gone(self) -> None:
        """From the upstream's headers on the prompt is charged, and what was received until then. Before them it is the
        prompt too, for the provider has it to read, unless the stream is one of the account's free ones. Between two
        attempts is before: the next one was to come. Once the last has failed nothing is charged."""
        relay = self._relay
        answered = self._answer is not None and self._answer.status == 200 and self._reader is not None
        waited = bool(relay.attempts) and not relay.attempts[-1].outcome
        if waited:
            relay.end_attempt("client gone")
        usage: Usage | None = None
        source, code = "none", None
        if answered:
            usage, source = self._usage()
        elif waited and not take_free_one(relay.services.counters, relay.caller.account_id, relay.visit.request_id):
            usage, source = find_usage(relay, None, (), ended=False)
            code = LEFT_EARLY_PAID.name
        last = error_frame(UpstreamError("The client of this request left before its end."))
        outcome = "client_slow" if CLIENT_SLOW in relay.visit.environ else "client_gone"
        relay.settle(outcome, usage, source=source, status=499, error_code=code, answer=lambda: self._written(last))

    def _usage(self, ended: bool = False) -> tuple[Usage, str]:
        """The provider's counts, and our own of what it gave none for, as of what it said last before it was cut."""
        reader = self._reader
        return find_usage(self._relay, reader.usage, reader.text, ended, reader.uncounted)

    def _close_answer(self) -> None:
        if self._answer is not None:
            self._answer.close()
        self._answer = self._reader = None

    def _client_gone(self) -> bool:
        return has_left(self._socket)


def _send(upstream: Any, outgoing: Outgoing, timeouts: Any, calls: int) -> Any:
    """The answer, or the error as a value: a greenlet that raises prints its traceback."""
    try:
        if calls == 1:
            return upstream.send(outgoing, timeouts=timeouts)
        return ParallelAnswer(
            call_all(calls, lambda _: upstream.send(outgoing, timeouts=timeouts), lambda answer: answer.close())
        )
    except (AttemptFailed, BridgeError) as error:
        return error


def error_frame(error: BridgeError) -> bytes:
    """The error as the stream's last frame."""
    return b"data: " + error.body() + b"\n\n"
